package cluster

import (
	"context"
	"time"

	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/store"
)

// handover is a change of the cluster that only its leader can make.
type handover struct {
	Transfer bool        `json:"transfer,omitzero"`
	To       string      `json:"to,omitzero"`     // a node's name; "" lets Raft choose
	Remove   string      `json:"remove,omitzero"` // a node's name
	Force    bool        `json:"force,omitzero"`  // even if no majority would be in contact afterwards
	Actor    store.Actor `json:"actor"`
}

// transferWait bounds handing leadership over: writes wait meanwhile.
const transferWait = 2 * time.Second

// TransferLeadership implements [replica.Operator].
func (c *Cluster) TransferLeadership(ctx context.Context, to string, force bool, who store.Actor) error {
	_, err := c.manageAtLeader(ctx, &handover{Transfer: true, To: to, Force: force, Actor: who})
	return err
}

// RemoveNode implements [replica.Operator].
func (c *Cluster) RemoveNode(ctx context.Context, name string, force bool, who store.Actor) (replica.Revocation, error) {
	return c.manageAtLeader(ctx, &handover{Remove: name, Force: force, Actor: who})
}

func (c *Cluster) manageAtLeader(ctx context.Context, h *handover) (out replica.Revocation, err error) {
	err = c.r.WithLeader(ctx, func() (err error) {
		out, err = c.manageOnce(ctx, h)
		return err
	})
	return out, err
}

func (c *Cluster) manageOnce(ctx context.Context, h *handover) (replica.Revocation, error) {
	if c.r.Leads() {
		return c.membership.manage(ctx, h)
	}
	id, addr, ok := c.peers.leader()
	if !ok || string(id) == c.self.ID {
		return replica.Revocation{}, replica.ErrNotTaken
	}
	got, err := call[wireRevocation](ctx, c.mesh, addr, string(id), callManage, encode(h))
	return got.revocation(), err
}
