package httpapi

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/local"
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
		IP: word("ip"), Country: word("country"), UserAgent: word("ua"), Hash: word("hash"),
	}
	if rapid.Bool().Draw(t, "request") {
		e.Request = &store.RequestInfo{ID: word("rid"), Method: word("m"), Route: word("r"), Status: rapid.IntRange(0, 599).Draw(t, "st"),
			DurationMS: rapid.OneOf(rapid.Just(0.0), rapid.Float64Range(0, 1e6), rapid.SampledFrom([]float64{1e-7, 1.5e-9, 1e21, 3.25e22, 0.001})).Draw(t, "d")}
	}
	if rapid.Bool().Draw(t, "changes") {
		raw, _ := json.Marshal(map[string]any{"before": word("b"), "after": map[string]any{"n": 1}})
		e.Changes = raw
	}
	return e
}

// shownEvent is an event as appendEvent writes it, for encoding/json.
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
	Changes   json.RawMessage  `json:"changes"`
	Hash      *string          `json:"hash"`
}

type shownRequest struct {
	ID         *string  `json:"id"`
	Method     *string  `json:"method"`
	Route      *string  `json:"route"`
	Status     *int     `json:"status"`
	DurationMS *float64 `json:"duration_ms"`
}

func shown(e *store.Event) *shownEvent {
	out := &shownEvent{
		ID: e.ID, Seq: e.Seq, Time: e.Time, EventType: e.EventType, Action: e.Action, Account: some(e.Account), KeyID: some(e.KeyID),
		Target: some(e.Target), Outcome: e.Outcome, Reason: some(e.Reason), IP: some(e.IP), Country: some(e.Country),
		UserAgent: some(e.UserAgent), Changes: e.Changes, Hash: some(e.Hash),
	}
	out.Actor.Type, out.Actor.ID, out.Actor.Name = some(e.Actor.Type), some(e.Actor.ID), some(e.Actor.Name)
	if r := e.Request; r != nil {
		out.Request = &shownRequest{ID: some(r.ID), Method: some(r.Method), Route: some(r.Route)}
		if r.Status != 0 {
			out.Request.Status, out.Request.DurationMS = &r.Status, &r.DurationMS
		}
	}
	return out
}

func TestEventEqualsEncodingJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := anyEvent(t)
		want, err := json.Marshal(shown(e))
		if err != nil {
			t.Fatal(err)
		}
		if got := appendEvent(nil, e); string(got) != string(want) {
			t.Fatalf("got\n%s\nwant\n%s", got, want)
		}
	})
}

// A CSV reader finds every cell again, and none that a spreadsheet would run.
func TestEventCSV(t *testing.T) {
	names := strings.Split(strings.TrimSpace(csvHeader), ",")
	rapid.Check(t, func(t *rapid.T) {
		e := anyEvent(t)
		row, err := csv.NewReader(strings.NewReader(string(appendEventCSV(nil, e)))).Read()
		if err != nil || len(row) != len(names) {
			t.Fatalf("%v: %d cells of %d: %q", err, len(row), len(names), row)
		}
		for i, cell := range row {
			if cell != "" && strings.IndexByte("=+-@\t\r\n", cell[0]) >= 0 {
				t.Fatalf("%s begins a formula: %q", names[i], cell)
			}
		}
		// A reader makes \n of \r\n; nothing else may change.
		cell := strings.TrimPrefix(row[slices.Index(names, "user_agent")], "'")
		want := strings.TrimPrefix(strings.ReplaceAll(e.UserAgent, "\r\n", "\n"), "'")
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
		if got := show(mergeEvents(seq(c.a...), seq(c.b...))); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
	for range mergeEvents(seq(at(1, "a")), seq(at(1, "b"), at(2, "a"))) {
		break // must not leak or yield on
	}
}

// The seed's own line, on the proxy listener.
func TestSeedsAuditLine(t *testing.T) {
	g := newRig(t)
	_, secret := g.key("live", "admin")
	a := g.do(g.proxy.URL, "GET", "/v1/audit-logs?start_date=2024-01-01", secret, "").want(t, 200)
	var doc struct {
		Data []client.Event `json:"data"`
		Next *string        `json:"next_cursor"`
	}
	must(t, json.Unmarshal([]byte(a.body), &doc))
	if len(doc.Data) != 2 || doc.Data[1].Action != "key.create" || doc.Data[1].Actor.Type != "operator" || doc.Next != nil {
		t.Errorf("%s", a.body)
	}
}

// fill gives the rig some days of events of both kinds.
func (g *rig) fill() (id string) {
	id, _ = g.key("live", "read")
	day := 24 * time.Hour
	for i := range 40 {
		now, _ := g.api.Clock()
		o := &local.Observation{At: now, Method: []string{"GET", "POST", "DELETE"}[i%3], Route: "/v1/chat", Status: 200,
			RequestID: fmt.Sprint("r", i), Account: "default", Key: "key_x", Units: 1, UserAgent: "=cmd()"}
		if i%4 == 0 {
			o.Code, o.Status = "requests_per_minute", 429
		}
		if i%10 == 0 {
			g.op("PATCH", "/v1/keys/"+id, fmt.Sprintf(`{"name":"n%d"}`, i)).want(g.t, 200)
			g.op("GET", "/v1/keys/key_none", "").want(g.t, 404)
		}
		g.local.Observe(o)
		g.now.Add(int64(day / 10))
	}
	return id
}

func (g *rig) events(query string) []client.Event {
	g.t.Helper()
	a := g.op("GET", "/v1/audit-logs"+query, "").want(g.t, 200)
	var doc struct{ Data []client.Event }
	must(g.t, json.Unmarshal([]byte(a.body), &doc))
	return doc.Data
}

func TestAuditLogs(t *testing.T) {
	g := newRig(t)
	id := g.fill()
	all := g.events("")
	// init's event, the creation, 4 patches, 4 denied reads, 40 requests, and the
	// creation's and patches' own calls are no events besides.
	if len(all) != 50 {
		t.Fatalf("%d events", len(all))
	}
	for i := 1; i < len(all); i++ {
		if a, b := all[i-1], all[i]; b.Time.Before(a.Time) || b.Time.Equal(a.Time) && b.ID <= a.ID {
			t.Fatalf("event %d is out of order", i)
		}
	}
	count := func(query string, want int) {
		t.Helper()
		if got := len(g.events(query)); got != want {
			t.Errorf("%s: %d events, want %d", query, got, want)
		}
	}
	count("?event_type=update", 4)
	count("?action=key.update&key="+id, 4)
	count("?action=request", 40)
	count("?outcome=denied", 14)
	count("?action=key.read&outcome=denied", 4)
	count("?user="+all[1].Actor.ID+"&action=key.read", 4)
	count("?user=key_x", 40)
	count("?event_type=delete&action=request", 13)
	start := all[0].Time
	day := func(n int) string { return start.AddDate(0, 0, n).Format(time.DateOnly) }
	in := 0
	for _, e := range all {
		if e.Time.Format(time.DateOnly) == day(1) || e.Time.Format(time.DateOnly) == day(2) {
			in++
		}
	}
	count("?start_date="+day(1)+"&end_date="+day(2), in)
	count("?start_date="+day(1)+"T00:00:00Z&end_date="+day(3)+"T00:00:00Z", in)
	count("?start_date="+day(1)+"T02:00:00%2B02:00&end_date="+day(3)+"T00:00:00Z", in)
	count("?start_date="+day(1)+"T02:00:00+02:00&end_date="+day(3)+"T00:00:00Z", in)
	count("?end_date="+day(-1), 0)
	count("?start_date="+day(1000), 0)
	for _, q := range []string{"start_date=yesterday", "start_date=2024-13-01", "end_date=2024-02-30", "format=xml", "event_type=x", "outcome=x", "limit=0", "colour=red", "start_date=2024-02-01&end_date=2024-01-01"} {
		if a := g.op("GET", "/v1/audit-logs?"+q, "").want(t, 422); !strings.Contains(a.message(), strings.Split(q, "=")[0]) && !strings.Contains(a.message(), "end_date") {
			t.Errorf("%s: %s", q, a.message())
		}
	}
	// A list ends where it began to be read, though each page that is read is an event.
	n := 0
	for e, err := range g.client().Events(context.Background(), client.AuditQuery{Action: "audit.read", Page: client.Page{Limit: 1}}) {
		must(t, err)
		g.now.Add(1)
		if n++; n > 100 {
			t.Fatalf("still reading at %v", e.Time)
		}
	}
	// The same events in pages, in NDJSON and in CSV.
	var paged []string
	for e, err := range g.client().Events(context.Background(), client.AuditQuery{Page: client.Page{Limit: 7}}) {
		must(t, err)
		paged = append(paged, e.ID)
	}
	var ids []string
	for _, e := range all {
		ids = append(ids, e.ID)
	}
	paged = slices.DeleteFunc(paged, func(id string) bool { return !slices.Contains(ids, id) }) // reads of this test
	if !slices.Equal(paged, ids) {
		t.Errorf("pages hold %d events, or others", len(paged))
	}
	before := "&end_date=" + all[len(all)-1].Time.Add(time.Second).Format(time.RFC3339)
	nd := g.op("GET", "/v1/audit-logs?format=ndjson"+before, "").want(t, 200)
	var lines []string
	for line := range strings.Lines(nd.body) {
		var e client.Event
		must(t, json.Unmarshal([]byte(line), &e))
		lines = append(lines, e.ID)
	}
	if !slices.Equal(lines, ids) || nd.header.Get("Content-Type") != "application/x-ndjson" {
		t.Errorf("NDJSON holds %d events, or others", len(lines))
	}
	table := g.op("GET", "/v1/audit-logs?format=csv"+before, "").want(t, 200)
	rows, err := csv.NewReader(strings.NewReader(table.body)).ReadAll()
	must(t, err)
	if len(rows) != len(ids)+1 || rows[5][0] != ids[4] || strings.Contains(table.body, ",=cmd") {
		t.Errorf("CSV: %d rows\n%s", len(rows), table.body[:300])
	}
	page := g.op("GET", "/v1/audit-logs?format=csv&limit=10"+before, "").want(t, 200)
	next := page.header.Get(NextCursorHeader)
	page2 := g.op("GET", "/v1/audit-logs?format=csv&limit=40"+before+"&cursor="+next, "").want(t, 200)
	if next == "" || page2.header.Get(NextCursorHeader) != "" || strings.Count(page2.body, "\n") != 41 {
		t.Errorf("second page has %d rows, cursor %q", strings.Count(page2.body, "\n"), page2.header.Get(NextCursorHeader))
	}
	g.op("GET", "/v1/audit-logs?format=csv&limit=10&user=x&cursor="+next, "").want(t, 400, fault.InvalidCursor)
	if a := g.op("GET", "/v1/audit-logs?start_date="+day(1000), ""); a.body != `{"data":[],"next_cursor":null}`+"\n" {
		t.Errorf("nothing: %q", a.body)
	}
}

// A stream that breaks off must not look like a whole document.
func TestBrokenExport(t *testing.T) {
	g := newRig(t)
	broken := func(after int) iter.Seq2[*store.Event, error] {
		return func(yield func(*store.Event, error) bool) {
			for i := range after {
				if !yield(&store.Event{ID: fmt.Sprint(i), UserAgent: strings.Repeat("x", 200)}, nil) {
					return
				}
			}
			yield(nil, errors.New("the disk is gone"))
		}
	}
	for _, after := range []int{0, 10_000} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			g.api.serve(w, r, &route{id: "auditLogs", method: "GET", path: "/v1/audit-logs", access: open, serve: func(c *call) error {
				return c.auditStream(broken(after), formOf("json"))
			}}, "", true)
		}))
		resp, err := http.Get(srv.URL)
		must(t, err)
		raw, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		srv.Close()
		if after == 0 {
			if resp.StatusCode != 500 || err != nil {
				t.Errorf("before the first byte: %d, %v", resp.StatusCode, err)
			}
		} else if err == nil || json.Valid(raw) {
			t.Errorf("a broken stream ends with %v and %d valid bytes", err, len(raw))
		}
	}
}

// Every refused management call is an event, and what is refused without a key
// belongs to the default account.
func TestDenialsAreAudited(t *testing.T) {
	g := newRig(t)
	id, reader := g.key("live", "read")
	g.do(g.proxy.URL, "POST", "/v1/keys", reader, `{"name":"n","type":"live"}`).want(t, 403)
	g.do(g.proxy.URL, "POST", "/v1/keys", "pk_live_0123456789ABCDEFGHIJKLMNOPQRSTUV1j90KZ", `{}`).want(t, 401)
	g.op("POST", "/v1/keys", `{"name":""}`).want(t, 422)
	events := g.events("?action=key.create&outcome=denied")
	var got []string
	for _, e := range events {
		got = append(got, e.Reason+" "+e.Actor.Type+" "+e.KeyID)
	}
	slices.Sort(got)
	want := []string{"insufficient_scope key " + id, "invalid_key  ", "invalid_value operator "}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if n := len(g.events("?action=audit.read")); n != 1 {
		t.Errorf("%d reads of the audit log are in it, want 1", n)
	}
	// A use in management is a use.
	if a := g.op("GET", "/v1/keys/"+id, ""); a.text("last_used_at") != "" {
		t.Errorf("a refused call is a use: %s", a.body)
	}
	admin, secret := g.key("live", "admin")
	g.do(g.proxy.URL, "POST", "/v1/keys", secret, `{"name":"n","type":"live"}`).want(t, 201)
	must(t, g.local.Flush())
	if a := g.op("GET", "/v1/keys/"+admin, ""); a.text("last_used_at") == "" || a.text("last_used_ip") != "127.0.0.1" {
		t.Errorf("a use is not noted: %s", a.body)
	}
}

// A refused call is of the type that the event of its success is of, whatever
// its method: who filters by it finds the attempts beside the changes.
func TestDenialsHaveTheirActionsType(t *testing.T) {
	g := newRig(t)
	id, reader := g.key("live", "read")
	for _, c := range []struct{ method, path, action, want string }{
		{"GET", "/v1/keys", "key.list", "read"},
		{"GET", "/v1/keys/" + id, "key.read", "read"},
		{"POST", "/v1/keys", "key.create", "create"},
		{"POST", "/v1/keys/import", "key.import", "create"},
		{"POST", "/v1/keys/verify", "key.verify", "read"},
		{"PATCH", "/v1/keys/" + id, "key.update", "update"},
		{"POST", "/v1/keys/" + id + "/rotate", "key.rotate", "update"},
		{"POST", "/v1/keys/" + id + "/revoke", "key.revoke", "delete"},
		{"POST", "/v1/keys/revoke", "key.revoke_bulk", "delete"},
		{"PUT", "/v1/allowlist", "allowlist.update", "update"},
		{"DELETE", "/v1/tiers/free", "tier.delete", "delete"},
	} {
		g.do(g.admin.URL, c.method, c.path, reader, "").want(t, 403)
		events := g.events("?outcome=denied&action=" + c.action)
		if len(events) != 1 || events[0].EventType != c.want {
			t.Errorf("%s %s: %+v, want one event of type %s", c.method, c.path, events, c.want)
		}
		if n := len(g.events("?outcome=denied&event_type=" + c.want + "&action=" + c.action)); n != 1 {
			t.Errorf("%s: %d events are found by type, want 1", c.action, n)
		}
	}
	// The change itself agrees.
	g.op("POST", "/v1/keys/"+id+"/revoke", "").want(t, 200)
	if n := len(g.events("?event_type=delete&action=key.revoke")); n != 2 {
		t.Errorf("%d revocations are found by type, want the refused and the made one", n)
	}
}

// BenchmarkAuditExport streams events of changes and requests to a client that
// throws them away. goal: 200,000 events/s.
func BenchmarkAuditExport(b *testing.B) {
	g := newRig(b)
	now, _ := g.api.Clock()
	const total = 200_000
	for i := range total {
		if i%20_000 == 0 {
			must(b, g.local.Flush())
		}
		g.local.Observe(&local.Observation{At: now.Add(-time.Duration(total-i) * time.Millisecond), Duration: 1500 * time.Microsecond, RequestID: "req_0123456789abcdefghijkl",
			Method: "POST", Route: "/v1/chat", Status: 200, Client: netip.MustParseAddr("203.0.113.9"), UserAgent: "python-requests/2.32.3", Account: "default", Key: "key_0VboRaVWB7gSBUrJJvbeFK", Units: 1})
	}
	must(b, g.local.Flush())
	for _, format := range []string{"json", "ndjson", "csv"} {
		b.Run(format, func(b *testing.B) {
			b.ReportAllocs()
			n := int64(0)
			for b.Loop() {
				r, _ := http.NewRequest("GET", g.admin.URL+"/v1/audit-logs?format="+format, nil)
				r.Header.Set("Authorization", "Bearer "+operatorToken)
				resp, err := http.DefaultClient.Do(r)
				must(b, err)
				size, err := io.Copy(io.Discard, resp.Body)
				must(b, err)
				resp.Body.Close()
				b.SetBytes(size)
				n += total
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

func BenchmarkAppendEvent(b *testing.B) {
	e := &store.Event{ID: "evt_0123456789ABCDEF", Seq: 12345678, Time: time.Now().UTC(), EventType: "create", Action: "request", Actor: store.Actor{Type: "key", ID: "key_0VboRaVWB7gSBUrJJvbeFK"},
		Account: "default", KeyID: "key_0VboRaVWB7gSBUrJJvbeFK", Outcome: "success", IP: "203.0.113.9", UserAgent: "python-requests/2.32.3",
		Request: &store.RequestInfo{ID: "req_0123456789abcdefghijkl", Method: "POST", Route: "/v1/chat", Status: 200, DurationMS: 1.5}}
	buf := appendEvent(nil, e)
	b.ReportAllocs()
	b.SetBytes(int64(len(buf)))
	for b.Loop() {
		buf = appendEvent(buf[:0], e)
	}
}
