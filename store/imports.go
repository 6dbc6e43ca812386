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

// releaseHash removes the key with this hash if its account was deleted and the
// sweeper has not come to it: the hash is another account's to import.
func (t *txn) releaseHash(h *Hash) {
	row := t.rows.get(hashRow(nil, h))
	if row == nil {
		return
	}
	var r Record
	account, _, _, err := unpackRecord(&r, string(row))
	if err != nil {
		t.rows.fault(err)
		return
	}
	if t.state.account(account) != nil {
		return
	}
	if k, at := t.keys.byID(r.ID); k != nil && k.Hash == *h {
		t.keys.remove(at, k)
	}
}

// revokedBy returns the account, another one than the command's, that imported the key
// with this hash and revoked it; "" if there is none. Its hash is vacant for an import
// that reassigns: a key that is revoked for good is not written again, so that its
// account keeps it as it is without the hash.
func (t *txn) revokedBy(h *Hash) AccountID {
	row := t.rows.get(hashRow(nil, h))
	if row == nil {
		return ""
	}
	var r Record
	account, _, _, err := unpackRecord(&r, string(row))
	if err != nil {
		t.rows.fault(err)
		return ""
	}
	if k, _ := t.keys.byID(r.ID); account != t.cmd.Account && k != nil && k.Imported && !k.RevokedAt.IsZero() {
		return account
	}
	return ""
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
