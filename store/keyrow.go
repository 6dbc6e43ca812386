package store

import (
	"encoding/binary"
	"maps"
	"slices"
	"strings"
	"unsafe"

	"github.com/gaissmai/bart"

	"github.com/perfgate/perfgate/limiter"
	"github.com/perfgate/perfgate/store/pack"
)

const (
	keyRowVersion     = 1
	keyRowLineage     = 2 // version 1 and a lineage
	keyRowUnused      = 3 // version 1, of a key whose overlap ends when it is unused; a lineage or none
	keyRowMoved       = 4 // version 1 and a generation; a lineage or none
	keyRowMovedUnused = 5 // version 3 and a generation
	recordRowVersion  = 1
)

// keyRowOf is the version that has room for all of k.
func keyRowOf(k *Key) byte {
	switch {
	case k.Generation != 0 && k.UntilUnused:
		return keyRowMovedUnused
	case k.Generation != 0:
		return keyRowMoved
	case k.UntilUnused:
		return keyRowUnused
	case k.Lineage != nil:
		return keyRowLineage
	}
	return keyRowVersion
}

// rowRotates reports whether the row of a key is one of those with UntilUnused.
func rowRotates(row []byte) bool {
	return len(row) > 0 && (row[0] == keyRowUnused || row[0] == keyRowMovedUnused)
}

// packKey writes a key's row in table i.
func packKey(b []byte, k *Key) []byte {
	version := keyRowOf(k)
	b = append(b, version)
	b = pack.Append(b, k.ID)
	b = append(b, k.Hash[:]...)
	b = pack.Append(b, k.Account)
	b = append(b, byte(k.Type))
	b = pack.Append(b, k.Name)
	b = pack.Append(b, k.Environment)
	b = packStrings(b, k.Scopes)
	b = pack.Append(b, k.Hint)
	b = pack.AppendTime(b, k.CreatedAt)
	b = pack.Append(b, k.CreatedBy)
	b = pack.AppendTime(b, k.ExpiresAt)
	b = pack.AppendBool(b, k.Disabled)
	b = pack.AppendTime(b, k.OverlapEndsAt)
	b = pack.AppendTime(b, k.RevokedAt)
	b = pack.Append(b, k.RevokedBy)
	b = pack.Append(b, k.RevokeReason)
	b = pack.Append(b, k.Replaces)
	b = pack.Append(b, k.ReplacedBy)
	b = packLimits(b, k.Limits)
	b = packOptional(b, k.MaxCostPerCall)
	b = packOptional(b, k.MonthlyBudget)
	b = packPrefixes(b, k.Allowlist)
	b = packStrings(b, k.Routes)
	b = binary.AppendUvarint(b, uint64(len(k.Metadata)))
	if len(k.Metadata) > 0 {
		for _, name := range slices.Sorted(maps.Keys(k.Metadata)) {
			b = pack.Append(b, name)
			b = pack.Append(b, k.Metadata[name])
		}
	}
	b = pack.AppendBool(b, k.Imported)
	b = binary.AppendUvarint(b, k.Created)
	b = binary.AppendUvarint(b, k.Modified)
	if version >= keyRowMoved {
		b = binary.AppendUvarint(b, k.Generation)
	}
	if version >= keyRowUnused {
		b = pack.AppendBool(b, k.Lineage != nil)
	}
	if k.Lineage != nil {
		b = packLineage(b, k.Lineage)
	}
	return b
}

func packLineage(b []byte, l *Lineage) []byte {
	return binary.AppendUvarint(pack.Append(b, l.ID), l.Created)
}

func (u *unpacker) lineage() Lineage {
	return Lineage{ID: KeyID(u.Text()), Created: u.Uvarint()}
}

// unpackKey reads a row of packKey. The key's strings share one copy of row.
func unpackKey(row []byte) (*Key, error) {
	u := unpack(string(row))
	version := u.Byte()
	if version < keyRowVersion || version > keyRowMovedUnused {
		u.Fail()
	}
	k := &Key{ID: KeyID(u.Text())}
	copy(k.Hash[:], u.Take(uint64(len(k.Hash))))
	k.Account = AccountID(u.Text())
	if k.Type = KeyType(u.Byte()); k.Type >= keyTypes {
		u.Fail()
	}
	k.Name = u.Text()
	k.Environment = u.Text()
	k.Scopes = u.strings()
	k.Hint = u.Text()
	k.CreatedAt = u.Time()
	k.CreatedBy = u.Text()
	k.ExpiresAt = u.Time()
	k.Disabled = u.Bool()
	k.OverlapEndsAt = u.Time()
	k.RevokedAt = u.Time()
	k.RevokedBy = u.Text()
	k.RevokeReason = u.Text()
	k.Replaces = KeyID(u.Text())
	k.ReplacedBy = KeyID(u.Text())
	k.Limits = u.limits()
	k.MaxCostPerCall = unpackOptional[Money](&u)
	k.MonthlyBudget = unpackOptional[Money](&u)
	k.Allowlist = u.prefixes()
	k.Routes = u.strings()
	if n := u.Count(); n > 0 {
		k.Metadata = make(map[string]string, n)
		for range n {
			name := u.Text()
			k.Metadata[name] = u.Text()
		}
	}
	k.Imported = u.Bool()
	k.Created = u.Uvarint()
	k.Modified = u.Uvarint()
	if version >= keyRowMoved {
		k.Generation = u.Uvarint()
	}
	k.UntilUnused = version == keyRowUnused || version == keyRowMovedUnused
	if version == keyRowLineage || version >= keyRowUnused && u.Bool() {
		l := u.lineage()
		k.Lineage = &l
	}
	return k, u.err()
}

// The flags of a record's row.
const (
	flagLive = 1 << iota
	flagDisabled
	flagLineage
	flagsEnd
)

// packRecord writes the part of k that admission reads: its row in table h.
// Settings that few keys have come last, and are left out whole where none is set.
func packRecord(b []byte, k *Key) []byte {
	var flags byte
	if k.Type == Live {
		flags |= flagLive
	}
	if k.Disabled {
		flags |= flagDisabled
	}
	if k.Lineage != nil {
		flags |= flagLineage
	}
	scopes, custom := SplitScopes(k.Scopes)
	b = append(b, recordRowVersion, flags, byte(scopes))
	b = pack.Append(b, k.ID)
	b = pack.Append(b, k.Account)
	b = binary.AppendUvarint(b, k.Created)
	b = binary.AppendVarint(b, unixNano(k.ExpiresAt))
	b = binary.AppendVarint(b, unixNano(k.OverlapEndsAt))
	b = binary.AppendVarint(b, unixNano(k.RevokedAt))
	if k.Lineage != nil {
		b = packLineage(b, k.Lineage)
	}
	if k.Limits == nil && k.MaxCostPerCall == nil && k.MonthlyBudget == nil && len(custom)+len(k.Allowlist)+len(k.Routes) == 0 {
		return b
	}
	b = packLimits(b, k.Limits)
	b = packOptional(b, k.MaxCostPerCall)
	b = packOptional(b, k.MonthlyBudget)
	b = packStrings(b, custom)
	b = packStrings(b, k.Routes)
	return packPrefixes(b, k.Allowlist)
}

// unpackRecord reads a row of packRecord into r, which keeps nothing of row.
// It answers the account's id, the lineage (zero for the key's own) and the packed
// extra settings, "" for none.
func unpackRecord(r *Record, row string) (account AccountID, lineage Lineage, extra string, err error) {
	u := unpack(row)
	u.Version(recordRowVersion)
	flags := u.Byte()
	if flags >= flagsEnd {
		u.Fail()
	}
	if flags&flagLive != 0 {
		r.Type = Live
	}
	r.Disabled = flags&flagDisabled != 0
	r.Scopes = Scope(u.Byte())
	r.ID = KeyID(strings.Clone(u.Text()))
	account = AccountID(u.Text())
	r.Created = u.Uvarint()
	r.Expires = u.Varint()
	r.Overlap = u.Varint()
	r.Revoked = u.Varint()
	if flags&flagLineage != 0 {
		lineage = u.lineage()
	}
	if u.Bad() {
		return "", Lineage{}, "", errPacked
	}
	return account, lineage, u.Rest(), nil
}

// routeBytes is the size of one compiled route, its segments aside.
const routeBytes = 64

// unpackExtra reads the extra settings and compiles the routes among them. Its
// strings share the memory of row. It also answers a bound of the bytes that the
// settings take: a prefix, or a segment of a route, takes up to ten times its
// packed form.
func unpackExtra(row string, compile func([]string) Routes) (*Extra, uint32, error) {
	u := unpack(row)
	e := new(Extra)
	bytes := int(unsafe.Sizeof(*e)) + 10*len(row)
	if l := u.limits(); l != nil {
		e.Limit, e.MaxConcurrent = ownLimit(l), value(l.MaxConcurrent)
	}
	if m := unpackOptional[Money](&u); m != nil {
		e.MaxCost = *m
	}
	if m := unpackOptional[Money](&u); m != nil {
		e.Budget = *m
	}
	e.Custom = u.strings()
	if routes := u.strings(); len(routes) > 0 && !u.Bad() {
		e.Routes = compile(routes)
		bytes += routeBytes * len(routes)
	}
	if list := u.prefixes(); len(list) > 0 {
		e.Allow = new(bart.Lite)
		for _, p := range list {
			e.Allow.Insert(p)
		}
	}
	return e, uint32(bytes), u.err()
}

// ownLimit is a key's own limits as the limiter takes them.
func ownLimit(l *Limits) limiter.Limit {
	out := limiter.Limit{PerMinute: value(l.PerMinute), Burst: value(l.Burst), PerMonth: value(l.PerMonth)}
	if out.Burst == 0 {
		out.Burst = out.PerMinute
	}
	return out.Bounded()
}

func value(n *int64) int64 {
	if n == nil {
		return 0
	}
	return *n
}
