package manage

import (
	"sort"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
)

// tierStore is the part of the state that the calls about tiers read.
type tierStore interface {
	Tiers() []*store.Tier
	Tier(name string) *store.Tier
}

// Tiers serves the calls about tiers.
type Tiers struct {
	Store tierStore
}

// tierView is a tier as the API shows it. A null limit is none; a null burst is
// the minute's limit. Test limits that the tier leaves to its live ones are shown
// as they come out: half the minute, the same month.
type tierView struct {
	Name     string     `json:"name"`
	Live     limitsView `json:"live"`
	Test     limitsView `json:"test"`
	Features features   `json:"features"`
	Rules    []ruleView `json:"limit_rules"`
}

// features are the functions that a tier turns on.
type features struct {
	IPAllowlist bool `json:"ip_allowlist"`
}

type changedTier struct {
	tierView
	Revocation *rest.Revocation `json:"revocation"`
}

func viewTier(t *store.Tier) tierView {
	test := t.TestLimits()
	return tierView{t.Name, limitsView(*t.Live.Enforced()), limitsView(*test.Enforced()), features{t.IPAllowlist}, viewRules(t.Rules)}
}

// newTier is the body of POST /v1/tiers.
type newTier struct {
	Name     *string       `json:"name"`
	Live     *store.Limits `json:"live"`
	Test     *store.Limits `json:"test"`
	Features *features     `json:"features"`
	Rules    *[]ruleBody   `json:"limit_rules"`
}

// Check implements [rest.Checker].
func (in *newTier) Check(*rest.Call) error {
	var faults fault.List
	switch {
	case in.Name == nil:
		faults.Add(rest.Invalid("name", "is required"))
	case !isTierName(*in.Name):
		faults.Add(rest.Invalid("name", "must be 1–64 of a–z, 0–9, _ and -, beginning with a letter or digit"))
	}
	if in.Live == nil {
		faults.Add(rest.Invalid("live", "is required; null in it sets no limit"))
	} else {
		faults.Add(checkLimits("live", in.Live))
	}
	if in.Test == nil {
		faults.Add(rest.Invalid("test", "is required; null in it is half the live minute, or the live month"))
	} else {
		faults.Add(checkLimits("test", in.Test))
	}
	if in.Rules != nil {
		_, err := rulesOf("limit_rules", *in.Rules)
		faults.Add(err)
	}
	return faults.Err()
}

// Create makes a tier.
func (h *Tiers) Create(c *rest.Call, in *newTier) (*tierView, error) {
	if err := in.Check(c); err != nil {
		return nil, err
	}
	t := store.Tier{Name: *in.Name, Live: *in.Live, Test: *in.Test}
	if in.Rules != nil && len(*in.Rules) > 0 {
		var err error
		if t.Rules, err = rulesOf("limit_rules", *in.Rules); err != nil {
			return nil, err
		}
	}
	if in.Features != nil {
		t.IPAllowlist = in.Features.IPAllowlist
	}
	rc, err := c.Propose(&store.Command{Change: &store.TierPut{Tier: t, Create: true}})
	if err != nil {
		return nil, err
	}
	c.Created(rc)
	c.ETag = rc.Tier.Modified
	v := viewTier(rc.Tier)
	return &v, nil
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

// List shows all tiers in the order of their names.
func (h *Tiers) List(c *rest.Call) (*rest.Page[tierView], error) {
	q := c.Query()
	limit := q.Limit()
	after, err := q.Cursor()
	if err != nil {
		return nil, err
	}
	tiers := h.Store.Tiers()
	sort.Slice(tiers, func(i, j int) bool { return tiers[i].Name < tiers[j].Name })
	out := &rest.Page[tierView]{Data: []tierView{}}
	for _, t := range tiers {
		if t.Name <= after {
			continue
		}
		if len(out.Data) == limit {
			out.Next = q.Seal(out.Data[limit-1].Name)
			break
		}
		out.Data = append(out.Data, viewTier(t))
	}
	return out, nil
}

func (h *Tiers) named(c *rest.Call) (*store.Tier, error) {
	if t := h.Store.Tier(c.Param); t != nil {
		return t, nil
	}
	return nil, fault.Newf(fault.NotFound, "There is no such tier.")
}

// Get shows one tier.
func (h *Tiers) Get(c *rest.Call) (*tierView, error) {
	t, err := h.named(c)
	if err != nil {
		return nil, err
	}
	rest.SetConstant(c, t.Modified)
	v := viewTier(t)
	return &v, nil
}

// tierPatch is the body of PATCH /v1/tiers/{name}; live and test are replaced whole.
type tierPatch struct {
	Live     rest.Opt[store.Limits] `json:"live"`
	Test     rest.Opt[store.Limits] `json:"test"`
	Features rest.Opt[struct {
		IPAllowlist rest.Opt[bool] `json:"ip_allowlist"`
	}] `json:"features"`
	Rules rest.Opt[[]ruleBody] `json:"limit_rules"`
}

// Check implements [rest.Checker].
func (in *tierPatch) Check(*rest.Call) error {
	var faults fault.List
	if in.Live.Null {
		faults.Add(rest.Invalid("live", "must be an object; null in it sets no limit"))
	}
	if in.Test.Null {
		faults.Add(rest.Invalid("test", "must be an object; null in it is half the live minute, or the live month"))
	}
	if in.Features.Null || in.Features.Value.IPAllowlist.Null {
		faults.Add(rest.Invalid("features", "must not be null"))
	}
	faults.Add(checkLimits("live", &in.Live.Value))
	faults.Add(checkLimits("test", &in.Test.Value))
	_, err := rulesOf("limit_rules", in.Rules.Value)
	faults.Add(err)
	return faults.Err()
}

// Update changes a tier.
func (h *Tiers) Update(c *rest.Call, in *tierPatch) (*changedTier, error) {
	if err := in.Check(c); err != nil {
		return nil, err
	}
	// A tier is replaced whole, so the change holds only against the version it was
	// computed from; after another change in between it is computed again.
	for attempt := 0; ; attempt++ {
		if err := c.Linearize(); err != nil {
			return nil, err
		}
		old, err := h.named(c)
		if err != nil {
			return nil, err
		}
		t := *old
		set(&t.Live, in.Live.Get())
		set(&t.Test, in.Test.Get())
		if f := in.Features.Value.IPAllowlist; f.Set {
			t.IPAllowlist = f.Value
		}
		if in.Rules.Set {
			if t.Rules, err = rulesOf("limit_rules", in.Rules.Value); err != nil {
				return nil, err
			}
		}
		match, err := c.IfMatch(func() (uint64, error) { return old.Modified, nil })
		if err != nil {
			return nil, err
		}
		asked := match != 0
		if !asked {
			match = old.Modified
		}
		rc, err := c.Propose(&store.Command{Match: match, Change: &store.TierPut{Tier: t}})
		if err != nil && !asked && attempt < 3 && fault.From(err).Code == fault.PreconditionFailed {
			continue
		}
		if err != nil {
			return nil, err
		}
		c.ETag = rc.Tier.Modified
		return &changedTier{viewTier(rc.Tier), c.Revoked(rc)}, nil
	}
}

// Delete removes a tier that no account has.
func (h *Tiers) Delete(c *rest.Call) (*deleted, error) {
	match, err := c.IfMatch(func() (uint64, error) {
		if err := c.Linearize(); err != nil {
			return 0, err
		}
		t, err := h.named(c)
		if err != nil {
			return 0, err
		}
		return t.Modified, nil
	})
	if err != nil {
		return nil, err
	}
	rc, err := c.Propose(&store.Command{Match: match, Change: &store.TierDelete{Name: c.Param}})
	if err != nil {
		return nil, err
	}
	return &deleted{c.Param, true, c.Revoked(rc)}, nil
}
