package httpapi

import (
	"sort"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/store"
)

// tierView is a tier as the API shows it. A null limit is none; a null burst is
// the minute's limit. Test limits that the tier leaves to its live ones are shown
// as they come out: half the minute, the same month.
type tierView struct {
	Name     string       `json:"name"`
	Live     store.Limits `json:"live"`
	Test     store.Limits `json:"test"`
	Features features     `json:"features"`
}

// features are what a tier turns on.
type features struct {
	IPAllowlist bool `json:"ip_allowlist"`
}

type changedTier struct {
	tierView
	Revocation *Revocation `json:"revocation"`
}

func viewTier(t *store.Tier) tierView {
	return tierView{t.Name, t.Live, t.TestLimits(), features{t.IPAllowlist}}
}

// newTier is the body of POST /v1/tiers.
type newTier struct {
	Name     *string       `json:"name"`
	Live     *store.Limits `json:"live"`
	Test     *store.Limits `json:"test"`
	Features *features     `json:"features"`
}

func createTier(c *call, in *newTier) (any, error) {
	switch {
	case in.Name == nil:
		return nil, invalid("name", "is required")
	case !isTierName(*in.Name):
		return nil, invalid("name", "want 1–64 of a–z, 0–9, _ and -, beginning with a letter or digit")
	case in.Live == nil:
		return nil, invalid("live", "is required; null in it sets no limit")
	case in.Test == nil:
		return nil, invalid("test", "is required; null in it is half the live minute, or the live month")
	}
	t := store.Tier{Name: *in.Name, Live: *in.Live, Test: *in.Test}
	if in.Features != nil {
		t.IPAllowlist = in.Features.IPAllowlist
	}
	if err := checkTier(&t); err != nil {
		return nil, err
	}
	rc, err := c.propose(&store.Command{TierPut: &store.TierPut{Tier: t, Create: true}})
	if err != nil {
		return nil, err
	}
	c.created(rc)
	c.etag = rc.Tier.Modified
	return viewTier(rc.Tier), nil
}

func checkTier(t *store.Tier) error {
	if err := checkLimits("live", &t.Live); err != nil {
		return err
	}
	return checkLimits("test", &t.Test)
}

func isTierName(s string) bool {
	if len(s) == 0 || len(s) > 64 || s[0] == '_' || s[0] == '-' {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

func listTiers(c *call) (any, error) {
	q := c.query("limit", "cursor")
	limit := q.limit()
	if q.err != nil {
		return nil, q.err
	}
	after, err := c.open(q.values.Get("cursor"))
	if err != nil {
		return nil, err
	}
	tiers := c.Store.Tiers()
	sort.Slice(tiers, func(i, j int) bool { return tiers[i].Name < tiers[j].Name })
	out := page[tierView]{Data: []tierView{}}
	for _, t := range tiers {
		if t.Name <= after {
			continue
		}
		if len(out.Data) == limit {
			out.Next = c.seal(out.Data[limit-1].Name)
			break
		}
		out.Data = append(out.Data, viewTier(t))
	}
	return out, nil
}

func (c *call) tier() (*store.Tier, error) {
	if t := c.Store.Tier(c.param); t != nil {
		return t, nil
	}
	return nil, fault.Newf(fault.NotFound, "There is no such tier.")
}

func getTier(c *call) (any, error) {
	if q := c.query(); q.err != nil {
		return nil, q.err
	}
	t, err := c.tier()
	if err != nil {
		return nil, err
	}
	c.etag = t.Modified
	return viewTier(t), nil
}

// tierPatch is the body of PATCH /v1/tiers/{name}; live and test are replaced whole.
type tierPatch struct {
	Live     opt[store.Limits] `json:"live"`
	Test     opt[store.Limits] `json:"test"`
	Features opt[struct {
		IPAllowlist opt[bool] `json:"ip_allowlist"`
	}] `json:"features"`
}

func updateTier(c *call, in *tierPatch) (any, error) {
	switch {
	case in.Live.Null:
		return nil, invalid("live", "must not be null")
	case in.Test.Null:
		return nil, invalid("test", "must not be null")
	case in.Features.Null || in.Features.Value.IPAllowlist.Null:
		return nil, invalid("features", "must not be null")
	}
	// A tier is replaced whole, so the change holds only against what it was
	// computed from; another change in between is read again.
	for attempt := 0; ; attempt++ {
		if err := c.Backend.Linearize(c.r.Context()); err != nil {
			return nil, err
		}
		old, err := c.tier()
		if err != nil {
			return nil, err
		}
		t := *old
		set(&t.Live, in.Live.value())
		set(&t.Test, in.Test.value())
		if f := in.Features.Value.IPAllowlist; f.Set {
			t.IPAllowlist = f.Value
		}
		if err := checkTier(&t); err != nil {
			return nil, err
		}
		match, err := c.ifMatch(func() (uint64, error) { return old.Modified, nil })
		if err != nil {
			return nil, err
		}
		asked := match != 0
		if !asked {
			match = old.Modified
		}
		rc, err := c.propose(&store.Command{Match: match, TierPut: &store.TierPut{Tier: t}})
		if err != nil && !asked && attempt < 3 && fault.From(err).Code == fault.PreconditionFailed {
			continue
		}
		if err != nil {
			return nil, err
		}
		c.etag = rc.Tier.Modified
		return changedTier{viewTier(rc.Tier), c.revocation(rc)}, nil
	}
}

func deleteTier(c *call) (any, error) {
	if q := c.query(); q.err != nil {
		return nil, q.err
	}
	match, err := c.ifMatch(func() (uint64, error) {
		if err := c.Backend.Linearize(c.r.Context()); err != nil {
			return 0, err
		}
		t, err := c.tier()
		if err != nil {
			return 0, err
		}
		return t.Modified, nil
	})
	if err != nil {
		return nil, err
	}
	rc, err := c.propose(&store.Command{Match: match, TierDelete: &store.TierDelete{Name: c.param}})
	if err != nil {
		return nil, err
	}
	return deleted{c.param, true, c.revocation(rc)}, nil
}
