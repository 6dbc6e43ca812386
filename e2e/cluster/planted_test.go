package cluster

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/e2e/harness"
)

// A run's length is counted in operations, not in seconds, so that it shows as
// much on a loaded machine: about a second of an idle one.
const (
	enoughWrites = 300
	enoughLooks  = 2500
	enoughLosses = 20 // another write may hide one before it is seen
)

// run has a workload change and use keys of f until it has done enough.
func run(t *testing.T, f *fake, seed uint64) *history {
	t.Helper()
	w := newWorkload(&f.target, 6, 12, seed)
	w.gap = 15 * time.Millisecond
	w.start()
	err := harness.Poll(time.Minute, "the workload to do enough", func() error {
		if writes, looks := w.h.count(); writes < enoughWrites || looks < enoughLooks {
			return fmt.Errorf("%d writes, %d looks", writes, looks)
		}
		if n := f.losses(); f.plant.lose > 0 && n < enoughLosses {
			return fmt.Errorf("%d lost writes", n)
		}
		return nil
	})
	w.end()
	if err != nil {
		t.Fatal(err)
	}
	return w.h
}

// A cluster without a fault passes, though its nodes differ while a write is
// unanswered, and though some outcomes are never known.
func TestCheckerPassesTheFake(t *testing.T) {
	for name, plant := range map[string]planted{"plain": {}, "doubtful": {doubtful: 12}} {
		t.Run(name, func(t *testing.T) {
			_, seed := chance(t)
			h := run(t, newFake(t, 3, seed, plant), seed)
			judge(t, h)
			unknown := slices.ContainsFunc(h.ops, func(o op) bool { return o.Outcome == outUnknown })
			if unknown != (plant.doubtful > 0) {
				t.Errorf("unknown outcomes: %v", unknown)
			}
		})
	}
}

// Every fault that is planted is found.
func TestCheckerCatches(t *testing.T) {
	for name, plant := range map[string]planted{
		"a stale cache of 5 ms":                  {staleCache: 5 * time.Millisecond},
		"a taken right that lives on one node":   {zombie: 100 * time.Millisecond},
		"an acknowledged write that is lost":     {lose: 25},
		"a create answered before it is visible": {early: 20 * time.Millisecond},
		"a read of the past":                     {staleRead: 10 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			_, seed := chance(t)
			h := run(t, newFake(t, 3, seed, plant), seed)
			began := time.Now()
			v, err := check(h, false)
			if err != nil {
				t.Fatal(err)
			}
			if len(v.illegal) == 0 {
				t.Fatalf("not caught: %v; %s", v, h.summary())
			}
			if late := v.late == len(v.illegal); late != (plant.early > 0) {
				t.Errorf("%d of %d keys are explained by rights given too early", v.late, len(v.illegal))
			}
			t.Logf("%d of the keys are illegal, %d undecided, in %v; %s", len(v.illegal), len(v.undecided), time.Since(began), h.summary())
		})
	}
}

// handmade is a history of one key of three nodes that was written by hand.
type handmade struct {
	name  string
	legal bool
	ops   []op
}

// handmades are the rows of TestModel.
func handmades() []handmade {
	create := op{Kind: opCreate, Call: 0, Return: 10, Outcome: outOK, State: stActive}
	at := func(o op, call, ret int64) op { o.Call, o.Return = call, ret; return o }
	use := func(node int, state string, call, ret int64) op {
		return op{Kind: opUse, Node: node, State: state, Call: call, Return: ret, Outcome: outOK}
	}
	read := func(state string, call, ret int64) op {
		return op{Kind: opRead, State: state, Call: call, Return: ret, Outcome: outOK}
	}
	write := func(kind, outcome string, call, ret int64) op {
		return op{Kind: kind, Outcome: outcome, Call: call, Return: ret}
	}
	return []handmade{
		{"used at once", true, []op{create, use(1, stActive, 11, 12)}},
		{"not yet visible elsewhere", false, []op{create, use(1, stAbsent, 11, 12)}},
		{"not yet visible while unanswered", true, []op{create, use(1, stAbsent, 5, 6)}},
		{"refused here, then admitted there, during the revoke", true,
			[]op{create, write(opRevoke, outOK, 20, 30), use(0, stRevoked, 22, 23), use(1, stActive, 25, 26)}},
		{"refused here, then admitted here", false,
			[]op{create, write(opRevoke, outOK, 20, 30), use(1, stRevoked, 22, 23), use(1, stActive, 25, 26)}},
		{"admitted after the revoke's answer", false,
			[]op{create, write(opRevoke, outOK, 20, 30), use(1, stActive, 31, 32)}},
		{"admitted as the revoke is answered", true,
			[]op{create, write(opRevoke, outOK, 20, 30), use(1, stActive, 29, 35)}},
		{"refused before the revoke", false,
			[]op{create, use(1, stRevoked, 15, 16), write(opRevoke, outOK, 20, 30)}},
		{"an unknown disable that comes late", true,
			[]op{create, write(opDisable, outUnknown, 20, forever), use(1, stActive, 100, 101), read(stDisabled, 200, 201), use(1, stDisabled, 203, 204)}},
		{"an unknown disable that comes and goes", false,
			[]op{create, write(opDisable, outUnknown, 20, forever), use(1, stDisabled, 100, 101), use(1, stActive, 200, 201)}},
		{"an unknown disable on one node only", true,
			[]op{create, write(opDisable, outUnknown, 20, forever), use(0, stDisabled, 100, 101), use(1, stActive, 200, 201)}},
		{"reads go back", false,
			[]op{create, write(opDisable, outOK, 20, 40), read(stDisabled, 22, 23), read(stActive, 25, 26)}},
		{"a write refused for no reason", false, []op{create, write(opEnable, outRefused, 20, 30)}},
		{"a write refused by a revoke under way", true,
			[]op{create, write(opRevoke, outOK, 20, 30), write(opEnable, outRefused, 22, 25)}},
		{"a revoked key enabled", false,
			[]op{create, write(opRevoke, outOK, 20, 30), write(opEnable, outOK, 40, 50)}},
		{"nodes take over in another order", false,
			[]op{create, write(opDisable, outOK, 20, 60), write(opEnable, outOK, 20, 60),
				use(0, stDisabled, 25, 26), use(0, stActive, 30, 31), use(1, stDisabled, 61, 62)}},
		{"a rotation takes over what was not", false,
			[]op{create, {Kind: opRotate, State: stDisabled, Outcome: outOK, Call: 20, Return: 30}}},
		{"a rotation, and a late use", false,
			[]op{create, {Kind: opRotate, State: stActive, Outcome: outOK, Call: 20, Return: 30}, use(2, stActive, 31, 32)}},
		{"created twice", false, []op{create, at(create, 20, 30)}},
	}
}

// check judges the history, with nodes out of contact as in away.
func (c *handmade) check(t *testing.T, away ...absence) {
	t.Helper()
	h := newHistory(3)
	h.away = away
	for i, o := range c.ops {
		o.Key, o.Client = "k", i
		h.add(o)
	}
	v, err := check(h, false)
	if err != nil {
		t.Fatal(err)
	}
	if v.ok() != c.legal {
		t.Errorf("%s: legal %v, want %v", c.name, v.ok(), c.legal)
	}
}

// Histories by hand are judged right, the legal and the illegal ones.
func TestModel(t *testing.T) {
	for _, c := range handmades() {
		c.check(t)
	}
}

// A node that was out of contact may learn late of a right that was given, and
// only it, and only while a lease lasts; never of one that was taken.
func TestModelOfAbsence(t *testing.T) {
	second := int64(time.Second)
	use := func(node int, state string, at int64) op {
		return op{Kind: opUse, Node: node, State: state, Call: at, Return: at + 1, Outcome: outOK}
	}
	create := op{Kind: opCreate, Call: second, Return: 2 * second, Outcome: outOK, State: stActive}
	revoke := op{Kind: opRevoke, Call: 3 * second, Return: 4 * second, Outcome: outOK}
	for _, c := range []handmade{
		{"the node that was away", true, []op{create, use(1, stAbsent, 3*second)}},
		{"another one", false, []op{create, use(0, stAbsent, 3*second)}},
		{"longer than a lease", false, []op{create, use(1, stAbsent, 7*second)}},
		{"back and forth", false, []op{create, use(1, stActive, 3*second), use(1, stAbsent, 3*second+5)}},
		{"not when it was taken since", false, []op{create, revoke, use(1, stAbsent, 5*second)}},
		{"a right that was taken", false, []op{create, use(1, stActive, 2*second+1), revoke, use(1, stActive, 5*second)}},
	} {
		c.check(t, absence{1, second / 2, 20 * second})
	}
}

// A fault that is found is written down for a person.
func TestVerdictIsKept(t *testing.T) {
	h := newHistory(3)
	h.add(op{Kind: opCreate, Key: "k", Return: 10, Outcome: outOK, State: stActive})
	h.add(op{Kind: opDisable, Key: "k", Client: 2, Call: 12, Return: forever, Outcome: outUnknown})
	h.add(op{Kind: opUse, Key: "k", Client: 1, Call: 20, Return: 30, Outcome: outOK, State: stRevoked})
	t.Setenv("TMPDIR", t.TempDir())
	v, err := check(h, true)
	if err != nil {
		t.Fatal(err)
	}
	if len(v.illegal) != 1 || len(v.files) != 2 || !strings.HasSuffix(v.files[0], "k.JSON") || !strings.HasSuffix(v.files[1], "k.html") {
		t.Errorf("%v", v)
	}
}
