package roster

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/perfgate/perfgate/limiter/share"
)

const sec = int64(1e9)

func nodes(n int) (ids []string) {
	for i := range n {
		ids = append(ids, fmt.Sprintf("node-%d", i))
	}
	return ids
}

func genName() *rapid.Generator[Name] {
	return rapid.Custom(func(t *rapid.T) (n Name) {
		copy(n[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "name"))
		return n
	})
}

// The bases of all nodes are the whole of a bucket, and with pending rosters at most that.
func TestBasesAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name, all := genName().Draw(t, "bucket"), nodes(9)
		var rosters []Roster
		for i := range rapid.IntRange(1, 4).Draw(t, "rosters") {
			ids := rapid.SliceOfNDistinct(rapid.SampledFrom(all), 1, 9, rapid.ID[string]).Draw(t, "nodes")
			slices.Sort(ids)
			rosters = append(rosters, Roster{Index: uint64(i + 1), Nodes: ids})
		}
		sum, one := share.Part(0), share.Part(0)
		for _, id := range all {
			sum += NewLine(id, 0, rosters, 0).Base(0, name)
			one += rosters[0].Base(id, name)
		}
		if sum > share.One || one != share.One {
			t.Fatalf("bases add up to %d with all pending, to %d of %d in one", sum, one, share.One)
		}
	})
}

// Homes are spread, and a node that joins or leaves moves only those of its own.
func TestHomes(t *testing.T) {
	three, four := Roster{Index: 1, Nodes: nodes(3)}, Roster{Index: 2, Nodes: nodes(4)}
	count := map[string]int{}
	for i := range 3000 {
		var name Name
		copy(name[:], fmt.Sprintf("bucket %9d", i))
		was, is := three.Home(name), four.Home(name)
		count[was]++
		if is != was && is != "node-3" {
			t.Fatalf("%s moves from %s to %s when node-3 joins", name, was, is)
		}
	}
	for id, n := range count {
		if n < 800 || n > 1200 {
			t.Errorf("%s is the home of %d of 3000", id, n)
		}
	}
	if h := (Roster{}).Home(Name{}); h != "" {
		t.Errorf("nobody's home is %q", h)
	}
}

func TestLine(t *testing.T) {
	a, b, c := Roster{Index: 5, Nodes: nodes(3)}, Roster{Index: 9, Nodes: nodes(2)}, Roster{Index: 12, Nodes: nodes(3)}
	for _, row := range []struct {
		name     string
		old, new []Roster
		ok       bool
	}{
		{"the first", nil, []Roster{a}, true},
		{"announced", []Roster{a}, []Roster{a, b}, true},
		{"another one", []Roster{a, b}, []Roster{a, b, c}, true},
		{"settled", []Roster{a, b, c}, []Roster{b, c}, true},
		{"both settled", []Roster{a, b, c}, []Roster{c}, true},
		{"announced and settled at once", []Roster{a}, []Roster{b}, false},
		{"two announced at once", []Roster{a}, []Roster{a, b, c}, false},
		{"settled and announced at once", []Roster{a, b}, []Roster{b, c}, false},
		{"gone", []Roster{a}, nil, false},
	} {
		l := NewLine("node-0", 5, row.old, 100)
		next, ok := l.Next(row.new, true, 200)
		if ok != row.ok {
			t.Errorf("%s: follows: %v", row.name, ok)
			continue
		}
		if ok && (next.Now() != 1 || !same(next.Rosters(), row.new) || next.Step(1).Whole || next.Step(1).At != 200) {
			t.Errorf("%s: %+v", row.name, next)
		}
	}
	l := NewLine("node-0", 0, []Roster{a}, 0)
	for i := range 100 {
		rs := append(slices.Clone(l.Rosters()), Roster{Index: uint64(100 + i), Nodes: nodes(2)})
		if i%2 == 1 {
			rs = l.Rosters()[1:]
		}
		var ok bool
		if l, ok = l.Next(rs, false, int64(i)); !ok {
			t.Fatal("an entry does not follow")
		}
	}
	if len(l.steps) != maxSteps || l.Now() != 100 || l.First() != 100-maxSteps+1 || l.Step(l.Now()).At != 99 || l.Step(l.First()).At != int64(l.First()-1) {
		t.Errorf("%d steps are kept, %d to %d", len(l.steps), l.First(), l.Now())
	}
	if l.Last().Index != 198 {
		t.Errorf("the last roster is %+v", l.Last())
	}
	if (&Line{steps: []Step{{}}}).Last().Nodes != nil {
		t.Error("there is a roster before the first")
	}
}

// The parts begin full with the first roster of all, in a process that began before it.
func TestWhole(t *testing.T) {
	first := Roster{Index: 5, Nodes: nodes(3), First: true, Whole: true}
	for _, row := range []struct {
		boot uint64
		r    Roster
		want bool
	}{{0, first, true}, {4, first, true}, {5, first, false}, {0, Roster{Index: 5, Nodes: nodes(3)}, false}} {
		l, ok := NewLine("node-0", row.boot, nil, 0).Next([]Roster{row.r}, true, 1)
		if !ok || l.Step(1).Whole != row.want {
			t.Errorf("after the index %d, %+v: whole is %v", row.boot, row.r, l.Step(1).Whole)
		}
	}
}

// The leader's wait, step by step; R is the term's first moment.
func TestSettler(t *testing.T) {
	rosters := []Roster{{Index: 5, Nodes: nodes(3)}, {Index: 9, Nodes: nodes(2)}}
	never := func(string) bool { return false }
	all := func(applied uint64) map[string]Report {
		m := map[string]Report{}
		for _, id := range nodes(3) {
			m[id] = Report{Applied: applied, Until: 1000 * sec}
		}
		return m
	}
	var s Settler
	if s.Ready(rosters[:1], all(9), never, 0, sec) {
		t.Error("settles where nothing is pending")
	}
	if s.Ready(rosters, all(8), never, 0, 100*sec) || s.Ready(rosters, all(8), never, 0, 900*sec) {
		t.Error("settles while nodes with a lease have not applied it")
	}
	if s.Ready(rosters, all(9), never, 0, 901*sec) || s.Ready(rosters, all(9), never, 0, 901*sec+share.TTL) {
		t.Error("settles before the loans from before end")
	}
	if !s.Ready(rosters, all(9), never, 0, 901*sec+loanWait) {
		t.Error("does not settle a TTL after all have applied it")
	}

	// A node that is not heard of: its lease may be of an earlier term.
	s = Settler{}
	two := all(9)
	delete(two, "node-2")
	for _, row := range []struct {
		at   int64
		want bool
	}{{10 * sec, false}, {10*sec + loanWait, false}, {12 * sec, false}, {12*sec + loanWait - 1, false}, {12*sec + loanWait, true}} {
		if got := s.Ready(rosters, two, never, 12*sec, row.at); got != row.want {
			t.Errorf("at %.3f s: %v", float64(row.at)/1e9, got)
		}
	}
	// Its lease has an end.
	s = Settler{}
	two["node-2"] = Report{Applied: 8, Until: 20 * sec}
	s.Ready(rosters, two, never, 0, 10*sec)
	if s.Ready(rosters, two, never, 0, 20*sec+loanWait-1) || !s.Ready(rosters, two, never, 0, 20*sec+loanWait) {
		t.Error("does not wait for the end of a lease, and of the loans made under it")
	}
	// A lease that has ended is not shown any more.
	s = Settler{}
	s.Ready(rosters, two, never, 0, 19*sec)
	two["node-2"] = Report{Applied: 8}
	if s.Ready(rosters, two, never, 0, 20*sec+loanWait-1) || !s.Ready(rosters, two, never, 0, 20*sec+loanWait) {
		t.Error("the end of a lease that has ended is forgotten")
	}
	// It may serve without one.
	s = Settler{}
	two["node-2"] = Report{Applied: 8, Stale: true}
	s.Ready(rosters, two, never, 0, 10*sec)
	if s.Ready(rosters, two, never, 0, 1000*sec) {
		t.Error("settles while a node may serve without a lease")
	}
	if !s.Ready(rosters, two, func(id string) bool { return id == "node-2" }, 0, 1000*sec) {
		t.Error("a removed node holds the roster up for ever")
	}
	// Another roster begins the wait again.
	later := append(slices.Clone(rosters), Roster{Index: 15, Nodes: nodes(3)})
	if s.Ready(later, all(15), never, 0, 1001*sec) || !s.Ready(later, all(15), never, 0, 1001*sec+loanWait) {
		t.Error("the wait for a later roster is not its own")
	}
}
