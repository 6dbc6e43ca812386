package replica

import (
	"errors"
	"fmt"

	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/node/datadir"
	"github.com/perfgate/perfgate/store/disk"
	"github.com/perfgate/perfgate/store/snapshot"
)

// check compares the three stores before Raft trusts them, and restores a state that is
// behind the newest snapshot.
//
// The log is fsynced before anything is applied, so a state that is ahead of it
// is not a crash's work: an old or an empty log was put beside it.
// Raft would then give out indexes again that the state has already seen, and
// the state would skip those entries: acknowledged and lost.
func (e *engine) check(c *Config) error {
	dir := c.Dir
	first, err := e.log.FirstIndex()
	if err != nil {
		return err
	}
	last, err := e.log.LastIndex()
	if err != nil {
		return err
	}
	metas, err := e.snaps.List()
	if err != nil {
		return err
	}
	index := uint64(0)
	if len(metas) > 0 {
		index = metas[0].Index
	}
	if applied := e.state.Applied(); applied > max(last, index) {
		return &Damage{datadir.LogDir, fmt.Errorf("data directory %q: the state is at index %d, but the raft log ends at %d and the newest snapshot at %d: "+
			"parts of the directory are missing or from another time; put back the whole directory, or start with an empty one: %w", dir, applied, last, index, disk.ErrDamaged)}
	}
	if first > index+1 {
		if e.resume(c, first) == nil {
			return nil
		}
		return &Damage{datadir.SnapshotDir, fmt.Errorf("data directory %q: the raft log begins at index %d, but the newest readable snapshot ends at %d: "+
			"put back the whole directory, or start with an empty one: %w", dir, first, index, disk.ErrDamaged)}
	}
	return e.catchUp(c, metas)
}

// catchUp restores the state from the newest snapshot, unless it includes that. Raft
// would do so too, but ends where a snapshot turns out to be damaged; here it is set
// aside, and the stores are compared without it.
func (e *engine) catchUp(c *Config, metas []*raft.SnapshotMeta) error {
	_, contained, found, err := e.snaps.Newest()
	if err != nil || !found || e.state.Applied() >= contained {
		return err
	}
	c.Logger.Info("the state is behind the newest snapshot and is restored from it", "applied", e.state.Applied(), "snapshot", contained)
	_, src, err := e.snaps.Open(metas[0].ID)
	if err == nil {
		err = errors.Join(e.state.Restore(src), src.Close())
	}
	if err == nil || !snapshot.Damaged(err) {
		return err
	}
	if again, fault := e.snaps.List(); fault != nil || len(again) >= len(metas) {
		return errors.Join(err, fault)
	}
	return e.check(c)
}

// resume makes a snapshot of a lone node's state, in the place of those that are damaged.
// The log must go on from there. Only a node that is the one voter knows the
// configuration that belongs into it without them.
func (e *engine) resume(c *Config, first uint64) error {
	applied := e.state.Applied()
	id, err := Marks{e.log}.identity()
	if err != nil || c.Coordinate != nil || id.ID == "" || applied < first {
		return errors.Join(err, errors.New("no snapshot can be made of the state"))
	}
	term, err := e.termOf(applied)
	if err != nil {
		return err
	}
	sole := raft.Configuration{Servers: []raft.Server{{Suffrage: raft.Voter, ID: raft.ServerID(id.ID), Address: LoneAddress}}}
	shot, err := e.state.Snapshot()
	if err != nil {
		return err
	}
	defer shot.Release()
	sink, err := e.snaps.Create(raft.SnapshotVersionMax, applied, term, sole, first, nil)
	if err != nil {
		return err
	}
	if err := shot.Persist(sink); err != nil {
		return errors.Join(err, sink.Cancel())
	}
	c.Logger.Error("no snapshot can be read; another one was made of the state, which is whole", "index", applied)
	return sink.Close()
}

// NeverWritten returns nil on a node that is about to make the state of a new cluster:
// by its log nobody has done so before. An empty state beside any other log is one that
// was lost, and a new cluster in its place would lock the members of the old one out. The
// error is [ErrUnavailable] while the log has a change that is not applied: it may be the one
// that makes the state, of a proposal whose outcome is unknown.
func (r *Replica) NeverWritten() error {
	lost := fmt.Errorf("data directory %q: the state is empty, although the log is that of a cluster: "+
		"put back the whole directory, or empty it and let the node join its cluster again", r.cfg.Dir)
	if metas, err := r.engine.snaps.List(); err != nil || len(metas) > 0 {
		return errors.Join(err, lost)
	}
	first, _ := r.engine.log.FirstIndex()
	last, _ := r.engine.log.LastIndex()
	if first > 1 {
		return lost
	}
	for i := max(first, 1); i <= last; i++ {
		var l raft.Log
		if err := r.engine.log.GetLog(i, &l); err != nil {
			return errors.Join(err, lost)
		}
		if l.Type != raft.LogCommand {
			continue
		}
		if i > r.engine.state.Applied() {
			return Refuse(ErrUnavailable, fmt.Errorf("the change at index %d of the log is not applied yet", i))
		}
		return lost
	}
	return nil
}

// keptLog is the Raft log of a node that does not cut off what it has applied: such
// entries were committed, and a leader that has others in their place lacks them. Raft
// removes entries from the front too, and all of them when it has restored a snapshot.
type keptLog struct {
	watchedLog
	applied func() uint64
	lost    func(error) // ends the node
}

// DeleteRange implements [raft.LogStore].
func (k keptLog) DeleteRange(first, last uint64) error {
	from, _ := k.FirstIndex()
	to, _ := k.LastIndex()
	if applied := k.applied(); first > from && last >= to && first <= applied {
		err := fmt.Errorf("the leader has other entries than this node from index %d on, and this node has applied those up to %d: "+
			"one of them lacks acknowledged changes: %w", first, applied, disk.ErrDamaged)
		k.lost(err)
		return err
	}
	return k.watchedLog.DeleteRange(first, last)
}
