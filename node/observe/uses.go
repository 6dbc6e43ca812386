package observe

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/chain"
	"github.com/perfgate/perfgate/store/local"
)

// use is the last use of a key on a node.
type use struct {
	Key     store.KeyID `json:"key"`
	At      time.Time   `json:"at"`
	IP      netip.Addr  `json:"ip,omitzero"`
	Country string      `json:"country,omitzero"`
}

// Bounds of questions about last uses. They are a part of most answers about keys, so a
// node that does not answer is left out soon, and for a while.
const (
	maxUses    = 1000 // keys
	usesWait   = 300 * time.Millisecond
	absentTime = 10 * time.Second
)

// absent are the nodes that did not answer lately.
type absent struct {
	mu    sync.Mutex // guards the rest
	until map[string]time.Time
}

// mark notes that a node did not answer.
func (a *absent) mark(node string, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.until == nil {
		a.until = make(map[string]time.Time)
	}
	for id, t := range a.until { // as many as there were members in the last seconds
		if now.After(t) {
			delete(a.until, id)
		}
	}
	a.until[node] = now.Add(absentTime)
}

func (a *absent) has(node string, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return now.Before(a.until[node])
}

// LastUses finds when keys were last used on any node. Keys that were never used are not
// in the answer. It waits for a short time only.
func (n *Nodes) LastUses(ctx context.Context, keys []store.KeyID) (map[store.KeyID]local.LastUse, []chain.Missing) {
	all, missing, err := n.uses(ctx, keys, question{wait: usesWait, brief: true})
	if err != nil {
		n.cfg.Logger.Error("read the last uses of keys", "error", err)
	}
	return all, missing
}

// CertainUses is [Nodes.LastUses] for a decision: it waits for every node.
func (n *Nodes) CertainUses(ctx context.Context, keys []store.KeyID) (map[store.KeyID]local.LastUse, []chain.Missing, error) {
	return n.uses(ctx, keys, question{wait: answerWait})
}

func (n *Nodes) uses(ctx context.Context, keys []store.KeyID, how question) (map[store.KeyID]local.LastUse, []chain.Missing, error) {
	all := make(map[store.KeyID]local.LastUse)
	missing := []chain.Missing{}
	for len(keys) > 0 {
		part := keys[:min(maxUses, len(keys))]
		keys = keys[len(part):]
		absent, err := n.ask(ctx, &ask{Uses: part}, how, func(out *answer) error {
			for _, u := range out.Uses {
				if have, ok := all[u.Key]; !ok || u.At.After(have.At) {
					all[u.Key] = local.LastUse{At: u.At, IP: u.IP, Country: local.CountryOf(u.Country)}
				}
			}
			return nil
		})
		if err != nil {
			return all, missing, err
		}
		if len(absent) > len(missing) {
			missing = absent
		}
	}
	return all, missing, nil
}

// ownUses are the last uses on this node.
func (n *Nodes) ownUses(keys []store.KeyID) (out []use) {
	for _, key := range keys[:min(maxUses, len(keys))] {
		if u, ok := n.cfg.Local.LastUsed(key); ok {
			out = append(out, use{Key: key, At: u.At, IP: u.IP, Country: u.Country.String()})
		}
	}
	return out
}
