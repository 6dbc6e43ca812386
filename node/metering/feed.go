package metering

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/perfgate/perfgate/store/local"
)

// The pace of the feed.
const (
	every    = 10 * time.Second // between two looks for usage
	maxBatch = 100              // events of a call; the most that Lago takes
	sendWait = 30 * time.Second
	firstTry = time.Second
	maxRetry = time.Minute
	// maxTries is how often an event that the receiver refuses alone is sent: about six minutes.
	maxTries = 10
)

// Queue makes events and keeps them; [local.Meter] does.
type Queue interface {
	Roll() error
	Next(most int) ([]local.MeterEvent, error)
	Taken([]local.MeterEvent) error
	Waiting() int
	Damaged() uint64 // rows that were left out
}

// Config holds the parts of a [Feed].
type Config struct {
	Queue  Queue
	Form   Form
	Post   func(ctx context.Context, contentType string, body []byte) error
	Node   string // the node's id
	Logger *slog.Logger
}

// Feed sends the events of a queue to one receiver.
type Feed struct {
	cfg Config

	sent, failed, dropped atomic.Uint64
	waiting               atomic.Int64
	damaged               atomic.Uint64

	// Of Run's goroutine.
	limit    int // events of the next call: fewer after a refusal
	tries    int // of an event that is refused alone
	failures int // since the last call that did not fail
}

// New returns the feed; [Feed.Run] makes it work.
func New(cfg Config) *Feed { return &Feed{cfg: cfg, limit: maxBatch} }

// Figures are what the feed did since the node started: events that the receiver took, calls that
// failed, and events that it refused for good; and the events that wait.
func (f *Feed) Figures() (sent, failed, dropped uint64, waiting int64) {
	return f.sent.Load(), f.failed.Load(), f.dropped.Load(), f.waiting.Load()
}

// Damaged is how many rows of usage or of events were left out because they are damaged.
func (f *Feed) Damaged() uint64 { return f.damaged.Load() }

// Refused is the error of a call whose content the receiver refuses.
type Refused struct{ Status int }

func (e *Refused) Error() string {
	return fmt.Sprintf("the receiver answers %d: it refuses what it was sent", e.Status)
}

// Run sends until ctx ends.
func (f *Feed) Run(ctx context.Context) {
	wait := time.NewTimer(0)
	defer wait.Stop()
	var rolled, retry time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-wait.C:
		}
		if time.Since(rolled) >= every { // also while the receiver is away
			rolled = time.Now()
			if err := f.cfg.Queue.Roll(); err != nil && ctx.Err() == nil {
				f.cfg.Logger.Error("make events of usage; tried again", "error", err)
			}
		}
		next := rolled.Add(every)
		if !time.Now().Before(retry) {
			more, err := f.turn(ctx)
			switch {
			case ctx.Err() != nil:
				return
			case err != nil:
				f.failed.Add(1)
				if f.failures++; f.failures == 1 {
					f.cfg.Logger.Warn("the receiver of usage fails; its events wait and are sent when it is back", "error", err)
				}
				retry = time.Now().Add(min(firstTry<<min(f.failures-1, 6), maxRetry))
			case f.failures > 0:
				f.failures = 0
				f.cfg.Logger.Info("the receiver of usage takes events again")
			}
			if more && err == nil {
				next = time.Now()
			}
		}
		f.waiting.Store(int64(f.cfg.Queue.Waiting()))
		f.damaged.Store(f.cfg.Queue.Damaged())
		if retry.After(time.Now()) && retry.Before(next) {
			next = retry
		}
		wait.Reset(max(0, time.Until(next)))
	}
}

// turn sends one batch. more says that there is another one.
func (f *Feed) turn(ctx context.Context) (more bool, err error) {
	list, err := f.cfg.Queue.Next(f.limit)
	if err != nil || len(list) == 0 {
		return false, err
	}
	body, err := f.cfg.Form.encode(f.cfg.Node, list)
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, sendWait)
	defer cancel()
	err = f.cfg.Post(ctx, f.cfg.Form.contentType(), body)
	var no *Refused
	switch {
	case err == nil:
		f.sent.Add(uint64(len(list)))
		f.limit, f.tries = min(2*f.limit, maxBatch), 0
	case errors.As(err, &no) && len(list) > 1: // one of them
		f.limit = len(list) / 2
		return true, nil
	case errors.As(err, &no) && f.tries+1 >= maxTries:
		f.tries = 0
		f.dropped.Add(1)
		f.cfg.Logger.Error("the receiver refuses an event of usage, which is left out; count it by hand",
			"event", list[0].ID, "account", list[0].Account, "key", list[0].Key, "minute", list[0].Time, "error", err)
	case errors.As(err, &no):
		f.tries++
		return false, err
	default:
		return false, err
	}
	return true, f.cfg.Queue.Taken(list)
}
