package store

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// imports is an import of the secrets into an account, under ids that end in n.
func imports(account AccountID, n int, reassign bool, secrets ...string) *Command {
	in := &KeyImport{Reassign: reassign}
	for i, secret := range secrets {
		k := newKey(secret)
		k.ID, k.Account = KeyID(fmt.Sprintf("key_%s_%d", secret, n)), account
		in.Keys, in.Lines, in.Prefixes = append(in.Keys, k), append(in.Lines, i+1), append(in.Prefixes, "sk_")
	}
	return &Command{Account: account, Change: in}
}

// accounts makes a store with accounts that have the ids.
func accounts(tb testing.TB, ids ...AccountID) *harness {
	h := begun(tb)
	for _, id := range ids {
		h.must(&Command{Change: &AccountCreate{Account: Account{ID: id, Name: string(id)}}})
	}
	return h
}

// A key that its account revoked can be moved to another account. The first account keeps
// it, revoked, and never gets it back; a restart and the deletion of either account change
// nothing of this.
func TestReassign(t *testing.T) {
	h := accounts(t, "acct_a", "acct_b")
	line := func(c *Command) string { h.Helper(); return h.must(c).Lines[0].Error }
	holder := func(when string, want KeyID, state KeyState) {
		t.Helper()
		r, err := h.Lookup(hashOf("s"))
		switch {
		case err != nil:
			t.Fatal(err)
		case r == nil && want != "", r != nil && (r.ID != want || r.State(h.at) != state):
			t.Errorf("%s: the key is %+v, want %q %s", when, r, want, state)
		}
	}
	refused := func(when string, c *Command) {
		t.Helper()
		if got := line(c); got != "this key exists already" {
			t.Errorf("%s: %q", when, got)
		}
	}
	line(imports("acct_a", 1, false, "s"))
	refused("of a key that works", imports("acct_b", 2, true, "s"))
	h.must(&Command{Account: "acct_a", Change: &KeyRevoke{ID: "key_s_1"}})
	refused("without reassigning", imports("acct_b", 2, false, "s"))
	refused("into its own account", imports("acct_a", 2, true, "s"))
	holder("before", "key_s_1", Revoked)

	if got := line(imports("acct_b", 1, true, "s")); got != `there is a key "key_s_1" already` {
		t.Errorf("under an id that exists: %q", got)
	}
	holder("after a refusal", "key_s_1", Revoked)

	if got := line(imports("acct_b", 2, true, "s")); got != "" {
		t.Fatalf("refused: %s", got)
	}
	check := func(when string) {
		t.Helper()
		holder(when, "key_s_2", Active)
		if k, err := h.Key("key_s_1"); err != nil || k == nil || k.State(h.at) != Revoked {
			t.Errorf("%s: the first account's key is %+v, %v", when, k, err)
		}
		refused(when, imports("acct_a", 3, false, "s"))
		refused(when, imports("acct_a", 3, true, "s"))
		h.must(&Command{Account: "acct_a", Change: &KeyRevoke{ID: "key_s_1"}})
		h.must(&Command{Account: "acct_a", Change: &KeyRevokeBulk{CreatedBy: "op"}})
		holder(when, "key_s_2", Active)
	}
	check("at once")
	h.reopen()
	check("after a restart")

	h.must(&Command{Account: "acct_b", Change: &AccountDelete{}})
	holder("without the second account", "", "")
	refused("without the second account", imports("acct_a", 3, false, "s"))
	h.pass(sweepEvery)
	h.must(create("other"))
	refused("after the sweeper", imports("acct_a", 3, false, "s"))
	if got := line(imports(DefaultAccount, 4, false, "s")); got != "" {
		t.Errorf("nobody has it, and another account is refused: %s", got)
	}
	h.must(&Command{Account: "acct_a", Change: &AccountDelete{}})
	h.pass(sweepEvery)
	h.must(create("another"))
	holder("without the first account", "key_s_4", Active)
	if d := dump(t, h.Store); strings.Contains(d, "\n\"f") || strings.Contains(d, "iacct_") {
		t.Errorf("rows of the deleted accounts are left:\n%s", d)
	}
}

// Only imported keys are reassigned, and only if they were revoked: not those that
// expired or ended with a rotation, which their account may still change.
func TestReassignRefusals(t *testing.T) {
	h := accounts(t, "acct_a")
	h.must(create("native"))
	h.must(&Command{Change: &KeyRevoke{ID: "key_native"}})
	h.must(imports(DefaultAccount, 1, false, "expired", "rotated", "disabled"))
	h.must(&Command{Change: &KeyUpdate{ID: "key_expired_1", ExpiresAt: ptr(h.at.Add(1))}})
	h.must(&Command{Change: &KeyUpdate{ID: "key_disabled_1", Disabled: ptr(true)}})
	h.must(&Command{Change: &KeyRotate{ID: "key_rotated_1", New: "key_next", Hash: hashOf("next"), Hint: "h", OverlapEndsAt: h.at.Add(2e9)}})
	h.pass(10e9)
	for _, secret := range []string{"native", "expired", "rotated", "disabled"} {
		if r := h.must(imports("acct_a", 2, true, secret)); r.Lines[0].Error == "" {
			t.Errorf("%s was reassigned", secret)
		}
	}
	h.must(&Command{Change: &KeyRevokeBulk{IDs: []KeyID{"key_expired_1", "key_rotated_1", "key_disabled_1"}}})
	r := h.must(imports("acct_a", 2, true, "expired", "rotated", "disabled"))
	for _, l := range r.Lines {
		if l.Error != "" {
			t.Errorf("after a revocation: %+v", l)
		}
	}
}

// The new account's event says nothing of the old one; operators find both in the default
// account's.
func TestReassignEvents(t *testing.T) {
	h := accounts(t, "acct_a", "acct_b")
	h.must(imports("acct_a", 1, false, "s"))
	h.must(&Command{Account: "acct_a", Change: &KeyRevoke{ID: "key_s_1"}})
	h.must(imports("acct_b", 2, true, "s"))
	for account, want := range map[AccountID]string{"acct_b": "", DefaultAccount: "reassigned; acct_a had revoked it"} {
		var reasons []string
		for e, err := range h.Events(EventQuery{Account: account, Action: "key.import"}) {
			if err != nil {
				t.Fatal(err)
			}
			reasons = append(reasons, e.Reason)
		}
		if !slices.Equal(reasons, []string{want}) {
			t.Errorf("events of %s: %q", account, reasons)
		}
	}
}

// owner is the model of a secret: who has it, and who must never have it again.
type owner struct {
	account AccountID // "" if nobody has it
	id      KeyID
	revoked bool
	former  map[AccountID]bool
}

// Imports, with and without reassigning, revocations and deletions in any order leave the
// secrets as a plain model has them: no account gets a key again that it revoked, and none
// a key that works in another one.
func TestReassignModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		ids := []AccountID{"acct_a", "acct_b", "acct_c"}
		secrets := []string{"s", "t"}
		h := accounts(t, ids...)
		model := map[string]*owner{}
		for _, s := range secrets {
			model[s] = &owner{former: map[AccountID]bool{}}
		}
		for n := range rapid.IntRange(1, 40).Draw(rt, "commands") {
			a, s := rapid.SampledFrom(ids).Draw(rt, "account"), rapid.SampledFrom(secrets).Draw(rt, "secret")
			o := model[s]
			gone := h.Cell(a) == nil || h.Cell(a).Load() == nil
			switch rapid.IntRange(0, 9).Draw(rt, "kind") {
			default:
				c := imports(a, n, rapid.Bool().Draw(rt, "reassign"), s)
				r := h.do(c)
				takes := o.account == "" || o.revoked && o.account != a && c.Change.(*KeyImport).Reassign
				want := !gone && takes && !o.former[a]
				if got := r.Refusal == nil && r.Lines[0].Error == ""; got != want {
					rt.Fatalf("import %d of %s into %s: %+v, want %v of %+v", n, s, a, r, want, o)
				}
				if want {
					if o.account != "" {
						o.former[o.account] = true
					}
					o.account, o.id, o.revoked = a, KeyID(fmt.Sprintf("key_%s_%d", s, n)), false
				}
			case 5, 6, 7:
				if o.account != "" {
					h.must(&Command{Account: o.account, Change: &KeyRevoke{ID: o.id}})
					o.revoked = true
				}
			case 8:
				if gone {
					continue
				}
				h.must(&Command{Account: a, Change: &AccountDelete{}})
				for _, o := range model {
					if delete(o.former, a); o.account == a {
						o.account, o.id, o.revoked = "", "", false
					}
				}
			case 9:
				h.pass(sweepEvery)
				h.reopen()
			}
			for s, o := range model {
				r, err := h.Lookup(hashOf(s))
				if err != nil || (r == nil) != (o.account == "") || r != nil && (r.ID != o.id || (r.State(h.at) == Revoked) != o.revoked) {
					rt.Fatalf("command %d: %s is %+v, %v, want %+v", n, s, r, err, o)
				}
			}
		}
	})
}
