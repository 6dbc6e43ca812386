package recovery

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/node/datadir"
	"github.com/perfgate/perfgate/node/mesh"
	"github.com/perfgate/perfgate/node/quota"
	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/local"
	"github.com/perfgate/perfgate/store/raftlog"
	"github.com/perfgate/perfgate/store/snapshot"
)

// scratchDir holds the state that a recovery builds, apart from the node's own.
const scratchDir = "state.recover"

// recovery makes a stopped node the only voter of a new cluster.
//
// Nothing that the node starts from changes before the one step that changes all
// of it: the state is built again, from the newest snapshot and the log, in a
// directory apart, and the entry that makes another cluster of it is not in the
// log but in front of Raft's eyes only. Then a snapshot appears (a rename) that
// is newer than the log, of the new cluster and with this node alone; the next
// start takes the state from it. Broken off before, nothing has happened; broken
// off after, only tidying is left, which the next run or Raft does.
type recovery struct {
	fs    vfs.FS // without encryption: for the identity
	files vfs.FS // of everything else
	dir   string // locked
	log   *slog.Logger
	id    string // of the node
	logs  *raftlog.Log
	snaps *snapshot.Store
	fatal error // of the stores

	found  recoverable
	erases repeating
}

// recoverable describes the copy that a recovery starts from.
type recoverable struct {
	Voters    []string  `json:"voters"` // node ids in the newest configuration
	Nonvoters []string  `json:"nonvoters"`
	LastIndex uint64    `json:"last_index"`
	Newest    time.Time `json:"newest_change"` // zero if the log holds none
	alone     bool      // this node is the only voter
	term      uint64
	others    []oldPeer // the other voters
}

// openRecovery opens the copy in dir and finds out how far it reaches.
func openRecovery(fs, files vfs.FS, dir string, log *slog.Logger) (_ *recovery, err error) {
	r := &recovery{fs: fs, files: files, dir: dir, log: log}
	if r.id, err = replica.ReadLine(fs, fs.PathJoin(dir, datadir.NodeIDFile)); errors.Is(err, os.ErrNotExist) {
		return nil, errors.New("there is no node's data in it")
	} else if err != nil {
		return nil, fmt.Errorf("read node id: %w", err)
	}
	for _, name := range []string{datadir.LogDir, datadir.SnapshotDir} {
		if _, err := fs.Stat(fs.PathJoin(dir, name)); err != nil {
			return nil, fmt.Errorf("a part of the node's data is missing: %w", err)
		}
	}
	if r.logs, err = raftlog.Open(raftlog.Config{FS: files, Dir: fs.PathJoin(dir, datadir.LogDir), Logger: log, Fatal: r.fail}); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close())
		}
	}()
	if r.snaps, err = replica.OpenSnapshots(files, dir, nil, log); err != nil {
		return nil, err
	}
	return r, r.look()
}

func (r *recovery) fail(err error) {
	if r.fatal == nil {
		r.fatal = err
	}
}

func (r *recovery) close() error { return r.logs.Close() }

// look reads the newest configuration and how far log and snapshots reach.
func (r *recovery) look() error {
	metas, err := r.snaps.List()
	if err != nil {
		return err
	}
	var conf raft.Configuration
	var from uint64
	if len(metas) > 0 {
		conf, from = metas[0].Configuration, metas[0].Index
		r.found.term = metas[0].Term
	}
	first, _ := r.logs.FirstIndex()
	last, _ := r.logs.LastIndex()
	if first > from+1 {
		return fmt.Errorf("the log begins at index %d, but the newest readable snapshot ends at %d: the entries between them are missing, so this directory cannot be recovered; try another node", first, from)
	}
	r.found.LastIndex = max(from, last)
	for i := from + 1; i <= last; i++ {
		var e raft.Log
		if err := r.logs.GetLog(i, &e); err != nil {
			return fmt.Errorf("read log entry %d: %w", i, err)
		}
		switch e.Type {
		case raft.LogConfiguration:
			conf = raft.DecodeConfiguration(e.Data)
		case raft.LogCommand:
			if c, err := store.DecodeEntry(e.Data); err != nil {
				return fmt.Errorf("log entry %d: %w", i, err)
			} else if c.At.After(r.found.Newest) {
				r.found.Newest = c.At.UTC()
			}
		}
		r.found.term = e.Term
	}
	if r.found.LastIndex == 0 {
		return errors.New("it holds no state that could be recovered")
	}
	if term, err := r.logs.GetUint64(currentTermKey); err == nil {
		r.found.term = max(r.found.term, term)
	}
	for _, s := range conf.Servers {
		if s.Suffrage == raft.Voter {
			r.found.Voters = append(r.found.Voters, string(s.ID))
			if string(s.ID) != r.id {
				r.found.others = append(r.found.others, oldPeer{id: string(s.ID), addr: string(s.Address)})
			}
		} else {
			r.found.Nonvoters = append(r.found.Nonvoters, string(s.ID))
		}
	}
	r.found.alone = len(r.found.Voters) == 1 && r.found.Voters[0] == r.id
	return nil
}

// old is the cluster of this node. Its voters can be asked as long as the node has its
// certificate, which a recovery that was broken off has removed.
func (r *recovery) old() (*oldCluster, error) {
	out := &oldCluster{peers: r.found.others, here: len(r.found.Voters) - len(r.found.others)}
	creds, err := mesh.LoadCredentials(r.files, r.dir)
	if errors.Is(err, os.ErrNotExist) {
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	out.id, out.cas = creds.ClusterID, creds.CAs
	return out, nil
}

// run recovers and returns the id of the old cluster.
func (r *recovery) run(reset store.ClusterReset, at time.Time) (from string, err error) {
	scratch := r.fs.PathJoin(r.dir, scratchDir)
	clean := func() error {
		return errors.Join(r.files.RemoveAll(scratch), r.files.RemoveAll(scratch+".checkpoint"), r.files.RemoveAll(scratch+".restore"))
	}
	if err := clean(); err != nil {
		return "", err
	}
	if err := r.forgetLevels(); err != nil {
		return "", err
	}
	// The others of the old cluster must not reach this node by its old certificate,
	// which it could make again until the cluster is another one.
	if err := mesh.RemoveCredentials(r.files, r.dir); err != nil {
		return "", err
	}
	// What they say is of the old cluster: the node that is made founds one.
	if err := errors.Join(r.fs.RemoveAll(r.fs.PathJoin(r.dir, datadir.DamageFile)), r.fs.RemoveAll(r.fs.PathJoin(r.dir, datadir.RejoinFile))); err != nil {
		return "", err
	}
	if err := replica.WriteLine(r.fs, r.dir, datadir.FoundingFile, datadir.Restored); err != nil {
		return "", err
	}
	state, err := store.Open(store.Config{FS: r.files, Dir: scratch, CacheBytes: 1 << 20, Logger: r.log, Fatal: r.fail})
	if err != nil {
		return "", err
	}
	fsm := &rebuilt{Store: state, r: r}
	logs := &lengthened{LogStore: r.logs, at: r.found.LastIndex + 1, more: r.erases.most, make: func(n int) (*raft.Log, error) {
		if n == 0 { // every entry of the node was applied by now
			from = state.ClusterID()
			reset.From = from
			if err := r.complete(state, &reset); err != nil {
				return nil, err
			}
		}
		return r.entry(n, &reset, at), nil
	}}
	_, trans := raft.NewInmemTransport(replica.LoneAddress)
	err = raft.RecoverCluster(replica.RaftConfig(r.id, replica.LoneTimeouts, r.log), fsm, logs, r.logs, r.snaps, trans, soleVoter(replica.Identity{ID: r.id}))
	if err := errors.Join(err, state.Close(), r.fatal); err != nil {
		return "", err
	}
	return from, clean()
}

// complete plans the entries that follow those of the node, once its state is rebuilt.
func (r *recovery) complete(state *store.Store, reset *store.ClusterReset) error {
	if r.fatal != nil {
		return r.fatal
	}
	if reset.From == "" {
		return errors.New("the state was never initialised: there is nothing to recover")
	}
	err := r.erases.plan(state)
	reset.Reason += r.erases.reason()
	return err
}

// entry is the reset, then an erasure that is repeated, then nothing: the state knows some of
// those in the ledgers.
func (r *recovery) entry(n int, reset *store.ClusterReset, at time.Time) *raft.Log {
	e := &raft.Log{Index: r.found.LastIndex + indexGap + uint64(n), Term: r.found.term, Type: raft.LogNoop, AppendedAt: at}
	c := &store.Command{Account: store.DefaultAccount, Change: reset}
	if n > len(r.erases.then) {
		return e
	}
	if n > 0 {
		c = r.erases.then[n-1]
	}
	c.At, c.Actor = at, restoreActor
	e.Type, e.Data = raft.LogCommand, c.Encode()
	return e
}

// forgetLevels removes the levels of the minute's buckets that a clean stop wrote:
// they are this node's alone, and the lost ones may have admitted since.
func (r *recovery) forgetLevels() error {
	dir := r.fs.PathJoin(r.dir, datadir.LocalDir)
	if _, err := r.fs.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	l, err := local.Open(local.Config{
		FS: r.files, Dir: dir, Node: r.id, Logger: r.log, Fatal: r.fail,
		// Nothing is too old or too much for as long as this takes.
		MaxBytes: math.MaxInt64, Retention: func(store.AccountID) time.Duration { return 50 * 365 * 24 * time.Hour },
	})
	if err != nil {
		return err
	}
	return errors.Join(l.SetMark(quota.LevelsMark, nil, true), l.Close())
}

// rebuilt is the state in the eyes of [raft.RecoverCluster], which does not ask
// whether an entry could be applied.
type rebuilt struct {
	*store.Store
	r       *recovery
	refusal error
}

func (b *rebuilt) Apply(e *raft.Log) any {
	answer := b.Store.Apply(e)
	if result, ok := answer.(store.Result); ok && e.Index > b.r.found.LastIndex && result.Refusal != nil {
		b.refusal = result.Refusal
	}
	return answer
}

func (b *rebuilt) Snapshot() (raft.FSMSnapshot, error) {
	if err := errors.Join(b.r.fatal, b.refusal); err != nil {
		return nil, err
	}
	return b.Store.Snapshot()
}

// lengthened is a log with further entries, which are made when they are read, in order, and
// are on no disk. Their own indexes are further on than their places.
type lengthened struct {
	raft.LogStore
	at   uint64 // of the first one
	more int    // after it
	make func(n int) (*raft.Log, error)
}

func (l *lengthened) LastIndex() (uint64, error) { return l.at + uint64(l.more), nil }

func (l *lengthened) GetLog(index uint64, out *raft.Log) error {
	if index < l.at {
		return l.LogStore.GetLog(index, out)
	}
	e, err := l.make(int(index - l.at))
	if err == nil {
		*out = *e
	}
	return err
}
