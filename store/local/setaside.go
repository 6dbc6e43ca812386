package local

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
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

// openData opens the directory, after setting it aside if it is damaged.
func (l *Local) openData() (err error) {
	if err := l.dir.readSeal(); err != nil {
		return err
	}
	defer func() { l.damage.publish(l.dir.seal.Losses) }()
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
	d := &l.dir
	if err := d.fs.MkdirAll(d.path, 0o700); err != nil {
		return err
	}
	if d.lock, err = pebble.LockDirectory(d.path, d.fs); err != nil {
		return &lockError{err}
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.lock.Close())
		}
	}()
	if examine {
		if err := d.examine(); err != nil {
			return err
		}
	}
	if err := d.unseal(); err != nil {
		return err
	}
	o := l.options()
	o.Lock = d.lock
	if l.db, err = disk.Open(d.path, o); err != nil {
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
	s := &l.dir.seal
	name := hex.EncodeToString(salt)
	if s.Store != "" && s.Store != name {
		return fmt.Errorf("%w: the database is not the one that this node left there", errDamaged)
	}
	if n := len(s.Losses); n > 0 && s.Store == "" {
		// The event is on disk before the seal says that there is nothing left to tell.
		if err := l.w.lost(&s.Losses[n-1]); err != nil {
			return err
		}
	}
	return l.dir.name(name)
}

// setAside moves the directory out of the way, closed, and remembers why.
func (l *Local) setAside(reason error) error {
	loss, err := l.dir.lose(reason, l.now().UTC())
	if err != nil {
		return err
	}
	l.damage.counted()
	l.log.Error("this node's own data was damaged: the audit events of requests, usage and last uses that it held are lost; the node goes on with new data",
		"reason", loss.Reason, "kept_in", loss.Kept, "dir", l.cfg.Dir)
	return l.dir.move(loss.Kept)
}

// lose notes a loss in the seal, which is written before anything is moved: a crash
// after it finds the damage again, or no directory.
func (d *directory) lose(reason error, now time.Time) (Loss, error) {
	loss := Loss{Time: now, Reason: d.plain(reason)}
	names, err := d.fs.List(d.path)
	if err != nil || slices.ContainsFunc(names, func(n string) bool { return n != "LOCK" }) {
		loss.Kept = d.fs.PathBase(d.path) + damagedInfix + loss.Time.Format(damagedTime)
	}
	s := &d.seal
	s.Store, s.Files = "", nil
	s.Losses = append(s.Losses, loss)
	s.Losses = s.Losses[max(0, len(s.Losses)-maxDamaged):]
	return loss, d.writeSeal()
}

// move gives the directory the name kept, for which it makes room; "" leaves it, since
// nothing is in it.
func (d *directory) move(kept string) error {
	if kept == "" {
		return nil
	}
	parent := d.fs.PathDir(d.path)
	if err := d.makeRoom(parent); err != nil {
		return err
	}
	if err := d.fs.Rename(d.path, d.fs.PathJoin(parent, kept)); err != nil {
		return fmt.Errorf("set the damaged data aside: %w", err)
	}
	return pack.SyncDir(d.fs, parent)
}

// makeRoom removes the oldest of the directories set aside, but for those that may
// stay beside another one.
func (d *directory) makeRoom(parent string) error {
	names, err := d.fs.List(parent)
	if err != nil {
		return err
	}
	prefix := d.fs.PathBase(d.path) + damagedInfix
	names = slices.DeleteFunc(names, func(n string) bool { return !strings.HasPrefix(n, prefix) })
	slices.Sort(names) // by time
	for len(names) >= maxDamaged {
		if err := d.fs.RemoveAll(d.fs.PathJoin(parent, names[0])); err != nil {
			return fmt.Errorf("remove the oldest data set aside: %w", err)
		}
		names = names[1:]
	}
	return nil
}

// plain is a reason in one line, without paths of this machine: it is in an event.
func (d *directory) plain(err error) string {
	text, _, _ := strings.Cut(strings.TrimPrefix(err.Error(), errDamaged.Error()+": "), "\n")
	return strings.ReplaceAll(text, d.path, d.fs.PathBase(d.path))
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
	if err := errors.Join(old.batch.Close(), l.db.Close(), l.dir.lock.Close()); err != nil {
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
	l.damage.publish(l.dir.seal.Losses)
	l.damage.found.Store(nil)
	return nil
}

// lost writes the event of a loss, durably.
func (w *writer) lost(loss *Loss) error {
	o := Observation{
		Method: "DELETE", Status: 500, Action: ActionLost, Code: "data_damaged",
		Actor: store.Actor{Type: store.ActorSystem, ID: w.l.cfg.Node},
		Route: loss.Kept, UserAgent: loss.Reason,
	}
	if err := w.event(&entry{started: nanos(loss.Time), value: appendRequest(nil, &o, true)}); err != nil {
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
