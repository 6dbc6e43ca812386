package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/node/datadir"
	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/store/pack"
)

// founding is the time until a new cluster has the voters that cluster.expect asks
// for. Until then the loss of one node may lose the cluster, so that the status says
// so, and the nodes that found a cluster are not ready. A file in the data directory
// keeps it over restarts: without the file, a node cannot tell a cluster that is
// growing from one that was made smaller.
type founding struct {
	*node
	kind atomic.Pointer[string] // the file's line, one of datadir's; nil when there is none
	mu   sync.Mutex             // held by follow
}

// load reads the file of an earlier start.
func (f *founding) load() error {
	kind, err := replica.ReadLine(f.r.Plain(), f.r.Plain().PathJoin(f.Dir, datadir.FoundingFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("read whether the cluster is being founded: %w", err)
	}
	f.kind.Store(&kind)
	return nil
}

// begin is called when a node without a state has found its place: kind is "" in a
// cluster that is complete.
func (f *founding) begin(kind string) error {
	if kind == "" {
		return f.end()
	}
	if err := replica.WriteLine(f.r.Plain(), f.Dir, datadir.FoundingFile, kind); err != nil {
		return fmt.Errorf("note that the cluster is being founded: %w", err)
	}
	f.kind.Store(&kind)
	return nil
}

func (f *founding) end() error {
	err := f.r.Plain().Remove(f.r.Plain().PathJoin(f.Dir, datadir.FoundingFile))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err == nil {
		err = pack.SyncDir(f.r.Plain(), f.Dir)
	}
	if err != nil {
		return fmt.Errorf("note that the cluster is founded: %w", err)
	}
	f.kind.Store(nil)
	return nil
}

// now is the kind of founding that is under way, "" if there is none.
func (f *founding) now() string {
	if k := f.kind.Load(); k != nil {
		return *k
	}
	return ""
}

// open is the kind of founding that a node which joins now takes part in.
func (f *founding) open() string {
	if f.missing() == "" {
		return "" // follow is about to end it
	}
	return f.now()
}

// follow ends the founding once the cluster has its voters.
func (f *founding) follow() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.now() == "" || f.missing() != "" {
		return
	}
	if err := f.end(); err != nil {
		f.troubles.say("founding", "tried again", "error", err)
		return
	}
	f.log.Info("the cluster has its voters", "voters", f.Expect)
}

// missing describes the voters that the cluster lacks, "" if it has the expected voters
// and this node is one of them.
func (f *founding) missing() string {
	return lacking(f.r.CommittedServers(), f.self.ID, f.Expect)
}

func lacking(servers []raft.Server, self string, expect int) string {
	voters := slices.DeleteFunc(slices.Clone(servers), func(s raft.Server) bool { return s.Suffrage != raft.Voter })
	switch {
	case len(voters) < expect:
		return fmt.Sprintf("the cluster has %d of %d voters (cluster.expect)", len(voters), expect)
	case !slices.ContainsFunc(voters, func(s raft.Server) bool { return string(s.ID) == self }):
		return "this node has no vote yet"
	}
	return ""
}

// ready is why a founding node should get no traffic yet. It ends the founding when
// there is no reason: a node that was ready stays so when the cluster is made smaller,
// also if that happens before the next step of the reconciler.
func (f *founding) ready() error {
	if f.now() != datadir.Founded {
		return nil
	}
	if why := f.missing(); why != "" {
		return errors.New(why)
	}
	f.follow()
	return nil
}

// reason is the fault of a new cluster in the status, "" if there is none.
func (f *founding) reason(voters int) string {
	if f.now() == "" || voters >= f.Expect {
		return ""
	}
	return fmt.Sprintf("the cluster has %d of %d voters (cluster.expect)", voters, f.Expect)
}
