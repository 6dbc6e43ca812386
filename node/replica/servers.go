package replica

import (
	"slices"

	"github.com/hashicorp/raft"
)

// CommittedServers are the servers of Raft's latest configuration, nil while that may
// not be committed: an entry that is not committed may be lost with its leader.
func (r *Replica) CommittedServers() []raft.Server { return r.engine.committedServers() }

// Voters are the ids of the voters in Raft's latest configuration; nil where it is not
// known.
func (r *Replica) Voters() (ids []string) {
	rf := r.Raft()
	if rf == nil {
		return nil
	}
	f := rf.GetConfiguration()
	if f.Error() != nil {
		return nil
	}
	for _, s := range f.Configuration().Servers {
		if s.Suffrage == raft.Voter {
			ids = append(ids, string(s.ID))
		}
	}
	return ids
}

// committedServers looks through the entries that are not committed: Raft itself does
// not tell (with raft 1.8.0 the index of the answer of GetConfiguration is always 0).
// Raft stores an entry before it uses its configuration, so that one which it uses and
// has not committed is among them.
func (e *engine) committedServers() []raft.Server {
	rf := e.running.Load()
	if rf == nil {
		return nil
	}
	term := rf.CurrentTerm()
	f := rf.GetConfiguration()
	if f.Error() != nil {
		return nil
	}
	index := rf.CommitIndex() + 1
	last, err := e.log.LastIndex()
	if err != nil {
		return nil
	}
	for ; index <= last; index++ {
		var l raft.Log
		if err := e.log.GetLog(index, &l); err != nil || l.Type == raft.LogConfiguration {
			return nil
		}
	}
	// A newer leader may have cut off the entry of a configuration before the scan. Raft
	// then uses the committed one again.
	again := rf.GetConfiguration()
	if again.Error() != nil || rf.CurrentTerm() != term || !slices.Equal(f.Configuration().Servers, again.Configuration().Servers) {
		return nil
	}
	return f.Configuration().Servers
}
