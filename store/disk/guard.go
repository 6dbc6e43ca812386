package disk

import (
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// Guard watches one Pebble instance: it is its logger and its event listener,
// and the only way through which batches are committed.
type Guard struct {
	name   string
	log    *slog.Logger
	fatal  func(error)
	failed atomic.Pointer[error]
}

// NewGuard returns the guard of the instance called name. fatal is called at the
// first failure after which the instance cannot be trusted, from any goroutine
// and possibly under Pebble's locks: it must not touch the instance, and it is
// expected to end the process.
func NewGuard(name string, log *slog.Logger, fatal func(error)) *Guard {
	return &Guard{name: name, log: log.With("db", name), fatal: fatal}
}

// Watch makes g the logger and listener of an instance about to be opened with o.
func (g *Guard) Watch(o *pebble.Options) {
	o.Logger = g
	o.EventListener = &pebble.EventListener{
		BackgroundError: g.fail,
		DataCorruption: func(i pebble.DataCorruptionInfo) {
			g.log.Error("data corruption", "path", i.Path, "error", i.Details)
		},
		WriteStallBegin: func(i pebble.WriteStallBeginInfo) {
			g.log.Warn("writes stall", "reason", i.Reason)
		},
	}
}

// Err is the first failure, or nil. Once it is set it stays.
func (g *Guard) Err() error {
	if p := g.failed.Load(); p != nil {
		return *p
	}
	return nil
}

// Commit commits b. It returns nil only if b is as durable as o asks for and
// nothing has failed before: Pebble itself would go on after a failed fsync if
// its logger's Fatalf returned.
func (g *Guard) Commit(b *pebble.Batch, o *pebble.WriteOptions) (err error) {
	if err := g.Err(); err != nil {
		return err
	}
	defer func() {
		if r := recover(); r != nil {
			s, ok := r.(stopped)
			if !ok {
				panic(r)
			}
			err = s.err
		}
	}()
	if err := b.Commit(o); err != nil {
		return fmt.Errorf("commit to %s: %w", g.name, err)
	}
	return g.Err()
}

// stopped is what Fatalf panics with: Pebble requires that Fatalf does not
// return. Commit turns it into an error; on a background goroutine it ends the
// process, should fatal not have done so.
type stopped struct{ err error }

func (s stopped) Error() string { return s.err.Error() }

func (g *Guard) fail(err error) {
	err = fmt.Errorf("%s: %w", g.name, err)
	if g.failed.CompareAndSwap(nil, &err) {
		g.fatal(err)
	}
}

// Infof implements [pebble.Logger].
func (g *Guard) Infof(format string, args ...any) {
	g.log.Debug(fmt.Sprintf(format, args...))
}

// Errorf implements [pebble.Logger].
func (g *Guard) Errorf(format string, args ...any) {
	g.log.Error(fmt.Sprintf(format, args...))
}

// Fatalf implements [pebble.Logger]; it never returns.
func (g *Guard) Fatalf(format string, args ...any) {
	f := failure{text: fmt.Sprintf(format, args...)}
	for _, a := range args {
		if err, ok := a.(error); ok {
			f.cause = err // Pebble's format verbs do not keep it
		}
	}
	g.fail(f)
	panic(stopped{g.Err()})
}

type failure struct {
	text  string
	cause error
}

func (f failure) Error() string { return f.text }
func (f failure) Unwrap() error { return f.cause }
