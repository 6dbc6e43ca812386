package store

import (
	"bytes"
	"cmp"
	"slices"
	"time"
)

// The events that the changes in this file write.
var (
	keyImported = Action{EventCreate, "key.import"}
)

// KeyRevokeBulk revokes every key of the account that passes all set filters.
// At least one filter is set. One command looks at [BulkRows] keys and revokes
// [BulkKeys] at most, so that the log never stands still; where it stopped is
// [Result.Next], and the proposer goes on with After set to it until Next is "".
// Where Limit is set, the command revokes that many at most, and looks at
// 25 times as many.
//
// Where Last is set, IDs are the keys of a chain of rotations and Last is the end of the
// chain, as the proposer read it. The command also revokes the keys that have replaced it
// since, so that no rotation leaves a key of the chain valid.
type KeyRevokeBulk struct {
	IDs           []KeyID   `json:"ids,omitzero"`
	CreatedBy     string    `json:"created_by,omitzero"`
	Type          *KeyType  `json:"type,omitzero"`
	Environment   *string   `json:"environment,omitzero"`
	CreatedBefore time.Time `json:"created_before,omitzero"`
	Reason        string    `json:"reason,omitzero"`
	After         KeyID     `json:"after,omitzero"`
	Limit         int       `json:"limit,omitzero"`
	Last          KeyID     `json:"last,omitzero"`
	// Unmoved leaves out keys that are hashed under the pepper of this generation, to which the
	// pepper is being rotated.
	Unmoved uint64 `json:"unmoved,omitzero"`
}

// The bounds of one [KeyRevokeBulk].
const (
	BulkKeys = 20_000
	BulkRows = 500_000
	// bulkRowsFor is how many keys are looked at for each one of Limit: to read a key
	// takes a small part of the time that it takes to revoke one.
	bulkRowsFor = BulkRows / BulkKeys
)

// The levels of members of [KeyRevokeBulk].
const (
	LevelOfBulkLimit = 3 // Limit
	LevelOfLast      = 4 // Last
)

func init() { register[KeyRevokeBulk]("key_revoke_bulk") }

var eventsOfKeyRevokeBulk = []Action{keyRevoked}

// traits implements [Change].
func (in *KeyRevokeBulk) traits() Traits {
	level := 1
	switch {
	case in.Unmoved != 0:
		level = LevelOfPeppers
	case in.Last != "":
		level = LevelOfLast
	case in.Limit != 0:
		level = LevelOfBulkLimit
	}
	return Traits{Takes: Yes, Waits: Yes, Vital: No, Level: level, Events: eventsOfKeyRevokeBulk}
}

// apply revokes the keys that pass all filters, up to the bounds of
// [KeyRevokeBulk].
func (in *KeyRevokeBulk) apply(t *txn) Result {
	if _, no := t.owner(); no != nil {
		return Result{Refusal: no}
	}
	switch {
	case len(in.IDs) == 0 && in.CreatedBy == "" && in.Type == nil && in.Environment == nil && in.CreatedBefore.IsZero():
		return invalid("ids", "name at least one filter: all keys are never meant by accident")
	case len(in.IDs) > MaxImport:
		return invalid("ids", "there are more than %d", MaxImport)
	case len(in.Reason) > maxText:
		return invalid("reason", "it is longer than %d bytes", maxText)
	case in.Limit < 0 || in.Limit > BulkKeys:
		return invalid("limit", "it must be 0 to %d", BulkKeys)
	case in.Last != "" && len(in.IDs) == 0:
		return invalid("last", "it goes with ids")
	}
	if turn := t.state.set().turn(); in.Unmoved != 0 && (!turn.Rotating || turn.Generation != in.Unmoved) {
		return refuse(Conflict, "no rotation of the pepper to generation %d is under way", in.Unmoved)
	}
	var r Result
	if len(in.IDs) == 0 {
		return in.filter(t)
	}
	for _, id := range slices.Compact(slices.Sorted(slices.Values(in.IDs))) {
		if k, row := t.keys.byID(id); k != nil {
			in.revoke(t, &r, row, k)
		}
	}
	in.follow(t, &r)
	return r
}

// follow revokes the keys that replaced Last: as many as rotations were made since the
// proposer read the chain, and [MaxImport] at most.
func (in *KeyRevokeBulk) follow(t *txn, r *Result) {
	if in.Last == "" {
		return
	}
	at, _ := t.keys.byID(in.Last)
	for n := 0; n < MaxImport && at != nil && at.ReplacedBy != ""; n++ {
		next, row := t.keys.byID(at.ReplacedBy)
		if next != nil {
			in.revoke(t, r, row, next)
		}
		at = next
	}
}

// revoke revokes one key if it passes the filters and is not revoked yet.
func (in *KeyRevokeBulk) revoke(t *txn, r *Result, row []byte, k *Key) {
	if k.Account != t.cmd.Account || !in.Matches(k) || in.Unmoved != 0 && k.Generation == in.Unmoved {
		return
	}
	r.Matched++
	if k.RevokedAt.IsZero() {
		t.endKey(row, k, in.Reason)
		r.Keys = append(r.Keys, k.ID)
	}
}

// filter goes through the account's keys, from After on and up to the bounds.
func (in *KeyRevokeBulk) filter(t *txn) (r Result) {
	t.settle()
	from := accountRows(rowKey, t.cmd.Account)
	to := prefixEnd(from)
	if in.After != "" {
		row := t.rows.get(named(rowKeyID, in.After))
		if !bytes.HasPrefix(row, from) {
			return refuse(NotFound, "there is no key %q to go on after", in.After)
		}
		from = append(slices.Clone(row), 0)
	}
	most := cmp.Or(in.Limit, BulkKeys)
	seen := 0
	var last KeyID
	t.rows.scan(from, to, func(row, value []byte) error {
		if len(r.Keys) >= most || seen >= most*bulkRowsFor {
			r.Next = last
			return errEnough
		}
		k, err := unpackKey(value)
		if err != nil {
			return err
		}
		seen++
		last = k.ID
		in.revoke(t, &r, slices.Clone(row), k)
		return nil
	})
	return r
}

// Matches reports whether k passes the filters that are set, IDs and Unmoved aside.
func (in *KeyRevokeBulk) Matches(k *Key) bool {
	return (in.CreatedBy == "" || k.CreatedBy == in.CreatedBy) &&
		(in.Type == nil || k.Type == *in.Type) &&
		(in.Environment == nil || k.Environment == *in.Environment) &&
		(in.CreatedBefore.IsZero() || k.CreatedAt.Before(in.CreatedBefore))
}

// KeyImport adds many keys (10,000 at most); a line that cannot be added is
// reported and does not stop the others.
type KeyImport struct {
	Keys  []Key `json:"keys"`
	Lines []int `json:"lines"` // the input line of each key
	// Prefixes holds the prefix of each key: credentials that begin with it are looked
	// up from then on, although they have no checksum that is right. "" is a key
	// that is looked up anyhow, and [AnyPrefix] one of which only the hash is known.
	// Without the member, as older versions wrote it, every credential is looked up.
	Prefixes []string `json:"prefixes,omitzero"`
	// Reassign also adds the keys that another account imported and revoked.
	Reassign bool `json:"reassign,omitzero"`
	// Retired holds the hash of each key under the retired pepper, under which it may be
	// known already. It is there while a rotation is under way.
	Retired []Hash `json:"retired,omitzero"`
}

// AnyPrefix stands for the unknown prefix of a key of which only the hash is known.
const AnyPrefix = "*"

// The levels of members of [KeyImport].
const (
	LevelOfPrefixes = 3 // Prefixes
	LevelOfReassign = 4 // Reassign
)

func init() { register[KeyImport]("key_import") }

var eventsOfKeyImport = []Action{keyImported}

// traits: an import only adds keys; it never replaces one that works.
func (in *KeyImport) traits() Traits {
	t := Traits{Takes: No, Waits: Yes, Vital: No, Level: 1, Events: eventsOfKeyImport}
	for i := range in.Keys {
		t.Level = max(t.Level, levelOfRules(false, in.Keys[i].Limits), levelOfGeneration(in.Keys[i].Generation))
	}
	switch {
	case in.Retired != nil:
		t.Level = LevelOfPeppers
	case t.Level > 1:
	case in.Reassign:
		t.Level = LevelOfReassign
	case in.Prefixes != nil:
		t.Level = LevelOfPrefixes
	}
	return t
}

// apply adds every key that can be added and reports on each line.
func (in *KeyImport) apply(t *txn) Result {
	a, no := t.owner()
	if no != nil {
		return Result{Refusal: no}
	}
	if no := t.frozen(); no != nil {
		return Result{Refusal: no}
	}
	if len(in.Keys) > MaxImport {
		return refuse(LimitReached, "one import has %d keys at most", MaxImport)
	}
	if in.Prefixes != nil && (len(in.Prefixes) != len(in.Keys) || longest(in.Prefixes) > maxID) {
		return invalid("prefixes", "each key must have one of at most %d bytes", maxID)
	}
	if no := in.hashed(t); no != nil {
		return Result{Refusal: no}
	}
	room := t.keyRoom(a)
	var prefixes []string // of the keys that are added
	r := Result{Lines: make([]ImportLine, len(in.Keys))}
	for i := range in.Keys {
		line := &r.Lines[i]
		line.Line = i + 1
		if i < len(in.Lines) {
			line.Line = in.Lines[i]
		}
		k := in.Keys[i]
		if room == 0 {
			line.Error = noKeyRoom(a).Error()
			continue
		}
		if no := in.add(t, &k, uint32(i)); no != nil {
			line.Error = no.Error()
			continue
		}
		if in.Prefixes == nil {
			t.noteImported(true)
		} else {
			prefixes = append(prefixes, in.Prefixes[i])
		}
		line.ID = k.ID
		room--
	}
	t.notePrefixes(prefixes)
	return r
}
