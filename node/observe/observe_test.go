package observe

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/insight"
	"github.com/perfgate/perfgate/store/local"
)

var begin = time.Date(2027, 1, 4, 0, 0, 0, 0, time.UTC)

// member is one node of a cluster whose calls are made directly.
type member struct {
	*Nodes
	local   *local.Local
	watcher *Watcher
	found   []insight.Finding
	asked   int
}

// cluster makes nodes that ask each other; those in down do not answer.
func cluster(t *testing.T, now *time.Time, down map[string]bool, names ...string) map[string]*member {
	t.Helper()
	all := map[string]*member{}
	quiet := slog.New(slog.DiscardHandler)
	for _, name := range names {
		m := &member{watcher: NewWatcher(quiet)}
		l, err := local.Open(local.Config{FS: vfs.NewMem(), Dir: "l", Logger: quiet, Node: name, Clock: func() time.Time { return *now }, Watch: m.watcher.Watch})
		if err != nil {
			t.Fatal(err)
		}
		m.local = l
		m.watcher.Open(l)
		t.Cleanup(func() { m.watcher.Close(); l.Close() })
		m.Nodes = New(Config{Local: l, Watcher: m.watcher, Logger: quiet,
			Found: func(f insight.Finding) { m.found = append(m.found, f) },
			Others: func() (others []store.Member) {
				for _, other := range names {
					if other != name {
						others = append(others, store.Member{ID: other, Name: other})
					}
				}
				return others
			},
			Ask: func(ctx context.Context, id string, body []byte) ([]byte, error) {
				if down[id] {
					all[id].asked++
					return nil, errors.New("down")
				}
				return all[id].Serve(ctx, body)
			},
		})
		all[name] = m
	}
	return all
}

// use lets a node serve a request of key_a.
func (m *member) use(t *testing.T, at time.Time, ip, country string) {
	t.Helper()
	m.local.Observe(&local.Observation{At: at, Method: "GET", Route: "/", Status: 200, Account: "default", Key: "key_a", Client: netip.MustParseAddr(ip), Trail: local.Trail{Country: country}})
	if err := m.local.Flush(); err != nil {
		t.Fatal(err)
	}
}

// confirm does what Run does with the findings that wait.
func (m *member) confirm(t *testing.T) (kinds string) {
	t.Helper()
	m.found = nil
	for {
		select {
		case f := <-m.watcher.waits:
			if !m.refuted(t.Context(), &f) {
				m.watcher.keep(&f)
				m.tell(f)
			}
			continue
		default:
		}
		break
	}
	for _, f := range m.found {
		kinds += string(f.Kind) + " "
	}
	return kinds
}

// What is new to one node and not to another is no finding; what is new to all is one, with
// the same id on each.
func TestOtherNodesRefute(t *testing.T) {
	now := begin.AddDate(0, 0, 60)
	all := cluster(t, &now, map[string]bool{}, "n1", "n2")
	n1, n2 := all["n1"], all["n2"]
	at := begin
	for ; at.Before(begin.AddDate(0, 0, 10)); at = at.Add(2 * time.Hour) {
		n1.use(t, at, "203.0.113.7", "DE")
		n2.use(t, at, "198.51.100.7", "BR")
	}
	n1.use(t, at, "198.51.100.8", "BR")
	if got := n1.confirm(t); got != "" {
		t.Errorf("known to n2: %s", got)
	}
	at = at.AddDate(0, 0, 1)
	n1.use(t, at, "192.0.2.1", "JP")
	n2.use(t, at.Add(time.Second), "192.0.2.1", "JP")
	if got := n1.confirm(t) + n2.confirm(t); got != "new_country new_country " || n1.found[0].ID != n2.found[0].ID {
		t.Errorf("new to both: %q", got)
	}
	list, missing, err := n2.Findings(t.Context(), insight.Query{From: begin, To: now, Account: "default", Most: 10})
	if err != nil || len(missing) > 0 || len(list) != 1 || list[0].Subject != "JP" || !list[0].At.Equal(at) {
		t.Errorf("%+v, %v, %v", list, missing, err)
	}
	// n2 goes on while n1 is silent for 40 days.
	for range 40 {
		at = at.AddDate(0, 0, 1)
		n2.use(t, at, "198.51.100.7", "BR")
	}
	n1.use(t, at, "203.0.113.7", "DE")
	if got := n1.confirm(t); got != "" {
		t.Errorf("n2 was in use: %s", got)
	}
	profiles, _, err := n1.Profiles(t.Context(), []store.KeyID{"key_a", "key_b"})
	if p := profiles["key_a"]; err != nil || len(profiles) != 1 || p.Did != insight.DidRead || len(p.Recent) != 4 || p.First != begin {
		t.Errorf("%+v, %v", profiles, err)
	}
}

// A silence of the whole cluster is a finding.
func TestSilenceOfAllNodes(t *testing.T) {
	now := begin.AddDate(0, 0, 60)
	all := cluster(t, &now, map[string]bool{}, "n1", "n2")
	for i := range 20 {
		all["n1"].use(t, begin.Add(time.Duration(i)*time.Hour), "203.0.113.7", "DE")
		all["n2"].use(t, begin.Add(time.Duration(i)*time.Hour), "203.0.113.7", "DE")
	}
	all["n2"].use(t, begin.AddDate(0, 0, 45), "203.0.113.7", "DE")
	if got := all["n2"].confirm(t); got != "after_silence " {
		t.Errorf("%q", got)
	}
}

// Habits survive a restart of the watcher.
func TestHabitsAreKept(t *testing.T) {
	now := begin.AddDate(0, 0, 60)
	m := cluster(t, &now, nil, "n1")["n1"]
	for i := range 100 {
		m.use(t, begin.Add(time.Duration(i)*time.Hour), "203.0.113.7", "DE")
	}
	m.watcher.Close()
	again := NewWatcher(slog.New(slog.DiscardHandler))
	again.Open(m.local)
	again.Watch(&local.Watched{At: begin.Add(101 * time.Hour), Account: "default", Key: "key_a", IP: netip.MustParseAddr("198.51.100.1"), Country: local.Country{'B', 'R'}, Method: "GET", Status: 200})
	select {
	case f := <-again.waits:
		if f.Kind != insight.Country {
			t.Errorf("%+v", f)
		}
	default:
		t.Error("the habit is forgotten")
	}
}

// A node that does not answer is named, and last uses do not wait for it again for a while.
func TestMissingNodes(t *testing.T) {
	now := begin.AddDate(0, 0, 1)
	down := map[string]bool{"n2": true}
	all := cluster(t, &now, down, "n1", "n2")
	all["n1"].use(t, begin, "203.0.113.7", "DE")
	for i := range 3 {
		uses, missing := all["n1"].LastUses(t.Context(), []store.KeyID{"key_a"})
		if len(uses) != 1 || fmt.Sprint(missing) != "[{n2 "+noAnswer+"}]" || all["n2"].asked != 1 {
			t.Errorf("%d: %v, %v, asked %d times", i, uses, missing, all["n2"].asked)
		}
	}
	if _, missing, err := all["n1"].CertainUses(t.Context(), []store.KeyID{"key_a"}); err != nil || len(missing) != 1 || all["n2"].asked != 2 {
		t.Errorf("for a decision: %v, %v, asked %d times", missing, err, all["n2"].asked)
	}
	rows, missing, err := all["n1"].Usage(t.Context(), local.UsageQuery{Account: "default", Step: local.StepDay})
	if err != nil || len(rows) != 1 || len(missing) != 1 {
		t.Errorf("%v, %v, %v", rows, missing, err)
	}
	if _, err := all["n1"].Serve(t.Context(), []byte(`{}`)); err == nil {
		t.Error("a question of nothing is answered")
	}
}
