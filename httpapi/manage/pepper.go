package manage

import (
	"context"
	"crypto/rand"
	"sync"
	"time"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
)

// PepperStatus is the state of the pepper of the keys' hashes, which all nodes share. The
// members but the first are null while no rotation is under way.
type PepperStatus struct {
	Generation        uint64     `json:"generation"` // the rotations so far
	RetiredGeneration *uint64    `json:"retired_generation"`
	KeysRemaining     *int       `json:"keys_remaining"` // under the retired pepper, and neither revoked nor expired
	StartedAt         *time.Time `json:"started_at"`
}

// pepperStore is the part of the state that the calls about the pepper read.
type pepperStore interface {
	Peppers() store.Peppers
	PepperRotatedAt() time.Time
	Unmoved(generation uint64, now time.Time, from string, most int) ([]*store.Key, string, error)
	Cell(store.AccountID) *store.Cell
	Applied() uint64
	ClusterLevel() int
}

const (
	// countFor is for how long a count of keys is shown again: a count reads all keys, some
	// 100 ms for each 100,000.
	countFor = 5 * time.Second
	// expiredFor is for how long a key must have expired to be counted no longer, so that
	// nodes whose clocks differ agree.
	expiredFor = 10 * time.Minute
	// lostStep is the number of keys that one command revokes.
	lostStep = 500
)

// unmoved counts the keys under the retired pepper. The last count is kept for countFor.
type unmoved struct {
	mu         sync.Mutex // held while they are counted: one count at a time
	at         time.Time
	generation uint64
	keys       int
}

func (u *unmoved) count(ctx context.Context, s pepperStore, generation uint64, now time.Time) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if age := now.Sub(u.at); u.generation == generation && age >= 0 && age < countFor {
		return u.keys, nil
	}
	n, err := 0, error(nil)
	err = eachUnmoved(ctx, s, generation, now, func(keys []*store.Key) error {
		n += len(keys)
		return nil
	})
	if err == nil {
		u.at, u.generation, u.keys = now, generation, n
	}
	return n, err
}

// eachUnmoved calls use with the keys under the retired pepper of accounts that exist,
// lostStep at most at a time.
func eachUnmoved(ctx context.Context, s pepperStore, generation uint64, now time.Time, use func([]*store.Key) error) error {
	for from, more := "", true; more; more = from != "" {
		if err := ctx.Err(); err != nil {
			return err
		}
		page, next, err := s.Unmoved(generation, now.Add(-expiredFor), from, lostStep)
		if err != nil {
			return err
		}
		keys := page[:0]
		for _, k := range page {
			if s.Cell(k.Account) != nil {
				keys = append(keys, k)
			}
		}
		if err := use(keys); err != nil {
			return err
		}
		from = next
	}
	return nil
}

// pepper is the state of the pepper as this node knows it.
func (h *Keyring) pepper(c *rest.Call) (*PepperStatus, error) {
	p := h.Store.Peppers()
	out := &PepperStatus{Generation: p.Generation}
	if !p.Rotating {
		return out, nil
	}
	n, err := h.unmoved.count(c.Request.Context(), h.Store, p.Generation, c.Now)
	if err != nil {
		return nil, err
	}
	began, retired := h.Store.PepperRotatedAt(), p.Generation-1
	out.RetiredGeneration, out.KeysRemaining, out.StartedAt = &retired, &n, &began
	return out, nil
}

// RotatePepper gives the hashes of keys another pepper. Keys move to it when they are used.
func (h *Keyring) RotatePepper(c *rest.Call) (*KeyringStatus, error) {
	if h.Store.ClusterLevel() < store.LevelOfPeppers {
		return nil, fault.Newf(fault.Conflict, "Not every node of the cluster knows more than one pepper yet. Upgrade all nodes first.")
	}
	var pepper store.Hash
	rand.Read(pepper[:]) // never fails
	if _, err := c.Propose(&store.Command{Change: &store.PepperRotate{Pepper: pepper}}); err != nil {
		return nil, err
	}
	return h.Read(c)
}

// FinishPepper drops the retired pepper. While keys need it, the call is refused; with force
// it revokes them first.
func (h *Keyring) FinishPepper(c *rest.Call) (*KeyringStatus, error) {
	force, err := forced(c)
	if err != nil {
		return nil, err
	}
	if err := c.Linearize(); err != nil {
		return nil, err
	}
	if force {
		c.Continue("finish")
	}
	p, ctx := h.Store.Peppers(), c.Request.Context()
	if !p.Rotating && !c.Repeated() {
		return nil, fault.Newf(fault.Conflict, "No rotation of the pepper is under way.")
	}
	var revocation *rest.Revocation
	if p.Rotating && force {
		err := eachUnmoved(ctx, h.Store, p.Generation, c.Now, func(keys []*store.Key) error {
			of, err := revokeLost(c, p.Generation, keys)
			if of != nil {
				revocation = worse(revocation, of)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		c.Continue("finish")
	}
	counted, n := h.Store.Applied(), 0
	if p.Rotating {
		if n, err = new(unmoved).count(ctx, h.Store, p.Generation, c.Now); err != nil {
			return nil, err
		}
	}
	if n > 0 {
		return nil, fault.Newf(fault.Conflict, "%d keys were not used since the rotation began and need the retired pepper. Wait until they were used, or revoke them with force=true.", n)
	}
	rc, err := c.Propose(&store.Command{Change: &store.PepperFinish{Generation: p.Generation, Counted: counted}})
	if err != nil {
		return nil, err
	}
	revocation = worse(revocation, c.Revoked(rc))
	out, err := h.Read(c)
	if err == nil {
		out.Revocation = revocation
	}
	return out, err
}

// revokeLost revokes keys of any account, unless they have moved to the generation meanwhile. Those of
// an account that was deleted meanwhile need no revocation.
func revokeLost(c *rest.Call, generation uint64, keys []*store.Key) (revocation *rest.Revocation, err error) {
	for len(keys) > 0 {
		account, ids := keys[0].Account, []store.KeyID(nil)
		for len(keys) > 0 && keys[0].Account == account { // the keys of an account follow each other
			ids, keys = append(ids, keys[0].ID), keys[1:]
		}
		c.Continue("revoke " + string(ids[0]))
		rc, err := c.Propose(&store.Command{Account: account, Change: &store.KeyRevokeBulk{IDs: ids, Unmoved: generation, Reason: "its pepper was retired"}})
		if err != nil && fault.From(err).Code == fault.NotFound {
			continue
		}
		if err != nil {
			return revocation, err
		}
		revocation = worse(revocation, c.Revoked(rc))
	}
	return revocation, nil
}
