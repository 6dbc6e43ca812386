package recovery

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/node/datadir"
	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/backup"
	"github.com/perfgate/perfgate/store/pack"
	"github.com/perfgate/perfgate/store/raftlog"
	"github.com/perfgate/perfgate/store/seal"
	"github.com/perfgate/perfgate/store/snapshot"
)

// indexGap is how far after the old cluster's known end the new one's log goes
// on. Indexes name audit events and are ETags; none that the lost time gave out
// may come again. At 15,000 writes a second it lasts for two years.
const indexGap = 1 << 40

// currentTermKey is Raft's name for its term in the stable store.
var currentTermKey = []byte("CurrentTerm")

// restoration puts a backup into a data directory that holds no state.
type restoration struct {
	FS     vfs.FS
	Files  vfs.FS // FS, with encryption
	Dir    string // locked
	Logger *slog.Logger
	// Rows calls add with each row of the backup, in order. It may fail at its end.
	Rows    func(add func(row, value []byte) error) error
	Applied uint64 // of the backup
	Reset   store.ClusterReset
	// Revoke are further keys to revoke, by account.
	Revoke map[store.AccountID][]store.KeyID
	// Then are commands after the reset: erasures that the backup does not know.
	Then []*store.Command
	At   time.Time
}

// restoreActor is the actor of a restore or a recovery.
var restoreActor = store.Actor{Type: store.ActorSystem, ID: "system", Name: "perfgate"}

// run prepares the directory for a node that starts as the only voter of a new
// cluster with the backup's state: its identity; a snapshot, which the node loads
// as it would a leader's; and after it in the log the entry that makes another
// cluster of it.
//
// The marker is the first and the last thing on the disk. A crash leaves it
// there, and with it a directory that a node refuses and that the next run starts
// again with; or the directory is whole.
func (r *restoration) run() (id replica.Identity, err error) {
	fs, marker := r.FS, r.FS.PathJoin(r.Dir, datadir.RestoringFile)
	if err := markRestoring(fs, r.Dir); err != nil {
		return id, err
	}
	for _, name := range []string{datadir.NodeIDFile, datadir.BootFile, datadir.LogDir, datadir.LogEndFile, datadir.StateDir, datadir.SnapshotDir, datadir.LocalSealFile} {
		if err := fs.RemoveAll(fs.PathJoin(r.Dir, name)); err != nil {
			return id, err
		}
	}
	if id, err = replica.OpenIdentity(fs, r.Dir); err != nil {
		return id, err
	}
	base := r.Applied + indexGap
	if err := r.snapshot(id, base); err != nil {
		return id, err
	}
	if err := r.log(base); err != nil {
		return id, err
	}
	if err := replica.WriteLine(fs, r.Dir, datadir.FoundingFile, datadir.Restored); err != nil {
		return id, err
	}
	if err := pack.SyncDir(fs, r.Dir); err != nil {
		return id, err
	}
	if err := fs.Remove(marker); err != nil {
		return id, err
	}
	return id, pack.SyncDir(fs, r.Dir)
}

// markRestoring writes the marker.
func markRestoring(fs vfs.FS, dir string) error {
	return replica.WriteLine(fs, dir, datadir.RestoringFile, "A restore is under way, or was broken off: run it again.")
}

// soleVoter is the configuration of a cluster of one node. The node may give it
// another address later.
func soleVoter(id replica.Identity) raft.Configuration {
	return raft.Configuration{Servers: []raft.Server{{Suffrage: raft.Voter, ID: raft.ServerID(id.ID), Address: replica.LoneAddress}}}
}

// snapshot writes the rows as a snapshot at index, which is read back before it
// counts.
func (r *restoration) snapshot(id replica.Identity, index uint64) (err error) {
	snaps, err := replica.OpenSnapshots(r.Files, r.Dir, nil, r.Logger)
	if err != nil {
		return err
	}
	sink, err := snaps.Create(raft.SnapshotVersionMax, index, 1, soleVoter(id), 1, nil)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, sink.Cancel())
		}
	}()
	w, err := snapshot.NewWriter(sink, index)
	if err != nil {
		return err
	}
	if err := r.Rows(w.Add); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return sink.Close()
}

// log writes Raft's term, and the entries that come after the snapshot.
func (r *restoration) log(base uint64) (err error) {
	var fatal error
	l, err := raftlog.Open(raftlog.Config{
		FS: r.Files, Dir: r.FS.PathJoin(r.Dir, datadir.LogDir), Logger: r.Logger, Fatal: func(err error) { fatal = err },
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close(), fatal) }()
	if err := l.SetUint64(currentTermKey, 1); err != nil {
		return err
	}
	var entries []*raft.Log
	for _, c := range r.commands() {
		base++
		entries = append(entries, &raft.Log{Index: base, Term: 1, Type: raft.LogCommand, Data: c.Encode(), AppendedAt: r.At})
	}
	return l.StoreLogs(entries)
}

// commands are the reset, with the first keys to revoke in it, the others, and Then.
func (r *restoration) commands() []*store.Command {
	reset := r.Reset
	out := []*store.Command{{Change: &reset, Account: store.DefaultAccount}}
	for account, ids := range r.Revoke {
		n := min(len(ids), store.ResetKeys-len(reset.Revoke))
		reset.Revoke = append(reset.Revoke, ids[:n]...)
		for ids = ids[n:]; len(ids) > 0; ids = ids[n:] {
			n = min(len(ids), store.ResetKeys)
			out = append(out, &store.Command{Account: account, Change: &store.KeyRevokeBulk{IDs: ids[:n], Reason: store.ResetReason}})
		}
	}
	out = append(out, r.Then...)
	for _, c := range out {
		c.At, c.Actor = r.At, restoreActor
	}
	return out
}

// rowsOf reads a backup again, as far as it belongs into a restore. Months are
// raised if unseen is not nil.
func rowsOf(src io.Reader, with seal.With, unseen *store.Unseen) func(add func(row, value []byte) error) error {
	return func(add func(row, value []byte) error) error {
		b, err := backup.NewReader(src, with)
		if err != nil {
			return err
		}
		for {
			row, value, err := b.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				return err
			}
			if !store.Carried(row) {
				continue
			}
			if unseen == nil {
				err = add(row, value)
			} else {
				err = unseen.Merge(row, value, add)
			}
			if err != nil {
				return fmt.Errorf("row %d: %w", b.Rows, err)
			}
		}
		if unseen != nil {
			return unseen.Merge(nil, nil, add)
		}
		return nil
	}
}
