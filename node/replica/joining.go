package replica

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/node/datadir"
	"github.com/perfgate/perfgate/store/pack"
)

// Joining is the time from which on a node is a member until its log has its first entry.
// A node that starts again meanwhile has a certificate and no log, as one that lost its
// log; but it has neither acknowledged nor voted for anything, and goes on joining.
type Joining struct {
	fs  vfs.FS
	dir string
}

// JoiningOf returns that of the node of r.
func JoiningOf(r *Replica) Joining { return Joining{r.space, r.cfg.Dir} }

// Begin is called before the node with this id keeps its certificate.
func (j Joining) Begin(id string) error {
	if err := WriteLine(j.fs, j.dir, datadir.JoiningFile, id); err != nil {
		return fmt.Errorf("note that the node joins: %w", err)
	}
	return nil
}

// pending reports whether the node with the id in the data directory is joining.
func (j Joining) pending() (bool, error) {
	joining, err := ReadLine(j.fs, j.fs.PathJoin(j.dir, datadir.JoiningFile))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read whether the node joins: %w", err)
	}
	id, err := ReadLine(j.fs, j.fs.PathJoin(j.dir, datadir.NodeIDFile))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil && id == joining && idForm.MatchString(id), err
}

// end is called before the log gets an entry or a vote.
func (j Joining) end() error {
	name := j.fs.PathJoin(j.dir, datadir.JoiningFile)
	if _, err := j.fs.Stat(name); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err := errors.Join(remove(j.fs, j.dir, datadir.JoiningFile), pack.SyncDir(j.fs, j.dir)); err != nil {
		return fmt.Errorf("note that the node has joined: %w", err)
	}
	return nil
}

// firstEntry is the Raft log of a node that may be joining. Its methods are called by
// Raft's main goroutine.
type firstEntry struct {
	keptLog
	joining Joining
	ended   *atomic.Bool
}

func (f firstEntry) end() error {
	if f.ended.Load() {
		return nil
	}
	err := f.joining.end()
	f.ended.Store(err == nil)
	return err
}

// StoreLogs implements [raft.LogStore].
func (f firstEntry) StoreLogs(l []*raft.Log) error {
	if err := f.end(); err != nil {
		return err
	}
	return f.keptLog.StoreLogs(l)
}

// StoreLog implements [raft.LogStore].
func (f firstEntry) StoreLog(l *raft.Log) error { return f.StoreLogs([]*raft.Log{l}) }

// Set implements [raft.StableStore]: only votes are texts.
func (f firstEntry) Set(key, value []byte) error {
	if err := f.end(); err != nil {
		return err
	}
	return f.keptLog.Set(key, value)
}
