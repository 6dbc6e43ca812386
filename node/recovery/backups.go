package recovery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/perfgate/perfgate/node/config"
	"github.com/perfgate/perfgate/store/backup"
	"github.com/perfgate/perfgate/store/seal"
)

// The rhythm of scheduled backups.
const (
	backupLook  = time.Minute     // between looks at the clock
	backupRetry = 5 * time.Minute // after a failure, or half of Every if that is less
	staleTemp   = time.Hour       // after which an unfinished file has no writer any more
)

// backupTemp begins the name of a file that is being written; its suffix is not
// a backup's.
const backupTemp, backupTempEnd = ".", ".tmp"

// Backups writes a backup into a folder every now and then, if this node leads,
// and removes the oldest ones of its cluster there. It looks for nothing but
// files of the names that it gives, so that folders may be shared.
//
// The time of the next one follows from the newest one's name: a restart neither
// makes one more nor waits again. Times are UTC.
type Backups struct {
	Dir     string
	Every   time.Duration
	Keep    int
	To      seal.To // who can open them
	Leads   func() bool
	Cluster func() string
	// Begin takes the state; the other members of the header are Begin's to fill.
	Begin  func(at time.Time) (*backup.Backup, error)
	Ledger ledgerKeeper
	Logger *slog.Logger

	last     atomic.Int64 // Unix seconds of the newest good one; 0 is never
	failures atomic.Int64
	failed   time.Time // the last failure since the last success
}

// Open makes the folder and finds the newest backup in it.
func (b *Backups) Open() error {
	if err := os.MkdirAll(b.Dir, 0o700); err != nil {
		return err
	}
	names, err := b.own()
	if err != nil {
		return err
	}
	if len(names) > 0 {
		_, at, _ := backup.ParseName(names[len(names)-1])
		b.last.Store(at.Unix())
	}
	if b.To.None() {
		b.Logger.Warn("scheduled backups are not encrypted and contain the hashes of all keys and tokens and the pepper; set backup.recipients or "+config.PassphraseEnv, "dir", b.Dir)
		return nil
	}
	return b.To.Check()
}

// Collectors are the metrics.
func (b *Backups) Collectors() []prometheus.Collector {
	return []prometheus.Collector{
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: "perfgate", Subsystem: "backup", Name: "last_success_timestamp_seconds",
			Help: "Unix time of the newest scheduled backup that this node wrote or found; 0 if there is none.",
		}, func() float64 { return float64(b.last.Load()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Namespace: "perfgate", Subsystem: "backup", Name: "failures_total", Help: "Scheduled backups that failed.",
		}, func() float64 { return float64(b.failures.Load()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Namespace: "perfgate", Subsystem: "backup", Name: "ledger_failures_total", Help: "Times that the ledger of erasures could not be written.",
		}, func() float64 { return float64(b.Ledger.failures.Load()) }),
	}
}

// Last is the time of the newest backup that this node wrote or found; zero if there is
// none.
func (b *Backups) Last() time.Time {
	if at := b.last.Load(); at > 0 {
		return time.Unix(at, 0).UTC()
	}
	return time.Time{}
}

// Run writes backups until ctx ends.
func (b *Backups) Run(ctx context.Context) {
	tick := time.NewTicker(min(backupLook, b.Every))
	defer tick.Stop()
	// A write that failed before the last start is not remembered. By the first tick the state
	// has what the others have.
	for again := false; ; again = true {
		if again && !b.Ledger.kept.Load() {
			b.KeepLedger()
		}
		b.look(ctx, time.Now())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// look writes a backup if one is due.
func (b *Backups) look(ctx context.Context, now time.Time) {
	if !b.Leads() || now.Sub(b.failed) < min(backupRetry, b.Every/2) {
		return
	}
	due, err := b.due(now)
	if err == nil && !due {
		return
	}
	var name string
	if err == nil {
		name, err = b.write(ctx, now)
	}
	if err != nil {
		if ctx.Err() == nil {
			b.failed = now
			b.failures.Add(1)
			b.Logger.Error("scheduled backup failed; it is tried again", "dir", b.Dir, "error", err)
		}
		return
	}
	b.failed = time.Time{}
	b.last.Store(now.Unix())
	b.Logger.Info("backup written", "file", filepath.Join(b.Dir, name))
	b.KeepLedger()
	if err := b.prune(now); err != nil {
		b.Logger.Warn("old backups cannot be removed", "dir", b.Dir, "error", err)
	}
}

// own lists this cluster's backups, the oldest first.
func (b *Backups) own() ([]string, error) {
	entries, err := os.ReadDir(b.Dir)
	if err != nil {
		return nil, err
	}
	cluster := b.Cluster()
	var names []string
	for _, e := range entries {
		if id, _, ok := backup.ParseName(e.Name()); ok && id == cluster && e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names) // they differ in the time alone
	return names, nil
}

// Before lists this cluster's backups from before at, the oldest first.
func (b *Backups) Before(at time.Time) (names []string, err error) {
	all, err := b.own()
	for _, name := range all {
		if _, taken, ok := backup.ParseName(name); ok && taken.Before(at) {
			names = append(names, name)
		}
	}
	return names, err
}

// due tells whether the newest backup is old enough. One of the future, left by
// a clock that was wrong, holds up nothing.
func (b *Backups) due(now time.Time) (bool, error) {
	names, err := b.own()
	if err != nil {
		return false, err
	}
	for _, name := range slices.Backward(names) {
		if _, at, _ := backup.ParseName(name); !at.After(now) {
			return now.Sub(at) >= b.Every, nil
		}
	}
	return true, nil
}

// write writes one backup. It has its name when it is durable and was read back.
func (b *Backups) write(ctx context.Context, now time.Time) (name string, err error) {
	taken, err := b.Begin(now)
	if err != nil {
		return "", err
	}
	defer taken.Close()
	name = taken.Name()
	tmp := filepath.Join(b.Dir, backupTemp+name+backupTempEnd)
	f, err := os.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			os.Remove(tmp)
		}
	}()
	with, err := b.fill(&interrupted{f, ctx}, taken)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err == nil {
		if _, err = backup.Verify(f, with); err != nil {
			err = fmt.Errorf("read it back: %w", err)
		}
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return "", err
	}
	if err := os.Rename(tmp, filepath.Join(b.Dir, name)); err != nil {
		return "", err
	}
	return name, syncFolder(b.Dir)
}

// fill writes the file and returns what opens it.
func (b *Backups) fill(w io.Writer, taken *backup.Backup) (with seal.With, err error) {
	if b.To.None() {
		_, err := taken.WriteTo(w)
		return with, err
	}
	file, with, err := b.To.Seal(w)
	if err != nil {
		return with, err
	}
	if _, err := taken.WriteTo(file); err != nil {
		return with, err
	}
	return with, file.Close()
}

// interrupted ends a long write with ctx.
type interrupted struct {
	w   io.Writer
	ctx context.Context
}

func (i *interrupted) Write(p []byte) (int, error) {
	if err := i.ctx.Err(); err != nil {
		return 0, err
	}
	return i.w.Write(p)
}

// prune removes all but the newest backups of this cluster, and files that were
// never finished.
func (b *Backups) prune(now time.Time) error {
	names, err := b.own()
	if err != nil {
		return err
	}
	var faults []error
	for _, name := range names[:max(0, len(names)-b.Keep)] {
		faults = append(faults, os.Remove(filepath.Join(b.Dir, name)))
	}
	entries, err := os.ReadDir(b.Dir)
	if err != nil {
		return err
	}
	cluster := b.Cluster()
	for _, e := range entries {
		name, isTemp := strings.CutSuffix(strings.TrimPrefix(e.Name(), backupTemp), backupTempEnd)
		id, _, ok := backup.ParseName(name)
		info, err := e.Info()
		if isTemp && ok && id == cluster && err == nil && info.Mode().IsRegular() && now.Sub(info.ModTime()) > staleTemp {
			faults = append(faults, os.Remove(filepath.Join(b.Dir, e.Name())))
		}
	}
	return errors.Join(faults...)
}
