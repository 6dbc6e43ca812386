package store

import (
	"maps"
	"slices"
)

// maxImports bounds the prefixes that are kept for an account: more stand for
// [AnyPrefix]. An issuer has one or two.
const maxImports = 64

// ownPrefixes begin the keys that perfgate makes. Credentials that begin with them and have
// a wrong checksum are looked up only because of keys that begin so, too: an
// account's other imports never stand for them.
var ownPrefixes = []string{"pk_live_", "pk_test_"}

// notePrefixes adds prefixes to those that the command's account imported.
func (t *txn) notePrefixes(prefixes []string) {
	old := t.state.account(t.cmd.Account)
	list := slices.Clone(old.Imports)
	for _, p := range prefixes {
		i, found := slices.BinarySearch(list, p)
		switch {
		case p == "" || found:
		case len(list) >= maxImports && p != AnyPrefix && !slices.Contains(ownPrefixes, p):
			if i, found = slices.BinarySearch(list, AnyPrefix); !found {
				list = slices.Insert(list, i, AnyPrefix)
			}
		default:
			list = slices.Insert(list, i, p)
		}
	}
	if len(list) == len(old.Imports) {
		return
	}
	state := *old
	state.Imports = list
	t.state.putAccount(&state)
}

// countImports moves the count of prefixes from the published state of an account to
// its next one; both may be nil.
func (v *view) countImports(cell *Cell, next *AccountState) {
	var was, is []string
	if cell != nil {
		if state := cell.Load(); state != nil {
			was = state.Imports
		}
	}
	if next != nil {
		is = next.Imports
	}
	if slices.Equal(was, is) {
		return
	}
	counts := maps.Clone(*v.imports.Load())
	for _, p := range is {
		counts[p]++
	}
	for _, p := range was {
		if counts[p]--; counts[p] <= 0 {
			delete(counts, p)
		}
	}
	v.imports.Store(&counts)
}
