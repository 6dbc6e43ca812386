package cluster

import (
	"context"
	"fmt"

	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/store"
)

// imprint is a [store.Fingerprint] in a report: what a node has applied.
type imprint struct {
	Index uint64     `json:"index"`
	Sum   store.Hash `json:"sum"`
}

// printOf is the imprint of this node's state; nil while the cluster keeps none.
func printOf(s *store.Store) *imprint {
	if f := s.Fingerprint(); f.Begun() {
		return &imprint{f.Index, f.Sum}
	}
	return nil
}

// likeness is how a node's state compares with this one's.
type likeness string

const (
	notCompared likeness = "unknown" // they have no index in common that this node remembers
	sameState   likeness = "equal"
	otherState  likeness = "differs"
)

func (n *node) compared(f *selfReport) likeness {
	if f.Print == nil {
		return notCompared
	}
	own, ok := n.r.Store().FingerprintAt(f.Print.Index)
	switch {
	case !ok:
		return notCompared
	case own.Sum == f.Print.Sum:
		return sameState
	}
	return otherState
}

// checkState compares what the node of f has applied with what this one has. Where they
// differ, one of them must not serve, and the majority of the voters tells which: the node
// gets an error, or this one ends. Without a majority the node gets no lease, and neither
// of them gives up its state, which may be the right one.
func (l *leadership) checkState(f *selfReport) error {
	got := l.compared(f)
	l.metrics.compared.WithLabelValues(string(got)).Inc()
	from := l.reports.differs(f, got == otherState)
	voters, like, unlike := l.alike(from)
	if unlike > voters/2 {
		err := fmt.Errorf("a majority of the voters has applied other changes than this node, up to index %d at the latest", l.r.Store().Applied())
		if !replica.Diverged(l.r, err) {
			l.r.Fail(fmt.Errorf("%w; empty its data directory and let it join its cluster again", err))
		}
		return replica.Refuse(replica.ErrUnavailable, err)
	}
	switch {
	case from == 0:
		return nil
	case like > voters/2:
		l.troubles.say("state of "+f.ID, "a node has applied other changes than the others; it must not serve", "node", f.Name, "index", from)
		return replica.Decline(replica.ErrDiverged, "This node has applied other changes than the majority of the voters, up to index %d.", from)
	}
	return replica.Decline(replica.ErrContested, "This node and the leader have applied different changes up to index %d, and no majority of the voters shows which of them is right. "+
		"Start the other nodes. If there are none, find the right one, stop the other, empty its data directory and let it join again.", from)
}

// alike counts the voters, those that have this node's state up to the index from or
// later, this node included, and those that have another one. A node that had the same
// state before from says nothing about the entries since then.
func (l *leadership) alike(from uint64) (voters, like, unlike int) {
	for _, s := range l.servers() {
		if s.Suffrage != raft.Voter {
			continue
		}
		voters++
		if string(s.ID) == l.self.ID {
			like++
			continue
		}
		other, heard := l.reports.of(string(s.ID))
		if !heard {
			continue
		}
		switch got := l.compared(&other); {
		case got == otherState || other.differed > 0:
			unlike++
		case got == sameState && other.Print.Index >= from:
			like++
		}
	}
	return voters, like, unlike
}

// diverged ends this node's service: its state is not its cluster's. The next start makes
// it again from the others'.
func (h *holder) diverged(why string) {
	h.apart.Store(true)
	h.lease.End()
	if !replica.Diverged(h.r, fmt.Errorf("the state of this node is not its cluster's: %s", why)) {
		h.troubles.say("state", "the state of this node is not its cluster's, and it does not serve: stop it, empty its data directory, and start it with the addresses of other nodes in cluster.join", "reason", why)
	}
}

// beginFingerprint begins the fingerprint of what all nodes apply, once all can keep it.
// A cluster that is not complete waits: a node of an older version may still join.
func (rec *reconciler) beginFingerprint(ctx context.Context) error {
	s := rec.r.Store()
	if s.Fingerprint().Begun() || s.ClusterLevel() < store.LevelOfFingerprints || len(s.Members()) < rec.Expect {
		return nil
	}
	_, err := rec.r.Write(ctx, &store.Command{At: rec.Clock.Wall().UTC(), Actor: systemActor(rec.Name), Change: &store.FingerprintBegin{}})
	return err
}
