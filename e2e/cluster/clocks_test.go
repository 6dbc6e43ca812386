package cluster

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/perfgate/perfgate/e2e/harness"
)

// The wall clock of any one node is wrong for a while, by a second or by months, while
// clients use the cluster; some nodes are killed and started again meanwhile. No audit
// event is lost, no month admits more than its limit, a repeated call has one effect, the
// requests on the other nodes succeed, and the node is back once its clock is right.
//
// CLOCKS is the number of trials. All of perfgate is compiled again for this test, with a
// clock that can be stepped: it runs in "make torture" alone.
func TestSteppedClocks(t *testing.T) {
	processes(t)
	if !torture() {
		t.Skip("compiles everything again, with another time.Now: set PERFGATE_TORTURE=1")
	}
	rng, _ := chance(t)
	c := prepare(t, 3, options{})
	s := &stepping{t: t, c: c, clocks: stepClocks(t, c), rng: rng}
	for _, p := range c.procs {
		p.Begin()
	}
	c.awaitReady()
	c.awaitVoters()
	s.keys = c.loaded()
	s.book = record(c)
	s.book.some(t, 20)
	trials := harness.Size("CLOCKS", 50)
	for n := range trials {
		s.trial(n)
		if t.Failed() {
			t.Fatalf("trial %d failed, and enough is known", n)
		}
	}
	s.book.verify(t)
	for i := range c.nodes {
		s.events(i)
	}
	t.Logf("%d trials, %d of them with a restart: %d keys acknowledged, 0 events lost; %d requests on nodes with a right clock, of %d nodes not judged; "+
		"%d of %d on the wrong one failed; the slowest write through others took %v, the slowest return to readiness %v",
		trials, s.restarts, s.book.count(), s.right, s.unjudged, s.wrongFailed, s.wrong, s.slowest.Round(time.Millisecond), s.back.Round(time.Millisecond))
}

// stepping is a cluster whose clocks are stepped.
type stepping struct {
	t      *testing.T
	c      *cluster
	clocks []wallClock
	rng    *rand.Rand
	book   *ledger
	keys   []string

	restarts, right, wrong, wrongFailed, unjudged int
	slowest, back                                 time.Duration
}

// between draws from a range whose orders of magnitude are as likely.
func (s *stepping) between(least, most time.Duration) time.Duration {
	return time.Duration(float64(least) * math.Pow(float64(most)/float64(least), s.rng.Float64()))
}

func (s *stepping) trial(n int) {
	i := s.rng.IntN(3)
	by, span := s.between(time.Second, 130*24*time.Hour), s.between(time.Second, time.Minute)
	if s.rng.IntN(2) == 0 {
		by = -by
	}
	restarts := s.rng.IntN(4) == 0
	what := fmt.Sprintf("trial %d: the clock of n%d, which leads: %v, is %v ahead for %v, restarted: %v",
		n, i+1, s.c.leader() == i, by.Round(time.Millisecond), span.Round(time.Millisecond), restarts)
	s.t.Log(what)
	l := s.ask()
	endWrites := s.writes()
	m := s.month(n)
	others := target{nodes: []endpoint{s.c.nodes[(i+1)%3], s.c.nodes[(i+2)%3]}, operator: s.c.operator}
	once := s.once(&others, n)
	harness.Pause(nil, time.Second)

	s.clocks[i].step(s.t, by)
	from := time.Now()
	shows(s.t, s.c.nodes[i], by)
	if restarts {
		s.restarts++
		s.c.Kill(i)
		s.c.Restart(i)
	}
	if again := s.once(&others, n); again != once {
		s.t.Errorf("%s: the call that was repeated made %s and then %s", what, once, again)
	}
	s.slowest = max(s.slowest, time.Since(from))
	harness.Pause(nil, span-time.Since(from))
	s.clocks[i].step(s.t, 0)
	from = time.Now()
	if err := s.c.becomeReady(readyLimit); err != nil {
		s.t.Errorf("%s: %v", what, err)
	}
	s.back = max(s.back, time.Since(from))
	endWrites()
	s.judge(l, i, what, by.Abs() < 4*time.Second && !restarts)
	self := target{nodes: s.c.nodes[i : i+1], operator: s.c.operator}
	if again := s.once(&self, n); again != once {
		s.t.Errorf("%s: the repeat through the node itself made %s, not %s", what, again, once)
	}
	m.end(s.t, what)
	if ended := s.c.revive(); len(ended) > 0 {
		s.t.Errorf("%s: %v ended", what, ended)
	}
	s.book.verify(s.t)
}

// asking is the requests of a trial. Each node has clients of its own, which wait for each answer:
// a machine that has too much to do makes them slow, and a node that does not serve makes them fail.
type asking struct {
	stop  chan struct{}
	wg    sync.WaitGroup
	pause time.Duration // the longest for which this process did not run
	sent  [3]atomic.Int64
	mu    sync.Mutex
	bad   [3][]string // answers
}

// answerLimit is when a request without an answer has failed, on a loaded machine.
const answerLimit = 30 * time.Second

func (s *stepping) ask() *asking {
	a := &asking{stop: make(chan struct{})}
	patient := harness.NewClient(answerLimit)
	a.wg.Go(func() {
		const tick = 10 * time.Millisecond
		for last := time.Now(); harness.Pause(a.stop, tick); last = time.Now() {
			a.pause = max(a.pause, time.Since(last)-tick)
		}
	})
	for i, n := range s.c.nodes {
		for j := range 2 {
			a.wg.Go(func() {
				for k := j; harness.Pause(a.stop, 15*time.Millisecond); k++ {
					ctx, cancel := context.WithTimeout(context.Background(), answerLimit)
					r, err := harness.Call(ctx, patient, "GET", n.proxy+"/load", as(s.keys[k%len(s.keys)]), nil)
					cancel()
					a.sent[i].Add(1)
					what := ""
					switch {
					case err != nil:
						what = err.Error()
					case r.StatusCode != http.StatusOK:
						what = r.String()
					default:
						continue
					}
					a.mu.Lock()
					a.bad[i] = append(a.bad[i], what)
					a.mu.Unlock()
				}
			})
		}
	}
	return a
}

// tooBusy is for how long nothing may run on the machine for the requests of a trial to be
// judged: two nodes, while the third is started again, lose each other when one of them does not
// get to run for the timeout of Raft's leader.
const tooBusy = 500 * time.Millisecond

// judge counts the requests of a trial. Those on the node with the wrong clock may be refused if
// it is wrong by enough to be noticed, but are never taken for bad ones.
func (s *stepping) judge(a *asking, wrong int, what string, slight bool) {
	close(a.stop)
	a.wg.Wait()
	for i, bad := range a.bad {
		sent := int(a.sent[i].Load())
		if i == wrong {
			s.wrong += sent
			s.wrongFailed += len(bad)
			s.t.Logf("%d of %d requests on n%d, whose clock was wrong, failed; nothing ran for %v at most", len(bad), sent, i+1, a.pause.Round(time.Millisecond))
		} else {
			s.right += sent
		}
		for _, answer := range bad {
			if i != wrong && a.pause > tooBusy && strings.Contains(answer, "node_isolated") {
				s.unjudged++
				s.t.Logf("%s: %d requests on n%d were refused by a machine on which nothing ran for %v", what, len(bad), i+1, a.pause)
				break
			}
			if i != wrong || slight || strings.HasPrefix(answer, "4") {
				s.t.Errorf("%s: %d requests on n%d failed, one of them: %s", what, len(bad), i+1, answer)
				break
			}
		}
	}
}

// writes has two clients make and revoke keys through all nodes until it is called again.
func (s *stepping) writes() (end func()) {
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for client := range 2 {
		wg.Go(func() {
			for n := client; harness.Pause(stop, 50*time.Millisecond); n++ {
				s.book.make(n%3, n)
			}
		})
	}
	return func() { close(stop); wg.Wait() }
}

// once makes the repeatable call of a trial through a target until it succeeds, and returns the
// id of the key that there is afterwards.
func (s *stepping) once(g *target, n int) (id string) {
	turn := 0
	harness.Await(s.t, readyLimit, "a repeatable call to succeed", func() error {
		turn++
		node := g.nodes[turn%len(g.nodes)]
		r, err := within(writeLimit, "POST", node.admin+"/v1/keys", as(g.operator, header{"Idempotency-Key": fmt.Sprint("once-", n)}),
			map[string]any{"name": fmt.Sprint("once ", n), "type": "live"})
		if err != nil {
			return err
		}
		if r.StatusCode >= 300 {
			return fmt.Errorf("%s: %v", node.name, r)
		}
		id = r.Str("id")
		return nil
	})
	s.book.mu.Lock()
	defer s.book.mu.Unlock()
	s.book.state[id] = stActive
	return id
}

// month is an account whose month is spent during a trial.
type month struct {
	s        *stepping
	key      string
	began    time.Month
	admitted atomic.Int64
	stop     chan struct{}
	wg       sync.WaitGroup
}

// quota is small, so that a month is over within a trial.
const quota = 120

func (s *stepping) month(n int) *month {
	account := s.c.insist("POST", "/v1/accounts", map[string]any{"name": fmt.Sprint("month ", n), "tier": "enterprise",
		"limits": map[string]any{"requests_per_minute": 60_000, "requests_per_month": quota}}).Str("id")
	m := &month{s: s, began: time.Now().UTC().Month(), stop: make(chan struct{})}
	harness.Await(s.t, readyLimit, "a key of the account", func() error {
		r, err := within(writeLimit, "POST", s.c.nodes[n%3].admin+"/v1/keys", as(s.c.operator, header{"X-Perf-Account": account}),
			map[string]any{"name": "month", "type": "live"})
		if err == nil && r.StatusCode != 201 {
			err = fmt.Errorf("%v", r)
		}
		if err == nil {
			m.key = r.Str("key")
		}
		return err
	})
	m.wg.Go(func() {
		for i := 0; harness.Pause(m.stop, 25*time.Millisecond); i++ {
			m.spend(i % 3)
		}
	})
	return m
}

// spend makes a request on node i and reports whether the month is refused there.
func (m *month) spend(i int) (over bool) {
	r, err := within(requestLimit, "GET", m.s.c.nodes[i].proxy+"/month", as(m.key), nil)
	if err != nil {
		return false
	}
	if r.StatusCode == http.StatusOK {
		m.admitted.Add(1)
	}
	return r.Code() == "requests_per_month"
}

// end spends the rest of the month.
func (m *month) end(t *testing.T, what string) {
	t.Helper()
	close(m.stop)
	m.wg.Wait()
	for i := range 3 {
		harness.Await(t, readyLimit, what+": the month to be over", func() error {
			if !m.spend(i) {
				return fmt.Errorf("%d are admitted", m.admitted.Load())
			}
			return nil
		})
	}
	if got := m.admitted.Load(); got > quota && m.began == time.Now().UTC().Month() {
		t.Errorf("%s: a month of %d admitted %d", what, quota, got)
	}
}

// events checks that node i has the event of each acknowledged change.
func (s *stepping) events(i int) {
	for action, state := range map[string]string{"key.create": "", "key.revoke": stRevoked} {
		seen := map[string]bool{}
		for cursor := ""; ; {
			var r *reply
			harness.Await(s.t, readyLimit, "a page of events", func() (err error) {
				r, err = s.c.manage(writeLimit, i, "GET", "/v1/audit-logs?limit=1000&action="+action+"&cursor="+cursor, nil)
				if err == nil && r.StatusCode != 200 {
					err = fmt.Errorf("%v", r)
				}
				return err
			})
			data, _ := r.At("data").([]any)
			for _, e := range data {
				m, _ := e.(map[string]any)
				seen[fmt.Sprint(m["key_id"])] = true
			}
			if cursor = r.Str("next_cursor"); cursor == "" {
				break
			}
		}
		var lost []string
		for id, is := range s.book.state {
			if (state == "" || is == state) && !seen[id] {
				lost = append(lost, id)
			}
		}
		slices.Sort(lost)
		if len(lost) > 0 {
			s.t.Errorf("%s has lost %d events of %s: %v", s.c.nodes[i].name, len(lost), action, lost[:min(5, len(lost))])
		}
	}
}
