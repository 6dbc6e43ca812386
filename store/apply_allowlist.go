package store

import (
	"net/netip"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// The events that the changes in this file write.
var (
	allowlistUpdated  = Action{EventUpdate, "allowlist.update"}
	allowlistKept     = Action{EventUpdate, "allowlist.confirm"}
	allowlistReverted = Action{EventUpdate, "allowlist.revert"}
)

// AllowlistSet replaces the account's allowlist: for good, or with ConfirmBy on trial, see
// [AllowTrial].
type AllowlistSet struct {
	Entries   []AllowEntry `json:"entries"`
	ConfirmBy time.Time    `json:"confirm_by,omitzero"`
}

func init() { register[AllowlistSet]("allowlist_set") }

var eventsOfAllowlistSet = []Action{allowlistUpdated}

// traits: a first entry shuts out every other address, and so may one that is left
// out.
func (in *AllowlistSet) traits() Traits {
	level := 1
	if !in.ConfirmBy.IsZero() {
		level = LevelOfTrials
	}
	return Traits{Takes: Yes, Waits: Yes, Vital: No, Level: level, Events: eventsOfAllowlistSet}
}

func (in *AllowlistSet) apply(t *txn) Result {
	old, no := t.owner()
	if no != nil {
		return Result{Refusal: no}
	}
	if !t.matches(old.AllowModified) {
		return changedMeanwhile()
	}
	if len(in.Entries) > MaxAllowlist {
		return refuse(LimitReached, "an allowlist has %d entries at most", MaxAllowlist)
	}
	if len(in.Entries) > 0 && !old.Features.IPAllowlist {
		return refuse(FeatureNotInTier, "the tier %q does not include IP allowlists", old.Tier)
	}
	// Twice the bound: the clock of the node that took the call may differ from the leader's.
	if !in.ConfirmBy.IsZero() && (!in.ConfirmBy.After(t.when.at) || in.ConfirmBy.After(t.when.at.Add(2*MaxTrial))) {
		return invalid("confirm_within", "the time for the confirmation is over, or is longer than %v", MaxTrial)
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
	reason := ""
	if in.ConfirmBy.IsZero() {
		endTrial(t, old.ID)
	} else {
		beginTrial(t, &AllowTrial{Account: old.ID, ConfirmBy: in.ConfirmBy.UTC(), SetAt: t.when.at, SetBy: nameless(t.cmd.Actor), Index: t.index})
		reason = "to be confirmed by " + in.ConfirmBy.UTC().Format(time.RFC3339)
	}
	return putAllowlist(t, old, list, allowlistUpdated, reason)
}

// putAllowlist makes list the account's and writes the event.
func putAllowlist(t *txn, old *AccountState, list []AllowEntry, action Action, reason string) Result {
	row := named(rowAllow, old.ID)
	before, _, err := unpackAllowlist(t.rows.get(row))
	if err != nil {
		t.rows.fault(err)
		return Result{}
	}
	t.rows.put(row, packAllowlist(list, t.index))
	a := old.Account
	a.AllowModified = t.index
	state := t.state.rules.newState(&a, t.state.tier(a.Tier), newAllowlist(list))
	t.state.putAccount(state)
	changes := compareAllowlists(before, list)
	t.event(action, "", string(a.ID), reason, changes)
	if action != allowlistKept {
		t.notify(a.ID, NoticeAllowlist, &allowlistNotice{jsontext.Value(changes), t.cmd.Actor})
	}
	return Result{Account: &state.Account, Allowlist: list}
}

// beginTrial begins a trial. The list that comes back is the last one that was set for good:
// that of an earlier trial stays.
func beginTrial(t *txn, trial *AllowTrial) {
	row := named(rowTrial, trial.Account)
	if t.rows.get(row) == nil {
		before := t.rows.get(named(rowAllow, trial.Account)) // put copies it before the next get
		if before == nil {
			before = packAllowlist(nil, 0)
		}
		t.rows.put(named(rowAllowBefore, trial.Account), before)
	}
	t.rows.put(row, t.rows.json(trial))
}

// endTrial forgets a trial, if there is one.
func endTrial(t *txn, account AccountID) {
	if row := named(rowTrial, account); t.rows.get(row) != nil {
		t.rows.delete(row)
		t.rows.delete(named(rowAllowBefore, account))
	}
}

// trialOf returns the account and its trial, or the refusal.
func trialOf(t *txn) (*AccountState, *AllowTrial, *Refusal) {
	old, no := t.owner()
	if no != nil {
		return nil, nil, no
	}
	row := t.rows.get(named(rowTrial, old.ID))
	if row == nil {
		return nil, nil, refuse(Conflict, "no change of the allowlist waits for a confirmation").Refusal
	}
	trial := new(AllowTrial)
	if err := json.Unmarshal(row, trial); err != nil {
		t.rows.fault(err)
		return nil, nil, refuse(Conflict, "the trial of the allowlist cannot be read").Refusal
	}
	if !t.matches(old.AllowModified) {
		return nil, nil, changedMeanwhile().Refusal
	}
	return old, trial, nil
}

// AllowlistConfirm keeps the command's account's allowlist that is on trial.
type AllowlistConfirm struct{}

func init() { register[AllowlistConfirm]("allowlist_confirm") }

var eventsOfAllowlistConfirm = []Action{allowlistKept}

// traits: the list stays as it is.
func (*AllowlistConfirm) traits() Traits {
	return Traits{Takes: No, Waits: Yes, Vital: No, Level: LevelOfTrials, Events: eventsOfAllowlistConfirm}
}

// apply writes the list again, so that its ETag tells that it is no longer on trial.
func (*AllowlistConfirm) apply(t *txn) Result {
	old, _, no := trialOf(t)
	if no != nil {
		return Result{Refusal: no}
	}
	list, _, err := unpackAllowlist(t.rows.get(named(rowAllow, old.ID)))
	if err != nil {
		t.rows.fault(err)
		return Result{}
	}
	endTrial(t, old.ID)
	return putAllowlist(t, old, list, allowlistKept, "")
}

// AllowlistRevert brings back the list from before the trial: because somebody asks for it,
// or with Index that of the trial, because nobody has confirmed it in time.
type AllowlistRevert struct {
	Index uint64 `json:"index,omitzero"`
}

func init() { register[AllowlistRevert]("allowlist_revert") }

var eventsOfAllowlistRevert = []Action{allowlistReverted}

// traits: the list from before may shut out addresses that the one on trial allows.
func (*AllowlistRevert) traits() Traits {
	return Traits{Takes: Yes, Waits: Yes, Vital: No, Level: LevelOfTrials, Events: eventsOfAllowlistRevert}
}

// apply asks no tier: the list was in force before.
func (in *AllowlistRevert) apply(t *txn) Result {
	old, trial, no := trialOf(t)
	reason := ""
	switch {
	case no != nil:
		return Result{Refusal: no}
	case in.Index != 0 && in.Index != trial.Index:
		return refuse(Conflict, "another change of the allowlist is on trial meanwhile")
	case in.Index != 0 && t.when.at.Before(trial.ConfirmBy):
		return refuse(Conflict, "the trial of the allowlist ends at %s", trial.ConfirmBy.Format(time.RFC3339))
	case in.Index != 0:
		reason = "not confirmed"
	}
	before, _, err := unpackAllowlist(t.rows.get(named(rowAllowBefore, old.ID)))
	if err != nil {
		t.rows.fault(err)
		return Result{}
	}
	endTrial(t, old.ID)
	return putAllowlist(t, old, before, allowlistReverted, reason)
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
