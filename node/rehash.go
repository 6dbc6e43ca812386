package node

import (
	"context"
	"sync"
	"time"

	"github.com/perfgate/perfgate/store"
)

// The bounds of the keys that wait to be hashed again. One that finds no place is found under
// the retired pepper at its next use, too.
const (
	maxMoving = 20_000          // 72 bytes each
	moveEvery = 1 * time.Second // of [store.MaxRehash] at most
)

// mover moves keys that this node has found under the retired pepper to the current one.
// It implements [admit.Mover].
type mover struct {
	mu         sync.Mutex
	generation uint64 // of the hashes below
	keys       map[store.KeyID]store.Hash
}

// Move notes a key. A request does not wait for another one: its key is noted at its next use.
func (m *mover) Move(generation uint64, key store.Rehash) {
	if !m.mu.TryLock() {
		return
	}
	defer m.mu.Unlock()
	if generation != m.generation || m.keys == nil {
		m.generation, m.keys = generation, make(map[store.KeyID]store.Hash)
	}
	if _, known := m.keys[key.ID]; known || len(m.keys) < maxMoving {
		m.keys[key.ID] = key.Hash
	}
}

// take takes the next keys out; nil if there are none.
func (m *mover) take() *store.KeysRehash {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.keys) == 0 {
		return nil
	}
	c := &store.KeysRehash{Generation: m.generation}
	for id, hash := range m.keys {
		if len(c.Keys) == store.MaxRehash {
			break
		}
		c.Keys = append(c.Keys, store.Rehash{ID: id, Hash: hash})
		delete(m.keys, id)
	}
	return c
}

// back notes the keys of a proposal that failed again, unless the pepper was rotated since. A
// key that was noted meanwhile has the same hash.
func (m *mover) back(c *store.KeysRehash) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c.Generation != m.generation {
		return
	}
	for _, k := range c.Keys {
		if len(m.keys) < maxMoving {
			m.keys[k.ID] = k.Hash
		}
	}
}

// moving proposes the keys of the node's mover.
type moving struct{ *Node }

// run proposes some at a time. It ends with ctx. A proposal that fails is tried again; one that
// took effect all the same changes nothing then.
func (n moving) run(ctx context.Context) {
	tick := time.NewTicker(moveEvery)
	defer tick.Stop()
	said := false // that the last one failed
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		c := n.limits.mover.take()
		if c == nil {
			continue
		}
		_, err := n.proposeGrant(ctx, &store.Command{At: n.clock.Wall(), Account: store.DefaultAccount, Actor: n.startup.system(), Change: c})
		if err != nil && ctx.Err() == nil {
			n.limits.mover.back(c)
			if !said {
				n.log.Warn("move keys to the current pepper; tried again each second", "keys", len(c.Keys), "error", err)
			}
		}
		said = err != nil
	}
}
