package store

// The events that the changes in this file write.
var (
	tierCreated = Action{EventCreate, "tier.create"}
	tierUpdated = Action{EventUpdate, "tier.update"}
	tierDeleted = Action{EventDelete, "tier.delete"}
)

// maxTiers bounds the tiers, which are all held in memory.
const maxTiers = 1_000

// TierPut adds or replaces a tier. Create refuses one that exists.
type TierPut struct {
	Tier   Tier `json:"tier"`
	Create bool `json:"create,omitzero"`
}

func init() { register[TierPut]("tier_put") }

var eventsOfTierPut = []Action{tierCreated, tierUpdated}

// traits: a tier that must be new has no accounts yet; one that is replaced may allow
// less than before.
func (in *TierPut) traits() Traits {
	takes := Yes
	if in.Create {
		takes = No
	}
	return Traits{Takes: takes, Waits: Yes, Vital: No, Level: levelOfRules(len(in.Tier.Rules) > 0, &in.Tier.Live, &in.Tier.Test), Events: eventsOfTierPut}
}

func (in *TierPut) apply(t *txn) Result {
	tier := in.Tier
	if r := checkTier(&tier); r != nil {
		return Result{Refusal: r}
	}
	old := t.state.tier(tier.Name)
	created := t.index
	switch {
	case old != nil && in.Create:
		return refuse(Conflict, "there is a tier %q already", tier.Name)
	case old != nil && !t.matches(old.Modified):
		return changedMeanwhile()
	case old != nil:
		created = old.Created
	case len(t.state.allTiers()) >= maxTiers:
		return refuse(LimitReached, "there are %d tiers, which is the most there can be", maxTiers)
	}
	if r := t.roomForRules(&tier); r != nil {
		return Result{Refusal: r}
	}
	tier.RulesCreated = rulesCreated(tier.Rules, ruleIndexes(old), t.index)
	tier.Created, tier.Modified = created, t.index
	t.state.putTier(&tier)
	if old == nil {
		t.eventOf(operatorsAccount(t), tierCreated, "", tier.Name, "", t.compare(nil, &tier))
	} else {
		t.eventOf(operatorsAccount(t), tierUpdated, "", tier.Name, "", t.compare(old, &tier))
	}
	return Result{Tier: &tier}
}

func ruleIndexes(t *Tier) map[string]uint64 {
	if t == nil {
		return nil
	}
	return t.RulesCreated
}

// roomForRules refuses a tier with which one of its accounts has more rules than it may.
func (t *txn) roomForRules(tier *Tier) (no *Refusal) {
	if len(tier.Rules) == 0 {
		return nil
	}
	first := AccountID("")
	t.state.eachAccount(func(state *AccountState) {
		if n := rulesOf(state.Account.Rules, tier); state.Tier == tier.Name && n > MaxRules && (first == "" || state.ID < first) {
			first = state.ID
			no = refuse(Conflict, "the account %s would have %d limit rules with its own, and an account may have %d", first, n, MaxRules).Refusal
		}
	})
	return no
}

// TierDelete removes a tier that no account uses; the three built-in ones stay.
type TierDelete struct {
	Name string `json:"name"`
}

func init() { register[TierDelete]("tier_delete") }

var eventsOfTierDelete = []Action{tierDeleted}

// traits: no account may use the tier, but a node that lags may still hold one that
// does.
func (*TierDelete) traits() Traits {
	return Traits{Takes: Yes, Waits: Yes, Vital: No, Level: 1, Events: eventsOfTierDelete}
}

func (in *TierDelete) apply(t *txn) Result {
	old := t.state.tier(in.Name)
	switch {
	case old == nil:
		return refuse(NotFound, "there is no tier %q", in.Name)
	case builtinTier(in.Name):
		return refuse(Conflict, "the tier %q is built in and stays; change it instead", in.Name)
	case !t.matches(old.Modified):
		return changedMeanwhile()
	}
	used := 0
	t.state.eachAccount(func(state *AccountState) {
		if state.Tier == in.Name {
			used++
		}
	})
	if used > 0 {
		return refuse(Conflict, "%d accounts are in the tier %q; move them to another one first", used, in.Name)
	}
	t.state.removeTier(in.Name)
	t.eventOf(operatorsAccount(t), tierDeleted, "", in.Name, "", t.compare(old, nil))
	return Result{Tier: old}
}
