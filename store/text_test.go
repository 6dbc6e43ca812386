package store

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Hashes and key types are read back from the text that they write, and from no other.
func TestTexts(t *testing.T) {
	h := hashOf("a")
	text, err := h.MarshalText()
	var back Hash
	if err != nil || back.UnmarshalText(text) != nil || back != h || len(text) != 64 {
		t.Errorf("hash %s: %v, %v", text, back, err)
	}
	for _, bad := range []string{"", string(text[:63]), string(text) + "0", strings.Repeat("g", 64)} {
		if err := back.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q is a hash", bad)
		}
	}
	for typ, name := range map[KeyType]string{Test: "test", Live: "live"} {
		text, err := typ.MarshalText()
		back := 1 - typ
		if err != nil || string(text) != name || typ.String() != name || back.UnmarshalText(text) != nil || back != typ {
			t.Errorf("key type %d: %s, %d, %v", typ, text, back, err)
		}
	}
	typ := Live
	for _, bad := range []string{"", "Live", "prod", "test "} {
		if err := typ.UnmarshalText([]byte(bad)); err == nil || !strings.Contains(err.Error(), "test or live") || typ != Live {
			t.Errorf("%q is a key type: %v, %v", bad, typ, err)
		}
	}
}

// A record names the scopes of its key, and has those and no others.
func TestScopesOfRecord(t *testing.T) {
	all := []string{"read", "write", "verify", "limit", "admin", "custom:a", "custom:b", "reader", ""}
	rapid.Check(t, func(rt *rapid.T) {
		scopes := slices.Sorted(slices.Values(rapid.SliceOfDistinct(rapid.SampledFrom(all), rapid.ID).Draw(rt, "scopes")))
		r := &Record{Extra: new(Extra)}
		r.Scopes, r.Custom = SplitScopes(scopes)
		if got := slices.Sorted(slices.Values(r.ScopeNames())); !slices.Equal(got, scopes) {
			rt.Fatalf("%v of %v", got, scopes)
		}
		for _, s := range all {
			if r.HasScope(s) != slices.Contains(scopes, s) {
				rt.Fatalf("%v has %q: %v", scopes, s, r.HasScope(s))
			}
		}
	})
	if got := (ScopeAdmin | ScopeRead).Names(); !slices.Equal(got, []string{"read", "admin"}) {
		t.Errorf("in the order of their bits: %v", got)
	}
}

// The limits that a tier shows for test keys are those that its accounts get.
func TestTestLimitsAgreeWithResolve(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		limit := rapid.Ptr(rapid.Int64Range(1, 50), true)
		tier := &Tier{
			Live: Limits{PerMinute: limit.Draw(rt, "live minute"), Burst: limit.Draw(rt, "live burst"), PerMonth: limit.Draw(rt, "live month")},
			Test: Limits{PerMinute: limit.Draw(rt, "test minute"), Burst: limit.Draw(rt, "test burst"), PerMonth: limit.Draw(rt, "test month")},
		}
		before := tier.Test
		shown := tier.TestLimits()
		got := resolve(&Account{}, tier)[Test]
		if ownLimit(&shown) != got {
			rt.Fatalf("%+v shows %+v, an account gets %+v", tier, ownLimit(&shown), got)
		}
		if tier.Test != before {
			rt.Fatal("the tier itself was changed")
		}
	})
}

// The state of a record is that of its key, at each of its times, a moment before
// and a moment after.
func TestStateOfRecord(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		at := rapid.Map(rapid.IntRange(0, 3), func(n int) time.Time {
			if n == 0 {
				return time.Time{}
			}
			return epoch.Add(time.Duration(n) * time.Hour)
		})
		k := newKey("a")
		k.ExpiresAt, k.OverlapEndsAt, k.RevokedAt = at.Draw(rt, "expires"), at.Draw(rt, "overlap"), at.Draw(rt, "revoked")
		k.Disabled = rapid.Bool().Draw(rt, "disabled")
		var r Record
		if _, _, _, err := unpackRecord(&r, string(packRecord(nil, &k))); err != nil {
			rt.Fatal(err)
		}
		for hour := range 5 {
			for _, moment := range []time.Duration{-1, 0, 1} {
				now := epoch.Add(time.Duration(hour)*time.Hour + moment)
				if got, want := r.State(now), k.State(now); got != want {
					rt.Fatalf("%+v at %v: %s, its key is %s", &r, now, got, want)
				}
			}
		}
	})
}

// KeySize is the number of bytes that a key adds to its account.
func TestKeySize(t *testing.T) {
	h := begun(t)
	var want Held
	for _, name := range []string{"a", strings.Repeat("b", 300)} {
		k := newKey("x")
		k.ID, k.Hash, k.Name = KeyID("key_"+name[:1]), hashOf(name), name
		got := h.must(&Command{Change: &KeyCreate{Key: k}}).Key
		want.add(Held{1, KeySize(got)})
		if held, err := h.Held(DefaultAccount); held != want || err != nil {
			t.Errorf("the account holds %+v, %v, want %+v", held, err, want)
		}
	}
}

// An account's allowlist is listed as it was set, with the index of its last change.
func TestAllowlistIsListed(t *testing.T) {
	h := begun(t)
	if list, modified, err := h.Allowlist("acct_a"); list != nil || modified != 0 || err != nil {
		t.Errorf("no account: %v, %d, %v", list, modified, err)
	}
	h.must(&Command{Change: &AccountCreate{Account: Account{ID: "acct_a", Tier: "enterprise"}}})
	created := h.index
	check := func(when string, want []AllowEntry, modified uint64) {
		t.Helper()
		list, at, err := h.Allowlist("acct_a")
		if err != nil || !slices.Equal(list, want) || at != modified {
			t.Errorf("%s: %v of %d, %v; want %v of %d", when, list, at, err, want, modified)
		}
		if got := h.Cell("acct_a").Load().AllowModified; got != modified {
			t.Errorf("%s: the account says %d, want %d", when, got, modified)
		}
	}
	check("never set", nil, created)
	entries := []AllowEntry{{CIDR: newKeyAllow[0], Note: "office"}, {CIDR: newKeyAllow[0], Note: "again"}}
	h.must(&Command{Account: "acct_a", Change: &AllowlistSet{Entries: entries}})
	set := h.index
	h.must(&Command{Account: "acct_a", Change: &AccountUpdate{Name: ptr("b")}})
	check("set", entries, set)
	h.reopen()
	check("after a restart", entries, set)
	h.must(&Command{Account: "acct_a", Match: set, Change: &AllowlistSet{}})
	check("emptied", nil, h.index)
	if err := h.db.Set(named(rowAllow, "acct_a"), []byte{99}, nil); err != nil {
		t.Fatal(err)
	}
	if list, _, err := h.Allowlist("acct_a"); list != nil || err == nil {
		t.Errorf("a damaged row: %v, %v", list, err)
	}
}
