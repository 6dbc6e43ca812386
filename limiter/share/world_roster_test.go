package share

import (
	"math/bits"
	"slices"
)

// baseIn is the base of node i in a roster: all have the same, and the first what is left.
func (w *world) baseIn(roster, i int) Part {
	if roster>>i&1 == 0 {
		return 0
	}
	n := Part(bits.OnesCount(uint(roster)))
	first := bits.TrailingZeros(uint(roster)) == i
	if first {
		return One - One/n*(n-1)
	}
	return One / n
}

// base is that of node i by the log as it knows it.
func (w *world) base(i int) Part {
	x := One
	for _, r := range w.log[w.nodes[i].from:w.nodes[i].to] {
		x = min(x, w.baseIn(r, i))
	}
	if w.mut == growAtOnce {
		x = w.baseIn(w.log[w.nodes[i].to-1], i)
	}
	return x
}

// apply brings node i to the newest roster, or to its settling.
func (w *world) apply(i int) {
	n := w.nodes[i]
	if !n.up || n.to == len(w.log) && n.from == w.first {
		return
	}
	n.to, n.from = len(w.log), w.first
	n.b.Rebase(w.base(i), true, w.clock(i))
	w.settling = max(w.settling, w.now+TTL*1002/1000+2e6)
}

// announce makes a new roster.
func (w *world) announce() {
	if len(w.log) < 12 {
		w.log = append(w.log, 1+w.draw(1<<len(w.nodes)-1))
	}
}

// settle settles the last roster, once no node can use more than it gives it.
func (w *world) settle() {
	if w.first == len(w.log)-1 {
		return
	}
	for _, n := range w.nodes {
		if n.up && n.to < len(w.log) || !n.up && w.now < n.quiet+TTL*1002/1000+2e6 {
			return
		}
	}
	if w.now >= w.settling || w.mut == settleAtOnce {
		w.first = len(w.log) - 1
	}
}

// step does one random thing.
func (w *world) step(faults bool) {
	n := len(w.nodes)
	switch k := w.draw(44); {
	case k < 14:
		i := w.draw(n)
		if w.draw(3) > 0 {
			i = w.now2() % n // most requests at one node for a while
		}
		w.request(i, int64(1+w.draw(2)))
	case k < 26:
		if len(w.mail) > 0 {
			w.deliver(w.draw(min(len(w.mail), 4)), false)
		}
	case k < 29:
		w.pass(int64(1+w.draw(40)) * 100e3)
	case k < 32:
		w.pass(int64(1+w.draw(40)) * 10e6)
	case k < 35:
		w.tick(w.draw(n))
	case k == 40 || k == 41:
		w.apply(w.draw(n))
	case k == 42:
		w.settle()
	case !faults:
	case k == 43:
		if w.draw(8) == 0 {
			w.announce()
		}
	case k == 35:
		if len(w.mail) > 0 {
			w.deliver(w.draw(len(w.mail)), w.draw(2) == 0)
		}
	case k == 36:
		if len(w.mail) > 0 {
			i := w.draw(len(w.mail))
			w.mail = slices.Delete(w.mail, i, i+1)
		}
	case k == 37:
		switch w.draw(6) {
		case 0:
			w.crash(w.draw(n))
		case 1, 2, 3:
			w.restart(w.draw(n))
		case 4:
			w.pass(int64(w.draw(60)) * 100e6)
		}
	case k == 38:
		w.cut[w.draw(n)][w.draw(n)] = w.draw(3) == 0
	case k == 39:
		if len(w.mail) > 0 {
			w.deliver(w.draw(len(w.mail)), true)
		}
	}
}

func (w *world) now2() int { return int(w.now / 3e9) }
