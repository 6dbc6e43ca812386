package cluster

import (
	"strings"
	"testing"
	"time"
)

const month = 31 * 24 * time.Hour

// The median is one clock of an odd number and both in the middle of an even one; a
// clock is off by how far it is outside.
func TestMedian(t *testing.T) {
	m := median{low: 100, high: 200}
	for ahead, want := range map[int64]time.Duration{100: 0, 150: 0, 200: 0, 99: -1, 203: 3} {
		if got := m.outside(ahead); got != want {
			t.Errorf("%d: %d, want %d", ahead, got, want)
		}
	}
}

// heardOf are reports of nodes whose clocks are ahead of this node's by so much.
func heardOf(c *Cluster, ahead ...time.Duration) {
	wall, mono := c.Clock.Read()
	c.leadership.reports.reset()
	for i, d := range ahead {
		c.leadership.reports.put(&selfReport{ID: string(rune('a' + i)), Name: string(rune('A' + i)), Wall: wall.Add(d)}, mono)
	}
}

// The leader finds the median of all that it has heard of, itself included, and knows
// with it whose clock is wrong.
func TestJudgeClocks(t *testing.T) {
	t.Parallel()
	c := led(t, 1)
	for _, tc := range []struct {
		name   string
		others []time.Duration
		off    time.Duration // this node
		wrong  string        // the others
		says   string        // of halves that differ
	}{
		{"all agree", []time.Duration{0, time.Second}, 0, "", ""},
		{"one is ahead", []time.Duration{0, month}, 0, "B", ""},
		{"this one is behind", []time.Duration{month, month}, -month, "", ""},
		{"one is a little off", []time.Duration{4 * time.Second, 0}, 0, "", ""},
		{"two that differ", []time.Duration{month}, 0, "", "A: the clock is 744h0m0s ahead of " + c.Name},
		{"two that differ the other way", []time.Duration{-8 * time.Second}, 0, "", c.Name + ": the clock is 8s ahead of A"},
		{"two that differ a little", []time.Duration{3 * time.Second}, 0, "", ""},
		{"two of four", []time.Duration{month, month, 0}, 0, "", "A, B: the clock is 744h0m0s ahead of C, " + c.Name},
		{"two of five", []time.Duration{month, -month, time.Second, 0}, 0, "AB", ""},
	} {
		heardOf(c, tc.others...)
		var servers []string
		for i := range tc.others {
			servers = append(servers, string(rune('a'+i)))
		}
		c.clocks.judgeOf(servers, &c.leadership.reports)
		if got := c.clocks.off(); (got - tc.off).Abs() > 2*time.Second {
			t.Errorf("%s: this node is off by %v, want %v", tc.name, got, tc.off)
		}
		if err := c.Fault(); (err != nil) != (tc.off != 0) {
			t.Errorf("%s: %v", tc.name, err)
		}
		wrong := ""
		for _, id := range servers {
			f, _ := c.leadership.reports.of(id)
			if len(c.clocks.trouble(&f)) > 0 {
				wrong += f.Name
			}
		}
		if got := c.clocks.disagreementOf(servers, &c.leadership.reports); !strings.HasPrefix(got, tc.says) || (got == "") != (tc.says == "") {
			t.Errorf("%s: says %q, want %q", tc.name, got, tc.says)
		}
		if wrong != tc.wrong {
			t.Errorf("%s: wrong are %q, want %q", tc.name, wrong, tc.wrong)
		}
	}
	// Without a majority the median stays.
	before := c.clocks.truth.Load()
	heardOf(c, month)
	c.clocks.judgeOf([]string{"a", "x", "y", "z"}, &c.leadership.reports)
	if c.clocks.truth.Load() != before {
		t.Error("two of five nodes are taken for the majority")
	}
}

// A follower takes the median from its renewals; a jump of its own clock shows at once,
// and a leader of an older version judges nobody.
func TestLearnClocks(t *testing.T) {
	t.Parallel()
	c := led(t, 1)
	c.clocks.learn(&renewed{Wall: time.Now().Add(month)}, c.Clock.Now())
	if err := c.Fault(); err != nil {
		t.Errorf("an older leader: %v", err)
	}
	sent := c.Clock.Now()
	heardOf(c)
	c.clocks.judgeOf(nil, &c.leadership.reports)
	var answer renewed
	c.clocks.mark(&answer)
	c.clocks.learn(&answer, sent)
	took := time.Duration(c.Clock.Now() - sent) // the answer may be from any moment of that
	if d := c.clocks.off(); d.Abs() > time.Second || c.Fault() != nil {
		t.Errorf("off by %v", d)
	}
	c.Clock.SetWrong(month)
	if d := c.clocks.off(); d > month+time.Second || d < month-took-time.Second || c.Fault() == nil || !c.holder.clockIsWrong() {
		t.Errorf("after a jump: off by %v", d)
	}
	c.Clock.SetWrong(-month)
	if err := c.Fault(); err == nil || !strings.Contains(err.Error(), "-744h") {
		t.Errorf("a month behind: %v", err)
	}
	c.Clock.SetWrong(0)
	if err := c.Fault(); err != nil {
		t.Errorf("set right: %v", err)
	}
}
