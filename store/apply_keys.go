package store

import (
	"slices"
	"time"
)

// keyByID returns a key and its row in table i, which is the value of its row in
// table k; nil if there is none.
func (t *txn) keyByID(id KeyID) (k *Key, row []byte) {
	if r := t.get(named(rowKeyID, id)); r != nil {
		row = slices.Clone(r)
		k = t.keyAt(row)
	}
	return k, row
}

func (t *txn) keyAt(row []byte) *Key {
	value := t.get(row)
	if value == nil {
		return nil
	}
	k, err := unpackKey(value)
	if err != nil {
		t.fault(err)
		return nil
	}
	return k
}

// target returns the key that the command changes, or the refusal. Another
// account's key does not exist for the caller.
func (t *txn) target(id KeyID) (*Key, []byte, *Refusal) {
	if _, no := t.owner(); no != nil {
		return nil, nil, no
	}
	k, row := t.keyByID(id)
	if k == nil || k.Account != t.cmd.Account {
		return nil, nil, refuse(NotFound, "there is no key %q", id).Refusal
	}
	if !t.matches(k.Modified) {
		return nil, nil, changedMeanwhile().Refusal
	}
	return k, row, nil
}

// addKey writes a new key; n is its number among those of this command.
func (t *txn) addKey(k *Key, n uint32) {
	k.Created = t.index
	row := keyRow(k.Account, t.index, n)
	t.putKey(row, k)
	t.put(named(rowKeyID, k.ID), row)
}

// putKey writes both rows of a key. What is cached of it is stale from the
// commit on.
func (t *txn) putKey(row []byte, k *Key) {
	k.Modified = t.index
	t.buf = packKey(t.buf[:0], k)
	t.put(row, t.buf)
	t.buf = packRecord(t.buf[:0], k)
	t.put(hashRow(nil, &k.Hash), t.buf)
	t.stale = append(t.stale, k.Hash)
}

// admitKey checks a key that is to be added and settles what apply decides.
func (t *txn) admitKey(k *Key) *Refusal {
	if k.Account == "" {
		k.Account = t.cmd.Account
	}
	if k.Account != t.cmd.Account {
		return invalid("account", "the key is of another account than the command").Refusal
	}
	k.CreatedAt = t.at
	if k.CreatedBy == "" {
		k.CreatedBy = t.cmd.Actor.ID
	}
	k.ExpiresAt = k.ExpiresAt.UTC()
	k.OverlapEndsAt, k.RevokedAt, k.RevokedBy, k.RevokeReason = time.Time{}, time.Time{}, "", ""
	k.Replaces, k.ReplacedBy = "", ""
	if r := normalizeKey(k); r != nil {
		return r
	}
	if t.get(hashRow(nil, &k.Hash)) != nil {
		return refuse(Conflict, "this key exists already").Refusal
	}
	if t.get(named(rowKeyID, k.ID)) != nil {
		return refuse(Conflict, "there is a key %q already", k.ID).Refusal
	}
	return nil
}

func (t *txn) createKey(in *KeyCreate) Result {
	if _, no := t.owner(); no != nil {
		return Result{Refusal: no}
	}
	k := in.Key
	if no := t.admitKey(&k); no != nil {
		return Result{Refusal: no}
	}
	t.noteImported(k.Imported)
	t.addKey(&k, 0)
	t.event(EventCreate, "key.create", k.ID, string(k.ID), "", diffKeys(&Key{}, &k, true))
	return Result{Key: &k}
}

func (t *txn) noteImported(imported bool) {
	if imported && !t.set().Imported {
		set := *t.set()
		set.Imported = true
		t.putSettings(set)
	}
}

func (t *txn) updateKey(in *KeyUpdate) Result {
	old, row, no := t.target(in.ID)
	if no != nil {
		return Result{Refusal: no}
	}
	if old.State(t.at) == Revoked {
		return refuse(Conflict, "the key is revoked and can no longer be changed")
	}
	k := *old
	assign(&k.Name, in.Name)
	assign(&k.Environment, in.Environment)
	assign(&k.Scopes, in.Scopes)
	assign(&k.Disabled, in.Disabled)
	assign(&k.Allowlist, in.Allowlist)
	assign(&k.Routes, in.Routes)
	assign(&k.Metadata, in.Metadata)
	if in.ExpiresAt != nil {
		k.ExpiresAt = in.ExpiresAt.UTC()
	}
	if in.Limits != nil {
		k.Limits = in.Limits
	}
	if in.MaxCostPerCall != nil {
		k.MaxCostPerCall = in.MaxCostPerCall
	}
	if in.MonthlyBudget != nil {
		k.MonthlyBudget = in.MonthlyBudget
	}
	for _, field := range in.Clear {
		switch field {
		case "expires_at":
			k.ExpiresAt = time.Time{}
		case "limits":
			k.Limits = nil
		case "max_cost_per_call":
			k.MaxCostPerCall = nil
		case "monthly_budget":
			k.MonthlyBudget = nil
		default:
			return invalid("clear", "%q cannot be cleared", field)
		}
	}
	if r := normalizeKey(&k); r != nil {
		return Result{Refusal: r}
	}
	t.putKey(row, &k)
	t.event(EventUpdate, "key.update", k.ID, string(k.ID), "", diffKeys(old, &k, false))
	return Result{Key: &k}
}

func (t *txn) rotateKey(in *KeyRotate) Result {
	old, row, no := t.target(in.ID)
	if no != nil {
		return Result{Refusal: no}
	}
	switch state := old.State(t.at); {
	case !old.OverlapEndsAt.IsZero() && state != Revoked:
		return refuse(Conflict, "the key is being replaced by %s already", old.ReplacedBy)
	case state == Revoked || state == Expired:
		return refuse(Conflict, "the key is %s; create a new one instead", state)
	}
	k := *old
	k.ID, k.Hash, k.Hint = in.New, in.Hash, in.Hint
	k.CreatedBy = t.cmd.Actor.ID
	k.Imported = false
	if r := t.admitKey(&k); r != nil {
		return Result{Refusal: r}
	}
	k.Replaces = old.ID

	end := *old
	end.ReplacedBy = k.ID
	if overlap := in.OverlapEndsAt.UTC(); overlap.After(t.at) {
		end.OverlapEndsAt = overlap
	} else {
		end.RevokedAt, end.RevokedBy, end.RevokeReason = t.at, t.cmd.Actor.ID, "rotated"
	}
	t.putKey(row, &end)
	t.addKey(&k, 0)
	t.event(EventUpdate, "key.rotate", end.ID, string(k.ID), "", diffKeys(old, &end, false))
	t.event(EventCreate, "key.create", k.ID, string(k.ID), "", diffKeys(&Key{}, &k, true))
	return Result{Key: &k}
}

func (t *txn) revokeKey(in *KeyRevoke) Result {
	k, row, no := t.target(in.ID)
	if no != nil {
		return Result{Refusal: no}
	}
	if len(in.Reason) > maxText {
		return invalid("reason", "it is longer than %d bytes", maxText)
	}
	if k.RevokedAt.IsZero() {
		k = t.endKey(row, k, in.Reason)
	}
	return Result{Key: k}
}

// endKey revokes a key now. One whose overlap ended before is revoked by that
// already; the moment that its owner asked for it is kept all the same.
func (t *txn) endKey(row []byte, old *Key, reason string) *Key {
	k := *old
	k.RevokedAt, k.RevokedBy, k.RevokeReason = t.at, t.cmd.Actor.ID, reason
	t.putKey(row, &k)
	t.event(EventDelete, "key.revoke", k.ID, string(k.ID), reason, diffKeys(old, &k, false))
	return &k
}
