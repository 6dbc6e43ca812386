package local

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perfgate/perfgate/store"
)

var day0 = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// open is a Local whose writer works in calls only, so that a test may move its clock and
// use what the writer owns between them.
func open(t testing.TB, cfg Config) *Local {
	t.Helper()
	cfg.asked = true
	return ticking(t, cfg)
}

// ticking is a Local whose writer also works by itself.
func ticking(t testing.TB, cfg Config) *Local {
	t.Helper()
	if cfg.FS == nil {
		cfg.FS = vfs.NewMem()
	}
	if cfg.Dir == "" {
		cfg.Dir = "data/local"
	}
	if cfg.Logger == nil {
		cfg.Logger = quiet()
	}
	if cfg.Node == "" {
		cfg.Node = "node1"
	}
	if cfg.whole == 0 {
		cfg.whole = 1 << 30
	}
	if cfg.stamp == nil {
		cfg.stamp = asObserved
	}
	if cfg.Clock == nil { // with today's, all events would be too old
		cfg.Clock = func() time.Time { return day0.Add(24 * time.Hour) }
	}
	l, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// asObserved gives events the time of their observation, so that tests decide it.
func asObserved(started uint64) uint64 { return started }

func collect(t testing.TB, l *Local, q store.EventQuery) []*store.Event {
	t.Helper()
	var out []*store.Event
	for e, err := range l.Events(q) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Hash == "" {
			t.Errorf("event %s has no hash", e.ID)
		}
		e.Hash = ""
		out = append(out, e)
	}
	return out
}

func admitted(at time.Time, account store.AccountID, key store.KeyID) *Observation {
	return &Observation{
		At: at, Duration: 1500 * time.Microsecond, RequestID: "req-0001", Method: "POST", Route: "/v1/chat", Status: 200,
		Client: netip.MustParseAddr("203.0.113.7"), UserAgent: "curl/8.5.0", Account: account, Key: key, Type: store.Live,
		Units: 1, Environment: "production",
	}
}

func denial(at time.Time, account store.AccountID, code string, status int) *Observation {
	o := admitted(at, account, "")
	o.Code, o.Status, o.Hint = code, status, "pk_live_0123…STUV"
	o.Units, o.Cost = 0, 0 // nothing was charged
	return o
}

func TestEventOfRequest(t *testing.T) {
	l := open(t, Config{})
	o := admitted(day0, "default", "key_a")
	o.Trail = Trail{Path: "/v1/chat/7", Upstream: "http://10.0.0.5:9000", Attempts: 2, Sent: 12}
	l.Observe(o)
	got := collect(t, l, store.EventQuery{Account: "default"})
	if len(got) != 1 {
		t.Fatalf("%d events, want 1", len(got))
	}
	e := *got[0]
	if e.Request == nil || *e.Request != (store.EventRequest{
		RequestInfo: store.RequestInfo{ID: "req-0001", Method: "POST", Route: "/v1/chat", Status: 200, DurationMS: 1.5},
		Path:        "/v1/chat/7", Upstream: "http://10.0.0.5:9000", Attempts: 2, StartedAt: day0,
	}) {
		t.Errorf("request %+v", e.Request)
	}
	e.Request = nil
	want := store.Event{
		ID: l.prefix + "00000000001", Seq: 1, Time: day0, EventType: store.EventCreate, Action: "request",
		Actor: store.Actor{Type: store.ActorKey, ID: "key_a"}, Account: "default", KeyID: "key_a",
		Outcome: store.Success, IP: "203.0.113.7", UserAgent: "curl/8.5.0",
	}
	if fmt.Sprintf("%+v", e) != fmt.Sprintf("%+v", want) {
		t.Errorf("got  %+v\nwant %+v", e, want)
	}
}

// Which requests become events, by the setting and the outcome.
func TestWhatIsKept(t *testing.T) {
	ok := admitted(day0, "default", "key_a")
	refused := denial(day0, "default", "requests_per_minute", 429)
	broken := admitted(day0, "default", "key_a")
	broken.Status = 503
	managed := admitted(day0, "default", "key_a")
	managed.Management = true
	read := *managed
	read.Action = "audit.read"
	shut := denial(day0, "default", "insufficient_scope", 403)
	shut.Management = true
	for _, c := range []struct {
		name                            string
		o                               *Observation
		all, denied, off, counted, used bool
	}{
		{"request", ok, true, false, false, true, true},
		{"refused", refused, true, true, true, true, false},
		{"upstream's 503", broken, true, true, false, true, true},
		{"management", managed, false, false, false, false, true},
		{"management read", &read, true, true, true, false, true},
		{"management refused", shut, true, true, true, false, false},
	} {
		for mode, want := range map[string]bool{RequestsAll: c.all, RequestsDenied: c.denied, RequestsOff: c.off} {
			t.Run(c.name+"/"+mode, func(t *testing.T) {
				l := open(t, Config{Requests: mode, Clock: func() time.Time { return day0.Add(time.Hour) }})
				l.Observe(c.o)
				if got := len(collect(t, l, store.EventQuery{})) == 1; got != want {
					t.Errorf("event kept: %v, want %v", got, want)
				}
				rows, err := l.Usage(UsageQuery{Account: "default", Step: StepDay})
				if err != nil || (len(rows) == 1) != c.counted {
					t.Errorf("usage %v %v, want counted %v", rows, err, c.counted)
				}
				if _, used := l.LastUsed("key_a"); used != c.used {
					t.Errorf("last use known: %v, want %v", used, c.used)
				}
			})
		}
	}
}

// Refusals without a known key are in the operators' log, apart from the account "default".
func TestUnknownKeysAreTheOperators(t *testing.T) {
	l := open(t, Config{})
	l.Observe(denial(day0.Add(2*time.Second), "", "invalid_key", 401))
	l.Observe(admitted(day0.Add(time.Second), "default", "key_a"))
	l.Observe(admitted(day0.Add(3*time.Second), "default", "key_a"))
	l.Observe(admitted(day0, "acct_x", "key_x"))
	for q, want := range map[store.EventQuery]string{
		{Account: "default"}: "default,default,", {Account: "default", WithOperators: true}: "default,,default,", {Account: store.Operators}: ",",
		{Account: "acct_x"}: "acct_x,", {}: "acct_x,default,,default,", {Account: "acct_y"}: "",
	} {
		got := ""
		for _, e := range collect(t, l, q) {
			got += string(e.Account) + ","
		}
		if got != want {
			t.Errorf("%+v: events of %q, want %q", q, got, want)
		}
	}
}

func TestMarks(t *testing.T) {
	fs := vfs.NewMem()
	l := open(t, Config{FS: fs})
	if v, err := l.Mark("boot"); v != nil || err != nil {
		t.Fatalf("a mark never set: %q, %v", v, err)
	}
	for _, sync := range []bool{true, false} {
		if err := l.SetMark("boot", []byte("7"), sync); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Mark("boot"); err != ErrClosed {
		t.Errorf("after Close: %v", err)
	}
	l.Observe(admitted(day0, "default", "key_a")) // must not panic
	l = open(t, Config{FS: fs})
	if v, err := l.Mark("boot"); string(v) != "7" || err != nil {
		t.Errorf("got %q, %v", v, err)
	}
}

func TestLastUsed(t *testing.T) {
	fs := vfs.NewMem()
	l := open(t, Config{FS: fs})
	use := func(after time.Duration, ip string) {
		t.Helper()
		o := admitted(day0.Add(after), "default", "key_a")
		o.Client = netip.MustParseAddr(ip)
		l.Observe(o)
		if err := l.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	check := func(when string) {
		t.Helper()
		u, ok := l.LastUsed("key_a")
		if !ok || !u.At.Equal(day0.Add(100*time.Second)) || u.IP.String() != "2001:db8::1" {
			t.Errorf("%s: %v %v", when, u, ok)
		}
	}
	use(0, "203.0.113.7")
	use(90*time.Second, "203.0.113.7")
	use(100*time.Second, "2001:db8::1") // less than a minute later: in memory only
	check("running")
	use(95*time.Second, "203.0.113.8") // began before, ended after
	check("after a late end")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, Config{FS: fs})
	check("after a restart")
	use(60*time.Second, "203.0.113.9")
	check("after a late end behind a restart")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, Config{FS: fs})
	check("after another restart")
	if _, ok := l.LastUsed("key_b"); ok {
		t.Error("a key that was never used")
	}
}

// A clean stop leaves no gap in the events' numbers, though they are reserved
// in blocks.
func TestNumbersWithoutGaps(t *testing.T) {
	fs := vfs.NewMem()
	for boot := range 3 {
		l := open(t, Config{FS: fs})
		for range 5 {
			l.Observe(admitted(day0, "default", "key_a"))
		}
		for i, e := range collect(t, l, store.EventQuery{}) {
			if e.Seq != uint64(i+1) || e.ID != string(appendID(nil, l.prefix, e.Seq)) {
				t.Fatalf("boot %d: event %d has number %d, id %s", boot, i+1, e.Seq, e.ID)
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Close waits for a running stream, which may itself query and gets an error.
func TestCloseDuringStream(t *testing.T) {
	l := open(t, Config{})
	for i := range 10 {
		l.Observe(admitted(day0.Add(time.Duration(i)*time.Minute), "default", "key_a"))
	}
	closed := make(chan error, 1)
	n := 0
	for _, err := range l.Events(store.EventQuery{}) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n > 1 {
			continue
		}
		go func() { closed <- l.Close() }()
		for {
			if _, err := l.Mark("m"); err == ErrClosed {
				break
			}
		}
	}
	if n != 10 {
		t.Errorf("the stream gave %d of 10 events", n)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	for _, err := range l.Events(store.EventQuery{}) {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	}
}

// Clients may name any year.
func TestFarTimes(t *testing.T) {
	l := open(t, Config{Clock: func() time.Time { return day0.Add(time.Hour) }})
	l.Observe(admitted(day0, "default", "key_a"))
	year := func(y int) time.Time { return time.Date(y, 1, 1, 0, 0, 0, 0, time.UTC) }
	for _, c := range []struct {
		from, to time.Time
		want     int
	}{
		{time.Time{}, year(9999), 1}, {year(1), year(2500), 1}, {year(1), year(2560), 1}, // UnixNano comes round to 1975
		{year(1900), year(2027), 1},
		{year(2400), year(9999), 0}, {year(1), year(1960), 0}, {year(2030), year(2020), 0},
	} {
		if got := len(collect(t, l, store.EventQuery{From: c.from, To: c.to})); got != c.want {
			t.Errorf("%v to %v: %d events, want %d", c.from, c.to, got, c.want)
		}
		rows, err := l.Usage(UsageQuery{Account: "default", From: c.from, To: c.to, Step: StepHour})
		if err != nil || len(rows) != c.want {
			t.Errorf("%v to %v: %d rows of usage (%v), want %d", c.from, c.to, len(rows), err, c.want)
		}
	}
}

// The prefix of a node's event ids is made again at each start, so its form may
// never change.
func TestIDPrefix(t *testing.T) {
	salt := []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
	if got := idPrefix("n1", salt); got != "evt_ai7YH0oK" {
		t.Errorf("got %q", got)
	}
	if got := string(appendID(nil, "evt_ai7YH0oK", 62)); got != "evt_ai7YH0oK00000000010" {
		t.Errorf("got %q", got)
	}
}

// The writer works by itself, about a second after a request.
func TestWriterTicks(t *testing.T) {
	t.Parallel()
	l := ticking(t, Config{})
	l.Observe(admitted(day0, "default", "key_a"))
	row := []byte{rowEvent}
	wait(t, "the event to be written without a call", func() bool {
		it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: row, UpperBound: prefixEnd(row)})
		must(t, err)
		found := it.First()
		must(t, it.Close())
		return found
	})
}
