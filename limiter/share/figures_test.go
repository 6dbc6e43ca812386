package share

import (
	"testing"
)

// load is a run in virtual time with a quiet network of 0.15 ms one way: requests wait
// for at most 12 ms, as those of a node do.
type load struct {
	*world
	waiting  [][]int64 // by node: when the requests that wait came
	refusals int
	waits    int
	total    int
	passed   int
	ideal    int64 // levels of one bucket that gets the same requests
	refusedI int   // by it
	idealAt  int64
}

const waitMost = 12 * ms

func newLoad(n int, p Pace) *load {
	w := newWorld(n, p, seeded(1), sound)
	w.calm = true
	return &load{world: w, waiting: make([][]int64, n), ideal: p.full(), idealAt: w.now}
}

// arrive is a request at node i.
func (l *load) arrive(i int) {
	l.total++
	l.ideal = min(l.pace.full(), l.ideal+(l.now-l.idealAt)*l.pace.Rate)
	l.idealAt = l.now
	if l.ideal >= l.pace.Weight {
		l.ideal -= l.pace.Weight
	} else {
		l.refusedI++
	}
	switch b := l.nodes[i].b; {
	case l.request(i, 1):
		l.passed++
	case b.Asking() || b.Again(1, l.view(i), l.clock(i)) < l.clock(i)+waitMost:
		l.waits++
		l.waiting[i] = append(l.waiting[i], l.now)
	default:
		l.refusals++
	}
}

// run lets d pass, in steps of the network's delay.
func (l *load) run(d int64) {
	for end := l.now + d; l.now < end; {
		l.pass(min(ms*15/100, end-l.now))
		mail := l.mail
		l.mail = nil
		for _, m := range mail {
			l.mail = append([]*letter{m}, l.mail...)
			l.deliver(0, false)
		}
		for i := range l.nodes {
			l.serve(i)
		}
		if l.now%(50*ms) < ms*15/100 {
			for i := range l.nodes {
				l.tick(i)
				l.gossip(i)
				Rest(l.nodes[i].b, l.clock(i))
			}
		}
	}
}

func (l *load) gossip(i int) {
	b := l.nodes[i].b
	if l.now/sec == (l.now-50*ms)/sec {
		return
	}
	for j, n := range l.nodes {
		if j != i {
			n.b.Hint(l.nodes[i].peer, b.State(l.clock(i)), l.clock(j))
		}
	}
}

// serve takes the requests that wait at node i.
func (l *load) serve(i int) {
	b, now := l.nodes[i].b, l.clock(i)
	for len(l.waiting[i]) > 0 {
		b.Advance(now)
		if b.Has(1) {
			b.Spend(1)
			l.admit(1)
			l.passed++
		} else if l.now-l.waiting[i][0] > waitMost || !b.Asking() && !l.again(i, now) && b.Again(1, l.view(i), now) > now+waitMost {
			l.refusals++
		} else {
			return
		}
		l.waiting[i] = l.waiting[i][1:]
	}
}

func (l *load) again(i int, now int64) bool {
	out := l.nodes[i].b.Ask(1, l.view(i), l.next, 0, now)
	l.ask(i, out)
	return len(out) > 0
}

// A client below its limit is not refused, whichever node it asks; at saturation the
// nodes together admit nearly what one bucket admits; a burst at one node passes.
func TestUsefulness(t *testing.T) {
	for _, c := range []struct {
		name        string
		n           int
		limit       int64
		percent     int64             // of the limit
		at          func(k int64) int // node of request k
		most        float64           // refusals beyond those of one bucket, percent of the requests
		asksPercent float64
	}{
		{"80 % at one node", 3, 6000, 80, func(int64) int { return 1 }, 0, .2},
		{"80 % at one node", 3, 600, 80, func(int64) int { return 1 }, 0, 2},
		{"80 % at one node", 3, 60, 80, func(int64) int { return 1 }, 0, 100},
		{"80 % at one node", 9, 6000, 80, func(int64) int { return 1 }, 0, .5},
		{"80 % in turn", 3, 60, 80, func(k int64) int { return int(k % 3) }, 0, 100},
		{"80 % in turn", 5, 600, 80, func(k int64) int { return int(k % 5) }, 0, 2},
		{"80 %, moving every 7 s", 3, 600, 80, func(k int64) int { return int(k / 56 % 3) }, .1, 2},
		{"200 % in turn", 3, 600, 200, func(k int64) int { return int(k % 3) }, 1, 100},
		{"200 % at one node", 3, 600, 200, func(int64) int { return 0 }, 1, 100},
		{"200 % skewed", 5, 6000, 200, func(k int64) int { return int(k*k%7) % 5 }, 1, 100},
		{"80 % of a tiny one, at home", 3, 10, 80, func(int64) int { return 0 }, 0, 100},
		{"80 % of a tiny one, elsewhere", 3, 10, 80, func(int64) int { return 1 }, 0, 100},
		{"80 % of a tiny one in turn", 9, 30, 80, func(k int64) int { return int(k % 9) }, 0, 100},
		{"200 % of a tiny one in turn", 9, 30, 200, func(k int64) int { return int(k % 9) }, 2, 100},
		{"one a minute", 3, 1, 80, func(k int64) int { return int(k % 3) }, 0, 100},
	} {
		p := Minute(c.limit, c.limit)
		l := newLoad(c.n, p)
		every := 60 * sec * 100 / (c.limit * c.percent)
		k := int64(0)
		for end := l.now + max(120*sec, 10*every); l.now < end; k++ {
			l.arrive(c.at(k))
			l.run(every)
		}
		l.run(waitMost * 2)
		if err := l.check(); err != nil {
			t.Fatal(err)
		}
		worse := 100 * float64(l.refusals-l.refusedI) / float64(l.total)
		waits := 100 * float64(l.waits) / float64(l.total)
		t.Logf("%s, %d nodes, limit %d: %d requests, %d pass, refused %d, by one bucket %d: %.2f %% more; %.2f %% waited; %d messages",
			c.name, c.n, c.limit, l.total, l.passed, l.refusals, l.refusedI, worse, waits, l.sent)
		if worse > c.most {
			t.Errorf("%s, %d nodes, limit %d: %.2f %% more refusals than one bucket", c.name, c.n, c.limit, worse)
		}
		if waits > c.asksPercent {
			t.Errorf("%s, %d nodes, limit %d: %.2f %% waited", c.name, c.n, c.limit, waits)
		}
	}
}

// A burst at one node gets the whole bucket.
func TestBurstAtOneNode(t *testing.T) {
	for _, n := range []int{3, 5, 9} {
		for _, burst := range []int64{12, 60, 600, 6000} {
			l := newLoad(n, Minute(burst, burst))
			for range burst {
				l.arrive(0)
				l.run(20_000)
			}
			l.run(waitMost * 2)
			t.Logf("%d nodes, burst %d: %d pass, %d waited", n, burst, l.passed, l.waits)
			if int64(l.passed) < burst-max(int64(n), burst/100) {
				t.Errorf("%d nodes, burst %d: %d pass", n, burst, l.passed)
			}
		}
	}
}
