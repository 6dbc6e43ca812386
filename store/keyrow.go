package store

import (
	"encoding/binary"
	"maps"
	"slices"
	"strings"

	"github.com/gaissmai/bart"

	"github.com/perfgate/perfgate/limiter"
)

const (
	keyRowVersion    = 1
	recordRowVersion = 1
)

// packKey writes a key's row in table i.
func packKey(b []byte, k *Key) []byte {
	b = append(b, keyRowVersion)
	b = packString(b, k.ID)
	b = append(b, k.Hash[:]...)
	b = packString(b, k.Account)
	b = append(b, byte(k.Type))
	b = packString(b, k.Name)
	b = packString(b, k.Environment)
	b = packStrings(b, k.Scopes)
	b = packString(b, k.Hint)
	b = packTime(b, k.CreatedAt)
	b = packString(b, k.CreatedBy)
	b = packTime(b, k.ExpiresAt)
	b = packBool(b, k.Disabled)
	b = packTime(b, k.OverlapEndsAt)
	b = packTime(b, k.RevokedAt)
	b = packString(b, k.RevokedBy)
	b = packString(b, k.RevokeReason)
	b = packString(b, k.Replaces)
	b = packString(b, k.ReplacedBy)
	b = packLimits(b, k.Limits)
	b = packOptional(b, k.MaxCostPerCall)
	b = packOptional(b, k.MonthlyBudget)
	b = packPrefixes(b, k.Allowlist)
	b = packStrings(b, k.Routes)
	b = binary.AppendUvarint(b, uint64(len(k.Metadata)))
	if len(k.Metadata) > 0 {
		for _, name := range slices.Sorted(maps.Keys(k.Metadata)) {
			b = packString(b, name)
			b = packString(b, k.Metadata[name])
		}
	}
	b = packBool(b, k.Imported)
	b = binary.AppendUvarint(b, k.Created)
	return binary.AppendUvarint(b, k.Modified)
}

// unpackKey reads what packKey wrote. The key's strings share one copy of row.
func unpackKey(row []byte) (*Key, error) {
	u := unpacker{row: string(row)}
	u.version(keyRowVersion)
	k := &Key{ID: KeyID(u.string())}
	if len(u.row) < len(k.Hash) {
		return nil, errPacked
	}
	copy(k.Hash[:], u.row)
	u.row = u.row[len(k.Hash):]
	k.Account = AccountID(u.string())
	if k.Type = KeyType(u.byte()); k.Type >= keyTypes {
		u.fail()
	}
	k.Name = u.string()
	k.Environment = u.string()
	k.Scopes = u.strings()
	k.Hint = u.string()
	k.CreatedAt = u.time()
	k.CreatedBy = u.string()
	k.ExpiresAt = u.time()
	k.Disabled = u.bool()
	k.OverlapEndsAt = u.time()
	k.RevokedAt = u.time()
	k.RevokedBy = u.string()
	k.RevokeReason = u.string()
	k.Replaces = KeyID(u.string())
	k.ReplacedBy = KeyID(u.string())
	k.Limits = u.limits()
	k.MaxCostPerCall = unpackOptional[Money](&u)
	k.MonthlyBudget = unpackOptional[Money](&u)
	k.Allowlist = u.prefixes()
	k.Routes = u.strings()
	if n := u.count(); n > 0 {
		k.Metadata = make(map[string]string, n)
		for range n {
			name := u.string()
			k.Metadata[name] = u.string()
		}
	}
	k.Imported = u.bool()
	k.Created = u.uvarint()
	k.Modified = u.uvarint()
	return k, u.err()
}

// The flags of a record's row.
const (
	flagLive = 1 << iota
	flagDisabled
	flagsEnd
)

// builtinScopes are the scopes that have a bit in [Scope].
var builtinScopes = [...]string{"read", "write", "verify", "limit", "admin"}

// SplitScopes sorts scopes into the built-in ones and the custom rest.
func SplitScopes(scopes []string) (builtin Scope, custom []string) {
	for _, s := range scopes {
		if i := slices.Index(builtinScopes[:], s); i >= 0 {
			builtin |= 1 << i
		} else {
			custom = append(custom, s)
		}
	}
	return builtin, custom
}

// ScopeNames lists r's scopes: the built-in ones in the order of their bits, then
// the custom ones.
func (r *Record) ScopeNames() []string {
	out := make([]string, 0, len(r.Custom)+2)
	for i, s := range builtinScopes {
		if r.Scopes&(1<<i) != 0 {
			out = append(out, s)
		}
	}
	return append(out, r.Custom...)
}

// packRecord writes the part of k that admission reads: its row in table h.
// What few keys set comes last, and is left out whole where none of it is set.
func packRecord(b []byte, k *Key) []byte {
	var flags byte
	if k.Type == Live {
		flags |= flagLive
	}
	if k.Disabled {
		flags |= flagDisabled
	}
	scopes, custom := SplitScopes(k.Scopes)
	b = append(b, recordRowVersion, flags, byte(scopes))
	b = packString(b, k.ID)
	b = packString(b, k.Account)
	b = binary.AppendUvarint(b, k.Created)
	b = binary.AppendVarint(b, unixNano(k.ExpiresAt))
	b = binary.AppendVarint(b, unixNano(k.OverlapEndsAt))
	b = binary.AppendVarint(b, unixNano(k.RevokedAt))
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

// unpackRecord reads what packRecord wrote into r, which keeps nothing of row.
// It answers the account's id and the packed extra settings, "" for none.
func unpackRecord(r *Record, row string) (account AccountID, extra string, err error) {
	u := unpacker{row: row}
	u.version(recordRowVersion)
	flags := u.byte()
	if flags >= flagsEnd {
		u.fail()
	}
	if flags&flagLive != 0 {
		r.Type = Live
	}
	r.Disabled = flags&flagDisabled != 0
	r.Scopes = Scope(u.byte())
	r.ID = KeyID(strings.Clone(u.string()))
	account = AccountID(u.string())
	r.Created = u.uvarint()
	r.Expires = u.varint()
	r.Overlap = u.varint()
	r.Revoked = u.varint()
	if u.bad {
		return "", "", errPacked
	}
	return account, u.row, nil
}

// unpackExtra reads the extra settings. Its strings share the memory of row.
func unpackExtra(row string) (*Extra, error) {
	u := unpacker{row: row}
	e := new(Extra)
	if l := u.limits(); l != nil {
		e.Limit = ownLimit(l)
	}
	if m := unpackOptional[Money](&u); m != nil {
		e.MaxCost = *m
	}
	if m := unpackOptional[Money](&u); m != nil {
		e.Budget = *m
	}
	e.Custom = u.strings()
	e.Routes = u.strings()
	if list := u.prefixes(); len(list) > 0 {
		e.Allow = new(bart.Lite)
		for _, p := range list {
			e.Allow.Insert(p)
		}
	}
	return e, u.err()
}

// ownLimit is a key's own limits as the limiter takes them.
func ownLimit(l *Limits) limiter.Limit {
	out := limiter.Limit{PerMinute: value(l.PerMinute), Burst: value(l.Burst), PerMonth: value(l.PerMonth)}
	if out.Burst == 0 {
		out.Burst = out.PerMinute
	}
	return out
}

func value(n *int64) int64 {
	if n == nil {
		return 0
	}
	return *n
}
