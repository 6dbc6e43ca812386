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

// hashed refuses an import whose hashes were not made under the peppers of now: a key that
// is known under a pepper which was left out would be added a second time.
func (in *KeyImport) hashed(t *txn) *Refusal {
	for i := range in.Keys {
		if no := t.state.hashed(in.Keys[i].Generation); no != nil {
			return no
		}
	}
	turn := t.state.set().turn()
	if n := len(in.Retired); n != len(in.Keys) && (n > 0 || turn.Rotating) {
		return invalid("retired", "while the pepper is rotated, each key must have a second hash").Refusal
	}
	return nil
}

// add adds k, the key number n of the import, or refuses it.
func (in *KeyImport) add(t *txn, k *Key, n uint32) *Refusal {
	k.Imported = true
	hashes := []*Hash{&k.Hash}
	if in.Retired != nil {
		hashes = append(hashes, &in.Retired[n])
	}
	var former AccountID // that revoked the key, which is known by at
	var at *Hash
	for _, h := range hashes {
		if in.Prefixes != nil { // every node takes the same decision: all have this level
			t.releaseHash(h)
		}
		if in.Reassign && former == "" {
			if former = t.revokedBy(h); former != "" {
				at = h
			}
		}
	}
	for _, h := range hashes[1:] {
		if h != at && t.rows.get(hashRow(nil, h)) != nil || t.rows.get(formerRow(h, t.cmd.Account)) != nil {
			return refuse(Conflict, "this key exists already").Refusal
		}
	}
	if no := t.admitKey(k, at == &k.Hash); no != nil {
		return no
	}
	t.keys.add(k, t.index, n)
	changes := diffKeys(&Key{}, k, true)
	t.event(keyImported, k.ID, string(k.ID), "", changes)
	t.notify(k.Account, NoticeCreated, &createdNotice{NoticeOfKey(k), t.cmd.Actor})
	if former != "" {
		t.rows.put(formerRow(at, former), []byte{1})
		if at != &k.Hash {
			t.keys.forget(at) // else the revoked key would be found first
		}
		// Operators find it in their own log; the account of the key
		// is not told where it was before.
		t.eventOf(operatorsAccount(t), keyImported, k.ID, string(k.ID), "reassigned; "+string(former)+" had revoked it", changes)
	}
	return nil
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
