package node

import (
	"context"
	"io"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/perfgate/perfgate/httpapi/proxy"
	"github.com/perfgate/perfgate/node/config"
	"github.com/perfgate/perfgate/store/local"
)

// The bounds of the access log.
const (
	accessBytes = 1 << 20 // lines in memory; a second buffer of this size is written meanwhile
	accessEvery = 250 * time.Millisecond
)

// accessLog writes a line for each proxied request, if log.access is on. A request
// formats its line into memory; one goroutine, run, writes it out. While output is
// slower than requests, lines are dropped and counted: no request waits for a disk
// or a terminal.
type accessLog struct {
	next    proxy.Observer // gets every observation first
	out     io.Writer      // of the node's log
	log     *slog.Logger   // of the node: says how many lines were dropped
	lines   *slog.Logger   // writes to the accessLog itself
	on      atomic.Bool
	dropped atomic.Uint64

	wake chan struct{} // capacity 1: the buffer is half full

	mu      sync.Mutex
	pending []byte // whole lines; guarded by mu
}

func newAccessLog(next proxy.Observer, out io.Writer, logger *slog.Logger, c config.Log) *accessLog {
	a := &accessLog{next: next, out: out, log: logger, wake: make(chan struct{}, 1)}
	// log.level does not apply: log.access alone turns the access log off.
	a.lines, _ = NewLogger(a, config.Log{Level: "info", Format: c.Format})
	a.on.Store(c.Access)
	return a
}

// Observe implements [proxy.Observer].
func (a *accessLog) Observe(o *local.Observation) {
	a.next.Observe(o)
	if a.on.Load() {
		a.line(o)
	}
}

func (a *accessLog) line(o *local.Observation) {
	attrs := make([]slog.Attr, 0, 16)
	text := func(key, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(key, value))
		}
	}
	text("method", o.Method)
	text("path", o.Path)
	attrs = append(attrs, slog.Int("status", o.Status))
	text("code", o.Code+o.Failure)
	attrs = append(attrs, slog.Float64("duration_ms", math.Round(float64(o.Duration)/1e3)/1e3), slog.Int64("bytes", o.Sent))
	text("client", o.Client.String())
	text("account", string(o.Account))
	text("key", string(o.Key))
	text("route", o.Route)
	text("upstream", o.Upstream)
	if o.Attempts > 1 {
		attrs = append(attrs, slog.Int("attempts", o.Attempts))
	}
	text("request_id", o.RequestID)
	text("user_agent", o.UserAgent)
	a.lines.LogAttrs(context.Background(), slog.LevelInfo, "access", attrs...)
}

// Write takes one line from the handler of lines.
func (a *accessLog) Write(line []byte) (int, error) {
	a.mu.Lock()
	fits := len(a.pending)+len(line) <= accessBytes
	if fits {
		a.pending = append(a.pending, line...)
	}
	half := len(a.pending) >= accessBytes/2
	a.mu.Unlock()
	if !fits {
		a.dropped.Add(1)
	}
	if half {
		select {
		case a.wake <- struct{}{}:
		default:
		}
	}
	return len(line), nil
}

// run writes lines until ctx ends, and those that are left then.
func (a *accessLog) run(ctx context.Context) {
	tick := time.NewTicker(accessEvery)
	defer tick.Stop()
	var spare []byte
	var told uint64
	for {
		select {
		case <-tick.C:
		case <-a.wake:
		case <-ctx.Done():
			a.flush(nil)
			return
		}
		spare = a.flush(spare)
		if n := a.dropped.Load(); n != told {
			a.log.Warn("access log lines dropped: requests came faster than the log's output takes them", "lines", n-told)
			told = n
		}
	}
}

// flush writes the pending lines and returns their buffer, for the next turn.
func (a *accessLog) flush(spare []byte) []byte {
	a.mu.Lock()
	full := a.pending
	a.pending = spare[:0]
	a.mu.Unlock()
	if len(full) > 0 {
		_, _ = a.out.Write(full) // as the log itself, it has nowhere to report to
	}
	if !a.on.Load() {
		return nil // off: the memory goes
	}
	return full
}

// collector counts the lines that were dropped.
func (a *accessLog) collector() prometheus.Collector {
	return prometheus.NewCounterFunc(prometheus.CounterOpts{
		Namespace: "perfgate", Subsystem: "log", Name: "access_dropped_lines_total",
		Help: "Lines of the access log that were dropped because the log's output was too slow.",
	}, func() float64 { return float64(a.dropped.Load()) })
}

// prepare turns the access log on or off as configured.
func (a *accessLog) prepare(next *config.Config) (swap func(), err error) {
	return func() { a.on.Store(next.Log.Access) }, nil
}
