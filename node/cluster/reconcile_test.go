package cluster

import (
	"testing"
	"time"

	"github.com/perfgate/perfgate/node/lease"
)

// A nonvoter gets a vote when it has kept up without a break; steps are in order.
func TestKeptUp(t *testing.T) {
	const s = int64(time.Second)
	since := map[string]int64{}
	for i, step := range []struct {
		now     int64
		applied uint64
		leader  uint64
		want    bool
	}{
		{0, 0, 5000, false},              // far behind
		{1 * s, 4000, 5000, false},       // begins to keep up
		{3 * s, 4100, 5000, false},       // for 2 s
		{3*s + s/2, 4000, 5001, false},   // a break
		{4 * s, 5000, 5001, false},       // begins again
		{7*s - 1, 5000, 5001, false},     // not quite 3 s
		{7 * s, 5001, 6001, true},        // 3 s, and just in reach
		{8 * s, 5001, 6002, false},       // a break after all
		{9 * s, 6002, 6002, false},       //
		{90 * s, 100000, 100000, true},   // whenever it is looked at next
		{91 * s, 100000, 101001, false},  //
		{120 * s, 101001, 101001, false}, // counts from here
	} {
		if got := keptUp(since, "n", step.applied, step.leader, step.now, promoteAfter); got != step.want {
			t.Errorf("step %d: %v", i, got)
		}
	}
}

// A node is reported as gone once, and as back once.
func TestPresence(t *testing.T) {
	const s = int64(time.Second)
	for _, c := range []struct {
		name       string
		was, heard bool
		silence    int64
		gone, back bool
	}{
		{"heard of just now", false, true, 0, false, false},
		{"silent for as long as that is ordinary", false, true, 2 * s, false, false},
		{"silent for longer", false, true, 2*s + 1, true, false},
		{"still silent", true, true, 9 * s, false, false},
		{"heard of again", true, true, s, false, true},
		{"not heard of by a leader that is new", false, false, s, false, false},
		{"not heard of by a leader that is not", false, false, 3 * s, true, false},
		{"gone before, and the leader is new", true, false, s, false, false},
	} {
		if gone, back := presence(c.was, c.heard, c.silence); gone != c.gone || back != c.back {
			t.Errorf("%s: gone %v, back %v", c.name, gone, back)
		}
	}
}

// Large changes wait while a node is late with its lease, and for none that has had none for long.
func TestLate(t *testing.T) {
	const s = int64(time.Second)
	const d = 4 * time.Second
	now, since := 100*s, 10*s
	for _, c := range []struct {
		name  string
		held  lease.Holding
		since int64
		want  bool
	}{
		{"renewed just now", lease.Holding{Until: now + 4*s, LastSeen: now}, since, false},
		{"three quarters of a lease are left", lease.Holding{Until: now + 3*s, LastSeen: now}, since, false},
		{"less is left", lease.Holding{Until: now + 3*s - 1, LastSeen: now}, since, true},
		{"its renewals are refused", lease.Holding{Until: now + 1, LastSeen: now - s/2}, since, true},
		{"it is not heard of, and may serve", lease.Holding{Until: now + 1, LastSeen: now - int64(contactFresh) - 1}, since, true},
		{"it serves on without a lease", lease.Holding{Until: now + 1, LastSeen: now, Stale: true}, since, false},
		{"it has just lost its lease", lease.Holding{Ended: now - s, LastSeen: now}, since, true},
		{"it has lost its lease, and is not heard of", lease.Holding{Ended: now - s, LastSeen: now - int64(contactFresh) - 1}, since, false},
		{"it lost its lease long ago", lease.Holding{Ended: now - 4*s, LastSeen: now}, since, false},
		{"it never had a lease", lease.Holding{LastSeen: now}, since, false},
		{"the leader is new", lease.Holding{LastSeen: now}, now - 1, true},
		{"the leader is not so new", lease.Holding{LastSeen: now}, now - 3*s, false},
		{"the leader is new, and it is not heard of", lease.Holding{}, now - 1, false},
	} {
		fine := lease.Holding{Until: now + 4*s, LastSeen: now}
		if got := late([]lease.Holding{fine, c.held, fine}, now, c.since, d); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
