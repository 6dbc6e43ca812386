package cluster

import (
	"encoding/hex"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/perfgate/perfgate/node/clock"
	"github.com/perfgate/perfgate/node/lease"
	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/node/replica/replicatest"
	"github.com/perfgate/perfgate/store/logtest"
)

// led is the coordinator of a lone replica, whose node leads in term, without a
// mesh: the part of a cluster that needs no other node.
func led(t *testing.T, term uint64) *Cluster {
	t.Helper()
	c := New(replicatest.New(t), &Config{
		Name: "n1", Version: "test", Lease: 5 * time.Second, Clock: clock.New(), Logger: slog.New(slog.DiscardHandler),
		Draining: func() bool { return false },
	})
	c.leadership.begin(term)
	return c
}

// The leader grants a lease to a node of its cluster and term, and gives every
// other one its reason.
func TestGrant(t *testing.T) {
	t.Parallel()
	c := led(t, 0)
	term, err := c.r.Confirm(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c.leadership.begin(term)
	good := selfReport{ID: "n2", Boot: 2, Term: term, Applied: c.r.Store().Applied(), Lease: int64(c.Lease), Name: "n2"}
	got, err := c.leadership.grant(t.Context(), &good)
	if err != nil || time.Since(got.Wall) > time.Minute || got.Stale {
		t.Fatalf("%+v, %v", got, err)
	}
	if f, heard := c.leadership.reports.of("n2"); !heard || f.Name != "n2" {
		t.Errorf("its report is not kept: %+v", f)
	}
	for name, change := range map[string]struct {
		report selfReport
		reason error
	}{
		"another term":   {selfReport{ID: "n2", Boot: 2, Term: term + 1, Lease: good.Lease}, replica.ErrNotTaken},
		"another lease":  {selfReport{ID: "n2", Boot: 2, Term: term, Lease: good.Lease + 1}, replica.ErrForbidden},
		"another region": {selfReport{ID: "n2", Boot: 2, Term: term, Lease: good.Lease, Region: "eu-west"}, replica.ErrForbidden},
		"an older boot":  {selfReport{ID: "n2", Boot: 1, Term: term, Lease: good.Lease}, replica.ErrUnavailable},
	} {
		_, err := c.leadership.grant(t.Context(), &change.report)
		if w := toWire(err); err == nil || w.err().Error() == "" || !errors.Is(err, change.reason) {
			t.Errorf("%s: %v, must be %v", name, err, change.reason)
		}
	}
}

// A report of a node that has left frees writes from waiting for it.
func TestReportOfANodeThatLeft(t *testing.T) {
	t.Parallel()
	c := led(t, 3)
	if err := c.leadership.heard("n2", report{Boot: 1, Term: 2}); !errors.Is(err, replica.ErrNotTaken) {
		t.Errorf("a report of another term: %v", err)
	}
	if err := c.leadership.heard("n2", report{Boot: 1, Term: 3, Applied: 4}); err != nil {
		t.Error(err)
	}
	if err := c.leadership.heard("n2", report{Boot: 1, Term: 3, Left: true}); err != nil {
		t.Error(err)
	}
	if _, err := c.leadership.table.Renew(lease.Node{ID: "n2", Boot: 1}, 4, false, c.Clock.Now()); err == nil {
		t.Error("a process that has left may hold a lease again")
	}
}

// Reports are the newest of each node, in a bounded number, until a new term.
func TestReports(t *testing.T) {
	var r reports
	r.nodes = map[string]*selfReport{}
	r.put(&selfReport{ID: "a", Applied: 1}, 10)
	r.put(&selfReport{ID: "a", Applied: 2}, 20)
	if f, ok := r.of("a"); !ok || f.Applied != 2 || f.seen != 20 {
		t.Errorf("%+v, %v", f, ok)
	}
	for i := range 2 * lease.MaxNodes {
		r.put(&selfReport{ID: hex.EncodeToString([]byte{byte(i), byte(i >> 8)})}, 30)
	}
	if len(r.nodes) != lease.MaxNodes {
		t.Errorf("%d nodes are kept, at most %d", len(r.nodes), lease.MaxNodes)
	}
	r.put(&selfReport{ID: "a", Applied: 3}, 40) // a known one always
	if f, _ := r.of("a"); f.Applied != 3 {
		t.Errorf("%+v", f)
	}
	r.drop("a")
	if _, ok := r.of("a"); ok {
		t.Error("it was not dropped")
	}
	if r.reset(); len(r.nodes) != 0 {
		t.Error("a new term begins with reports")
	}
}

// Notices and their answers are fixed words that all versions read.
func TestNoticesOnTheWire(t *testing.T) {
	if got := hex.EncodeToString(notice{term: 2, index: 0x0102030405060708}.append(nil)); got != "00000000000000020102030405060708" {
		t.Error(got)
	}
	if got := hex.EncodeToString(noticed{boot: 1, term: 2, applied: 3}.append(nil)); got != "000000000000000100000000000000020000000000000003" {
		t.Error(got)
	}
}

// The skew of the wall clocks is that of the readings, without the time that the
// answer took.
func TestSkew(t *testing.T) {
	t.Parallel()
	c := led(t, 1)
	const took = 2 * time.Second
	for _, s := range []struct {
		name   string
		leader time.Duration // after sent
		want   time.Duration
		ready  bool
	}{
		{"equal", 0, 0, true},
		{"behind", -10 * time.Second, -10 * time.Second, false},
		{"ahead", 10 * time.Second, 8 * time.Second, false},
		{"ahead by what the answer took", took, 0, true},
		{"ahead by less", time.Second, 0, true},
		{"a little behind", -time.Second, -time.Second, true},
	} {
		sent := time.Now()
		c.holder.compare(sent.Add(s.leader), sent, took)
		if got := time.Duration(c.holder.skew.Load()); got != s.want {
			t.Errorf("%s: %v, want %v", s.name, got, s.want)
		}
		c.holder.stale.Store(true) // it serves, so that the clock alone decides
		if err := c.Ready(); (err == nil) != s.ready {
			t.Errorf("%s: ready: %v", s.name, err)
		}
	}
}

// Every change of leader is logged once, and makes the node ask for a lease.
func TestChangesOfLeaderAreLogged(t *testing.T) {
	t.Parallel()
	c := led(t, 1)
	var log logtest.Log
	c.node.log = log.Logger()
	last := ""
	for i, step := range []struct {
		id    string
		lines int
		asks  bool
	}{{"", 0, false}, {"n2", 1, true}, {"n2", 1, false}, {"", 2, false}, {"", 2, false}, {c.self.ID, 3, true}} {
		for len(c.holder.kick) > 0 {
			<-c.holder.kick
		}
		last = c.holder.met(last, step.id)
		if got := log.Count("level=INFO"); got != step.lines || (len(c.holder.kick) > 0) != step.asks {
			t.Errorf("step %d: %d lines, asks %v\n%s", i, got, len(c.holder.kick) > 0, log.String())
		}
	}
	if log.Count("the cluster has a new leader") != 2 || log.Count("node=n1") != 1 || log.Count("the cluster has no leader") != 1 {
		t.Error(log.String())
	}
}

// A message that was sent in one term does not get into the table of the next one,
// however long the leader takes over it.
func TestMessageOfATermThatEnds(t *testing.T) {
	t.Parallel()
	c := led(t, 3)
	taking, begun := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(begun)
		<-taking
		c.leadership.end()
		c.leadership.begin(4)
	}()
	took := c.leadership.inTerm(3, func() {
		close(taking)
		select {
		case <-begun:
			t.Error("a term began while a message of the one before was taken")
		case <-time.After(100 * time.Millisecond):
		}
		c.leadership.table.Report(lease.Node{ID: "n2", Boot: 1}, 4, c.Clock.Now())
		c.leadership.reports.put(&selfReport{ID: "n2", Term: 3}, c.Clock.Now())
	})
	<-begun
	if !took {
		t.Fatal("the message of the term under way was not taken")
	}
	if held := c.leadership.table.Status(c.Clock.Now()); len(held) != 0 {
		t.Errorf("the new term's table begins with %+v", held)
	}
	if _, heard := c.leadership.reports.of("n2"); heard {
		t.Error("the new term begins with a report")
	}
	if c.leadership.inTerm(3, func() {}) {
		t.Error("a message of an earlier term was taken")
	}
}
