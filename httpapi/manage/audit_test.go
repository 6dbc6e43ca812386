package manage_test

import (
	"bufio"
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

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/manage"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/chain"
	"github.com/perfgate/perfgate/store/local"
)

// The seed's own line, on the proxy listener.
func TestSeedsAuditLine(t *testing.T) {
	g := apitest.New(t)
	_, secret := g.Key("live", "admin")
	a := g.Do(g.Proxy.URL, "GET", "/v1/audit-logs?start_date=2024-01-01", secret, "").Want(t, 200)
	var doc struct {
		Data []client.Event `json:"data"`
		Next *string        `json:"next_cursor"`
	}
	apitest.Must(t, json.Unmarshal([]byte(a.Body), &doc))
	if len(doc.Data) != 2 || doc.Data[0].Action != "key.create" || doc.Data[0].Actor.Type != "operator" || doc.Next != nil {
		t.Errorf("%s", a.Body)
	}
}

// fill gives the rig some days of events of both kinds.
func fill(g *apitest.Rig) (id string) {
	id, _ = g.Key("live", "read")
	day := 24 * time.Hour
	for i := range 40 {
		now, _ := g.Config.Clock()
		o := &local.Observation{At: now, Method: []string{"GET", "POST", "DELETE"}[i%3], Route: "/v1/chat", Status: 200,
			RequestID: fmt.Sprint("r", i), Account: "default", Key: "key_x", Units: 1, UserAgent: "=cmd()"}
		if i%4 == 0 {
			o.Code, o.Status = "requests_per_minute", 429
		}
		if i%10 == 0 {
			g.Op("PATCH", "/v1/keys/"+id, fmt.Sprintf(`{"name":"n%d"}`, i)).Want(g.T, 200)
			g.Op("GET", "/v1/keys/key_none", "").Want(g.T, 404)
		}
		g.Local.Observe(o)
		apitest.Must(g.T, g.Local.Flush()) // its time is that of its writing
		g.Now.Add(int64(day / 10))
	}
	return id
}

// filled are the events of [fill], in order.
func filled(g *apitest.Rig) []client.Event {
	g.T.Helper()
	all := g.Events("")
	// init's event, the creation, 4 patches, 4 denied reads, 40 requests, and the
	// calls of the creation and the patches are no events of their own.
	if len(all) != 50 {
		g.T.Fatalf("%d events", len(all))
	}
	for i := 1; i < len(all); i++ {
		if a, b := all[i-1], all[i]; b.Time.Before(a.Time) || b.Time.Equal(a.Time) && b.ID <= a.ID {
			g.T.Fatalf("event %d is out of order", i)
		}
	}
	return all
}

// idsOf are the ids of events.
func idsOf(events []client.Event) (ids []string) {
	for _, e := range events {
		ids = append(ids, e.ID)
	}
	return ids
}

// until ends a list after the events, before those of the reads of a test.
func until(events []client.Event) string {
	return "&end_date=" + events[len(events)-1].Time.Add(time.Second).Format(time.RFC3339)
}

// The event of a change says by which path it was asked for, and when the request came. There
// is no answer yet when it is written.
func TestAuditOfChangeHasItsPath(t *testing.T) {
	g := apitest.New(t)
	id, _ := g.Key("live")
	before, _ := g.Config.Clock()
	g.Op("PATCH", "/v1/keys/"+id, `{"name":"renamed"}`).Want(t, 200)
	list := g.Events("?action=key.update")
	if len(list) != 1 {
		t.Fatalf("%d events", len(list))
	}
	r := list[0].Request
	if r.Path != "/v1/keys/"+id || r.Route != "/v1/keys/{id}" || r.StartedAt.Before(before.Truncate(time.Millisecond)) || r.StartedAt.After(list[0].Time) || r.Status != 0 {
		t.Errorf("the request of the event: %+v, written at %v", r, list[0].Time)
	}
}

func TestAuditFilters(t *testing.T) {
	g := apitest.New(t)
	id := fill(g)
	all := filled(g)
	count := func(query string, want int) {
		t.Helper()
		if got := len(g.Events(query)); got != want {
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
	if a := g.Op("GET", "/v1/audit-logs?start_date="+day(1000), ""); !strings.HasPrefix(a.Body, `{"data":[],"next_cursor":null,"proof":{"version":1,`) {
		t.Errorf("nothing: %q", a.Body)
	}
}

func TestAuditRefusesQueries(t *testing.T) {
	g := apitest.New(t)
	for _, q := range []string{"start_date=yesterday", "start_date=2024-13-01", "end_date=2024-02-30", "format=xml", "event_type=x", "outcome=x", "limit=0", "colour=red", "start_date=2024-02-01&end_date=2024-01-01"} {
		if a := g.Op("GET", "/v1/audit-logs?"+q, "").Want(t, 422); !strings.Contains(a.Message(), strings.Split(q, "=")[0]) && !strings.Contains(a.Message(), "end_date") {
			t.Errorf("%s: %s", q, a.Message())
		}
	}
}

// A list ends where it began to be read, though each page that is read is an event.
func TestAuditListEnds(t *testing.T) {
	g := apitest.New(t)
	for range 5 {
		g.Events("")
		g.Now.Add(1)
	}
	n := 0
	for e, err := range g.Client().Events(context.Background(), client.AuditQuery{Action: "audit.read", Page: client.Page{Limit: 1}}) {
		apitest.Must(t, err)
		g.Now.Add(1)
		if n++; n > 100 {
			t.Fatalf("still reading at %v", e.Time)
		}
	}
	if n < 5 {
		t.Errorf("%d reads are listed, want at least 5", n)
	}
}

func TestAuditPages(t *testing.T) {
	g := apitest.New(t)
	fill(g)
	ids := idsOf(filled(g))
	var paged []string
	for e, err := range g.Client().Events(context.Background(), client.AuditQuery{Page: client.Page{Limit: 7}}) {
		apitest.Must(t, err)
		paged = append(paged, e.ID)
	}
	paged = slices.DeleteFunc(paged, func(id string) bool { return !slices.Contains(ids, id) }) // reads of this test
	slices.Reverse(paged)                                                                       // the newest was first
	if !slices.Equal(paged, ids) {
		t.Errorf("pages hold %d events, or others", len(paged))
	}
}

// NDJSON and CSV hold the same events as JSON.
func TestAuditFormats(t *testing.T) {
	g := apitest.New(t)
	fill(g)
	events := filled(g)
	ids, before := idsOf(events), until(events)
	nd := g.Op("GET", "/v1/audit-logs?format=ndjson&order=asc"+before, "").Want(t, 200)
	var lines []string
	for line := range strings.Lines(nd.Body) {
		if strings.HasPrefix(line, `{"proof":{`) {
			continue
		}
		var e client.Event
		apitest.Must(t, json.Unmarshal([]byte(line), &e))
		lines = append(lines, e.ID)
	}
	if !slices.Equal(lines, ids) || nd.Header.Get("Content-Type") != "application/x-ndjson" {
		t.Errorf("NDJSON holds %d events, or others", len(lines))
	}
	table := g.Op("GET", "/v1/audit-logs?format=csv&order=asc"+before, "").Want(t, 200)
	reader := csv.NewReader(strings.NewReader(table.Body))
	reader.Comment = '#' // the proof
	rows, err := reader.ReadAll()
	apitest.Must(t, err)
	if len(rows) != len(ids)+1 || rows[5][0] != ids[4] || strings.Contains(table.Body, ",=cmd") {
		t.Errorf("CSV: %d rows\n%s", len(rows), table.Body[:300])
	}
}

// The cursor of CSV stands in a header, and holds for its query alone.
func TestAuditCSVPages(t *testing.T) {
	g := apitest.New(t)
	fill(g)
	before := until(filled(g))
	page := g.Op("GET", "/v1/audit-logs?format=csv&order=asc&limit=10"+before, "").Want(t, 200)
	next := page.Header.Get(manage.NextCursorHeader)
	page2 := g.Op("GET", "/v1/audit-logs?format=csv&order=asc&limit=40"+before+"&cursor="+next, "").Want(t, 200)
	if next == "" || page2.Header.Get(manage.NextCursorHeader) != "" || strings.Count(page2.Body, "\n") != 41 {
		t.Errorf("second page has %d rows, cursor %q", strings.Count(page2.Body, "\n"), page2.Header.Get(manage.NextCursorHeader))
	}
	g.Op("GET", "/v1/audit-logs?format=csv&order=asc&limit=10&user=x&cursor="+next, "").Want(t, 400, fault.InvalidCursor)
}

// BenchmarkAuditExport streams events of changes and requests to a client that
// throws them away. goal: 200,000 events/s.
func BenchmarkAuditExport(b *testing.B) {
	g := apitest.New(b)
	now, _ := g.Config.Clock()
	const total = 200_000
	for i := range total {
		if i%20_000 == 0 {
			apitest.Must(b, g.Local.Flush())
		}
		g.Local.Observe(&local.Observation{At: now.Add(-time.Duration(total-i) * time.Millisecond), Duration: 1500 * time.Microsecond, RequestID: "req_0123456789abcdefghijkl",
			Method: "POST", Route: "/v1/chat", Status: 200, Client: netip.MustParseAddr("203.0.113.9"), UserAgent: "python-requests/2.32.3", Account: "default", Key: "key_0VboRaVWB7gSBUrJJvbeFK", Units: 1})
	}
	apitest.Must(b, g.Local.Flush())
	for _, format := range []string{"json", "ndjson", "csv"} {
		b.Run(format, func(b *testing.B) {
			b.ReportAllocs()
			n := int64(0)
			for b.Loop() {
				r, _ := http.NewRequest("GET", g.Admin.URL+"/v1/audit-logs?format="+format, nil)
				r.Header.Set("Authorization", "Bearer "+apitest.OperatorToken)
				resp, err := http.DefaultClient.Do(r)
				apitest.Must(b, err)
				size, err := io.Copy(io.Discard, resp.Body)
				apitest.Must(b, err)
				resp.Body.Close()
				b.SetBytes(size)
				n += total
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// brokenLog yields some events and then an error.
type brokenLog int

func (brokenLog) Heads(context.Context, store.AccountID) (*chain.HeadFile, error) {
	return nil, errors.New("no heads")
}

func (n brokenLog) Read(context.Context, store.EventQuery, bool) (manage.AuditReading, error) {
	return n, nil
}

func (brokenLog) Missing() []chain.Missing            { return nil }
func (brokenLog) Keys() []chain.Key                   { return nil }
func (brokenLog) Proof() iter.Seq2[chain.Part, error] { return nil }
func (brokenLog) Close() error                        { return nil }

func (n brokenLog) Streams() []iter.Seq2[*store.Event, error] {
	return []iter.Seq2[*store.Event, error]{func(yield func(*store.Event, error) bool) {
		for i := range int(n) {
			if !yield(&store.Event{ID: fmt.Sprint(i), UserAgent: strings.Repeat("x", 200)}, nil) {
				return
			}
		}
		yield(nil, errors.New("the disk is gone"))
	}}
}

// A stream that breaks off must not look like a whole document.
func TestBrokenExport(t *testing.T) {
	g := apitest.New(t)
	frame := g.Frame()
	for _, after := range []int{0, 10_000} {
		audit := &manage.Audit{Log: brokenLog(after)}
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			frame.Serve(w, r, &rest.Route{ID: "auditLogs", Method: "GET", Path: "/v1/audit-logs", Access: rest.Open, Serve: audit.Logs}, "", true)
		}))
		resp, err := http.Get(srv.URL)
		apitest.Must(t, err)
		raw, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		srv.Close()
		if after == 0 {
			if resp.StatusCode != 500 || err != nil || resp.Header.Get("Content-Disposition") != "" {
				t.Errorf("before the first byte: %d, %v, %v", resp.StatusCode, err, resp.Header)
			}
		} else if err == nil || json.Valid(raw) {
			t.Errorf("a broken stream ends with %v and %d valid bytes", err, len(raw))
		}
	}
	if n := strings.Count(g.Log.String(), "the disk is gone"); n != 2 {
		t.Errorf("the cause was logged %d times, want 2: %s", n, g.Log.String())
	}
}

// A live tail shows each event once, as it is written, and itself only when it has ended.
func TestAuditTail(t *testing.T) {
	g := apitest.New(t)
	before, _ := g.Key("live", "read")
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	req, err := http.NewRequestWithContext(ctx, "GET", g.Admin.URL+"/v1/audit-logs?action=key.create", nil)
	apitest.Must(t, err)
	req.Header.Set("Authorization", "Bearer "+apitest.OperatorToken)
	req.Header.Set("X-Request-Id", "the-tail")
	req.Header.Set("Accept", "application/json;q=0.5, text/event-stream")
	resp, err := http.DefaultClient.Do(req)
	apitest.Must(t, err)
	defer resp.Body.Close()
	if got := resp.Header.Get("Content-Type"); resp.StatusCode != 200 || got != "text/event-stream" {
		t.Fatalf("status %d, type %q", resp.StatusCode, got)
	}
	lines := bufio.NewScanner(resp.Body)
	next := func() (e client.Event) {
		for lines.Scan() {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				apitest.Must(t, json.Unmarshal([]byte(data), &e))
				return e
			}
		}
		t.Fatalf("the stream ended: %v", lines.Err())
		return e
	}
	for range 3 {
		id, _ := g.Key("live", "read")
		e := next()
		if e.KeyID == before { // within the millisecond of the call
			e = next()
		}
		if e.KeyID != id || e.Action != "key.create" {
			t.Errorf("the tail shows %+v, want the creation of %s", e, id)
		}
	}
	reads := func() int {
		return strings.Count(g.Op("GET", "/v1/audit-logs?action=audit.read&format=ndjson", "").Want(t, 200).Body, `"the-tail"`)
	}
	if n := reads(); n != 0 {
		t.Errorf("the tail shows itself %d times while it runs", n)
	}
	leave()
	for deadline := time.Now().Add(time.Minute); reads() != 1; {
		if time.Now().After(deadline) {
			t.Fatal("the tail is not in the log after a minute")
		}
	}
}

// A CSV begins with a byte order mark where it is asked for.
func TestByteOrderMark(t *testing.T) {
	g := apitest.New(t)
	for query, want := range map[string]bool{"format=csv&bom=true": true, "format=csv": false, "format=json&bom=true": false} {
		if got := strings.HasPrefix(g.Op("GET", "/v1/audit-logs?"+query, "").Want(t, 200).Body, "\ufeff"); got != want {
			t.Errorf("%s: %v", query, got)
		}
	}
	g.Op("GET", "/v1/audit-logs?bom=yes", "").Want(t, 422, fault.InvalidValue)
}
