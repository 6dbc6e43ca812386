package local

import (
	"cmp"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"github.com/perfgate/perfgate/store"
)

// observations over a few accounts, keys and hours, so that all of them meet.
func drawObservation(t *rapid.T) *Observation {
	o := admitted(day0.Add(time.Duration(rapid.IntRange(0, 300).Draw(t, "at"))*37*time.Second), "", "")
	o.Account = rapid.SampledFrom([]store.AccountID{"", "default", "acct_a", "acct_bb"}).Draw(t, "account")
	if o.Account != "" {
		o.Key = rapid.SampledFrom([]store.KeyID{"key_1", "key_2", "key_33"}).Draw(t, "key")
	}
	o.Type = rapid.SampledFrom([]store.KeyType{store.Test, store.Live}).Draw(t, "type")
	o.Method = rapid.SampledFrom([]string{"GET", "POST", "DELETE", "PURGE"}).Draw(t, "method")
	o.Action = rapid.SampledFrom([]string{"", "", "key.revoke", "key.rotate", "ratelimit"}).Draw(t, "action")
	o.Environment = rapid.SampledFrom([]string{"", "prod", "dev"}).Draw(t, "environment")
	o.Route = rapid.SampledFrom([]string{"", "/v1/", "/v1/chat"}).Draw(t, "route")
	o.Units = int64(rapid.IntRange(0, 3).Draw(t, "units"))
	o.Cost = store.Money(rapid.IntRange(0, 1000).Draw(t, "cost"))
	o.Status = rapid.SampledFrom([]int{200, 404, 502}).Draw(t, "status")
	o.Path = rapid.SampledFrom([]string{"", "/v1/chat/7"}).Draw(t, "path")
	o.Upstream = rapid.SampledFrom([]string{"", "http://10.0.0.5:9000"}).Draw(t, "upstream")
	o.Attempts = rapid.IntRange(0, 2).Draw(t, "attempts")
	if o.Status >= 500 {
		o.Failure = rapid.SampledFrom([]string{"", "upstream_unreachable"}).Draw(t, "failure")
	}
	o.Country = rapid.SampledFrom([]string{"", "DE", "BR"}).Draw(t, "country")
	o.Client = rapid.SampledFrom([]netip.Addr{o.Client, netip.MustParseAddr("198.51.100.1")}).Draw(t, "client")
	if rapid.Bool().Draw(t, "refused") {
		o.Code = rapid.SampledFrom([]string{"invalid_key", "requests_per_minute"}).Draw(t, "code")
		o.Status = rapid.SampledFrom([]int{401, 429, 503}).Draw(t, "refused with")
		o.Hint = rapid.SampledFrom([]string{"", "hint1"}).Draw(t, "hint")
	}
	if rapid.IntRange(0, 4).Draw(t, "by an operator") == 0 {
		o.Actor = store.Actor{Type: store.ActorOperator, ID: "op_1", Name: rapid.SampledFrom([]string{"", "hint1", "ops"}).Draw(t, "name")}
	}
	return o
}

// The event that an observation should become, seq and id aside.
func modelEvent(o *Observation) *store.Event {
	e := &store.Event{
		Time: o.At, Action: "request", Actor: store.Actor{Type: store.ActorKey, ID: string(o.Key), Name: o.Hint},
		Country: modelCountry(o),
		Account: o.Account, KeyID: o.Key, Reason: o.Code, IP: o.Client.String(), UserAgent: o.UserAgent,
		Request: &store.EventRequest{
			RequestInfo: store.RequestInfo{ID: o.RequestID, Method: o.Method, Route: o.Route, Status: o.Status, DurationMS: 1.5},
			Path:        o.Path, Upstream: o.Upstream, Attempts: o.Attempts, StartedAt: o.At.Truncate(time.Millisecond),
		},
	}
	if e.Reason == "" && o.Status >= 500 {
		e.Reason = o.Failure
	}
	if o.Actor.Type != "" {
		e.Actor = o.Actor
		e.Actor.Name = cmp.Or(o.Hint, o.Actor.Name)
	}
	if e.Actor.ID == "" {
		e.Actor.Type = "" // no caller was recognised
	}
	e.EventType = map[string]store.EventType{"GET": "read", "POST": "create", "DELETE": "delete", "PURGE": "read"}[o.Method]
	if of := map[string]store.EventType{"key.revoke": "delete", "key.rotate": "update"}[o.Action]; of != "" {
		e.EventType = of
	}
	e.Action = cmp.Or(o.Action, e.Action)
	switch {
	case o.Status >= 500:
		e.Outcome = store.Failed
	case o.Code != "":
		e.Outcome = store.Denied
	default:
		e.Outcome = store.Success
	}
	return e
}

// locateModel is a geography of two places.
func locateModel(ip netip.Addr) Country {
	if ip == netip.MustParseAddr("198.51.100.1") {
		return Country{'J', 'P'}
	}
	return Country{}
}

func modelCountry(o *Observation) string { return cmp.Or(o.Country, locateModel(o.Client).String()) }

func drawQuery(t *rapid.T, have []*store.Event) store.EventQuery {
	some := func(label string) bool { return rapid.IntRange(0, 3).Draw(t, label) == 0 }
	q := store.EventQuery{Account: rapid.SampledFrom([]store.AccountID{"", "default", "acct_a", "acct_bb", store.Operators}).Draw(t, "of")}
	q.WithOperators = q.Account == store.DefaultAccount && rapid.Bool().Draw(t, "with operators")
	if some("from?") {
		q.From = day0.Add(time.Duration(rapid.IntRange(0, 11000).Draw(t, "from")) * time.Second)
	}
	if some("to?") {
		q.To = day0.Add(time.Duration(rapid.IntRange(0, 11000).Draw(t, "to")) * time.Second)
	}
	if some("key?") {
		q.Key = "key_2"
	}
	if some("type?") {
		q.EventType = rapid.SampledFrom([]store.EventType{"read", "create", "update"}).Draw(t, "of type")
	}
	if some("user?") {
		q.User = rapid.SampledFrom([]string{"key_1", "hint1", "op_1"}).Draw(t, "user")
	}
	if some("action?") {
		q.Action = rapid.SampledFrom([]string{"request", "key.create"}).Draw(t, "action")
	}
	if some("outcome?") {
		q.Outcome = rapid.SampledFrom([]store.Outcome{"success", "denied", "error"}).Draw(t, "outcome")
	}
	if some("after?") && len(have) > 0 {
		e := rapid.SampledFrom(have).Draw(t, "after")
		q.After = store.EventPos{Time: e.Time, ID: e.ID}
		if some("another node's") {
			q.After.ID = "evt_~"
		}
	}
	return q
}

// Every query gives the answer of a sorted slice and EventQuery.Matches, over
// writes, restarts and early ends.
func TestEventsLikeASlice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fs := vfs.NewMem()
		l, err := Open(Config{FS: fs, Dir: "l", Logger: quiet(), Node: "n", Country: locateModel, stamp: asObserved, asked: true, whole: 1 << 30})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { l.Close() }()
		var wrote []*store.Event
		for range rapid.IntRange(1, 4).Draw(t, "rounds") {
			for range rapid.IntRange(0, 30).Draw(t, "requests") {
				o := drawObservation(t)
				l.Observe(o)
				wrote = append(wrote, modelEvent(o))
			}
			if rapid.Bool().Draw(t, "restart") {
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
				if l, err = Open(Config{FS: fs, Dir: "l", Logger: quiet(), Node: "n", Country: locateModel, stamp: asObserved, asked: true, whole: 1 << 30}); err != nil {
					t.Fatal(err)
				}
			}
		}
		l.ahead = rapid.SampledFrom([]int{1, 3, 7, readAhead}).Draw(t, "read ahead")
		have := allSorted(t, l)
		sameEvents(t, have, wrote)

		q := drawQuery(t, have)
		if q.Newest = rapid.Bool().Draw(t, "newest first"); q.Newest {
			slices.Reverse(have)
		}
		var want []string
		for _, e := range have {
			if q.Matches(e) {
				want = append(want, e.ID)
			}
		}
		limit := rapid.IntRange(1, 200).Draw(t, "limit")
		want = want[:min(limit, len(want))]
		var got []string
		for e, err := range l.Events(q) {
			if err != nil {
				t.Fatal(err)
			}
			if got = append(got, e.ID); len(got) == limit {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%+v:\ngot  %v\nwant %v", q, got, want)
		}
	})
}

// allSorted returns all events, after it checked their order and that no id stands twice.
func allSorted(t *rapid.T, l *Local) []*store.Event {
	var have []*store.Event
	seen := map[string]bool{}
	for e, err := range l.Events(store.EventQuery{}) {
		if err != nil {
			t.Fatal(err)
		}
		if seen[e.ID] {
			t.Fatalf("id %s twice", e.ID)
		}
		seen[e.ID] = true
		have = append(have, e)
	}
	if !slices.IsSortedFunc(have, byTimeID) {
		t.Fatal("not in (Time, ID) order")
	}
	return have
}

func byTimeID(a, b *store.Event) int {
	return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.ID, b.ID))
}

// sameEvents compares two multisets, ids aside.
func sameEvents(t *rapid.T, got, want []*store.Event) {
	text := func(es []*store.Event) []string {
		var out []string
		for _, e := range es {
			c := *e
			c.ID, c.Seq, c.Request, c.Hash = "", 0, nil, ""
			out = append(out, fmt.Sprintf("%+v %+v", c, *e.Request))
		}
		slices.Sort(out)
		return out
	}
	if g, w := text(got), text(want); !slices.Equal(g, w) {
		t.Fatalf("events:\ngot  %v\nwant %v", g, w)
	}
}

// Usage is the sum of all observations, at each step and group.
func TestUsageLikeAddingUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fs := vfs.NewMem()
		cfg := Config{FS: fs, Dir: "l", Logger: quiet(), Node: "n", Country: locateModel, stamp: asObserved, asked: true, whole: 1 << 30, Clock: func() time.Time { return day0.Add(24 * time.Hour) }}
		l, err := Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { l.Close() }()
		var all []*Observation
		for range rapid.IntRange(1, 3).Draw(t, "rounds") {
			for range rapid.IntRange(0, 30).Draw(t, "requests") {
				o := drawObservation(t)
				all = append(all, o)
				l.Observe(o)
			}
			switch rapid.IntRange(0, 2).Draw(t, "then") {
			case 1:
				if err := l.Flush(); err != nil {
					t.Fatal(err)
				}
			case 2:
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
				if l, err = Open(cfg); err != nil {
					t.Fatal(err)
				}
			}
		}
		q := UsageQuery{
			Account: rapid.SampledFrom([]store.AccountID{"", "default", "acct_a", "acct_bb"}).Draw(t, "account"),
			Step:    rapid.SampledFrom([]Step{StepMinute, StepHour, StepDay}).Draw(t, "step"),
			GroupBy: rapid.SampledFrom(append([]Group{ByNothing}, Groups...)).Draw(t, "group"),
		}
		if rapid.Bool().Draw(t, "window") {
			q.From = day0.Add(time.Duration(rapid.IntRange(0, 5000).Draw(t, "from")) * time.Second)
			q.To = q.From.Add(time.Duration(rapid.IntRange(0, 7000).Draw(t, "length")) * time.Second)
		}
		if rapid.Bool().Draw(t, "one key") {
			q.Key = "key_2"
		}
		if rapid.Bool().Draw(t, "live only") {
			live := store.Live
			q.Type = &live
		}
		if rapid.Bool().Draw(t, "prod only") {
			prod := "prod"
			q.Environment = &prod
		}
		drawFilters(t, &q)
		got, err := l.Usage(q)
		if err != nil {
			t.Fatal(err)
		}
		if want := addUp(q, all); !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v:\ngot  %+v\nwant %+v", q, got, want)
		}
	})
}

func drawFilters(t *rapid.T, q *UsageQuery) {
	switch rapid.IntRange(0, 7).Draw(t, "filter") {
	case 0:
		q.Country = new(rapid.SampledFrom([]string{"", "DE", "JP"}).Draw(t, "of country"))
	case 1:
		q.Route = "/v1/chat"
	case 2:
		q.Method = rapid.SampledFrom([]string{"GET", OtherMethod}).Draw(t, "of method")
	case 3:
		q.Status = 502
	}
}

// modelMethod is the method that o's usage is counted by.
func modelMethod(o *Observation) string {
	if methodCode(o.Method) == 0 {
		return OtherMethod
	}
	return o.Method
}

func filtered(q *UsageQuery, o *Observation) bool {
	return (q.Country == nil || *q.Country == modelCountry(o)) && (q.Route == "" || q.Route == o.Route) &&
		(q.Method == "" || q.Method == modelMethod(o)) && (q.Status == 0 || q.Status == o.Status)
}

func addUp(q UsageQuery, all []*Observation) []UsageRow {
	width := map[Step]time.Duration{StepMinute: time.Minute, StepHour: time.Hour, StepDay: 24 * time.Hour}[q.Step]
	sums := map[string]*UsageRow{}
	for _, o := range all {
		slot := o.At.Truncate(width)
		if !q.To.IsZero() && (!slot.Before(q.To) || slot.Add(width).Compare(q.From) <= 0) ||
			o.Account != q.Account || q.Key != "" && o.Key != q.Key ||
			!filtered(&q, o) || q.Type != nil && o.Type != *q.Type || q.Environment != nil && o.Environment != *q.Environment {
			continue
		}
		g := map[Group]string{ByKey: string(o.Key), ByStatus: fmt.Sprint(o.Status), ByRoute: o.Route,
			ByType: o.Type.String(), ByCountry: modelCountry(o), ByMethod: modelMethod(o), ByEnvironment: o.Environment}[q.GroupBy]
		r := sums[slot.String()+g]
		if r == nil {
			r = &UsageRow{Time: slot, Group: g}
			sums[slot.String()+g] = r
		}
		r.Requests++
		if o.Code != "" && o.Status < 500 {
			r.Denied++
		}
		r.Units += o.Units
		r.Cost += o.Cost
		switch {
		case o.Status >= 500 && (o.Code != "" || o.Failure != ""):
			r.Failed++
		case o.Type == store.Live:
			r.Billable += o.Units
		}
	}
	var out []UsageRow
	for _, r := range sums {
		out = append(out, *r)
	}
	slices.SortFunc(out, func(a, b UsageRow) int { return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Group, b.Group)) })
	return out
}
