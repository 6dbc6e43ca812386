package node

import (
	"strings"
	"testing"
)

// A sound node has measured all that the doctor's line shows.
func TestDoctor(t *testing.T) {
	t.Parallel()
	n := startLone(t, t.TempDir())
	want := map[string]string{"Clock": " UTC", "Disk": " GiB free", "Open files": "at most "}
	for _, c := range doctor(n.Node) {
		if w, ok := want[c.Name]; !ok || !strings.Contains(c.Fact, w) {
			t.Errorf("%s: %q, want %q", c.Name, c.Fact, w)
		}
		if c.Name == "Clock" && !c.Good {
			t.Errorf("the clock of a lone node is wrong: %s", c.Fact)
		}
		delete(want, c.Name)
	}
	if len(want) > 0 {
		t.Errorf("not looked at: %v", want)
	}
}
