package manage

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/store"
)

// many returns n strings made by a format with one %d.
func many(n int, format string) *[]string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf(format, i)
	}
	return &out
}

func pairs(n int, name, value string) *map[string]string {
	out := map[string]string{}
	for i := range n {
		out[fmt.Sprintf("%s%d", name, i)] = value
	}
	return &out
}

// fieldCase is a set of a key's fields, and the one that the fault names; "" is none.
type fieldCase struct {
	name string
	f    keyFields
	bad  string
}

func checkFields(t *testing.T, now time.Time, cases []fieldCase) {
	t.Helper()
	for _, c := range cases {
		err := c.f.check(now)
		switch {
		case c.bad == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.bad != "" && (err == nil || !strings.HasPrefix(fault.From(err).Sentence(), c.bad+": ") && !strings.HasPrefix(fault.From(err).Sentence(), c.bad+" ")):
			t.Errorf("%s: %v, want a fault of %s", c.name, err, c.bad)
		}
	}
}

func wide(n int) *string { return new(strings.Repeat("𝕏", n)) }

// Each bound of a key's texts, times and limits holds on both of its sides, in
// characters.
func TestKeyFieldBounds(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	limit := func(n int64) *store.Limits { return &store.Limits{PerMinute: &n} }
	at := func(t time.Time) *time.Time { return &t }
	checkFields(t, now, []fieldCase{
		{"nothing", keyFields{}, ""},
		{"the longest name", keyFields{name: wide(maxName)}, ""},
		{"a longer name", keyFields{name: wide(maxName + 1)}, "name"},
		{"an empty name", keyFields{name: new("")}, "name"},
		{"a blank name", keyFields{name: new("\u2003 ")}, "name"},
		{"a name with a control character", keyFields{name: new("a\tb")}, "name"},
		{"a name with a zero-width space", keyFields{name: new("a\u200bb")}, "name"},
		{"an environment with a byte order mark", keyFields{environment: new("\ufeffprod")}, "environment"},
		{"a name of metadata that turns the direction", keyFields{metadata: &map[string]string{"a\u202eb": "c"}}, "metadata"},
		{"a value of metadata that does", keyFields{metadata: &map[string]string{"a": "b\u2067c"}}, "metadata.a"},
		{"a value of metadata with lines", keyFields{metadata: &map[string]string{"a": "b\n\tc"}}, ""},
		{"the longest environment", keyFields{environment: wide(maxEnvironment)}, ""},
		{"a longer environment", keyFields{environment: wide(maxEnvironment + 1)}, "environment"},
		{"no environment", keyFields{environment: new("")}, ""},
		{"the next moment", keyFields{expiresAt: at(now.Add(1))}, ""},
		{"this moment", keyFields{expiresAt: at(now)}, "expires_at"},
		{"the last year", keyFields{expiresAt: at(time.Date(9998, 12, 31, 0, 0, 0, 0, time.UTC))}, ""},
		{"a later year", keyFields{expiresAt: at(time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC))}, "expires_at"},
		{"the smallest limit", keyFields{limits: limit(1)}, ""},
		{"a smaller limit", keyFields{limits: limit(0)}, "limits.requests_per_minute"},
		{"the largest limit", keyFields{limits: limit(maxPerMinute)}, ""},
		{"a larger limit", keyFields{limits: limit(maxPerMinute + 1)}, "limits.requests_per_minute"},
		{"the largest burst", keyFields{limits: &store.Limits{PerMinute: new(int64(1)), Burst: new(int64(maxPerMinute))}}, ""},
		{"a larger burst", keyFields{limits: &store.Limits{PerMinute: new(int64(1)), Burst: new(int64(maxPerMinute + 1))}}, "limits.burst"},
		{"the largest month", keyFields{limits: &store.Limits{PerMonth: new(int64(maxPerMonth))}}, ""},
		{"a larger month", keyFields{limits: &store.Limits{PerMonth: new(int64(maxPerMonth + 1))}}, "limits.requests_per_month"},
		{"a burst alone", keyFields{limits: &store.Limits{Burst: new(int64(1))}}, "limits.burst"},
	})
}

// Each bound of a key's lists and metadata holds on both of its sides.
func TestKeyListBounds(t *testing.T) {
	checkFields(t, time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC), []fieldCase{
		{"the most scopes", keyFields{scopes: many(store.MaxScopes, "s%d")}, ""},
		{"more scopes", keyFields{scopes: many(store.MaxScopes+1, "s%d")}, "scopes"},
		{"no scope", keyFields{scopes: many(0, "")}, "scopes"},
		{"the longest scope", keyFields{scopes: &[]string{strings.Repeat("s", maxScope)}}, ""},
		{"a longer scope", keyFields{scopes: &[]string{"a", strings.Repeat("s", maxScope+1)}}, "scopes.1"},
		{"a scope with a backslash", keyFields{scopes: &[]string{`a\b`}}, "scopes.0"},
		{"the most routes", keyFields{routes: many(store.MaxRoutes, "/v1/%d")}, ""},
		{"more routes", keyFields{routes: many(store.MaxRoutes+1, "/v1/%d")}, "routes"},
		{"no routes", keyFields{routes: many(0, "")}, ""},
		{"a route without a slash", keyFields{routes: &[]string{"/a", "chat"}}, "routes.1"},
		{"the most addresses", keyFields{allowlist: many(store.MaxKeyPrefixes, "2001:db8::%x")}, ""},
		{"more addresses", keyFields{allowlist: many(store.MaxKeyPrefixes+1, "2001:db8::%x")}, "allowlist"},
		{"a bad address", keyFields{allowlist: &[]string{"192.0.2.1", "x"}}, "allowlist.1"},
		{"the most pairs", keyFields{metadata: pairs(store.MaxMetadata, "n", "v")}, ""},
		{"more pairs", keyFields{metadata: pairs(store.MaxMetadata+1, "n", "v")}, "metadata"},
		{"the longest value", keyFields{metadata: pairs(1, "n", *wide(maxMetaValue))}, ""},
		{"a longer value", keyFields{metadata: pairs(1, "n", *wide(maxMetaValue + 1))}, "metadata.n0"},
		{"the longest name of a pair", keyFields{metadata: pairs(1, *wide(maxMetaName - 1), "v")}, ""},
		{"a longer name of a pair", keyFields{metadata: pairs(1, *wide(maxMetaName), "v")}, "metadata"},
	})
}

// Lists lose their order and duplicates, addresses their spelling.
func TestKeyFieldsAreNormalised(t *testing.T) {
	in := []string{"write", "read", "write"}
	f := keyFields{
		scopes: &in, routes: &[]string{"/b", "/a", "/b"},
		allowlist: &[]string{"203.0.113.9/24", "::ffff:192.0.2.1", "203.0.113.0/24"},
	}
	if err := f.check(time.Now()); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(*f.scopes, *f.routes, f.prefixes); got != "[read write] [/a /b] [192.0.2.1/32 203.0.113.0/24]" {
		t.Error(got)
	}
}

// The faults of many entries are named up to a bound, and the others counted.
func TestComplaints(t *testing.T) {
	for _, n := range []int{0, 1, 500, 503} {
		var c complaints
		for i := range n {
			c.add(fmt.Sprint("line ", i), strings.Repeat("x", 100), fmt.Errorf("is bad"))
		}
		err := c.err()
		if (err == nil) != (n == 0) {
			t.Fatalf("%d entries: %v", n, err)
		} else if err == nil {
			continue
		}
		f := fault.From(err)
		s := f.Sentence()
		if strings.Count(s, "is bad") != min(n, 20) || strings.Contains(s, fmt.Sprintf("; and %d more.", n-20)) != (n > 20) || strings.Contains(s, strings.Repeat("x", 41)) {
			t.Errorf("%d entries: …%s", n, s[max(0, len(s)-60):])
		}
		if got := f.Details(); len(got) != min(n, 500) || got[len(got)-1].Param != fmt.Sprint("line ", len(got)-1) || got[0].Param != f.Param {
			t.Errorf("%d entries: %d are listed, the last is %+v", n, len(got), got[len(got)-1])
		}
	}
}

func TestTierNames(t *testing.T) {
	for name, good := range map[string]bool{
		"a": true, "0": true, "pro-2_x": true, strings.Repeat("a", 64): true,
		"": false, strings.Repeat("a", 65): false, "-a": false, "_a": false, "A": false, "a b": false, "ä": false, "a.b": false,
	} {
		if isTierName(name) != good {
			t.Errorf("%q: %v", name, !good)
		}
	}
}

func TestLoopbackNames(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "LocalHost:80": true, "127.0.0.1": true, "127.0.0.1:8081": true, "[::1]:8081": true, "[::1]": true, "203.0.113.1": true,
		"": false, "example.com": false, "localhost.example.com:80": false, "127.0.0.1.example.com": false, "localhost:80:80": false,
	} {
		if namesLoopback(host) != want {
			t.Errorf("%q: %v", host, !want)
		}
	}
}

// A text list reads back as it was written, with anything in its notes but line ends.
func TestAllowTextRoundTrip(t *testing.T) {
	for _, c := range []struct{ in, out, bad string }{
		{"", "", ""},
		{"# only a comment\n\n \t\n", "", ""},
		{"192.0.2.1", "192.0.2.1\n", ""},
		{"192.0.2.1/32 # a # b\r\n", "192.0.2.1 # a # b\n", ""},
		{"192.0.2.1\n192.0.2.1 # later\n192.0.2.1 # third\n", "192.0.2.1 # later\n", ""},
		{"2001:DB8::/32#x", "2001:db8::/32 # x\n", ""},
		{"::ffff:10.0.0.0/104\n", "10.0.0.0/8\n", ""},
		{"10.0.0.1 10.0.0.2\n", "", "line 1: "},
		{"10.0.0.1\nfe80::1%eth0\n", "", "line 2: "},
		{"10.0.0.1 # " + strings.Repeat("𝕏", maxNote) + "\n", "10.0.0.1 # " + strings.Repeat("𝕏", maxNote) + "\n", ""},
		{"10.0.0.1 # " + strings.Repeat("x", maxNote+1) + "\n", "", "line 1: "},
		{"10.0.0.1 # a\x01\n", "", "line 1: "},
		{"10.0.0.1 # \xff\n", "", "The body is not UTF-8."},
	} {
		entries, err := parseAllowText([]byte(c.in))
		if c.bad != "" {
			if err == nil || !strings.HasPrefix(fault.From(err).Sentence(), c.bad) {
				t.Errorf("%.40q: %v, want %q", c.in, err, c.bad)
			}
			continue
		}
		if got := string(appendAllowText(nil, entries)); err != nil || got != c.out {
			t.Errorf("%.40q: %.60q %v, want %.60q", c.in, got, err, c.out)
		}
		again, err := parseAllowText([]byte(c.out))
		if err != nil || !slices.Equal(again, entries) {
			t.Errorf("%.40q reads back as %v, %v", c.out, again, err)
		}
	}
}

// Views show null where there is nothing, and times in UTC.
func TestViewHelpers(t *testing.T) {
	if some("") != nil || some(0) != nil || *some("x") != "x" {
		t.Error("some")
	}
	zone := time.FixedZone("", 3600)
	if when(time.Time{}) != nil || when(time.Unix(0, 0).In(zone)).Location() != time.UTC {
		t.Error("when")
	}
	double := func(n int) int { return 2 * n }
	if convert[int](nil, double) != nil || !slices.Equal(convert([]int{1, 2}, double), []int{2, 4}) || convert([]int{}, double) == nil {
		t.Error("convert")
	}
}

// A hash in hexadecimal is whole or refused.
func TestReadSum(t *testing.T) {
	good := strings.Repeat("0aF", 21) + "1"
	for s, want := range map[string]bool{good: true, good + "00": false, good[1:]: false, good[2:]: false, "": false, strings.Repeat("g", 64): false} {
		if _, err := readSum(s); (err == nil) != want {
			t.Errorf("%q: %v", s, err)
		}
	}
}

// A cursor into the audit log reads back; a damaged one is refused.
func TestPlaces(t *testing.T) {
	end, at := time.Unix(1, 2).UTC(), time.Unix(3, 4).UTC()
	gotEnd, pos, err := readPlace(formatPlace(end, store.EventPos{Time: at, ID: "evt_1"}))
	if err != nil || !gotEnd.Equal(end) || !pos.Time.Equal(at) || pos.ID != "evt_1" {
		t.Errorf("%v %v %v", gotEnd, pos, err)
	}
	for _, s := range []string{"", "1", "1 2", "x 2 evt", "1 x evt"} {
		if _, _, err := readPlace(s); err == nil || fault.From(err).Code != fault.InvalidCursor {
			t.Errorf("%q: %v", s, err)
		}
	}
}
