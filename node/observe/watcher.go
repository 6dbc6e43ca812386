package observe

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/insight"
	"github.com/perfgate/perfgate/store/local"
)

// Figures of the watcher.
const (
	maxWaiting = 1024             // findings that wait to be confirmed
	saveEvery  = 10 * time.Minute // habits
)

// Watcher learns from the requests of this node. [Watcher.Watch] is called by the writer of
// the local data, so it neither waits nor writes; [Watcher.Run] confirms findings and keeps
// them.
type Watcher struct {
	logger *slog.Logger
	local  atomic.Pointer[local.Local] // nil before it is open, and after Close
	waits  chan insight.Finding
	lost   atomic.Int64 // findings that found no room since the last report

	mu     sync.Mutex // guards the engine
	engine *insight.Engine
}

// NewWatcher returns a watcher that begins with [Watcher.Open].
func NewWatcher(logger *slog.Logger) *Watcher {
	w := &Watcher{logger: logger, waits: make(chan insight.Finding, maxWaiting)}
	w.engine = insight.New(w)
	return w
}

// Open begins to learn; habits are kept in l.
func (w *Watcher) Open(l *local.Local) { w.local.Store(l) }

// Close keeps the habits. Requests after it are not learned.
func (w *Watcher) Close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.engine.Save()
	w.local.Store(nil)
}

// Load implements [insight.Memory].
func (w *Watcher) Load(key string) []byte {
	l := w.local.Load()
	if l == nil {
		return nil
	}
	h, err := l.Notes().Habit(store.KeyID(key))
	if err != nil {
		w.logger.Error("learn a key's habit again", "key", key, "error", err)
	}
	return h
}

// Save implements [insight.Memory].
func (w *Watcher) Save(key string, habit []byte) {
	if l := w.local.Load(); l != nil {
		if err := l.Notes().SetHabit(store.KeyID(key), habit); err != nil {
			w.logger.Error("keep a key's habit", "key", key, "error", err)
		}
	}
}

// Watch learns from a request.
func (w *Watcher) Watch(s *local.Watched) {
	if w.local.Load() == nil {
		return
	}
	seen := insight.Seen{
		At: s.At.Unix(), Account: string(s.Account), Key: string(s.Key), IP: s.IP, Country: s.Country, Agent: s.Agent, Hint: s.Hint,
		Management: s.Management,
		Auth:       s.Kind == local.FailedAuth && s.Reason != "missing_key",
	}
	switch {
	case s.Kind == local.FailedAuth:
		seen.Denied = true
	case s.Reason != "": // over a limit, or malformed: the key may be used
		if s.Status != 429 && s.Status != 402 {
			seen.Denied = true
		}
	default:
		seen.Did = did(s)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range w.engine.See(&seen) {
		select {
		case w.waits <- f:
		default:
			w.lost.Add(1)
		}
	}
}

// did is the scope that a request has made use of.
func did(s *local.Watched) insight.Did {
	if !s.Management {
		switch s.Method {
		case "GET", "HEAD", "OPTIONS":
			return insight.DidRead
		}
		return insight.DidWrite
	}
	switch s.Route {
	case "/v1/keys/verify":
		return insight.DidVerify
	case "/v1/ratelimit":
		return insight.DidLimit
	case "/v1/usage", "/v1/usage/keys/{id}", "/v1/limits", "/v1/limits/simulate":
		return insight.DidRead
	}
	return insight.DidAdmin
}

// Run confirms findings with nodes and keeps them, until ctx ends.
func (w *Watcher) Run(ctx context.Context, nodes *Nodes) {
	save := time.NewTicker(saveEvery)
	defer save.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-save.C:
			w.mu.Lock()
			w.engine.Save()
			w.mu.Unlock()
			if n := w.lost.Swap(0); n > 0 {
				w.logger.Warn("findings about requests were dropped: they came faster than they were confirmed", "findings", n)
			}
		case f := <-w.waits:
			if !nodes.refuted(ctx, &f) {
				w.keep(&f)
				nodes.tell(f)
			}
		}
	}
}

// keep writes a finding.
func (w *Watcher) keep(f *insight.Finding) {
	l := w.local.Load()
	if l == nil {
		return
	}
	raw, err := json.Marshal(f)
	if err == nil {
		err = l.Notes().Add(f.At, f.ID, raw)
	}
	if err != nil {
		w.logger.Error("keep a finding about requests", "kind", f.Kind, "error", err)
		return
	}
	w.logger.Warn("unusual requests", "finding", f.ID, "kind", f.Kind, "account", f.Account, "key", f.Key, "usual", f.Usual, "seen", f.Seen)
}

// Forget drops the habits of keys from memory, so that they are not kept again.
func (w *Watcher) Forget(goes func(store.KeyID) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.engine.Forget(func(key string) bool { return goes(store.KeyID(key)) })
}

// refutes reports whether this node knew the subject of another node's finding before.
func (w *Watcher) refutes(f *insight.Finding) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.engine.Refutes(f)
}

func (w *Watcher) profile(key store.KeyID) insight.Profile {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.engine.Profile(string(key))
}
