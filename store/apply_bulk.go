package store

import (
	"bytes"
	"slices"
)

// maxImport bounds one import.
const maxImport = 10_000

// revokeKeys revokes what passes all filters, up to the bounds of
// [KeyRevokeBulk].
func (t *txn) revokeKeys(in *KeyRevokeBulk) Result {
	if _, no := t.owner(); no != nil {
		return Result{Refusal: no}
	}
	switch {
	case len(in.IDs) == 0 && in.CreatedBy == "" && in.Type == nil && in.Environment == nil && in.CreatedBefore.IsZero():
		return invalid("ids", "name at least one filter: all keys are never meant by accident")
	case len(in.IDs) > maxImport:
		return invalid("ids", "there are more than %d", maxImport)
	case len(in.Reason) > maxText:
		return invalid("reason", "it is longer than %d bytes", maxText)
	}
	var r Result
	revoke := func(row []byte, k *Key) {
		if k.Account != t.cmd.Account || !in.matches(k) {
			return
		}
		r.Matched++
		if k.RevokedAt.IsZero() {
			t.endKey(row, k, in.Reason)
			r.Keys = append(r.Keys, k.ID)
		}
	}
	if len(in.IDs) > 0 {
		ids := slices.Compact(slices.Sorted(slices.Values(in.IDs)))
		for _, id := range ids {
			if k, row := t.keyByID(id); k != nil {
				revoke(row, k)
			}
		}
		return r
	}
	t.settle()
	from := accountRows(rowKey, t.cmd.Account)
	to := behind(from)
	if in.After != "" {
		row := t.get(named(rowKeyID, in.After))
		if !bytes.HasPrefix(row, from) {
			return refuse(NotFound, "there is no key %q to go on behind", in.After)
		}
		from = append(slices.Clone(row), 0)
	}
	seen := 0
	var last KeyID
	t.scan(from, to, func(row, value []byte) error {
		if len(r.Keys) >= BulkKeys || seen >= BulkRows {
			r.Next = last
			return errEnough
		}
		k, err := unpackKey(value)
		if err != nil {
			return err
		}
		seen++
		last = k.ID
		revoke(slices.Clone(row), k)
		return nil
	})
	return r
}

func (f *KeyRevokeBulk) matches(k *Key) bool {
	return (f.CreatedBy == "" || k.CreatedBy == f.CreatedBy) &&
		(f.Type == nil || k.Type == *f.Type) &&
		(f.Environment == nil || k.Environment == *f.Environment) &&
		(f.CreatedBefore.IsZero() || k.CreatedAt.Before(f.CreatedBefore))
}

// importKeys adds every key that can be added and reports on each line.
func (t *txn) importKeys(in *KeyImport) Result {
	if _, no := t.owner(); no != nil {
		return Result{Refusal: no}
	}
	if len(in.Keys) > maxImport {
		return refuse(LimitReached, "one import has %d keys at most", maxImport)
	}
	r := Result{Lines: make([]ImportLine, len(in.Keys))}
	for i := range in.Keys {
		line := &r.Lines[i]
		line.Line = i + 1
		if i < len(in.Lines) {
			line.Line = in.Lines[i]
		}
		k := in.Keys[i]
		k.Imported = true
		if no := t.admitKey(&k); no != nil {
			line.Error = no.Error()
			continue
		}
		t.noteImported(true)
		t.addKey(&k, uint32(i))
		t.event(EventCreate, "key.import", k.ID, string(k.ID), "", diffKeys(&Key{}, &k, true))
		line.ID = k.ID
	}
	return r
}
