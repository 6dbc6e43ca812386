package cluster

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/store/logtest"
)

// Every fault of a node has its sentence; a node in order has none.
func TestTroubleOfANode(t *testing.T) {
	ms := func(n int64) *int64 { return &n }
	for _, c := range []struct {
		name    string
		node    replica.NodeStatus
		full    bool
		applied uint64
		want    []string
	}{
		{"ready", replica.NodeStatus{Name: "n2", Role: "voter", State: replica.StateReady, LeaseMS: ms(4000), AppliedIndex: 7}, false, 7, nil},
		{"at the bound of the lag", replica.NodeStatus{Name: "n2", Role: "voter", State: replica.StateReady, LeaseMS: ms(1), AppliedIndex: 1}, false, 10_001, nil},
		{"behind", replica.NodeStatus{Name: "n2", Role: "voter", State: replica.StateReady, LeaseMS: ms(1), AppliedIndex: 1}, false, 10_002, []string{"n2: 10001 entries behind"}},
		{"never heard", replica.NodeStatus{Name: "n2", Role: "nonvoter", State: replica.StateUnreachable, LastContactMS: -1}, false, 99_999, []string{"n2: not heard of since this leader was elected"}},
		{"silent", replica.NodeStatus{Name: "n2", Role: "voter", State: replica.StateUnreachable, LastContactMS: 61_400}, false, 0, []string{"n2: no contact for 1m1s"}},
		{"without a lease", replica.NodeStatus{Name: "n2", Role: "voter", State: replica.StateStarting}, false, 0, []string{"n2: holds no serving lease"}},
		{"stale", replica.NodeStatus{Name: "stale", Role: "voter", State: replica.StateReady, LeaseMS: ms(0)}, false, 0, []string{"stale: serving without a lease"}},
		{"with a lease that a new leader does not know", replica.NodeStatus{Name: "n2", Role: "voter", State: replica.StateReady, LeaseMS: ms(0)}, false, 0, nil},
		{"about to report to a new leader", replica.NodeStatus{Name: "n2", Role: "voter", State: replica.StateStarting, LeaseMS: ms(0), LastContactMS: -1}, false, 0, nil},
		{"full, and new", replica.NodeStatus{Name: "n2", Role: "nonvoter", State: replica.StateReady, LeaseMS: ms(9)}, true, 0, []string{"n2: the disk is full; writes are refused", "n2: not a voter yet"}},
		{"about to stop", replica.NodeStatus{Name: "n2", Role: "voter", State: replica.StateDraining, LeaseMS: ms(0)}, false, 0, nil},
	} {
		if got := trouble(&c.node, &selfReport{Full: c.full}, c.applied, c.node.Name == "stale"); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, must be %q", c.name, got, c.want)
		}
	}
}

// A trouble is logged when it begins or changes, once a minute while it lasts, and
// again after it was over.
func TestTroublesAreNotRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logtest.Log
		s := newTroubles(log.Logger())
		for i, step := range []struct {
			after time.Duration
			say   string // "": it is over
			lines int
		}{
			{0, "first", 1},
			{time.Second, "first", 1},
			{time.Second, "second", 2},
			{59 * time.Second, "second", 2},
			{time.Second, "second", 3},
			{time.Second, "", 3},
			{0, "second", 4},
		} {
			time.Sleep(step.after) // in the bubble: no time passes
			if step.say == "" {
				s.over("disk")
			} else {
				s.say("disk", step.say, "node", "n1")
			}
			if got := log.Count("level=WARN"); got != step.lines {
				t.Errorf("step %d: %d lines, must be %d\n%s", i, got, step.lines, log.String())
			}
		}
		s.say("another", "second", "node", "n1")
		if got := log.Count("level=WARN"); got != 5 {
			t.Errorf("another kind was taken for the same: %d lines", got)
		}
	})
}
