package store

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// importOf is an import of one key for each prefix, named after its number from n on.
func importOf(n int, prefixes ...string) *KeyImport {
	in := &KeyImport{Prefixes: prefixes}
	for i := range prefixes {
		k := newKey(fmt.Sprint("import", n+i))
		k.ID = KeyID(fmt.Sprint("key_import", n+i))
		in.Keys = append(in.Keys, k)
		in.Lines = append(in.Lines, i+1)
	}
	return in
}

// A prefix is looked up from the first import of a key that begins with it on, for as
// long as an account that imported such a key exists, also after a restart.
func TestImportedPrefixes(t *testing.T) {
	h := begun(t)
	h.must(&Command{Change: &AccountCreate{Account: Account{ID: "acct_a", Name: "a"}}})
	h.must(&Command{Change: &AccountCreate{Account: Account{ID: "acct_b", Name: "b"}}})
	of := func(account AccountID, in *KeyImport) *Command {
		for i := range in.Keys {
			in.Keys[i].Account = account
		}
		return &Command{Account: account, Change: in}
	}
	check := func(when string, want ...string) {
		t.Helper()
		for _, p := range []string{"sk_", "ghp_", "pk_live_", "pk_test_", AnyPrefix, ""} {
			if got := h.Imported(p); got != slices.Contains(want, p) {
				t.Errorf("%s: prefix %q: %v", when, p, got)
			}
		}
	}
	check("at the beginning")
	h.must(of("acct_a", importOf(0, "sk_", "", "sk_")))
	check("after an import", "sk_")
	h.must(of("acct_b", importOf(10, "sk_", "pk_test_", AnyPrefix)))
	check("after another account's", "sk_", "pk_test_", AnyPrefix)
	twice := importOf(10, "ghp_")
	if r := h.must(of("acct_a", twice)); r.Lines[0].Error == "" {
		t.Error("a key that exists was imported")
	}
	check("after a line that was refused", "sk_", "pk_test_", AnyPrefix)
	h.must(&Command{Account: "acct_b", Change: &AccountUpdate{Name: ptr("renamed")}})
	check("after a change of the account", "sk_", "pk_test_", AnyPrefix)
	h.reopen()
	check("after a restart", "sk_", "pk_test_", AnyPrefix)
	h.must(&Command{Account: "acct_b", Change: &AccountDelete{}})
	check("without the account that imported most", "sk_")
	h.must(&Command{Account: "acct_a", Change: &AccountDelete{}})
	check("without both")
	h.reopen()
	check("after another restart")
}

// An import of an older version opens every prefix: its keys may have any form.
func TestImportWithoutPrefixes(t *testing.T) {
	h := begun(t)
	in := importOf(0, "sk_")
	in.Prefixes = nil
	h.must(&Command{Change: in})
	for _, p := range []string{"sk_", "pk_live_", AnyPrefix} {
		if !h.Imported(p) {
			t.Errorf("prefix %q is not looked up", p)
		}
	}
}

// The prefixes of an account are bounded; its own keys' forms stay apart from the rest.
func TestImportsAreBounded(t *testing.T) {
	h := begun(t)
	var many []string
	for i := range maxImports + 10 {
		many = append(many, fmt.Sprintf("p%02d_", i))
	}
	h.must(&Command{Change: importOf(0, many...)})
	if !h.Imported(AnyPrefix) || h.Imported("pk_live_") || !h.Imported(many[0]) {
		t.Error("what is beyond the bound must count as a foreign form, and no more than that")
	}
	h.must(&Command{Change: importOf(500, "pk_live_")})
	if !h.Imported("pk_live_") || h.Imported("pk_test_") {
		t.Error("a prefix of our own has room beyond the bound")
	}
	if n := len(h.Cell(DefaultAccount).Load().Imports); n > maxImports+1+len(ownPrefixes) {
		t.Errorf("%d prefixes are kept", n)
	}
	if r := h.do(&Command{Change: importOf(600, strings.Repeat("x", maxID+1))}); r.Refusal == nil {
		t.Error("a prefix of any length was taken")
	}
}

// The keys of a deleted account can be imported elsewhere at once, and the sweeper,
// when it comes to the account, leaves them to the new one.
func TestImportAfterDeletion(t *testing.T) {
	h := begun(t)
	of := func(account AccountID, in *KeyImport) *Command {
		for i := range in.Keys {
			in.Keys[i].Account = account
		}
		return &Command{Account: account, Change: in}
	}
	h.must(&Command{Change: &AccountCreate{Account: Account{ID: "acct_a", Name: "a"}}})
	first := importOf(0, "sk_", "sk_", "sk_")
	h.must(of("acct_a", first))
	renamed := func() *KeyImport { // the same secrets under new ids
		in := importOf(0, "sk_", "sk_")
		for i := range in.Keys {
			in.Keys[i].ID += "_again"
		}
		return in
	}
	if r := h.must(of(DefaultAccount, renamed())); r.Lines[0].Error == "" || r.Lines[1].Error == "" {
		t.Errorf("keys of an account that exists were imported: %+v", r.Lines)
	}
	if r, err := h.Lookup(first.Keys[0].Hash); r == nil || err != nil {
		t.Fatal(r, err)
	}
	h.must(&Command{Account: "acct_a", Change: &AccountDelete{}})

	// An older node would refuse an import that lacks the prefixes, so all do.
	old := renamed()
	old.Prefixes = nil
	if r := h.must(of(DefaultAccount, old)); r.Lines[0].Error == "" {
		t.Errorf("without prefixes: %+v", r.Lines)
	}
	if r := h.must(of(DefaultAccount, renamed())); r.Lines[0].Error != "" || r.Lines[1].Error != "" {
		t.Fatalf("refused: %+v", r.Lines)
	}
	check := func(when string) {
		t.Helper()
		for i, k := range first.Keys {
			r, err := h.Lookup(k.Hash)
			if err != nil || (i < 2) != (r != nil) || r != nil && r.ID != k.ID+"_again" {
				t.Errorf("%s: key %d is %+v, %v", when, i, r, err)
			}
			if k, err := h.Key(k.ID); k != nil || err != nil {
				t.Errorf("%s: the deleted account's key: %+v, %v", when, k, err)
			}
		}
		if got, err := h.Held(DefaultAccount); err != nil || got != scanned(h, DefaultAccount) {
			t.Errorf("%s: the account holds %+v, %v, want %+v", when, got, err, scanned(h, DefaultAccount))
		}
	}
	check("at once")
	h.at = h.at.Add(sweepEvery)
	h.must(create("b"))
	check("after the sweeper")
	h.reopen()
	check("after a restart")
	if d := dump(t, h.Store); strings.Contains(d, `"kkey_import2"`) || strings.Contains(d, "iacct_a") {
		t.Errorf("rows of the deleted account are left:\n%s", d)
	}
}
