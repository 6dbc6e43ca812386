package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perfgate/perfgate/node/datadir"
	"github.com/perfgate/perfgate/store/disk"
	"github.com/perfgate/perfgate/store/pack"
)

// Damage is a part of the data directory that is not what this node wrote.
type Damage struct {
	Part string // the entry of the data directory
	Err  error
}

// Error implements error.
func (d *Damage) Error() string { return d.Err.Error() }

// Unwrap gives [errors.Is] the error.
func (d *Damage) Unwrap() error { return d.Err }

// damage makes a [Damage] of an error that says so, and leaves others as they are.
func damage(part string, err error) error {
	if disk.Damaged(err) {
		return &Damage{part, err}
	}
	return err
}

// healer sets damaged parts of the data directory aside before the node uses them. A
// state is made again from this node's own snapshots and log, if they are whole. Without
// a whole log, nobody knows what the node has acknowledged: it gives up its id, which may
// vote, and joins the cluster as a new node. Nothing is removed: the parts stay in a
// directory of their own.
type healer struct {
	r   *Replica // its identity and engine are opened here
	fs  vfs.FS   // of the entries that are not encrypted
	dir string
	log *slog.Logger
}

// others reports whether there are nodes that this one can join. An error is no answer: a
// node that took itself for one of several would set aside what nobody could give back.
func (h *healer) others() (bool, error) {
	c := &h.r.cfg
	if c.Coordinate == nil || c.Others == nil {
		return false, nil
	}
	return c.Others()
}

// healTries bounds what is healed in one start: a state, then the snapshot that it
// should come from, then all that is left.
const healTries = 4

// keptAside is how many directories of damaged parts are kept: the newest ones.
const keptAside = 2

// own are the parts that make a node the one that it is. A node that gives up its id sets
// them all aside.
var own = []string{
	datadir.LogDir, datadir.LogEndFile, datadir.StateDir, datadir.SnapshotDir, datadir.ClusterDir,
	datadir.NodeIDFile, datadir.BootFile, datadir.JoiningFile, datadir.FoundingFile,
}

// heal makes another attempt possible after err, or returns why it cannot.
func (h *healer) heal(err error) error {
	var d *Damage
	if !errors.As(err, &d) {
		return err
	}
	if d.Part == datadir.StateDir {
		to, fault := h.setAside(d.Part)
		if fault != nil {
			return errors.Join(err, fault)
		}
		h.log.Error("the state is damaged; it is made again from this node's snapshots and log", "error", d.Err, "kept", to)
		return nil
	}
	others, fault := h.others()
	if fault != nil {
		return errors.Join(err, fault)
	}
	if !others {
		return fmt.Errorf("%w; %s is damaged, no other node has its content, and nothing was changed: put %s back, or make another data directory "+
			"of the newest backup with \"perfgate restore FILE --data-dir DIR\"", err, d.Part, h.fs.PathJoin(h.dir, d.Part))
	}
	// First, so that a crash after the next step does not leave a node that would begin
	// a cluster of its own.
	if fault := WriteLine(h.fs, h.dir, datadir.RejoinFile, "This node joins its cluster again, and begins none."); fault != nil {
		return errors.Join(err, fault)
	}
	to, fault := h.setAside(own...)
	if fault != nil {
		return errors.Join(err, fault)
	}
	h.log.Error("data of this node is damaged; it joins its cluster as a new node", "error", d.Err, "kept", to)
	return nil
}

// setAside moves entries of the data directory to a directory of their own. A crash
// leaves some of them moved; the next start meets what is left.
func (h *healer) setAside(names ...string) (to string, err error) {
	to = h.fs.PathJoin(h.dir, datadir.AsidePrefix+time.Now().UTC().Format("20060102T150405.000000000"))
	if err := h.fs.MkdirAll(to, 0o700); err != nil {
		return "", fmt.Errorf("set damaged data aside: %w", err)
	}
	for _, name := range names {
		err := h.fs.Rename(h.fs.PathJoin(h.dir, name), h.fs.PathJoin(to, name))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", fmt.Errorf("set damaged data aside: %w", err)
		}
	}
	if err := errors.Join(pack.SyncDir(h.fs, to), pack.SyncDir(h.fs, h.dir)); err != nil {
		return "", fmt.Errorf("set damaged data aside: %w", err)
	}
	return to, h.bound()
}

// bound removes the oldest directories of damaged parts.
func (h *healer) bound() error {
	names, err := h.fs.List(h.dir)
	if err != nil {
		return err
	}
	names = slices.DeleteFunc(names, func(n string) bool { return !strings.HasPrefix(n, datadir.AsidePrefix) })
	slices.Sort(names)
	for _, n := range names[:max(0, len(names)-keptAside)] {
		if err := h.fs.RemoveAll(h.fs.PathJoin(h.dir, n)); err != nil {
			return fmt.Errorf("remove %s: %w", n, err)
		}
	}
	return nil
}

// noted returns the damage that ended the process before, nil if none did. Its note is
// removed when the part has been set aside; see settled.
func (h *healer) noted() error {
	line, err := ReadLine(h.fs, h.fs.PathJoin(h.dir, datadir.DamageFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read which part is damaged: %w", err)
	}
	part, why, _ := strings.Cut(line, ": ")
	return &Damage{part, fmt.Errorf("found while the node ran: %s", why)}
}

func (h *healer) settled() error {
	err := h.fs.Remove(h.fs.PathJoin(h.dir, datadir.DamageFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return errors.Join(err, pack.SyncDir(h.fs, h.dir))
}

// note tells the next start of damage that ends this one: the damaged place may not be
// read again by then.
func (h *healer) note(part string, why error) {
	line := strings.ReplaceAll(fmt.Sprintf("%s: %v", part, why), "\n", " ")
	if len(line) > maxLine-1 {
		line = line[:maxLine-1]
	}
	if err := WriteLine(h.fs, h.dir, datadir.DamageFile, line); err != nil {
		h.log.Error("cannot note which part is damaged", "part", part, "error", err)
	}
}

// open opens the identity and the stores, healed if need be.
func (h *healer) open(ctx context.Context) error {
	err := h.noted()
	if d := (*Damage)(nil); errors.As(err, &d) && d.Part != datadir.StateDir {
		others, fault := h.others()
		switch {
		case fault != nil:
			return errors.Join(err, fault)
		case !others:
			// There is nobody to take the part from. It may be whole: a read can fail once, and
			// the operator may have put it back. The checks below decide.
			h.log.Warn("a part of the data directory was found damaged while the node ran; it is checked again", "part", d.Part, "error", d.Err)
			err = h.settled()
		}
	}
	for range healTries {
		if err != nil {
			if err := h.heal(err); err != nil {
				return err
			}
			if err := h.settled(); err != nil {
				return err
			}
		}
		if err = ctx.Err(); err != nil {
			return err
		}
		if err = h.openOnce(); err == nil {
			return nil
		}
	}
	return err
}

// openOnce is one attempt of open. After an error nothing is open.
func (h *healer) openOnce() (err error) {
	r := h.r
	if r.engine, err = openEngine(r.files, r.space, r.cfg, func(part string) func(error) {
		return func(err error) {
			if disk.Damaged(err) {
				h.note(part, err)
			}
			r.cfg.Fatal(err)
		}
	}); err != nil {
		return err
	}
	if err = r.engine.check(&r.cfg); err == nil {
		err = h.openIdentity()
	}
	if err != nil {
		err = errors.Join(err, r.engine.close())
	}
	return err
}

// openIdentity finds out who this node is. One that has lost its log must not vote, or
// hold leases, as the one that it was. Where there is a log, it knows the identity too.
func (h *healer) openIdentity() error {
	r := h.r
	fresh, err := r.engine.fresh()
	if err != nil {
		return err
	}
	marks, marked := r.Marks(), Identity{}
	if !fresh {
		if marked, err = marks.identity(); err != nil {
			return err
		}
	} else if r.cfg.Coordinate != nil {
		if err := h.forgetIdentity(); err != nil {
			return err
		}
	}
	if r.id, err = openIdentity(r.space, r.cfg.Dir, marked); err != nil || fresh {
		return err
	}
	return marks.setIdentity(r.id)
}

// forgetIdentity gives a node without a log another id: it may have been a member, and
// have had one. One that certainly was a member is damaged, unless it has just joined.
func (h *healer) forgetIdentity() error {
	if joining, err := JoiningOf(h.r).pending(); joining || err != nil {
		return err
	}
	if _, err := h.fs.Stat(h.fs.PathJoin(h.dir, datadir.ClusterDir)); err == nil {
		return &Damage{datadir.LogDir, fmt.Errorf("data directory %q: there is the certificate of a member, but neither a log nor a snapshot: "+
			"put back the whole directory, or start with an empty one: %w", h.dir, disk.ErrDamaged)}
	} else if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return errors.Join(remove(h.fs, h.dir, datadir.NodeIDFile), remove(h.fs, h.dir, datadir.BootFile))
}

func remove(fs vfs.FS, dir, name string) error {
	err := fs.Remove(fs.PathJoin(dir, name))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// Rejoin is the time from which on a node that had damaged data joins its cluster again. It
// must not begin one meanwhile.
type Rejoin struct {
	fs  vfs.FS
	dir string
}

// Rejoin returns this node's.
func (r *Replica) Rejoin() Rejoin { return Rejoin{r.space, r.cfg.Dir} }

// Pending reports whether the node has not come back yet.
func (j Rejoin) Pending() (bool, error) {
	_, err := j.fs.Stat(j.fs.PathJoin(j.dir, datadir.RejoinFile))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// End is called when the node belongs to its cluster again.
func (j Rejoin) End() error {
	return errors.Join(remove(j.fs, j.dir, datadir.RejoinFile), pack.SyncDir(j.fs, j.dir))
}
