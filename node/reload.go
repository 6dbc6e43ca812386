package node

import (
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"sync"
)

// Prepare validates one part of a new configuration without touching what
// runs, and returns the step that puts it into use. The swap cannot fail.
type Prepare func(next *Config) (swap func(), err error)

// Reloader changes what can be changed of a node that runs: routes,
// certificates, log level. Reload is what SIGHUP does.
type Reloader struct {
	load   func() (*Config, error)
	logger *slog.Logger
	parts  []Prepare

	mu      sync.Mutex
	started *Config // what the node was started with; keys that need a restart are compared to it
	current *Config // what was loaded last
}

// NewReloader returns the reloader of a node started with c. load reads the
// configuration anew from the same flags and environment; every part is asked
// before any is swapped.
func NewReloader(c *Config, load func() (*Config, error), logger *slog.Logger, parts ...Prepare) *Reloader {
	return &Reloader{load: load, logger: logger, parts: parts, started: c, current: c}
}

// Reload loads and validates everything, then swaps. On an error nothing has
// changed. Keys that cannot change while the node runs are told in the log and
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
	for _, prepare := range r.parts {
		swap, err := prepare(next)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		swaps = append(swaps, swap)
	}
	if len(faults) > 0 {
		return fmt.Errorf("reload the configuration; nothing was changed: %w", errors.Join(faults...))
	}
	for _, swap := range swaps {
		swap()
	}
	for _, key := range needRestart(r.started, next) {
		r.logger.Warn("this key takes effect after a restart", "key", key)
	}
	r.logger.Info("configuration reloaded", "file", next.File(), "changed", changed(r.current, next))
	r.current = next
	return nil
}

// LogLevel moves level to what the configuration says.
func LogLevel(level *slog.LevelVar) Prepare {
	return func(next *Config) (func(), error) {
		return func() { level.Set(next.Log.level()) }, nil
	}
}

// changed lists the keys in which two configurations differ, in no secret way:
// their names alone.
func changed(a, b *Config) []string {
	var out []string
	for _, s := range settings() {
		if !reflect.DeepEqual(a.source.raw[s.key], b.source.raw[s.key]) {
			out = append(out, s.key)
		}
	}
	return out
}

// needRestart lists the keys of b that differ from a's and have no effect on a
// node that was started with a.
func needRestart(a, b *Config) []string {
	live := map[string]bool{}
	for _, s := range settings() {
		live[s.key] = s.live
	}
	// A listener does not turn from plaintext to TLS or back while it runs.
	if (a.Proxy.TLS.CertFile == "") != (b.Proxy.TLS.CertFile == "") {
		live["proxy.tls.cert_file"] = false
	}
	plain := func(c *Config) bool {
		return c.Admin.TLS.CertFile == "" && (c.Admin.Insecure || c.Admin.Loopback())
	}
	if plain(a) != plain(b) {
		live["admin.tls.cert_file"] = false
	}
	return slices.DeleteFunc(changed(a, b), func(key string) bool { return live[key] })
}
