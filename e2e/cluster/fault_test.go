package cluster

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/perfgate/perfgate/e2e/harness"
)

// fault breaks something, waits, and heals it. It returns when the
// nodes may recover; they need not be ready yet.
type fault struct {
	name string
	cuts bool // it needs namespaces
	long bool // it is left out of short runs
	run  func(f *breaker)
}

// breaker is the cluster and the history that a fault works on.
type breaker struct {
	*cluster
	rng *rand.Rand
	h   *history // gets the nodes that are out of contact
}

// apart cuts nodes off, waits, and heals the network.
func (f *breaker) apart(d time.Duration, cut func(), nodes ...int) {
	f.h.leave(nodes...)
	cut()
	harness.Pause(nil, d)
	f.net.Heal()
	f.h.back()
}

// freeze pauses node i; thaw ends it.
func (f *breaker) freeze(i int) { f.h.leave(i); f.Pause(i) }
func (f *breaker) thaw(i int)   { f.Resume(i); f.h.back() }

// span is how long a pause or a partition lasts: longer than a serving lease
// in every case, up to half a minute when there is time.
func (f *breaker) span() time.Duration {
	if mode() == "full" || torture() {
		return time.Duration(5_000+f.rng.IntN(25_000)) * time.Millisecond
	}
	return time.Duration(6_000+f.rng.IntN(2_000)) * time.Millisecond
}

// some is a short time, for faults in a row.
func (f *breaker) some() time.Duration { return time.Duration(300+f.rng.IntN(1500)) * time.Millisecond }

// other is a node that is not i.
func (f *breaker) other(i int) int {
	return (i + 1 + f.rng.IntN(len(f.procs)-1)) % len(f.procs)
}

func (f *breaker) transfer() {
	f.t.Helper()
	f.insist("POST", "/v1/cluster/transfer-leadership", map[string]any{})
}

var faults = []fault{
	{name: "leader killed", run: func(f *breaker) {
		i := f.leader()
		f.Kill(i)
		harness.Pause(nil, f.some())
		f.Restart(i)
	}},
	{name: "leader paused", run: func(f *breaker) {
		i := f.leader()
		f.freeze(i)
		harness.Pause(nil, f.span())
		f.thaw(i)
	}},
	{name: "leader cut off", cuts: true, run: func(f *breaker) {
		i := f.leader()
		f.apart(f.span(), func() { f.net.Isolate(i) }, i)
	}},
	{name: "transfers, then a restart", run: func(f *breaker) {
		for range 3 {
			f.transfer()
			harness.Pause(nil, f.some()/2)
		}
		i := f.leader()
		f.Stop(i)
		f.Restart(i)
	}},
	{name: "leader is not heard", cuts: true, run: func(f *breaker) {
		i := f.leader()
		f.apart(f.span(), func() {
			for j := range f.procs {
				if j != i {
					f.net.CutOneWay(i, j)
				}
			}
		}, i)
	}},
	{name: "leader hears nothing", cuts: true, run: func(f *breaker) {
		i := f.leader()
		f.apart(f.span(), func() {
			for j := range f.procs {
				if j != i {
					f.net.CutOneWay(j, i)
				}
			}
		}, i)
	}},
	{name: "follower cut off", cuts: true, run: func(f *breaker) {
		i := f.other(f.leader())
		f.apart(f.span(), func() { f.net.Isolate(i) }, i)
	}},
	{name: "leader and one follower apart", cuts: true, run: func(f *breaker) {
		i := f.leader()
		j := f.other(i)
		f.apart(f.span(), func() { f.net.Cut(i, j) }, i, j) // either may lead in the end
	}},
	{name: "one cut after the other", cuts: true, run: func(f *breaker) {
		for range 4 {
			i := f.rng.IntN(len(f.procs))
			f.apart(f.span()/4, func() { f.net.Isolate(i) }, i)
			harness.Pause(nil, f.some()/4)
		}
	}},
	{name: "no majority", cuts: true, run: func(f *breaker) {
		f.apart(f.span(), func() {
			for i := range f.procs {
				f.net.Isolate(i)
			}
		}, 0, 1, 2)
	}},
	{name: "follower paused", run: func(f *breaker) {
		i := f.other(f.leader())
		f.freeze(i)
		harness.Pause(nil, f.span())
		f.thaw(i)
	}},
	{name: "follower killed", run: func(f *breaker) {
		i := f.other(f.leader())
		f.Kill(i)
		harness.Pause(nil, f.some())
		f.Restart(i)
	}},
	{name: "two killed", run: func(f *breaker) {
		i := f.leader()
		j := f.other(i)
		f.Kill(i)
		f.Kill(j)
		harness.Pause(nil, f.some())
		f.Restart(j)
		harness.Pause(nil, f.some())
		f.Restart(i)
	}},
	{name: "all killed", run: func(f *breaker) {
		for i := range f.procs {
			f.Kill(i)
		}
		for i := range f.procs {
			f.Restart(i)
		}
	}},
	{name: "leader killed while a follower is paused", run: func(f *breaker) {
		i := f.leader()
		j := f.other(i)
		f.freeze(j)
		harness.Pause(nil, f.some())
		f.Kill(i)
		harness.Pause(nil, f.some())
		f.thaw(j)
		f.Restart(i)
	}},
	{name: "restarts, one after the other", run: func(f *breaker) {
		for i := range f.procs {
			f.Stop(i)
			f.Restart(i)
			f.awaitReady(i)
		}
	}},
	{name: "a follower that needs a snapshot", long: true, run: func(f *breaker) {
		i := f.other(f.leader())
		f.Kill(i)
		// More than the log keeps for followers that lag.
		for batch := range 12 {
			f.insist("POST", "/v1/keys/import", importLines(f.rng, batch, 10_000))
		}
		f.Restart(i)
	}},
	{name: "nothing", run: func(f *breaker) { harness.Pause(nil, time.Second) }},
}

// importLines is the body of an import of n keys that are not used.
func importLines(rng *rand.Rand, batch, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "{\"name\":\"bulk %d-%d\",\"type\":\"live\",\"sha256\":\"%016x%016x%016x%016x\"}\n", batch, i, rng.Uint64(), rng.Uint64(), rng.Uint64(), rng.Uint64())
	}
	return b.String()
}
