package cluster

import (
	"testing"
	"time"
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
