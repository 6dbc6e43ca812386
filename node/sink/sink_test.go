package sink

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/chain"
)

var day = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// log is a source of events.
type log struct {
	mu   sync.Mutex
	list []*store.Event
}

func (l *log) add(account store.AccountID, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for range n {
		i := len(l.list)
		l.list = append(l.list, &store.Event{ID: fmt.Sprintf("evt_%06d", i), Time: time.Now().Truncate(time.Millisecond), Account: account, Action: "request", Outcome: store.Denied})
	}
}

func (l *log) events(q store.EventQuery) iter.Seq2[*store.Event, error] {
	l.mu.Lock()
	list := slices.Clone(l.list)
	l.mu.Unlock()
	return func(yield func(*store.Event, error) bool) {
		for _, e := range list {
			if q.Matches(e) && !yield(e, nil) {
				return
			}
		}
	}
}

// feed is the log as changes.
func (l *log) feed(pos store.ChangePos, _ []store.AccountID) (*store.Feed, error) {
	f := &store.Feed{Next: pos}
	for e := range l.events(store.EventQuery{After: pos.EventPos}) {
		f.Events, f.Next.EventPos = append(f.Events, e), store.EventPos{Time: e.Time, ID: e.ID}
	}
	return f, nil
}

// marks are a node's own data.
type marks struct {
	mu sync.Mutex
	of map[string][]byte
}

func (m *marks) get(name string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.of[name], nil
}

func (m *marks) set(name string, v []byte, _ bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.of[name] = slices.Clone(v)
	return nil
}

// setting is one node with a sink.
type setting struct {
	Config
	own, changes *log
	marks        *marks
	leads        atomic.Bool
}

func newSetting(t *testing.T, target string, o Options, accounts ...store.AccountID) *setting {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	s := &setting{own: &log{}, changes: &log{}, marks: &marks{of: map[string][]byte{}}}
	s.leads.Store(true)
	s.Config = Config{
		pace:   20 * time.Millisecond,
		Target: u, Options: o, Accounts: accounts, Node: "n1", Own: s.own.events, Changes: s.changes.feed, LastPos: func(now time.Time) store.ChangePos { return store.ChangePos{EventPos: store.EventPos{Time: now}} }, Leads: s.leads.Load,
		Mark: s.marks.get, SetMark: s.marks.set, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Heads: func(_ context.Context, a store.AccountID) (*chain.HeadFile, error) {
			return &chain.HeadFile{Account: string(a), Data: []chain.KeptHead{{}}}, nil
		},
		Append: func(b []byte, e *store.Event) []byte {
			raw, err := json.Marshal(e)
			if err != nil {
				t.Error(err)
			}
			return append(b, raw...)
		},
	}
	return s
}

// run starts the sink, until the returned function is called.
func (s *setting) run(t *testing.T) (stop func()) {
	t.Helper()
	sink, err := New(s.Config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { sink.Run(ctx); close(done) }()
	for deadline := time.Now().Add(time.Minute); sink.Cursor().Time.IsZero(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the sink did not begin within a minute")
		}
	}
	return func() { cancel(); <-done }
}

// received gathers what a receiver took.
type received struct {
	mu    sync.Mutex
	times map[string]int // by event id
	heads []string
	raw   []string
}

func (r *received) line(t *testing.T, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.times == nil {
		r.times = map[string]int{}
	}
	var e struct {
		ID   string `json:"id"`
		Data any    `json:"data"`
	}
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		t.Errorf("the line %q: %v", text, err)
	}
	r.raw = append(r.raw, text)
	if e.Data != nil {
		r.heads = append(r.heads, text)
		return
	}
	r.times[e.ID]++
}

// wait waits until all events of the logs were received.
func (r *received) wait(t *testing.T, logs ...*log) {
	t.Helper()
	missing := ""
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		missing = ""
		r.mu.Lock()
		for _, l := range logs {
			for e := range l.events(store.EventQuery{}) {
				if r.times[e.ID] == 0 {
					missing = e.ID
				}
			}
		}
		r.mu.Unlock()
		if missing == "" {
			return
		}
	}
	t.Fatalf("event %s was not received within a minute", missing)
}

func pool(s *httptest.Server) Options {
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return Options{Roots: roots, Token: "t0ken"}
}

// A receiver that fails, answers late or is away gets every event, also over restarts of the
// node, and in the order of the log as long as it takes what it gets.
func TestHTTPS(t *testing.T) {
	var got received
	var posts atomic.Int64
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := posts.Add(1)
		if r.Header.Get("Authorization") != "Bearer t0ken" || r.Header.Get("Content-Type") != "application/x-ndjson" || r.Header.Get("X-Perf-Node") != "n1" {
			t.Errorf("header %v", r.Header)
		}
		body, err := io.ReadAll(r.Body)
		switch {
		case err != nil:
		case n%4 == 2:
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		case n%4 == 3: // taken, and the answer is lost
			for line := range strings.Lines(string(body)) {
				got.line(t, line)
			}
			panic(http.ErrAbortHandler)
		}
		for line := range strings.Lines(string(body)) {
			got.line(t, line)
		}
	}))
	defer srv.Close()
	s := newSetting(t, srv.URL, pool(srv))
	stop := s.run(t)
	for range 3 {
		s.own.add("acct_a", 400)
		got.wait(t, s.own)
		stop()
		s.own.add("acct_b", 30) // while the node is away
		stop = s.run(t)
		got.wait(t, s.own)
	}
	stop()
	got.mu.Lock()
	defer got.mu.Unlock()
	if len(got.heads) == 0 {
		t.Error("no head was handed out")
	}
	last := ""
	for _, text := range got.raw {
		var e store.Event
		_ = json.Unmarshal([]byte(text), &e)
		if e.ID != "" && got.times[e.ID] == 1 {
			if e.ID < last {
				t.Errorf("%s came after %s", e.ID, last)
			}
			last = e.ID
		}
	}
}

// Changes are sent by the leader alone, and a new leader goes on where the old one was.
func TestChangesAreTheLeaders(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.ndjson")
	s := newSetting(t, "file:"+path, Options{})
	s.leads.Store(false)
	there := store.ChangePos{}
	s.Elsewhere = func(context.Context, string) store.ChangePos { return there }
	stop := s.run(t)
	s.changes.add("acct_a", 20)
	stop()
	there = store.ChangePos{EventPos: store.EventPos{Time: s.changes.list[9].Time, ID: s.changes.list[9].ID}}
	stop = s.run(t) // asks at once
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		var c cursor
		raw, _ := s.marks.get((&Sink{name: nameOf(&s.Config)}).mark())
		_ = json.Unmarshal(raw, &c)
		if c.Changes.ID == there.ID {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the place of the leader was not taken over within a minute")
		}
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("a follower sent changes: %v", err)
	}
	s.leads.Store(true)
	defer stop()
	var got received
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		raw, _ := os.ReadFile(path)
		if strings.Contains(string(raw), "evt_000019") {
			for line := range strings.Lines(string(raw)) {
				got.line(t, line)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the new leader sent nothing within a minute")
		}
	}
	if len(got.times) != 10 || got.times["evt_000009"] != 0 {
		t.Errorf("the new leader sent %d changes, want the 10 that the old one had not: %v", len(got.times), got.times)
	}
}

// A sink with accounts gets their events alone, and their heads.
func TestAccounts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.ndjson")
	if err := os.WriteFile(path, []byte(`{"id":"cut`), 0o600); err != nil { // by a crash
		t.Fatal(err)
	}
	s := newSetting(t, "file:"+path, Options{}, "acct_a", store.Operators)
	stop := s.run(t)
	for _, a := range []store.AccountID{"acct_a", "acct_b", "", store.DefaultAccount} {
		s.own.add(a, 5)
	}
	s.own.add("acct_a", 1)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		raw, _ := os.ReadFile(path)
		if strings.Contains(string(raw), "evt_000020") && strings.Contains(string(raw), `"data"`) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("not complete within a minute: %s", raw)
		}
	}
	stop()
	raw, _ := os.ReadFile(path)
	var got received
	for i, line := range strings.Split(strings.TrimSpace(string(raw)), "\n") {
		if i > 0 {
			got.line(t, line)
		}
	}
	if len(got.times) != 11 || got.times["evt_000007"] != 0 || len(got.heads) != 2 {
		t.Errorf("%d events and %d heads: %s", len(got.times), len(got.heads), raw)
	}
}

// An event that the receiver refuses for ever is left out after maxTries, counted, and holds
// up no other one.
func TestRefusedEvent(t *testing.T) {
	var got received
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || strings.Contains(string(body), "evt_000007") {
			w.WriteHeader(http.StatusUnprocessableEntity)
			return
		}
		for line := range strings.Lines(string(body)) {
			got.line(t, line)
		}
	}))
	defer srv.Close()
	s := newSetting(t, srv.URL, pool(srv))
	s.own.add("acct_a", 20)
	sink, err := New(s.Config)
	if err != nil {
		t.Fatal(err)
	}
	var heads, asked time.Time
	now := time.Now().Add(2 * time.Second)
	sink.cfg.Clock = func() time.Time { return now }
	failures := 0
	for range 100 {
		if _, err := sink.turn(t.Context(), &heads, &asked); err != nil {
			failures++
		}
	}
	f := sink.Figures()
	if f.Sent != 19 || f.Dropped != 1 || f.Lag != 0 || failures != maxTries || len(got.times) != 19 || got.times["evt_000007"] != 0 {
		t.Errorf("%+v, %d failures, %d received", f, failures, len(got.times))
	}
}
