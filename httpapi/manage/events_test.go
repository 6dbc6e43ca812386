package manage

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"pgregory.net/rapid"

	"github.com/perfgate/perfgate/store"
)

// anyEvent draws events with every member, with words that need escaping.
func anyEvent(t *rapid.T) *store.Event {
	word := func(name string) string {
		return rapid.OneOf(rapid.Just(""), rapid.StringN(0, 12, 40), rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 12), func(b []byte) string { return string(b) }),
			rapid.SampledFrom([]string{"<script>&\u2028\u2029", "\"\\\b\f\n\r\t\x00\x1f\x7f", "\xff\xc0é", "😀\ufffd", "=1+1"})).Draw(t, name)
	}
	e := &store.Event{
		ID: word("id"), Seq: rapid.Uint64().Draw(t, "seq"), EventType: store.EventType(word("type")), Action: word("action"),
		Time:  time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "s"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns")).UTC(),
		Actor: store.Actor{Type: store.ActorType(word("at")), ID: word("ai"), Name: word("an")}, Account: store.AccountID(word("account")),
		KeyID: store.KeyID(word("key")), Target: word("target"), Outcome: store.Outcome(word("outcome")), Reason: word("reason"),
		IP: word("ip"), Country: word("country"), UserAgent: word("ua"), Hash: word("hash"), Count: rapid.Uint32Range(0, 3).Draw(t, "count"),
	}
	if rapid.Bool().Draw(t, "request") {
		e.Request = &store.EventRequest{Path: word("p"), Upstream: word("u"), Attempts: rapid.IntRange(0, 3).Draw(t, "n"), Errors: word("e")}
		if rapid.Bool().Draw(t, "started") {
			e.Request.StartedAt = e.Time.Add(-time.Second)
		}
		e.Request.RequestInfo = store.RequestInfo{ID: word("rid"), Method: word("m"), Route: word("r"), Status: rapid.IntRange(0, 599).Draw(t, "st"),
			DurationMS: rapid.OneOf(rapid.Just(0.0), rapid.Float64Range(0, 1e6), rapid.SampledFrom([]float64{1e-7, 1.5e-9, 1e21, 3.25e22, 0.001})).Draw(t, "d")}
	}
	if e.Request != nil && rapid.Bool().Draw(t, "limits") {
		e.Request.Limits = &store.EventLimits{Shared: rapid.SampledFrom([]*store.EventShare{nil, {Here: 1, Elsewhere: 2, Asked: 3}}).Draw(t, "shared"), Policy: rapid.SampledFrom([]string{"", "chat"}).Draw(t, "policy"), WouldRefuse: rapid.SliceOf(rapid.SampledFrom([]string{"a", "b.c"})).Draw(t, "would")}
		if e.Request.Limits.Policy != "" {
			e.Request.Limits.Limit, e.Request.Limits.Left = rapid.Int64Range(0, 1<<40).Draw(t, "limit"), rapid.Int64Range(0, 9).Draw(t, "left")
		}
	}
	if rapid.Bool().Draw(t, "changes") {
		raw, _ := json.Marshal(map[string]any{"before": word("b"), "after": map[string]any{"n": 1}}, jsontext.AllowInvalidUTF8(true))
		e.Changes = raw
	}
	return e
}

// shownEvent is an event as AppendEvent writes it, for the encoder.
type shownEvent struct {
	ID        string          `json:"id"`
	Seq       uint64          `json:"seq"`
	Time      time.Time       `json:"time"`
	EventType store.EventType `json:"event_type"`
	Action    string          `json:"action"`
	Actor     struct {
		Type *store.ActorType `json:"type"`
		ID   *string          `json:"id"`
		Name *string          `json:"name"`
	} `json:"actor"`
	Account   *store.AccountID `json:"account"`
	KeyID     *store.KeyID     `json:"key_id"`
	Target    *string          `json:"target"`
	Outcome   store.Outcome    `json:"outcome"`
	Reason    *string          `json:"reason"`
	IP        *string          `json:"ip"`
	Country   *string          `json:"country"`
	UserAgent *string          `json:"user_agent"`
	Request   *shownRequest    `json:"request"`
	Changes   jsontext.Value   `json:"changes"`
	Hash      *string          `json:"hash"`
	Count     uint32           `json:"count,omitzero"`
}

type shownRequest struct {
	ID         *string      `json:"id"`
	Method     *string      `json:"method"`
	Path       *string      `json:"path"`
	Route      *string      `json:"route"`
	Upstream   *string      `json:"upstream"`
	Attempts   int          `json:"attempts"`
	Errors     *string      `json:"errors"`
	StartedAt  *time.Time   `json:"started_at"`
	Status     *int         `json:"status"`
	DurationMS *float64     `json:"duration_ms"`
	Limits     *shownLimits `json:"limits"`
}

type shownLimits struct {
	Policy      *string           `json:"policy"`
	Limit       *int64            `json:"limit"`
	Left        *int64            `json:"left"`
	Shared      *store.EventShare `json:"shared"`
	WouldRefuse []string          `json:"would_refuse"`
}

func shown(e *store.Event) *shownEvent {
	out := &shownEvent{
		ID: e.ID, Seq: e.Seq, Time: e.Time, EventType: e.EventType, Action: e.Action, Account: some(e.Account), KeyID: some(e.KeyID),
		Target: some(e.Target), Outcome: e.Outcome, Reason: some(e.Reason), IP: some(e.IP), Country: some(e.Country),
		UserAgent: some(e.UserAgent), Changes: jsontext.Value(e.Changes), Hash: some(e.Hash),
	}
	if e.Count > 1 {
		out.Count = e.Count
	}
	out.Actor.Type, out.Actor.ID, out.Actor.Name = some(e.Actor.Type), some(e.Actor.ID), some(e.Actor.Name)
	if r := e.Request; r != nil {
		out.Request = &shownRequest{ID: some(r.ID), Method: some(r.Method), Path: some(r.Path), Route: some(r.Route), Upstream: some(r.Upstream), Attempts: r.Attempts, Errors: some(r.Errors)}
		if !r.StartedAt.IsZero() {
			out.Request.StartedAt = &r.StartedAt
		}
		if r.Status != 0 {
			out.Request.Status, out.Request.DurationMS = &r.Status, &r.DurationMS
		}
		if l := r.Limits; l != nil {
			out.Request.Limits = &shownLimits{Policy: some(l.Policy), Shared: l.Shared, WouldRefuse: append([]string{}, l.WouldRefuse...)}
			if l.Policy != "" {
				out.Request.Limits.Limit, out.Request.Limits.Left = &l.Limit, &l.Left
			}
		}
	}
	return out
}

// The hand-written object has the members and values of the one that the encoder
// writes by reflection.
func TestEventEqualsReflection(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := anyEvent(t)
		want, err := json.Marshal(shown(e), jsontext.AllowInvalidUTF8(true))
		if err != nil {
			t.Fatal(err)
		}
		raw := AppendEvent(nil, e)
		var back shownEvent
		if err := json.Unmarshal(raw, &back, json.RejectUnknownMembers(true)); err != nil {
			t.Fatalf("%v: %s", err, raw)
		}
		// Numbers may be written in another way, so both are compared as the encoder
		// writes them; the members must be all there, in order.
		got, err := json.Marshal(&back)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != string(want) || !slices.Equal(members(t, raw), members(t, want)) {
			t.Fatalf("got\n%s\nwant\n%s", raw, want)
		}
	})
}

// members lists the names in a JSON text in order.
func members(t *rapid.T, raw []byte) (names []string) {
	d := jsontext.NewDecoder(bytes.NewReader(raw))
	for {
		token, err := d.ReadToken()
		if err == io.EOF {
			return names
		} else if err != nil {
			t.Fatal(err)
		}
		if kind, n := d.StackIndex(d.StackDepth()); kind == '{' && n%2 == 1 {
			names = append(names, token.String())
		}
	}
}

// A CSV reader finds every cell again, and none that a spreadsheet would run.
func TestEventCSV(t *testing.T) {
	names := strings.Split(strings.TrimSpace(csvHeader), ",")
	rapid.Check(t, func(t *rapid.T) {
		e := anyEvent(t)
		row, err := csv.NewReader(strings.NewReader(string(newEventCSV().append(nil, e)))).Read()
		if err != nil || len(row) != len(names) {
			t.Fatalf("%v: %d cells of %d: %q", err, len(row), len(names), row)
		}
		for i, cell := range row {
			if cell != "" && strings.IndexByte("=+-@\t\r\n", cell[0]) >= 0 {
				t.Fatalf("%s begins a formula: %q", names[i], cell)
			}
		}
		// A reader makes \n of \r\n; nothing else may change.
		cell := row[slices.Index(names, "user_agent")]
		want := inert(strings.ReplaceAll(e.UserAgent, "\r\n", "\n"))
		if cell != want {
			t.Fatalf("user_agent %q became %q", want, cell)
		}
	})
}

func TestMergeEvents(t *testing.T) {
	at := func(n int, id string) *store.Event { return &store.Event{Time: time.Unix(int64(n), 0), ID: id} }
	seq := func(events ...*store.Event) iter.Seq2[*store.Event, error] {
		return func(yield func(*store.Event, error) bool) {
			for _, e := range events {
				if e == nil {
					yield(nil, errors.New("broken"))
					return
				}
				if !yield(e, nil) {
					return
				}
			}
		}
	}
	show := func(s iter.Seq2[*store.Event, error]) string {
		var out []string
		for e, err := range s {
			if err != nil {
				return strings.Join(append(out, err.Error()), " ")
			}
			out = append(out, fmt.Sprint(e.Time.Unix(), e.ID))
		}
		return strings.Join(out, " ")
	}
	for _, c := range []struct {
		a, b []*store.Event
		want string
	}{
		{nil, nil, ""},
		{[]*store.Event{at(1, "b"), at(3, "b")}, []*store.Event{at(1, "a"), at(2, "a"), at(3, "c"), at(4, "a")}, "1a 1b 2a 3b 3c 4a"},
		{[]*store.Event{at(1, "a")}, nil, "1a"},
		{nil, []*store.Event{at(1, "a"), nil}, "1a broken"},
		{[]*store.Event{at(1, "a"), nil}, []*store.Event{at(2, "a")}, "1a broken"},
		{[]*store.Event{at(5, "a")}, []*store.Event{at(2, "a"), nil}, "2a broken"},
	} {
		if got := show(mergeEvents(false, []iter.Seq2[*store.Event, error]{seq(c.a...), seq(c.b...)})); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
	for range mergeEvents(false, []iter.Seq2[*store.Event, error]{seq(at(1, "a")), seq(at(1, "b"), at(2, "a"))}) {
		break // must not leak or yield on
	}
}

func BenchmarkAppendEvent(b *testing.B) {
	e := &store.Event{ID: "evt_0123456789ABCDEF", Seq: 12345678, Time: time.Now().UTC(), EventType: "create", Action: "request", Actor: store.Actor{Type: "key", ID: "key_0VboRaVWB7gSBUrJJvbeFK"},
		Account: "default", KeyID: "key_0VboRaVWB7gSBUrJJvbeFK", Outcome: "success", IP: "203.0.113.9", UserAgent: "python-requests/2.32.3",
		Request: &store.EventRequest{
			RequestInfo: store.RequestInfo{ID: "req_0123456789abcdefghijkl", Method: "POST", Route: "/v1/chat", Status: 200, DurationMS: 1.5},
			Path:        "/v1/chat", Upstream: "http://10.0.0.5:9000", Attempts: 1,
		}}
	buf := AppendEvent(nil, e)
	b.ReportAllocs()
	b.SetBytes(int64(len(buf)))
	for b.Loop() {
		buf = AppendEvent(buf[:0], e)
	}
}
