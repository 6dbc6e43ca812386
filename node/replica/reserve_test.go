package replica

import (
	"testing"
)

// While the disk is full grants are made, and small changes that take rights away up to
// a bound. With space everything is, and the bound begins again.
func TestReserve(t *testing.T) {
	r := new(reserve)
	change := func(bytes int) *Proposal { return &Proposal{Raw: make([]byte, bytes)} }
	takes := func(bytes int) *Proposal { return &Proposal{Raw: make([]byte, bytes), Takes: true} }
	for i, step := range []struct {
		full bool
		p    *Proposal
		want bool
	}{
		{false, change(reserveBytes), true},
		{true, change(1), false},
		{true, &Proposal{Raw: make([]byte, 1), Vital: true}, true},
		{true, takes(reservedChange), true},
		{true, takes(reservedChange + 1), false},
	} {
		if got := r.admits(step.full, step.p); got != step.want {
			t.Errorf("step %d: %v", i, got)
		}
	}
	n := 1 // of the table
	for r.admits(true, takes(reservedChange)) {
		n++
	}
	if n != reserveBytes/reservedChange {
		t.Errorf("%d changes were made", n)
	}
	if !r.admits(true, &Proposal{Vital: true}) {
		t.Error("no grant is made after them")
	}
	if r.admits(false, takes(1)); !r.admits(true, takes(reservedChange)) {
		t.Error("the bound does not begin again")
	}
}
