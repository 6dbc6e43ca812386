package local

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/disk"
	"github.com/perfgate/perfgate/store/pack"
)

// ActionLost is the action of the event that says that this node's own data was
// damaged and set aside.
const ActionLost = "local.lost"

// damagedInfix stands between the directory's name and the time in the name of one
// that was set aside; damagedTime is the form of that time.
const (
	damagedInfix = ".damaged-"
	damagedTime  = "20060102T150405.000Z"
)

// maxDamaged bounds the directories that are kept aside, and the losses that the
// seal remembers: the oldest go first. Each takes as much space as the data did.
const maxDamaged = 3

var errDamaged = errors.New("this node's own data is damaged")

// errReplacing is the answer while damaged data waits for running queries to end.
var errReplacing = errors.New("this node's own data is damaged and is being set aside; try again in a moment")

// damage holds the facts that Local knows of damage to its directory.
type damage struct {
	found    atomic.Pointer[error] // not set aside yet
	wake     chan struct{}         // capacity 1: found was set
	lock     *pebble.Lock          // of the directory; belongs to Open, the writer, Close, in this order
	seal     seal                  // as it is on disk; the same owners
	scrubbed chan struct{}         // closed when the scrub has ended

	mu     sync.Mutex
	losses []Loss // of the seal, for readers
	count  uint64 // losses since Open
}

// Losses are the last times that this node lost its own data, oldest first, at
// most three. They are remembered over restarts.
func (l *Local) Losses() []Loss {
	l.damage.mu.Lock()
	defer l.damage.mu.Unlock()
	return slices.Clone(l.damage.losses)
}

// LossCount is the number of losses since Open, those found by it included.
func (l *Local) LossCount() uint64 {
	l.damage.mu.Lock()
	defer l.damage.mu.Unlock()
	return l.damage.count
}

// damaging reports whether err means that the data is damaged, not that it cannot
// be reached: for want of rights, space or descriptors, or because another process
// has it. Pebble's own errors at opening are about the content of files.
func damaging(err error) bool {
	var code syscall.Errno
	var lock *lockError
	switch {
	case errors.As(err, &lock):
		return false
	case disk.Damaged(err), errors.Is(err, errDamaged), errors.Is(err, errCorrupt), errors.Is(err, fs.ErrNotExist):
		return true
	case errors.As(err, &code):
		return code == syscall.EIO || code == syscall.ENOTDIR || code == syscall.EISDIR || code == syscall.EEXIST
	}
	return !errors.Is(err, fs.ErrPermission)
}

// lockError is the error of a directory that another process has, or that cannot be
// locked for want of rights.
type lockError struct{ cause error }

func (e *lockError) Error() string { return "lock it: " + e.cause.Error() }
func (e *lockError) Unwrap() error { return e.cause }

// hurt notes that the data is damaged; the writer sets it aside soon. It may be
// called from any goroutine, under Pebble's locks.
func (l *Local) hurt(err error) {
	if l.damage.found.CompareAndSwap(nil, &err) {
		select {
		case l.damage.wake <- struct{}{}:
		default:
		}
	}
}

// openData opens the directory, after setting it aside if it is damaged.
func (l *Local) openData() (err error) {
	if l.damage.seal, err = l.readSeal(); err != nil {
		return err
	}
	defer l.publish()
	if err = l.openOnce(true); err == nil || !damaging(err) || l.guard.Err() != nil {
		return err
	}
	if found := l.damage.found.Swap(nil); found != nil {
		err = *found // names the file
	}
	if err := l.setAside(err); err != nil {
		return err
	}
	return l.openOnce(false)
}

// openOnce locks, examines and opens the directory. The seal of a clean stop is
// void before Pebble writes, and names the database once it is made.
func (l *Local) openOnce(examine bool) (err error) {
	d := &l.damage
	if err := l.cfg.FS.MkdirAll(l.cfg.Dir, 0o700); err != nil {
		return err
	}
	if d.lock, err = pebble.LockDirectory(l.cfg.Dir, l.cfg.FS); err != nil {
		return &lockError{err}
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.lock.Close())
		}
	}()
	if examine {
		if err := l.examine(&d.seal); err != nil {
			return err
		}
	}
	if d.seal.Files != nil {
		d.seal.Files = nil
		if err := l.writeSeal(&d.seal); err != nil {
			return err
		}
	}
	o := l.options()
	o.Lock = d.lock
	if l.db, err = disk.Open(l.cfg.Dir, o); err != nil {
		return err
	}
	if err := l.begin(); err != nil {
		return errors.Join(err, l.db.Close())
	}
	return nil
}

// settle gives the seal the name of the database with this salt. A database that is
// not the sealed one lost its beginning, or was put there.
func (l *Local) settle(salt []byte) error {
	s := &l.damage.seal
	name := hex.EncodeToString(salt)
	switch {
	case s.Store == name:
		return nil
	case s.Store != "":
		return fmt.Errorf("%w: the database is not the one that this node left there", errDamaged)
	}
	if n := len(s.Losses); n > 0 {
		// The event is on disk before the seal says that there is nothing left to tell.
		if err := l.w.lost(&s.Losses[n-1]); err != nil {
			return err
		}
	}
	s.Store = name
	return l.writeSeal(s)
}

// setAside moves the directory out of the way, closed, and remembers why. The seal
// is written first: a crash after it finds the damage again, or no directory.
func (l *Local) setAside(reason error) error {
	s, fs := &l.damage.seal, l.cfg.FS
	loss := Loss{Time: l.now().UTC(), Reason: l.plain(reason)}
	names, err := fs.List(l.cfg.Dir)
	if err != nil || slices.ContainsFunc(names, func(n string) bool { return n != "LOCK" }) {
		loss.Kept = fs.PathBase(l.cfg.Dir) + damagedInfix + loss.Time.Format(damagedTime)
	}
	s.Store, s.Files = "", nil
	s.Losses = append(s.Losses, loss)
	s.Losses = s.Losses[max(0, len(s.Losses)-maxDamaged):]
	if err := l.writeSeal(s); err != nil {
		return err
	}
	l.damage.mu.Lock()
	l.damage.count++
	l.damage.mu.Unlock()
	l.log.Error("this node's own data was damaged: the audit events of requests, usage and last uses that it held are lost; the node goes on with new data",
		"reason", loss.Reason, "kept_in", loss.Kept, "dir", l.cfg.Dir)
	parent := fs.PathDir(l.cfg.Dir)
	if loss.Kept == "" {
		return nil
	}
	if err := l.makeRoom(parent); err != nil {
		return err
	}
	if err := fs.Rename(l.cfg.Dir, fs.PathJoin(parent, loss.Kept)); err != nil {
		return fmt.Errorf("set the damaged data aside: %w", err)
	}
	return pack.SyncDir(fs, parent)
}

// makeRoom removes the oldest of the directories set aside, but for those that may
// stay beside another one.
func (l *Local) makeRoom(parent string) error {
	names, err := l.cfg.FS.List(parent)
	if err != nil {
		return err
	}
	prefix := l.cfg.FS.PathBase(l.cfg.Dir) + damagedInfix
	names = slices.DeleteFunc(names, func(n string) bool { return !strings.HasPrefix(n, prefix) })
	slices.Sort(names) // by time
	for len(names) >= maxDamaged {
		if err := l.cfg.FS.RemoveAll(l.cfg.FS.PathJoin(parent, names[0])); err != nil {
			return fmt.Errorf("remove the oldest data set aside: %w", err)
		}
		names = names[1:]
	}
	return nil
}

// plain is a reason in one line, without paths of this machine: it is in an event.
func (l *Local) plain(err error) string {
	text, _, _ := strings.Cut(strings.TrimPrefix(err.Error(), errDamaged.Error()+": "), "\n")
	return strings.ReplaceAll(text, l.cfg.Dir, l.cfg.FS.PathBase(l.cfg.Dir))
}

func (l *Local) publish() {
	l.damage.mu.Lock()
	defer l.damage.mu.Unlock()
	l.damage.losses = slices.Clone(l.damage.seal.Losses)
}

// replace sets the data aside while the node runs, once no query uses it, and goes
// on with new data. Requests that are still in memory are counted there. The
// writer calls it, and ends if it fails.
func (l *Local) replace() error {
	found := l.damage.found.Load()
	if found == nil || !l.uses.pause() {
		return nil // the writer's tick asks again
	}
	old := l.w
	if err := errors.Join(old.batch.Close(), l.db.Close(), l.damage.lock.Close()); err != nil {
		l.log.Warn("close the damaged data", "error", err)
	}
	err := l.setAside(*found)
	if err == nil {
		err = l.openOnce(false)
	}
	if err != nil {
		l.uses.abandon() // there is no database any more
		return err
	}
	defer l.uses.resume()
	l.w.usage, l.w.spare = old.usage, old.spare
	l.last.unsaved()
	l.publish()
	l.damage.found.Store(nil)
	return nil
}

// finishSeal seals the directory after a clean stop.
func (l *Local) finishSeal() error {
	if l.damage.found.Load() != nil {
		return nil // the next start finds it
	}
	files, err := l.sealFiles()
	if err != nil {
		return err
	}
	l.damage.seal.Files = files
	return l.writeSeal(&l.damage.seal)
}

// lost writes the event of a loss, durably.
func (w *writer) lost(loss *Loss) error {
	o := Observation{
		Method: "DELETE", Status: 500, Action: ActionLost, Code: "data_damaged",
		Actor: store.Actor{Type: store.ActorSystem, ID: w.l.cfg.Node},
		Route: loss.Kept, UserAgent: loss.Reason,
	}
	if err := w.event(nil, nanos(loss.Time), appendRequest(nil, &o, true)); err != nil {
		return err
	}
	if err := w.commit(0); err != nil {
		return err
	}
	return w.sync()
}

// lossEvent gives the event of a loss the form of a change; r holds its parts where
// [writer.lost] puts them.
func lossEvent(e *store.Event, r *request[string]) {
	after, _ := json.Marshal(map[string]any{"after": map[string]string{
		"reason": strings.ToValidUTF8(r.agent, "\ufffd"), "kept_in": r.route,
		"lost": "audit events of requests, usage, last use of keys",
	}})
	e.Changes, e.Request, e.UserAgent = after, nil, ""
}

// Warning describes the losses for people, for a week; "" if there were none.
func (l *Local) Warning(now time.Time) string {
	losses := l.Losses()
	if len(losses) == 0 || now.Sub(losses[len(losses)-1].Time) > warnFor {
		return ""
	}
	last := losses[len(losses)-1]
	text := fmt.Sprintf("request events, usage and last uses recorded here before %s are lost: %s", last.Time.Format(time.RFC3339), last.Reason)
	if last.Kept != "" {
		text += "; the remains are in " + last.Kept + " in the data directory, and can be removed"
	}
	return text
}

const warnFor = 7 * 24 * time.Hour
