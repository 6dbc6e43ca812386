package disk

import (
	"fmt"
	"log/slog"
	"path"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// GuardConfig configures a [Guard].
type GuardConfig struct {
	// Name begins the instance's errors and log lines: `raft log "data/log"`.
	Name   string
	Logger *slog.Logger // none by default
	// Fatal is called once, at the first failure after which the instance cannot be
	// trusted, from any goroutine and possibly under Pebble's locks: it must not touch
	// the instance, and it is expected to end the process. Nothing by default.
	Fatal func(error)
	// DamageIsFatal makes a damaged file a failure, for an instance that also
	// serves its rows from memory: it is unknown which of them are still right. Without
	// it a damaged file is logged, and each read of it is an error.
	DamageIsFatal bool
	// Damaged is called with each damaged file, for an instance that can be replaced;
	// a compaction that stops at one is then no failure. Any goroutine may call it,
	// possibly under Pebble's locks: it must not touch the instance.
	Damaged func(error)
	// Park keeps a goroutine on which Pebble cannot go on where it is, for an instance
	// that the rest of the process can do without until it has stopped in good order;
	// such an instance must not be closed any more. Without it the goroutine panics:
	// [Guard.Commit] turns that into an error, and a background goroutine ends the
	// process, should Fatal not have done so.
	Park bool
}

// Guard watches one Pebble instance: it is its logger and its event listener, and
// batches that must be durable are committed through it. All methods are safe for
// concurrent use.
type Guard struct {
	cfg    GuardConfig
	log    *slog.Logger
	failed atomic.Pointer[error]
}

// NewGuard returns a guard, which [Guard.Watch] puts in place.
func NewGuard(cfg GuardConfig) *Guard {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Fatal == nil {
		cfg.Fatal = func(error) {}
	}
	return &Guard{cfg: cfg, log: cfg.Logger.With("db", cfg.Name)}
}

// Watch makes g the logger and listener of an instance about to be opened with o.
func (g *Guard) Watch(o *pebble.Options) {
	o.Logger = g
	o.EventListener = &pebble.EventListener{
		BackgroundError: func(err error) {
			if g.cfg.Damaged != nil && Damaged(err) {
				g.cfg.Damaged(err)
				return
			}
			g.Fail(err)
		},
		DataCorruption: func(i pebble.DataCorruptionInfo) {
			if g.cfg.DamageIsFatal {
				g.Fail(fmt.Errorf("file %q is damaged: %w", i.Path, i.Details))
				return
			}
			g.log.Error("file is damaged", "path", i.Path, "error", i.Details)
			if g.cfg.Damaged != nil {
				g.cfg.Damaged(fmt.Errorf("%s: %w", path.Base(i.Path), ErrDamaged))
			}
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
		return fmt.Errorf("commit to %s: %w", g.cfg.Name, err)
	}
	return g.Err()
}

// stopped is the value with which Fatalf panics: Pebble requires that Fatalf does not
// return. Commit turns it into an error; on a background goroutine it ends the
// process, should fatal not have done so.
type stopped struct{ err error }

func (s stopped) Error() string { return s.err.Error() }

// Fail notes a failure that was found elsewhere, a failed write for example.
func (g *Guard) Fail(err error) {
	err = fmt.Errorf("%s: %w", g.cfg.Name, err)
	if g.failed.CompareAndSwap(nil, &err) {
		g.cfg.Fatal(err)
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
	g.Fail(f)
	if g.cfg.Park {
		select {}
	}
	panic(stopped{g.Err()})
}

type failure struct {
	text  string
	cause error
}

func (f failure) Error() string { return f.text }
func (f failure) Unwrap() error { return f.cause }
