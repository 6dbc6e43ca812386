package notify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perfgate/perfgate/httpapi/webhook"
	"github.com/perfgate/perfgate/store"
)

// world is a state in memory, with receivers that answer as a test says.
type world struct {
	mu      sync.Mutex
	hooks   []*store.Webhook
	pending map[store.WebhookID][]*store.Delivery
	ended   map[store.WebhookID][]*store.Delivery
	wake    chan struct{}
	began   time.Time

	answer func(w *store.Webhook, body string) int // status; 0 is no answer
	sent   []string                                // endpoint, body and time of each attempt
	leads  atomic.Bool
	full   atomic.Bool // the state takes no outcomes
}

func newWorld(hooks ...string) *world {
	w := &world{pending: map[store.WebhookID][]*store.Delivery{}, ended: map[store.WebhookID][]*store.Delivery{}, wake: make(chan struct{}, 1), began: time.Now()}
	for _, h := range hooks {
		w.hooks = append(w.hooks, &store.Webhook{ID: store.WebhookID(h), URL: h, Enabled: true, Signing: store.Signing{Secret: "whsec_YQ=="}})
	}
	w.answer = func(*store.Webhook, string) int { return 200 }
	w.leads.Store(true)
	return w
}

func (w *world) queue(to store.WebhookID, bodies ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, b := range bodies {
		n := uint64(len(w.pending[to]) + len(w.ended[to]) + 1)
		w.pending[to] = append(w.pending[to], &store.Delivery{Place: store.Place{Index: n}, Notice: "msg_" + b, Queued: time.Now(), State: store.Pending, Body: []byte(b)})
	}
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *world) AllWebhooks() []*store.Webhook {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.hooks)
}

func (w *world) Queue(id store.WebhookID) (store.Queue, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return store.Queue{Pending: int64(len(w.pending[id]))}, nil
}

func (w *world) ClusterLevel() int { return store.Level }

func (w *world) Queued() <-chan struct{} { return w.wake }

func (w *world) PendingDeliveries(id store.WebhookID, use func(*store.Delivery) bool) error {
	w.mu.Lock()
	list := slices.Clone(w.pending[id])
	w.mu.Unlock()
	for _, d := range list {
		if !use(d) {
			break
		}
	}
	return nil
}

// propose applies outcomes as the state does.
func (w *world) propose(_ context.Context, c *store.Command) (store.Result, error) {
	if w.full.Load() {
		return store.Result{}, errors.New("the disk is full")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range c.Change.(*store.DeliveriesDone).Results {
		i := slices.IndexFunc(w.pending[r.Webhook], func(d *store.Delivery) bool { return d.Place == r.Place })
		if i < 0 {
			continue
		}
		d := *w.pending[r.Webhook][i]
		if d.State, d.Next = r.State, r.Next; r.Try != nil {
			d.Attempts++
		}
		if r.Gone {
			for j, h := range w.hooks {
				if h.ID == r.Webhook {
					off := *h
					off.Enabled = false
					w.hooks[j] = &off
				}
			}
		}
		if d.State == store.Pending {
			w.pending[r.Webhook][i] = &d
			continue
		}
		w.pending[r.Webhook] = slices.Delete(w.pending[r.Webhook], i, i+1)
		w.ended[r.Webhook] = append(w.ended[r.Webhook], &d)
	}
	return store.Result{}, nil
}

func (w *world) post(ctx context.Context, n *webhook.Notice) webhook.Outcome {
	w.mu.Lock()
	var hook *store.Webhook
	for _, h := range w.hooks {
		if h.URL == n.URL {
			hook = h
		}
	}
	w.sent = append(w.sent, fmt.Sprintf("%s %s %v", n.URL, n.Body, time.Since(w.began).Round(time.Second)))
	status := w.answer(hook, string(n.Body))
	w.mu.Unlock()
	switch {
	case status == 0:
		select {
		case <-time.After(webhook.Timeout):
			return webhook.Outcome{Err: errors.New("no answer"), Took: webhook.Timeout}
		case <-ctx.Done():
			return webhook.Outcome{Err: ctx.Err()}
		}
	case status >= 300:
		return webhook.Outcome{Status: status, Err: fmt.Errorf("answered %d", status)}
	}
	return webhook.Outcome{Status: status}
}

// run starts a sender over w and returns what stops it.
func (w *world) run() (s *Sender, stop func()) {
	s = New(Config{
		State: w, Node: "n1", Propose: w.propose, Leads: w.leads.Load, Post: w.post, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Random: func() float64 { return 0.5 }, // no jitter
		Counts: new(Counts),
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); s.Run(ctx) }()
	return s, func() { cancel(); <-ended }
}

// bodies are the bodies of the attempts at an endpoint, in order.
func (w *world) bodies(to string) (out []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, line := range w.sent {
		if f := strings.Fields(line); f[0] == to {
			out = append(out, f[1])
		}
	}
	return out
}

// pass lets time pass, and every goroutine come to rest.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// answers changes what receivers answer.
func (w *world) answers(f func(*store.Webhook, string) int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answer = f
}

func numbers(from, to int) (out []string) {
	for i := from; i < to; i++ {
		out = append(out, fmt.Sprint(i))
	}
	return out
}

// A healthy endpoint gets its notices in order, each once.
func TestInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("a")
		s, stop := w.run()
		w.queue("a", numbers(0, 200)...)
		pass(time.Second)
		w.queue("a", numbers(200, 500)...)
		pass(30 * time.Second)
		stop()
		if got := w.bodies("a"); !slices.Equal(got, numbers(0, 500)) {
			t.Errorf("%d attempts out of order: %v", len(got), got)
		}
		if n := s.cfg.Counts.Delivered.Load(); n != 500 {
			t.Errorf("%d counted as delivered", n)
		}
	})
}

// The waits of a notice that nobody takes, up to its end after 72 hours.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("a")
		w.answers(func(*store.Webhook, string) int { return 500 })
		s, stop := w.run()
		w.queue("a", "x")
		pass(80 * time.Hour)
		stop()
		var at []time.Duration
		for _, line := range w.sent {
			d, err := time.ParseDuration(strings.Fields(line)[2])
			if err != nil {
				t.Fatal(err)
			}
			at = append(at, d)
		}
		for i := 1; i < len(at); i++ {
			want := backoff[min(i, len(backoff))-1]
			if d := at[i] - at[i-1]; d < want || d > want+5*time.Second {
				t.Errorf("attempt %d after %v, want %v", i+1, d, want)
			}
		}
		if last := at[len(at)-1]; last < 69*time.Hour || last > store.DeliveryTime {
			t.Errorf("the last attempt was after %v", last)
		}
		if len(w.ended["a"]) != 1 || w.ended["a"][0].State != store.Undelivered || s.cfg.Counts.Failed.Load() != 1 {
			t.Errorf("ended: %+v", w.ended["a"])
		}
	})
}

// Jitter spreads each wait over a fifth in both directions.
func TestJitter(t *testing.T) {
	for random, want := range map[float64]time.Duration{0: 4 * time.Second, 0.5: 5 * time.Second, 0.999: 6 * time.Second} {
		s := New(Config{Random: func() float64 { return random }})
		if d := s.waitAfter(1); d.Round(100*time.Millisecond) != want {
			t.Errorf("%v after one failure with %v, want %v", d, random, want)
		}
	}
}

// A short outage changes no order.
func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("a")
		w.answer = func(*store.Webhook, string) int {
			if time.Since(w.began) < time.Minute {
				return 503
			}
			return 200
		}
		_, stop := w.run()
		for i := range 30 {
			w.queue("a", fmt.Sprint(i))
			pass(time.Second)
		}
		pass(5 * time.Minute)
		stop()
		got := w.bodies("a")
		if failed := len(got) - 30; failed < 2 || failed > 3 || !slices.Equal(got[failed:], numbers(0, 30)) {
			t.Errorf("attempts %v", got)
		}
	})
}

// A notice that the endpoint never takes holds the others back for some minutes at most.
func TestPoison(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("a")
		w.answer = func(_ *store.Webhook, body string) int {
			if body == "bad" {
				return 400
			}
			return 200
		}
		_, stop := w.run()
		w.queue("a", "bad")
		w.queue("a", numbers(0, 100)...)
		pass(10 * time.Minute)
		if n := len(w.ended["a"]); n != 100 {
			t.Errorf("%d of 100 were delivered within ten minutes", n)
		}
		w.queue("a", numbers(100, 200)...)
		pass(time.Minute)
		if n := len(w.ended["a"]); n != 200 {
			t.Errorf("%d of 200 were delivered a minute later", n)
		}
		pass(75 * time.Hour)
		stop()
		if n := len(w.pending["a"]); n != 0 {
			t.Errorf("%d are left after 75 hours", n)
		}
	})
}

// An endpoint that never answers delays nobody, and is tried ever less often; when it is
// back, it gets everything.
func TestDeadEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var names []string
		for i := range 100 {
			names = append(names, fmt.Sprintf("dead%d", i))
		}
		w := newWorld(append(names, "a")...)
		w.answer = func(h *store.Webhook, _ string) int {
			if strings.HasPrefix(string(h.ID), "dead") && time.Since(w.began) < 24*time.Hour {
				return 0
			}
			return 200
		}
		_, stop := w.run()
		for _, name := range names {
			w.queue(store.WebhookID(name), numbers(0, 300)...)
		}
		w.queue("a", numbers(0, 100)...)
		pass(30 * time.Second)
		if n := len(w.bodies("a")); n != 100 {
			t.Errorf("%d of 100 were delivered beside 100 dead endpoints within 30 s", n)
		}
		pass(24*time.Hour - 30*time.Second)
		if n := len(w.bodies("dead7")); n < 50 || n > 150 {
			t.Errorf("a dead endpoint was tried %d times in a day", n)
		}
		pass(3 * time.Hour)
		stop()
		for _, name := range names {
			if n := len(w.ended[store.WebhookID(name)]); n != 300 {
				t.Errorf("%s got %d of 300", name, n)
			}
		}
	})
}

// 410 ends an endpoint: nothing more is sent to it, and what waits grows old.
func TestGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("a")
		w.answers(func(*store.Webhook, string) int { return 410 })
		_, stop := w.run()
		w.queue("a", numbers(0, 10)...)
		pass(time.Hour)
		if got := w.bodies("a"); len(got) != 1 || w.hooks[0].Enabled || len(w.pending["a"]) != 9 {
			t.Errorf("attempts %v, enabled %v", got, w.hooks[0].Enabled)
		}
		pass(72 * time.Hour)
		stop()
		if len(w.pending["a"]) != 0 || len(w.bodies("a")) != 1 {
			t.Errorf("%d are left, %d attempts", len(w.pending["a"]), len(w.bodies("a")))
		}
	})
}

// Only the leader sends. One that loses its office stops in the middle of an attempt; one
// that cannot note what it has sent sends it again.
func TestLeadership(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("a")
		w.leads.Store(false)
		_, stop := w.run()
		w.queue("a", "0")
		pass(time.Minute)
		if got := w.bodies("a"); len(got) != 0 {
			t.Errorf("a follower sent %v", got)
		}
		w.answers(func(*store.Webhook, string) int { return 0 })
		w.leads.Store(true)
		pass(2 * time.Second)
		w.leads.Store(false)
		pass(2 * time.Second)
		if len(w.pending["a"]) != 1 || w.pending["a"][0].Attempts != 0 {
			t.Errorf("an attempt that was broken off counts: %+v", w.pending["a"])
		}
		w.answers(func(*store.Webhook, string) int { return 200 })
		w.full.Store(true)
		w.leads.Store(true)
		pass(8 * time.Second)
		w.full.Store(false)
		pass(time.Minute)
		stop()
		if got := w.bodies("a"); len(got) < 3 || len(w.ended["a"]) != 1 {
			t.Errorf("attempts %v, ended %v", got, w.ended["a"])
		}
	})
}
