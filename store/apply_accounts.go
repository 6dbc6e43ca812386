package store

import (
	"net/netip"
	"slices"
)

const (
	// maxAccounts bounds the accounts, which are all held in memory.
	maxAccounts = 100_000
	// maxAllowlist bounds one account's allowlist.
	maxAllowlist     = 100_000
	minRetention     = 7
	defaultRetention = 30
	maxRetention     = 90
)

// owner returns the account that the command acts on, or the refusal.
func (t *txn) owner() (*AccountState, *Refusal) {
	if t.cmd.Account == "" {
		return nil, invalid("account", "the command names no account").Refusal
	}
	state := t.account(t.cmd.Account)
	if state == nil {
		return nil, refuse(NotFound, "there is no account %q", t.cmd.Account).Refusal
	}
	return state, nil
}

func (t *txn) createAccount(in *AccountCreate) Result {
	a := in.Account
	if a.Tier == "" {
		a.Tier = t.set().DefaultTier
	}
	if a.BrowserKeys == "" {
		a.BrowserKeys = BrowserAlert
	}
	if a.RetentionDays == 0 {
		a.RetentionDays = defaultRetention
	}
	tier := t.tier(a.Tier)
	if r := checkAccount(&a, tier); r != nil {
		return Result{Refusal: r}
	}
	if t.account(a.ID) != nil || t.get(named(rowDeleted, a.ID)) != nil || t.get(named(rowEnding, a.ID)) != nil {
		return refuse(Conflict, "there is an account %q already", a.ID)
	}
	if t.s.view.len()+len(t.accounts) >= maxAccounts && t.countAccounts() >= maxAccounts {
		return refuse(LimitReached, "there are %d accounts, which is the most there can be", maxAccounts)
	}
	a.CreatedAt = t.at
	a.Created, a.Modified, a.AllowModified = t.index, t.index, t.index
	state := newState(&a, tier, nil)
	t.putAccount(state)
	t.event(EventCreate, "account.create", "", string(a.ID), "", t.compare(nil, &a))
	return Result{Account: &state.Account}
}

func (t *txn) countAccounts() (n int) {
	t.eachAccount(func(*AccountState) { n++ })
	return n
}

func (t *txn) updateAccount(in *AccountUpdate) Result {
	old, no := t.owner()
	if no != nil {
		return Result{Refusal: no}
	}
	if !t.matches(old.Modified) {
		return changedMeanwhile()
	}
	a := old.Account
	assign(&a.Name, in.Name)
	assign(&a.Tier, in.Tier)
	assign(&a.Region, in.Region)
	assign(&a.BrowserKeys, in.BrowserKeys)
	assign(&a.Alerts, in.Alerts)
	assign(&a.RetentionDays, in.RetentionDays)
	if in.Limits != nil {
		a.Limits = in.Limits
	}
	if in.TestLimits != nil {
		a.TestLimits = in.TestLimits
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
		default:
			return invalid("clear", "%q cannot be cleared", field)
		}
	}
	tier := t.tier(a.Tier)
	if r := checkAccount(&a, tier); r != nil {
		return Result{Refusal: r}
	}
	a.Modified = t.index
	state := newState(&a, tier, old.Allowlist)
	t.putAccount(state)
	t.event(EventUpdate, "account.update", "", string(a.ID), "", t.compare(&old.Account, &a))
	return Result{Account: &state.Account}
}

// assign sets *to where a change is asked for.
func assign[T any](to *T, change *T) {
	if change != nil {
		*to = *change
	}
}

// deleteAccount ends an account at once: its cell has no state any more, so no
// key of it is known. The rows of its keys are removed later, by the sweeper, a
// bounded number at a time; its audit events stay until they are too old.
func (t *txn) deleteAccount() Result {
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
	t.accounts[old.ID] = nil
	t.delete(named(rowAccount, old.ID))
	t.delete(named(rowAllow, old.ID))
	t.put(named(rowDeleted, old.ID), packDays(old.RetentionDays))
	changes := t.compare(&old.Account, nil)
	t.event(EventDelete, "account.delete", "", string(old.ID), "", changes)
	// Nobody can ask for the events of an account that is not there: operators
	// find this one among those of the account that always is.
	t.eventOf(DefaultAccount, EventDelete, "account.delete", "", string(old.ID), "", changes)
	return Result{Account: &old.Account}
}

func (t *txn) setAllowlist(in *AllowlistSet) Result {
	old, no := t.owner()
	if no != nil {
		return Result{Refusal: no}
	}
	if !t.matches(old.AllowModified) {
		return changedMeanwhile()
	}
	if len(in.Entries) > maxAllowlist {
		return refuse(LimitReached, "an allowlist has %d entries at most", maxAllowlist)
	}
	if len(in.Entries) > 0 && !old.Features.IPAllowlist {
		return refuse(FeatureNotInTier, "the tier %q does not include IP allowlists", old.Tier)
	}
	list := slices.Clone(in.Entries)
	for i := range list {
		if len(list[i].Note) > maxText {
			return invalid("entries", "the note of entry %d is longer than %d bytes", i+1, maxText)
		}
		p, ok := canonical(list[i].CIDR)
		if !ok {
			return invalid("entries", "entry %d is not an address or a CIDR", i+1)
		}
		list[i].CIDR = p
	}
	row := named(rowAllow, old.ID)
	before, _, err := unpackAllowlist(t.get(row))
	if err != nil {
		t.fault(err)
		return Result{}
	}
	t.put(row, packAllowlist(list, t.index))
	a := old.Account
	a.AllowModified = t.index
	state := newState(&a, t.tier(a.Tier), newAllowlist(list))
	t.putAccount(state)
	t.event(EventUpdate, "allowlist.update", "", string(a.ID), "", compareAllowlists(before, list))
	return Result{Account: &state.Account, Allowlist: list}
}

// canonical writes addresses as IPv4 where they are, and without host bits.
func canonical(p netip.Prefix) (netip.Prefix, bool) {
	if !p.IsValid() {
		return p, false
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			return p.Masked(), true
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked(), true
}
