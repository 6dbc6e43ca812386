package cluster

import (
	"context"
	"errors"
	"fmt"

	"github.com/perfgate/perfgate/node/replica"
)

// settlements are the waits until committed writes are in force everywhere: at this
// node while it leads, else at the next leader. They have no state of their own.
type settlements struct {
	*node
	peers      *peers
	leadership *leadership
}

// settle is [replica.Writer]'s Settle.
func (st *settlements) settle(ctx context.Context, index, term uint64, takes bool) (effective bool, nodes []replica.Ack, err error) {
	effective, nodes, err = st.leadership.settle(ctx, index, term, takes)
	if errors.Is(err, errLost) {
		return st.elsewhere(ctx, index, takes)
	}
	return effective, nodes, err
}

// elsewhere has the next leader wait for a write that this one committed: it
// is in the log for good, only not known to be in force everywhere.
func (st *settlements) elsewhere(ctx context.Context, index uint64, takes bool) (effective bool, nodes []replica.Ack, err error) {
	err = st.r.WithLeader(ctx, func() error {
		if st.r.Leads() {
			effective, nodes, err = st.settle(ctx, index, st.leadership.term.Load(), takes)
			return err
		}
		got, err := st.ask(ctx, index, takes)
		effective, nodes = got.Effective, got.Nodes
		return err
	})
	if err != nil {
		// It is committed: nothing in this error may read as ErrNotTaken, which lets
		// proposals be offered again.
		return false, nil, replica.Refuse(replica.ErrUnknownOutcome, fmt.Errorf("committed, and not known to be in force everywhere: %v", err)) //nolint:errorlint // must not read as ErrNotTaken
	}
	return effective, nodes, nil
}

// ask asks the leader to wait for a write of an earlier term; see elsewhere.
func (st *settlements) ask(ctx context.Context, index uint64, takes bool) (replica.Revocation, error) {
	id, addr, ok := st.peers.leader()
	if !ok || string(id) == st.self.ID {
		return replica.Revocation{}, replica.ErrNotTaken
	}
	// As in Forward, only a leader of an older version reads takes from here.
	got, err := call[wireRevocation](ctx, st.mesh, addr, string(id), callSettle, encode(&settling{index, takes}))
	return got.revocation(), err
}

// settling is a committed write that its leader can no longer wait for. A receiver
// judges the write itself; an older one believes Takes.
type settling struct {
	Index uint64 `json:"index"`
	Takes bool   `json:"takes,omitzero"`
}
