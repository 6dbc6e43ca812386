package store

import "maps"

// maxTiers bounds the tiers, which are all held in memory.
const maxTiers = 1_000

// tier returns a tier as of this command; nil if there is none.
func (t *txn) tier(name string) *Tier { return t.allTiers()[name] }

func (t *txn) allTiers() map[string]*Tier {
	if t.tiers != nil {
		return t.tiers
	}
	return *t.s.view.tiers.Load()
}

// changeTiers returns a copy of the tiers that this batch may change.
func (t *txn) changeTiers() map[string]*Tier {
	if t.tiers == nil {
		t.tiers = maps.Clone(t.allTiers())
	}
	return t.tiers
}

func (t *txn) storeTier(tier Tier, created uint64) *Tier {
	tier.Created, tier.Modified = created, t.index
	t.changeTiers()[tier.Name] = &tier
	t.append(named(rowTier, tier.Name), t.json(&tier))
	return &tier
}

func (t *txn) putTier(in *TierPut) Result {
	tier := in.Tier
	if r := checkTier(&tier); r != nil {
		return Result{Refusal: r}
	}
	old := t.tier(tier.Name)
	created := t.index
	switch {
	case old != nil && in.Create:
		return refuse(Conflict, "there is a tier %q already", tier.Name)
	case old != nil && !t.matches(old.Modified):
		return changedMeanwhile()
	case old != nil:
		created = old.Created
	case len(t.allTiers()) >= maxTiers:
		return refuse(LimitReached, "there are %d tiers, which is the most there can be", maxTiers)
	}
	kept := t.storeTier(tier, created)
	t.eachAccount(func(state *AccountState) {
		if state.Tier == tier.Name {
			t.accounts[state.ID] = newState(&state.Account, kept, state.Allowlist)
		}
	})
	if old == nil {
		t.event(EventCreate, "tier.create", "", tier.Name, "", t.compare(nil, kept))
	} else {
		t.event(EventUpdate, "tier.update", "", tier.Name, "", t.compare(old, kept))
	}
	return Result{Tier: kept}
}

func (t *txn) deleteTier(in *TierDelete) Result {
	old := t.tier(in.Name)
	switch {
	case old == nil:
		return refuse(NotFound, "there is no tier %q", in.Name)
	case builtinTier(in.Name):
		return refuse(Conflict, "the tier %q is built in and stays; change it instead", in.Name)
	case !t.matches(old.Modified):
		return changedMeanwhile()
	}
	used := 0
	t.eachAccount(func(state *AccountState) {
		if state.Tier == in.Name {
			used++
		}
	})
	if used > 0 {
		return refuse(Conflict, "%d accounts are in the tier %q; move them to another one first", used, in.Name)
	}
	delete(t.changeTiers(), in.Name)
	t.delete(named(rowTier, in.Name))
	t.event(EventDelete, "tier.delete", "", in.Name, "", t.compare(old, nil))
	return Result{Tier: old}
}

// eachAccount calls use with every account as of this command, in any order.
func (t *txn) eachAccount(use func(*AccountState)) {
	for _, state := range maps.Clone(t.accounts) { // use may change it
		if state != nil {
			use(state)
		}
	}
	t.s.view.each(func(id AccountID, state *AccountState) {
		if _, changed := t.accounts[id]; !changed {
			use(state)
		}
	})
}
