package local

import (
	"fmt"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/perfgate/perfgate/store"
)

func refused(at time.Time, account store.AccountID, key store.KeyID, code string, status int, hint, ip string) *Observation {
	o := admitted(at, account, key)
	o.Code, o.Status, o.Hint, o.Client = code, status, hint, netip.MustParseAddr(ip)
	return o
}

// Failed requests are counted by reason, key, address, country and hint, across a restart;
// those of no account are shown to the account that asks for them too.
func TestFailures(t *testing.T) {
	l := open(t, Config{Clock: func() time.Time { return day0.Add(3 * time.Hour) }, Country: locateModel})
	const jp, xx = "198.51.100.1", "203.0.113.7"
	for _, o := range []*Observation{
		refused(day0, "", "", "invalid_key", 401, "pk_live_a…b", jp),
		refused(day0.Add(time.Hour), "", "", "invalid_key", 401, "pk_live_a…b", xx),
		refused(day0.Add(2*time.Hour), "", "", "key_in_query", 400, "", xx),
		refused(day0.Add(2*time.Hour), "default", "key_a", "key_revoked", 401, "", jp),
		refused(day0.Add(2*time.Hour), "default", "key_b", "requests_per_minute", 429, "", xx),
		refused(day0.Add(2*time.Hour), "acct_a", "key_c", "insufficient_scope", 403, "", jp),
		admitted(day0.Add(2*time.Hour), "default", "key_a"),
	} {
		l.Observe(o)
		must(t, l.Flush()) // in this order
	}
	o := admitted(day0.Add(2*time.Hour), "default", "key_b")
	o.Status, o.Failure = 504, "upstream_timeout"
	l.Observe(o)
	n := func(value string, requests int64) FailureCount { return FailureCount{Value: value, Requests: requests} }
	address := func(ip, country string, requests int64) FailureCount { return FailureCount{ip, country, requests} }
	for name, c := range map[string]struct {
		q    FailureQuery
		want FailureCounts
	}{
		"of unknown credentials too": {FailureQuery{Account: "default", Stray: true, Kinds: []FailureKind{FailedAuth}}, FailureCounts{4,
			[]FailureCount{n("invalid_key", 2), n("key_in_query", 1), n("key_revoked", 1)}, []FailureCount{n("key_a", 1)},
			[]FailureCount{address(jp, "JP", 2), address(xx, "", 2)}, []FailureCount{n("JP", 2)}, []FailureCount{n("pk_live_a…b", 2)}}},
		"one key's": {FailureQuery{Account: "default", Key: "key_b"}, FailureCounts{2,
			[]FailureCount{n("requests_per_minute", 1), n("upstream_timeout", 1)}, []FailureCount{n("key_b", 2)}, []FailureCount{address(xx, "", 2)}, []FailureCount{}, []FailureCount{}}},
		"another account's": {FailureQuery{Account: "acct_a"}, FailureCounts{1,
			[]FailureCount{n("insufficient_scope", 1)}, []FailureCount{n("key_c", 1)}, []FailureCount{address(jp, "JP", 1)}, []FailureCount{n("JP", 1)}, []FailureCount{}}},
		"a time": {FailureQuery{Account: "default", Stray: true, From: day0, To: day0.Add(time.Hour)}, FailureCounts{1,
			[]FailureCount{n("invalid_key", 1)}, []FailureCount{}, []FailureCount{address(jp, "JP", 1)}, []FailureCount{n("JP", 1)}, []FailureCount{n("pk_live_a…b", 1)}}},
	} {
		c.q.Most = 10
		for range 2 {
			got, err := l.Failures(c.q)
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("%s: %+v, %v, want %+v", name, got, err, c.want)
			}
		}
		twice := MergeFailures([]FailureCounts{c.want, c.want}, 1)
		if twice.Requests != 2*c.want.Requests || len(twice.Reasons) != 1 || twice.Reasons[0].Requests != 2*c.want.Reasons[0].Requests {
			t.Errorf("%s: two nodes: %+v", name, twice)
		}
	}
}

// A flood of failures keeps its number right within the bound of rows, and takes no row
// from another account.
func TestFailuresAreBounded(t *testing.T) {
	l := open(t, Config{Clock: func() time.Time { return day0.Add(time.Hour) }})
	const flood = 20_000
	for i := range flood {
		ip := fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255)
		l.Observe(refused(day0, "", "", "invalid_key", 401, fmt.Sprint("hint", i), ip))
		l.Observe(refused(day0, "acct_a", store.KeyID(fmt.Sprint("key_", i)), "key_revoked", 401, "", ip))
		if i%1000 == 0 {
			if err := l.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	l.Observe(refused(day0, "acct_b", "key_z", "key_expired", 401, "", "10.0.0.1"))
	for account, want := range map[store.AccountID]int64{"": flood, "acct_a": flood, "acct_b": 1} {
		got, err := l.Failures(FailureQuery{Account: account, Most: flood})
		if err != nil || got.Requests != want || got.Reasons[0].Requests != want || len(got.Addresses) > maxStrayFailures {
			t.Errorf("%s: %d of %d, %d addresses, %v", account, got.Requests, want, len(got.Addresses), err)
		}
	}
	rows := len(l.w.failed.rows)
	if rows > maxFailures+60 {
		t.Errorf("%d rows", rows)
	}
	if got, _ := l.Failures(FailureQuery{Account: "acct_b", Most: 1}); len(got.Addresses) != 1 || len(got.Keys) != 1 {
		t.Errorf("the other account: %+v", got)
	}
	must(t, l.Flush())
	must(t, l.w.trim(day0.Add(failureKeep+3*time.Hour)))
	if got, err := l.Failures(FailureQuery{Account: "acct_a", Most: 1}); err != nil || got.Requests != 0 {
		t.Errorf("after their time: %+v, %v", got, err)
	}
}

// A caller who is known and lacks a right has authenticated.
func TestKindsOfFailures(t *testing.T) {
	for _, c := range []struct {
		status int
		reason string
		person bool
		want   FailureKind
	}{
		{401, "invalid_key", false, FailedAuth},
		{401, "invalid_session", true, FailedAuth},
		{403, "ip_not_allowed", false, FailedAuth},
		{403, "insufficient_scope", false, FailedAuth},
		{403, "insufficient_scope", true, FailedOther},
		{403, "forbidden", true, FailedOther},
		{403, "forbidden", false, FailedOther},
		{403, "feature_not_in_tier", false, FailedOther},
		{400, "key_in_query", false, FailedAuth},
		{502, "forbidden", true, FailedGateway},
	} {
		if got := kindOf(c.status, c.reason, c.person); got != c.want {
			t.Errorf("%d %s, of a person %v: %v, want %v", c.status, c.reason, c.person, got, c.want)
		}
	}
}
