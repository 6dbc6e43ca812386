package store

import "slices"

// The events that the changes in this file write.
var (
	accountCreated = Action{EventCreate, "account.create"}
	accountUpdated = Action{EventUpdate, "account.update"}
	accountDeleted = Action{EventDelete, "account.delete"}
)

// maxAccounts bounds the accounts, which are all held in memory.
const maxAccounts = 100_000

// owner returns the account that the command acts on, or the refusal.
func (t *txn) owner() (*AccountState, *Refusal) {
	if t.cmd.Account == "" {
		return nil, invalid("account", "the command names no account").Refusal
	}
	state := t.state.account(t.cmd.Account)
	if state == nil {
		return nil, refuse(NotFound, "there is no account %q", t.cmd.Account).Refusal
	}
	return state, nil
}

// AccountCreate adds an account.
type AccountCreate struct {
	Account Account `json:"account"`
}

func init() { register[AccountCreate]("account_create") }

var eventsOfAccountCreate = []Action{accountCreated}

// traits: a new account only adds rights.
func (in *AccountCreate) traits() Traits {
	return Traits{Takes: No, Waits: Yes, Vital: No, Level: max(levelOfRules(len(in.Account.Rules) > 0, in.Account.Limits, in.Account.TestLimits), levelOfPolicy(in.Account.Suspended || in.Account.KeyPolicy != nil)), Events: eventsOfAccountCreate}
}

func (in *AccountCreate) apply(t *txn) Result {
	a := in.Account
	if a.Tier == "" {
		a.Tier = t.state.set().DefaultTier
	}
	if a.BrowserKeys == "" {
		a.BrowserKeys = BrowserAlert
	}
	if a.RetentionDays == 0 {
		a.RetentionDays = DefaultRetention
	}
	tier := t.state.tier(a.Tier)
	if r := checkAccount(&a, tier); r != nil {
		return Result{Refusal: r}
	}
	if t.state.account(a.ID) != nil || t.rows.get(named(rowDeleted, a.ID)) != nil || t.rows.get(named(rowEnding, a.ID)) != nil {
		return refuse(Conflict, "there is an account %q already", a.ID)
	}
	if t.state.full(maxAccounts) {
		return refuse(LimitReached, "there are %d accounts, which is the most there can be", maxAccounts)
	}
	a.CreatedAt = t.when.at
	a.RulesCreated = rulesCreated(a.Rules, nil, t.index)
	a.Created, a.Modified, a.AllowModified = t.index, t.index, t.index
	state := t.state.rules.newState(&a, tier, nil)
	t.state.putAccount(state)
	t.event(accountCreated, "", string(a.ID), "", t.compare(nil, &a))
	return Result{Account: &state.Account}
}

// levelOfPolicy is the level of a command about an account's state or key policy.
func levelOfPolicy(used bool) int {
	if used {
		return LevelOfPeople
	}
	return 1
}

// AccountUpdate changes the set fields of the command's account; Clear may name
// limits, test_limits, alert_thresholds, region and key_policy.
type AccountUpdate struct {
	Name          *string      `json:"name,omitzero"`
	Tier          *string      `json:"tier,omitzero"`
	Region        *string      `json:"region,omitzero"`
	Limits        *Limits      `json:"limits,omitzero"`
	TestLimits    *Limits      `json:"test_limits,omitzero"`
	Rules         *[]LimitRule `json:"limit_rules,omitzero"` // all of them
	BrowserKeys   *BrowserKeys `json:"browser_keys,omitzero"`
	Alerts        *[]int       `json:"alert_thresholds,omitzero"`
	RetentionDays *int         `json:"retention_days,omitzero"`
	Suspended     *bool        `json:"suspended,omitzero"`
	KeyPolicy     *KeyPolicy   `json:"key_policy,omitzero"`
	Clear         []string     `json:"clear,omitzero"`
}

func init() { register[AccountUpdate]("account_update") }

var eventsOfAccountUpdate = []Action{accountUpdated}

// traits: whether a new tier or limit allows less than the old one depends on the
// account, so every update counts as taking.
func (in *AccountUpdate) traits() Traits {
	return Traits{Takes: Yes, Waits: Yes, Vital: No, Level: max(levelOfRules(in.Rules != nil, in.Limits, in.TestLimits), levelOfPolicy(in.Suspended != nil || in.KeyPolicy != nil || slices.Contains(in.Clear, "key_policy"))), Events: eventsOfAccountUpdate}
}

func (in *AccountUpdate) apply(t *txn) Result {
	old, no := t.owner()
	if no != nil {
		return Result{Refusal: no}
	}
	if !t.matches(old.Modified) {
		return changedMeanwhile()
	}
	a := old.Account
	if no := in.change(t, &a); no != nil {
		return Result{Refusal: no}
	}
	tier := t.state.tier(a.Tier)
	if r := checkAccount(&a, tier); r != nil {
		return Result{Refusal: r}
	}
	a.Modified = t.index
	state := t.state.rules.newState(&a, tier, old.Allowlist)
	t.state.putAccount(state)
	t.event(accountUpdated, "", string(a.ID), "", t.compare(&old.Account, &a))
	return Result{Account: &state.Account}
}

// change makes the changes of in to a.
func (in *AccountUpdate) change(t *txn, a *Account) *Refusal {
	assign(&a.Name, in.Name)
	assign(&a.Tier, in.Tier)
	assign(&a.Region, in.Region)
	assign(&a.BrowserKeys, in.BrowserKeys)
	assign(&a.Alerts, in.Alerts)
	assign(&a.RetentionDays, in.RetentionDays)
	assign(&a.Suspended, in.Suspended)
	if in.KeyPolicy != nil {
		a.KeyPolicy = in.KeyPolicy
	}
	if in.Limits != nil {
		a.Limits = in.Limits
	}
	if in.TestLimits != nil {
		a.TestLimits = in.TestLimits
	}
	if in.Rules != nil {
		if a.Rules = *in.Rules; len(a.Rules) == 0 {
			a.Rules = nil
		}
		a.RulesCreated = rulesCreated(a.Rules, a.RulesCreated, t.index)
	}
	for _, field := range in.Clear {
		switch field {
		case "limits":
			a.Limits = nil
		case "test_limits":
			a.TestLimits = nil
		case "alert_thresholds":
			a.Alerts = nil
		case "region":
			a.Region = ""
		case "key_policy":
			a.KeyPolicy = nil
		default:
			return invalid("clear", "%q cannot be cleared", field).Refusal
		}
	}
	return nil
}

// assign sets *to where a change is asked for.
func assign[T any](to *T, change *T) {
	if change != nil {
		*to = *change
	}
}

// AccountDelete removes the command's account, its keys, its allowlist and its users.
type AccountDelete struct{}

func init() { register[AccountDelete]("account_delete") }

var eventsOfAccountDelete = []Action{accountDeleted}

// traits implements [Change].
func (*AccountDelete) traits() Traits {
	return Traits{Takes: Yes, Waits: Yes, Vital: No, Level: 1, Events: eventsOfAccountDelete}
}

// apply ends an account at once: its cell has no state any more, so no
// key of it is known. The rows of its keys are removed later, by the sweeper, a
// bounded number at a time; its audit events stay until they are too old.
func (*AccountDelete) apply(t *txn) Result {
	old, no := t.owner()
	if no != nil {
		return Result{Refusal: no}
	}
	if old.ID == DefaultAccount {
		return refuse(Conflict, "the account %q always exists", DefaultAccount)
	}
	if !t.matches(old.Modified) {
		return changedMeanwhile()
	}
	var people []*User
	t.eachUser(func(u *User) error {
		if u.Account == old.ID {
			people = append(people, u)
		}
		return nil
	})
	eraser{t}.removeAccount(old, people)
	changes := t.compare(&old.Account, nil)
	t.event(accountDeleted, "", string(old.ID), "", changes)
	// The events of an account that does not exist cannot be listed: operators find
	// this one in their own log.
	t.eventOf(operatorsAccount(t), accountDeleted, "", string(old.ID), "", changes)
	return Result{Account: &old.Account}
}

// removeAccount ends an account with its users, sessions, endpoints and incidents. Its
// events and the rows of its keys are still there. The earlier commands of the batch are
// committed.
func (t eraser) removeAccount(old *AccountState, people []*User) {
	for _, u := range people {
		t.removeUser(u)
	}
	t.endSessions(string(old.ID), "")
	t.rows.endLinks(old.ID)
	for _, w := range t.state.hooks()[old.ID] {
		queues(t).dropWebhook(w)
	}
	t.dropIncidents(old.ID)
	t.state.endAccount(old.ID)
	t.rows.delete(named(rowAllow, old.ID))
	endTrial(t.txn, old.ID)
	t.rows.put(named(rowDeleted, old.ID), packDays(old.RetentionDays))
}
