package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/node/datadir"
	"github.com/perfgate/perfgate/node/lease"
	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/node/replica/replicatest"
)

// Changes are refused when so many voters have full disks that no majority has room;
// a voter that is not heard of, and a node without a vote, do not count as full.
func TestFullVoters(t *testing.T) {
	t.Parallel()
	s := opened(t, nil)
	a, b, nonvoter := s.voter("n2"), s.voter("n3"), s.joined("n4")
	full := func(f *selfReport) { f.Full = true }
	s.leadership.reports.reset()
	for _, step := range []struct {
		name string
		do   func()
		want bool
	}{
		{"nobody is heard of", func() {}, false},
		{"a nonvoter is full", func() { nonvoter.hears(full) }, false},
		{"one of three", func() { a.hears(full) }, false},
		{"two of three", func() { b.hears(full) }, true},
		{"one has space again", func() { b.hears(nil) }, false},
		{"one is not heard of", func() { b.hears(full); s.leadership.reports.drop(a.id) }, false},
	} {
		step.do()
		if got := s.Full(); got != step.want {
			t.Errorf("%s: %v", step.name, got)
		}
	}
	a.hears(full)
	_, err := s.r.Write(t.Context(), replicatest.CreateKey(1))
	if !errors.Is(err, replica.ErrDiskFull) {
		t.Errorf("a change: %v", err)
	}
}

// A write answers when each node that may serve has applied it, or when it is known that
// this leader cannot tell.
func TestSettle(t *testing.T) {
	t.Parallel()
	s := opened(t, func(c *Config) { c.Lease = time.Minute })
	p := s.joined("n2")
	f := p.report()
	if _, err := s.leadership.grant(t.Context(), &f); err != nil {
		t.Fatal(err)
	}
	term := s.leadership.term.Load()
	replicatest.Must(t, s.r, monthsAsked())
	index := s.r.Store().Applied()
	type settled struct {
		effective bool
		nodes     []replica.Ack
		err       error
	}
	settle := func(ctx context.Context, term uint64) chan settled {
		done := make(chan settled, 1)
		before := s.leadership.table.Outstanding()
		go func() {
			e, n, err := s.leadership.settle(ctx, index, term, false)
			done <- settled{e, n, err}
		}()
		s.until("the write to wait", func() bool { return s.leadership.table.Outstanding() > before || len(done) > 0 })
		return done
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := settle(ctx, term)
	cancel()
	if got := <-done; !errors.Is(got.err, replica.ErrUnknownOutcome) || errors.Is(got.err, replica.ErrNotTaken) {
		t.Errorf("nobody waits any more: %+v", got)
	}
	if n := s.leadership.table.Outstanding(); n != 0 {
		t.Errorf("%d writes still wait", n)
	}
	done = settle(t.Context(), term)
	if err := s.leadership.heard(p.id, report{Boot: 1, Term: term, Applied: index - 1}); err != nil || len(done) != 0 {
		t.Errorf("answered before n2 has applied it: %v", err)
	}
	if err := s.leadership.heard(p.id, report{Boot: 1, Term: term, Applied: index}); err != nil {
		t.Error(err)
	}
	want := []replica.Ack{{Name: "n1", How: lease.Applied}, {Name: "n2", How: lease.Applied}}
	if got := <-done; got.err != nil || !got.effective || !slices.Equal(got.nodes, want) && !slices.Equal(got.nodes, want[1:]) {
		t.Errorf("applied everywhere: %+v", got)
	}
	index += 1000
	done = settle(t.Context(), term)
	s.Ended()
	if got := <-done; !errors.Is(got.err, errLost) {
		t.Errorf("the leadership ended: %+v", got)
	}
	if got := <-settle(t.Context(), term+1); !errors.Is(got.err, errLost) {
		t.Errorf("another term: %+v", got)
	}
}

// A new leader's first write waits for the reports of servers that it might reach, for a
// moment at most, and later writes do not.
func TestFirstReportsAreAwaited(t *testing.T) {
	t.Parallel()
	s := opened(t, nil)
	p, gone := s.joined("n2"), s.joined("n3")
	l := s.leadership
	term := l.term.Load()
	begin := func() {
		term++
		l.reports.reset()
		l.ledSince.Store(s.Clock.Now() + int64(time.Hour)) // the moment is not over before the test
	}
	ends := func(done chan struct{}) {
		t.Helper()
		s.until("the wait to end", func() bool {
			select {
			case <-done:
				return true
			default:
				return false
			}
		})
	}
	wait := func() chan struct{} {
		done := make(chan struct{})
		go func() { l.awaitReports(t.Context(), term); close(done) }()
		return done
	}
	begin()
	done := wait()
	p.hears(nil)
	select {
	case <-done:
		t.Error("it did not wait for n3")
	case <-time.After(5 * reportsPoll):
	}
	gone.hears(nil)
	ends(done)
	l.reports.reset()
	ends(wait()) // once in a term
	begin()
	p.hears(nil)
	l.notices.mu.Lock()
	l.notices.failed[raft.ServerID(gone.id)] = term
	l.notices.mu.Unlock()
	ends(wait()) // one that cannot be reached is not waited for
	begin()
	l.ledSince.Store(s.Clock.Now() - int64(reportsWait))
	ends(wait())
	begin()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if l.awaitReports(ended, term); l.awaited.Load() >= term {
		t.Error("a caller that gave up counts as the wait")
	}
}

// An index to read at is the leader's alone.
func TestReadIndex(t *testing.T) {
	t.Parallel()
	s := opened(t, nil)
	if index, err := s.leadership.read(t.Context()); err != nil || index != s.r.Store().Applied() {
		t.Errorf("%d, %v", index, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.leadership.read(ended); !errors.Is(err, replica.ErrNotTaken) {
		t.Errorf("not confirmed: %v", err)
	}
	s.joined("n2").leads()
	if _, err := s.leadership.read(t.Context()); !errors.Is(err, replica.ErrNotTaken) {
		t.Errorf("a follower: %v", err)
	}
}

// The leader's status shows each node by its own report and by the leader's record of
// its lease.
func TestStatusOfTheLeader(t *testing.T) {
	t.Parallel()
	s := opened(t, func(c *Config) { c.Lease = time.Minute; c.Stale = true })
	long := int64(time.Hour)
	s.holder.renew(t.Context())
	ready, starting, silent, unheard, nonvoter := s.voter("n2"), s.voter("n3"), s.voter("n4"), s.voter("n5"), s.joined("n6")
	s.leadership.reports.reset()
	s.leadership.ledSince.Store(s.Clock.Now() - long)
	ready.hears(func(f *selfReport) { f.Version, f.Region, f.Applied = "v9", "mars", 7 })
	starting.hears(func(f *selfReport) { f.State = replica.StateStarting })
	f := silent.report()
	s.leadership.reports.put(&f, s.Clock.Now()-int64(time.Minute))
	nonvoter.hears(func(f *selfReport) { f.Full, f.Stale = true, true })
	s.clocks.truth.Store(nil)
	got, err := s.status.statusAsLeader()
	if err != nil || got.Leader != "n1" || got.ClusterID != "c1" || got.Term != s.currentTerm() || got.Healthy {
		t.Fatalf("%+v, %v", got, err)
	}
	var nodes []string
	for _, n := range got.Nodes {
		nodes = append(nodes, fmt.Sprintf("%s %s %s lease %v heard %v", n.Name, n.Role, n.State, *n.LeaseMS > 0, n.LastContactMS/1000))
	}
	if want := []string{
		"n1 leader ready lease true heard 0", "n2 voter ready lease false heard 0", "n3 voter starting lease false heard 0",
		"n4 voter unreachable lease false heard 60", "n5 voter unreachable lease false heard 0", "n6 nonvoter ready lease false heard 0",
	}; !slices.Equal(nodes, want) {
		t.Errorf("got  %q\nmust be %q", nodes, want)
	}
	if n := got.Nodes[1]; n.Version != "v9" || n.Region != "mars" || n.AppliedIndex != 7 || got.Nodes[4].LastContactMS != -1 {
		t.Errorf("%+v, %+v", n, got.Nodes[4])
	}
	if want := []string{
		"n3: holds no serving lease", "n4: no contact for 1m0s", "n5: not heard of since this leader was elected",
		"n6: serving without a lease", "n6: the disk is full; writes are refused", "n6: not a voter yet",
		"3 of 5 voters are there; one more failure stops writes",
	}; !slices.Equal(got.Reasons, want) {
		t.Errorf("got  %q\nmust be %q", got.Reasons, want)
	}
	// In the first moments of a term no node is missed that gossip takes for alive.
	s.leadership.ledSince.Store(s.Clock.Now())
	s.peers.living.Store(&map[string]meta{unheard.id: {}, "another": {}})
	if e := s.status.expected(); len(e) != 1 || !e[unheard.id] {
		t.Errorf("expected are %v", e)
	}
	got, _ = s.status.statusAsLeader()
	if n := got.Nodes[4]; n.State != replica.StateStarting || slices.ContainsFunc(got.Reasons, func(r string) bool { return r[:2] == "n5" }) {
		t.Errorf("%+v, %q", n, got.Reasons)
	}
	// A node that said it was starting, and then got its lease, is ready.
	f = starting.report()
	f.State = replica.StateStarting
	if _, err := s.leadership.grant(t.Context(), &f); err != nil {
		t.Fatal(err)
	}
	got, _ = s.status.statusAsLeader()
	if n := got.Nodes[2]; n.State != replica.StateReady || *n.LeaseMS <= 0 || *n.LeaseMS > time.Minute.Milliseconds() {
		t.Errorf("%+v, lease %d", n, *n.LeaseMS)
	}
}

// The faults of a cluster as a whole.
func TestTroubleOfTheCluster(t *testing.T) {
	t.Parallel()
	s := newStage(t, func(c *Config) { c.Expect = 3 })
	for _, c := range []struct {
		kind          string
		voters, there int
		want          []string
	}{
		{"", 0, 0, []string{"the cluster is being formed"}},
		{"", 1, 1, nil},
		{"", 2, 2, nil},
		{"", 3, 3, nil},
		{"", 3, 2, []string{"2 of 3 voters are there; one more failure stops writes"}},
		{"", 4, 3, []string{"3 of 4 voters are there; one more failure stops writes"}},
		{"", 5, 4, nil},
		{datadir.Founded, 2, 2, []string{"the cluster has 2 of 3 voters (cluster.expect)"}},
		{datadir.Restored, 1, 1, []string{"the cluster has 1 of 3 voters (cluster.expect)"}},
		{datadir.Restored, 3, 3, nil},
	} {
		if err := s.founding.begin(c.kind); err != nil {
			t.Fatal(err)
		}
		if got := s.status.troubleOfAll(c.voters, c.there); !slices.Equal(got, c.want) {
			t.Errorf("%q, %d of %d: %q, must be %q", c.kind, c.there, c.voters, got, c.want)
		}
	}
}
