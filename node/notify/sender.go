package notify

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/perfgate/perfgate/httpapi/webhook"
	"github.com/perfgate/perfgate/store"
)

// The bounds of sending.
const (
	maxLines  = 64                    // endpoints that are served at once; one that does not answer holds its own line only
	pageSize  = 64                    // deliveries of one endpoint between two notes in the state: as many are repeated after a crash
	pageTime  = 5 * time.Second       // the same in time
	look      = time.Second           // how often the sender looks by itself
	rest      = 20 * time.Millisecond // between two looks
	noteAgain = 5 * time.Second       // after outcomes could not be noted
	idlePass  = time.Minute           // between looks at disabled endpoints, whose deliveries only grow old
)

// State is the part of the replicated state that the sender reads.
type State interface {
	AllWebhooks() []*store.Webhook
	Queue(store.WebhookID) (store.Queue, error)
	PendingDeliveries(store.WebhookID, func(*store.Delivery) bool) error
	Queued() <-chan struct{}
	ClusterLevel() int
}

// Config holds the parts of a [Sender].
type Config struct {
	State State
	Node  string // this node's name
	// Propose hands a command to the leader and returns when it is applied.
	Propose func(context.Context, *store.Command) (store.Result, error)
	Leads   func() bool
	Post    func(context.Context, *webhook.Notice) webhook.Outcome
	Logger  *slog.Logger
	Random  func() float64 // from 0 up to 1, for jitter
	Counts  *Counts
}

// Counts are what this node has sent since it started.
type Counts struct{ Delivered, Retried, Failed atomic.Int64 }

// Sender delivers notices while its node leads.
type Sender struct {
	cfg Config

	// Of Run's goroutine.
	lines map[store.WebhookID]*line
	busy  int
	next  int // where the next look begins, so that every endpoint gets its turn
	done  chan outcome
}

// line is one endpoint as this leader knows it.
type line struct {
	busy     bool
	due      time.Time // not served before
	failures int       // attempts that failed since the last that did not
}

// outcome is the end of one turn of a line.
type outcome struct {
	id       store.WebhookID
	due      time.Time
	failures int
}

// New returns the sender; [Sender.Run] makes it work.
func New(cfg Config) *Sender {
	return &Sender{cfg: cfg, lines: make(map[store.WebhookID]*line), done: make(chan outcome, maxLines)}
}

// Run sends until ctx ends.
func (s *Sender) Run(ctx context.Context) {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for ctx.Err() == nil {
		s.lead(ctx, tick.C)
	}
}

// lead sends until this node leads no more or ctx ends. Then another node sends the same:
// what is under way ends, and what was learned is old.
func (s *Sender) lead(ctx context.Context, tick <-chan time.Time) {
	term, stop := context.WithCancel(ctx)
	defer func() {
		stop()
		for s.busy > 0 {
			s.ended(<-s.done)
		}
		clear(s.lines)
	}()
	led := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick:
		case <-s.cfg.State.Queued():
		case o := <-s.done:
			s.ended(o)
		}
		if !s.cfg.Leads() {
			if led {
				return
			}
			continue
		}
		led = true
		s.serve(term)
		select { // notices come in crowds
		case <-ctx.Done():
		case <-time.After(rest):
		}
	}
}

func (s *Sender) ended(o outcome) {
	s.busy--
	l := s.lines[o.id]
	l.busy, l.due, l.failures = false, o.due, o.failures
}

// serve starts a turn of each endpoint that has something to send, as far as there is room.
func (s *Sender) serve(ctx context.Context) {
	for len(s.done) > 0 {
		s.ended(<-s.done)
	}
	all := s.cfg.State.AllWebhooks()
	s.forget(all)
	now := time.Now()
	for i := range all {
		if s.busy == maxLines {
			s.next = (s.next + i) % len(all)
			return
		}
		w := all[(s.next+i)%len(all)]
		l := s.lines[w.ID]
		if l == nil {
			l = new(line)
			s.lines[w.ID] = l
		}
		if l.busy || now.Before(l.due) {
			continue
		}
		q, err := s.cfg.State.Queue(w.ID)
		if err != nil {
			s.cfg.Logger.Error("read the deliveries of a webhook", "webhook", w.ID, "error", err)
		}
		if err != nil || q.Pending == 0 {
			continue
		}
		l.busy = true
		s.busy++
		go func() { s.done <- s.turn(ctx, w, l.failures) }()
	}
}

// forget drops the lines of endpoints that were deleted.
func (s *Sender) forget(all []*store.Webhook) {
	if len(s.lines) <= len(all) {
		return
	}
	there := make(map[store.WebhookID]bool, len(all))
	for _, w := range all {
		there[w.ID] = true
	}
	for id, l := range s.lines {
		if !there[id] && !l.busy {
			delete(s.lines, id)
		}
	}
}
