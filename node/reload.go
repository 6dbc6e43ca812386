package node

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perfgate/perfgate/node/config"
)

// Prepare validates one part of a new configuration without touching the running
// node, and returns the step that puts it into use. The swap cannot fail.
type Prepare func(next *config.Config) (swap func(), err error)

// Reloader changes the parts of a running node that can change: routes,
// certificates, cluster secret, log level.
type Reloader struct {
	load   func() (*config.Config, error)
	logger *slog.Logger
	parts  []Prepare

	mu      sync.Mutex     // held during a reload
	started *config.Config // at the start; keys that need a restart are compared to it
	current *config.Config // loaded last; guarded by mu
}

// NewReloader returns the reloader of a node started with c. load reads the
// configuration again from the same flags and environment.
func NewReloader(c *config.Config, load func() (*config.Config, error), logger *slog.Logger, parts ...Prepare) *Reloader {
	return &Reloader{load: load, logger: logger, parts: parts, started: c, current: c}
}

// Reload loads the configuration and prepares every part, then swaps. On an error
// nothing has changed. Keys that cannot change while the node runs are logged and
// keep their old value until a restart.
func (r *Reloader) Reload() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	next, err := r.load()
	if err != nil {
		return fmt.Errorf("reload the configuration; nothing was changed: %w", err)
	}
	var swaps []func()
	var faults []error
	if _, err := checkFiles(next); err != nil { // those of parts that wait for a restart too
		return fmt.Errorf("reload the configuration; nothing was changed: %w", err)
	}
	for _, prepare := range r.parts {
		swap, err := prepare(next)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		swaps = append(swaps, swap)
	}
	// An emptied file is a mistake more often than a wish to stop serving.
	if r.current.Routed() && !next.Routed() {
		faults = append(faults, next.Fault("proxy.upstream", "the running node has routes and the new configuration has none; it must have proxy.upstream or [[proxy.routes]]"))
	}
	if len(faults) > 0 {
		return fmt.Errorf("reload the configuration; nothing was changed: %w", errors.Join(faults...))
	}
	for _, swap := range swaps {
		swap()
	}
	for _, key := range config.NeedRestart(r.started, next) {
		r.logger.Warn("this key takes effect after a restart", "key", key)
	}
	r.logger.Info("configuration reloaded", "file", next.File(), "changed", config.Changed(r.current, next))
	r.current = next
	return nil
}

// Current is the configuration that was loaded last.
func (r *Reloader) Current() *config.Config {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.current
}

// reloads is the reloader of a node and the outcome of its reloads, for the metrics.
type reloads struct {
	by     *Reloader    // set at the end of Open
	at     atomic.Int64 // of the last one that succeeded, in Unix seconds
	failed atomic.Bool  // the last one did
	routed atomic.Bool  // one gave routes to upstreams
}

func (r *reloads) note(err error) {
	r.failed.Store(err != nil)
	if err == nil {
		r.at.Store(time.Now().Unix())
	}
}

// LogLevel sets level as configured.
func LogLevel(level *slog.LevelVar) Prepare {
	return func(next *config.Config) (func(), error) {
		return func() { level.Set(logLevel(next.Log)) }, nil
	}
}
