package manage

import (
	"cmp"
	"time"

	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/httpapi/span"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/ids"
)

// The overlap of a rotation: its default by key type, and its bound.
const (
	liveOverlap = 24 * time.Hour
	maxOverlap  = 30 * 24 * time.Hour

	// untilUnused is the overlap that ends once the old key was not used anywhere for
	// [UnusedFor], and after maxOverlap at the latest.
	untilUnused = "until_unused"
)

// UnusedFor is for how long a key was not used on any node when its overlap ends.
const UnusedFor = 15 * time.Minute

// rotation is the body of POST /v1/keys/{id}/rotate.
type rotation struct {
	Overlap *string `json:"overlap"`
}

// Check implements [rest.Checker].
func (in *rotation) Check(*rest.Call) error {
	_, err := in.overlap(store.Live)
	return err
}

// overlap is the one that was sent, or else the default of keys of type t.
func (in *rotation) overlap(t store.KeyType) (d time.Duration, err error) {
	switch {
	case in.untilUnused():
		d = maxOverlap
	case in.Overlap != nil:
		d, err = span.Parse(*in.Overlap)
	case t == store.Live:
		d = liveOverlap
	}
	if err != nil || d < 0 || d > maxOverlap {
		return 0, rest.Invalid("overlap", `must be a duration such as "24h" or "0s", at most %s, or %q`, span.Go(maxOverlap), untilUnused)
	}
	return d, nil
}

func (in *rotation) untilUnused() bool { return in.Overlap != nil && *in.Overlap == untilUnused }

// Rotate replaces a key by a new one; for the overlap both are valid.
func (h *Keys) Rotate(c *rest.Call, in *rotation) (*issuedKey, error) {
	k, err := h.latest(c)
	if err != nil {
		return nil, err
	}
	if err := cmp.Or(c.Caller.Manages(k), c.Caller.Grants(k.Scopes)); err != nil {
		return nil, err
	}
	overlap, err := in.overlap(k.Type)
	if err != nil {
		return nil, err
	}
	if k.State(c.Now) == store.Disabled {
		return nil, fault.Newf(fault.Conflict, `The key is disabled, and a new key would be, too: enable it first ({"state":"active"}), or create another one.`)
	}
	ends := c.Stamp().Add(overlap)
	if !k.ExpiresAt.IsZero() && k.ExpiresAt.Before(ends) { // it is admitted no longer
		ends = k.ExpiresAt
	}
	if in.untilUnused() && h.Store.ClusterLevel() < store.LevelOfUntilUnused {
		return nil, fault.Newf(fault.Conflict, "Not every node of the cluster knows this overlap yet. Upgrade all nodes first, or give a duration.")
	}
	if err := h.room(c, store.Held{Keys: 1, Bytes: store.KeySize(k)}); err != nil {
		return nil, err
	}
	if err := c.Charge(store.KeySize(k)); err != nil { // the new key has a copy of the settings
		return nil, err
	}
	secret := apikey.New(prefixOf(k.Type))
	change := &store.KeyRotate{
		ID: k.ID, New: store.KeyID(ids.NewSorted("key_", c.Now)),
		Hint: apikey.Hint(secret), OverlapEndsAt: ends,
		UntilUnused: in.untilUnused(),
		Counts:      h.Store.ClusterLevel() >= store.LevelOfCounts,
		CreatedBy:   h.maker(c),
	}
	rc, err := h.propose(c, func(p store.Peppers) store.Change {
		change.Hash, change.Generation = apikey.Hash(p.Current, secret), p.Generation
		return change
	})
	if err != nil {
		return nil, err
	}
	c.ETag = rc.Key.Modified
	out := h.issued(c, rc, secret)
	out.Warnings = h.unused(&rc.Key.Scopes, &rc.Key.Routes)
	if old, err := h.Store.Key(k.ID); err == nil && old != nil && old.State(c.Now) == store.Rotating {
		out.OverlapEndsAt = when(old.OverlapEndsAt)
	}
	status := c.Status
	if out.Revocation = c.Revoked(rc); out.Revocation.Effective {
		c.Status = status
	}
	return &out, nil
}

// maker is the creator of the new key of a rotation, "" for the caller.
func (h *Keys) maker(c *rest.Call) string {
	if by := c.Caller.Maker(); by != c.Caller.Actor.ID && h.Store.ClusterLevel() >= store.LevelOfMakers {
		return by
	}
	return ""
}
