package manage

import (
	"net/netip"
	"time"

	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/httpapi/span"
	"github.com/perfgate/perfgate/store"
)

// pendingView is an allowlist's trial in JSON.
type pendingView struct {
	ConfirmBy time.Time `json:"confirm_by"`
	SetAt     time.Time `json:"set_at"`
	SetBy     string    `json:"set_by"`
}

func showTrial(t *store.AllowTrial) *pendingView {
	if t == nil {
		return nil
	}
	return &pendingView{t.ConfirmBy, t.SetAt, t.SetBy.ID}
}

// confirmBy is the time at which a trial of so many seconds or minutes ends; zero without one.
// The call is charged for the present list, which is kept.
func (h *Allowlist) confirmBy(c *rest.Call, within string) (time.Time, error) {
	if within == "" {
		return time.Time{}, nil
	}
	d, err := span.Parse(within)
	if err != nil || d < store.MinTrial || d > store.MaxTrial {
		return time.Time{}, rest.Invalid("confirm_within", `must be a duration from %v to %v, such as "5m"`, store.MinTrial, store.MaxTrial)
	}
	list, _, err := h.Store.Allowlist(c.Account)
	if err != nil {
		return time.Time{}, err
	}
	if err := c.Charge(store.AllowlistSize(list)); err != nil {
		return time.Time{}, err
	}
	return c.Stamp().Add(d).Truncate(time.Second), nil
}

// Confirm keeps the list that is on trial.
func (h *Allowlist) Confirm(c *rest.Call) (*changedAllowlist, error) {
	if err := c.Linearize(); err != nil {
		return nil, err
	}
	list, _, err := h.Store.Allowlist(c.Account)
	if err != nil {
		return nil, err
	}
	return h.endTrial(c, list, &store.AllowlistConfirm{})
}

// Revert brings back the list from before the trial.
func (h *Allowlist) Revert(c *rest.Call) (*changedAllowlist, error) {
	q := c.Query()
	force := q.Bool("force")
	if q.Err() != nil {
		return nil, q.Err()
	}
	if err := c.Linearize(); err != nil { // a node that is behind would judge another list
		return nil, err
	}
	before, err := h.Trials.Before(c.Account)
	if err != nil {
		return nil, err
	}
	if c.Caller.Record != nil && !force {
		prefixes := make([]netip.Prefix, len(before))
		for i, e := range before {
			prefixes[i] = e.CIDR
		}
		if err := lockedOut(c, prefixes); err != nil {
			return nil, err
		}
	}
	return h.endTrial(c, before, &store.AllowlistRevert{})
}

// endTrial makes a change that writes list again, which a node that has caught up has read.
func (h *Allowlist) endTrial(c *rest.Call, list []store.AllowEntry, change store.Change) (*changedAllowlist, error) {
	if err := c.Charge(store.AllowlistSize(list)); err != nil {
		return nil, err
	}
	match, err := c.IfMatch(func() (uint64, error) { return h.tag(c) }) // the node has caught up
	if err != nil {
		return nil, err
	}
	rc, err := c.Propose(&store.Command{Match: match, Change: change})
	if err != nil {
		return nil, err
	}
	c.ETag = rc.Account.AllowModified
	return &changedAllowlist{showEntries(rc.Allowlist, nil), c.Revoked(rc)}, nil
}

// newestTag is the ETag of the list once this node has caught up.
func (h *Allowlist) newestTag(c *rest.Call) (uint64, error) {
	if err := c.Linearize(); err != nil {
		return 0, err
	}
	return h.tag(c)
}

// tag is the ETag of the list, as this node knows it.
func (h *Allowlist) tag(c *rest.Call) (uint64, error) {
	_, tag, err := h.Store.Allowlist(c.Account)
	return tag, err
}
