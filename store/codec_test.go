package store

import (
	"bytes"
	"math"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func genTime(t *rapid.T, label string) time.Time {
	if rapid.Bool().Draw(t, label+" unset") {
		return time.Time{}
	}
	// Years 1 to 9999, to the nanosecond.
	return time.Unix(rapid.Int64Range(-62135596799, 253402300799).Draw(t, label), rapid.Int64Range(0, 999_999_999).Draw(t, label+" ns")).UTC()
}

func genPrefix(t *rapid.T) netip.Prefix {
	if rapid.Bool().Draw(t, "v4") {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "addr"))), rapid.IntRange(0, 32).Draw(t, "bits")).Masked()
	}
	return netip.PrefixFrom(netip.AddrFrom16([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "addr"))), rapid.IntRange(0, 128).Draw(t, "bits")).Masked()
}

func genLimits(t *rapid.T) *Limits {
	n := rapid.Ptr(rapid.Int64(), true)
	return rapid.Ptr(rapid.Custom(func(t *rapid.T) Limits {
		return Limits{PerMinute: n.Draw(t, "minute"), Burst: n.Draw(t, "burst"), PerMonth: n.Draw(t, "month"), MaxConcurrent: n.Draw(t, "concurrent")}
	}), true).Draw(t, "limits")
}

// nonEmpty keeps one form of "none", as rows do.
func nonEmpty[S ~[]E, E any](list S) S {
	if len(list) == 0 {
		return nil
	}
	return list
}

func genKey(t *rapid.T) *Key {
	text := rapid.String()
	k := &Key{
		ID: KeyID(text.Draw(t, "id")), Hash: Hash(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "hash")), Account: AccountID(text.Draw(t, "account")),
		Type: KeyType(rapid.IntRange(0, 1).Draw(t, "type")), Name: text.Draw(t, "name"), Environment: text.Draw(t, "environment"),
		Scopes: nonEmpty(rapid.SliceOf(text).Draw(t, "scopes")), Hint: text.Draw(t, "hint"),
		Life: Life{
			CreatedAt: genTime(t, "created"), CreatedBy: text.Draw(t, "by"),
			ExpiresAt: genTime(t, "expires"), Disabled: rapid.Bool().Draw(t, "disabled"), OverlapEndsAt: genTime(t, "overlap"),
			RevokedAt: genTime(t, "revoked"), RevokedBy: text.Draw(t, "revoker"), RevokeReason: text.Draw(t, "reason"),
			Replaces: KeyID(text.Draw(t, "replaces")), ReplacedBy: KeyID(text.Draw(t, "replaced")),
		},
		Limits:         genLimits(t),
		MaxCostPerCall: rapid.Ptr(rapid.Custom(func(t *rapid.T) Money { return Money(rapid.Int64().Draw(t, "cost")) }), true).Draw(t, "max"),
		Allowlist:      nonEmpty(rapid.SliceOfN(rapid.Custom(genPrefix), 0, 4).Draw(t, "allow")),
		Routes:         nonEmpty(rapid.SliceOf(text).Draw(t, "routes")), Imported: rapid.Bool().Draw(t, "imported"),
		Created: rapid.Uint64().Draw(t, "created"), Modified: rapid.Uint64().Draw(t, "modified"),
	}
	if k.UntilUnused = rapid.Bool().Draw(t, "until unused"); rapid.Bool().Draw(t, "moved") {
		k.Generation = rapid.Uint64Min(1).Draw(t, "generation")
	}
	if rapid.Bool().Draw(t, "replaces one") {
		k.Lineage = &Lineage{ID: KeyID(text.Draw(t, "first")), Created: rapid.Uint64().Draw(t, "first created")}
	}
	if m := rapid.MapOfN(text, text, 0, 4).Draw(t, "metadata"); len(m) > 0 {
		k.Metadata = m
	}
	return k
}

func TestKeyRowRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := genKey(t)
		row := packKey(nil, k)
		got, err := unpackKey(row)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, k) {
			t.Fatalf("got  %+v\nwant %+v", got, k)
		}
		if again := packKey(nil, got); !bytes.Equal(again, row) {
			t.Fatal("the row depends on more than the key")
		}
		for cut := range row {
			if _, err := unpackKey(row[:cut]); err == nil {
				t.Fatalf("%d of %d bytes pass for a key", cut, len(row))
			}
		}
	})
}

// routeList keeps routes as they are.
type routeList []string

func (l routeList) Allow(_, _, route string) bool { return slices.Contains(l, route) }

func listRoutes(patterns []string) Routes { return routeList(patterns) }

// The record is the key as admission sees it.
func TestRecordAgreesWithKey(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := genKey(t)
		var r Record
		account, lineage, extra, err := unpackRecord(&r, string(packRecord(nil, k)))
		if err != nil {
			t.Fatal(err)
		}
		r.Extra = noExtra
		if extra != "" {
			if r.Extra, _, err = unpackExtra(extra, listRoutes); err != nil {
				t.Fatal(err)
			}
		}
		if want := k.lineage(); k.Lineage != nil && lineage != want || k.Lineage == nil && lineage.ID != "" {
			t.Fatalf("lineage %+v of %+v", lineage, want)
		}
		builtin, custom := SplitScopes(k.Scopes)
		if account != k.Account || r.ID != k.ID || r.Type != k.Type || r.Created != k.Created || r.Scopes != builtin || !reflect.DeepEqual(r.Custom, custom) {
			t.Fatalf("got %+v %+v of\n%+v", &r, r.Extra, k)
		}
		if routes, _ := r.Routes.(routeList); !slices.Equal(routes, k.Routes) {
			t.Fatalf("routes %v of %v", r.Routes, k.Routes)
		}
		if (r.Allow == nil) != (len(k.Allowlist) == 0) {
			t.Fatalf("allowlist %v of %v", r.Allow, k.Allowlist)
		}
		for _, p := range k.Allowlist {
			if !r.Allow.Lookup(p.Addr()) {
				t.Fatalf("%v is not allowed", p)
			}
		}
		now := rapid.OneOf(rapid.Just(k.ExpiresAt), rapid.Just(k.OverlapEndsAt), rapid.Just(epoch)).Draw(t, "now")
		if now.Year() < 1971 || now.Year() > 2200 { // beyond, records clamp
			now = epoch
		}
		if got, want := r.State(now), k.State(now); got != want {
			t.Fatalf("at %v the record is %s, the key %s", now, got, want)
		}
	})
}

func TestUnixNanoClamps(t *testing.T) {
	for _, tc := range []struct {
		t    time.Time
		want int64
	}{
		{time.Time{}, 0},
		{time.Date(1, 1, 2, 0, 0, 0, 0, time.UTC), 1},
		{time.Unix(0, 0), 1},
		{time.Unix(0, 7), 7},
		{time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC), math.MaxInt64},
	} {
		if got := unixNano(tc.t); got != tc.want {
			t.Errorf("%v: %d, want %d", tc.t, got, tc.want)
		}
	}
}

// Rows are read from a disk: for any bytes, decoding ends with a key or
// an error, in memory that is in proportion.
func FuzzUnpack(f *testing.F) {
	k := samples()["key_create"].Change.(*KeyCreate).Key
	f.Add(packKey(nil, &k))
	f.Add(packRecord(nil, &k))
	f.Add(packAllowlist([]AllowEntry{{CIDR: k.Allowlist[0], Note: "n"}}, 7))
	f.Add(append(eventRow("a", epoch, 1, 2), packEvent(nil, &Event{Time: epoch, Action: "key.create", Request: &EventRequest{RequestInfo: RequestInfo{ID: "r"}}}, nil)...))
	f.Fuzz(func(t *testing.T, row []byte) {
		if k, err := unpackKey(row); err == nil {
			again, err := unpackKey(packKey(nil, k))
			if err != nil || !reflect.DeepEqual(again, k) {
				t.Errorf("%+v\nthen %+v (%v)", k, again, err)
			}
		}
		var r Record
		if _, _, extra, err := unpackRecord(&r, string(row)); err == nil {
			_, _, _ = unpackExtra(extra, listRoutes)
		}
		if list, modified, err := unpackAllowlist(row); err == nil && row != nil {
			if again, _, err := unpackAllowlist(packAllowlist(list, modified)); err != nil || len(again) != len(list) {
				t.Errorf("%v then %v (%v)", list, again, err)
			}
		}
		for cut := range min(len(row), 64) {
			_, _, _ = unpackEvent(row[:cut], row[cut:])
		}
	})
}
