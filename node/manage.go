package node

import (
	"context"
	"net/http"
	"time"

	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/httpapi"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/store"
)

// handover is a change of the cluster that only its leader can make.
type handover struct {
	Transfer bool        `json:"transfer,omitzero"`
	To       string      `json:"to,omitzero"`     // a node's name; "" lets Raft choose
	Remove   string      `json:"remove,omitzero"` // a node's name
	Actor    store.Actor `json:"actor"`
}

// transferWait bounds handing leadership over (raft #696: one that fails may
// block writes).
const transferWait = 2 * time.Second

// TransferLeadership implements [httpapi.Backend].
func (r *Replica) TransferLeadership(ctx context.Context, to string, who store.Actor) error {
	_, err := r.manage(ctx, &handover{Transfer: true, To: to, Actor: who})
	return err
}

// RemoveNode implements [httpapi.Backend].
func (r *Replica) RemoveNode(ctx context.Context, name string, who store.Actor) (httpapi.Revocation, error) {
	return r.manage(ctx, &handover{Remove: name, Actor: who})
}

func (r *Replica) manage(ctx context.Context, h *handover) (out httpapi.Revocation, err error) {
	if r.cluster == nil {
		return out, fault.Newf(fault.Conflict, "This node is alone: it has no cluster listener (cluster.listen).")
	}
	err = r.withLeader(ctx, func() (err error) {
		out, err = r.cluster.manageOnce(ctx, h)
		return err
	})
	return out, err
}

func (c *cluster) manageOnce(ctx context.Context, h *handover) (httpapi.Revocation, error) {
	if c.r.leads.isOpen() {
		return c.manage(ctx, h)
	}
	id, addr, ok := c.leader()
	if !ok || string(id) == c.self.ID {
		return httpapi.Revocation{}, errNotTaken
	}
	return call[httpapi.Revocation](ctx, c.Mesh, addr, string(id), callManage, encode(h))
}

func (c *cluster) serveManage(w http.ResponseWriter, r *http.Request) {
	var h handover
	if !c.small(w, r, &h) {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), httpapi.ProposeTimeout)
	defer cancel()
	out, err := httpapi.Revocation{}, error(errNotTaken)
	if c.r.leads.isOpen() {
		out, err = c.manage(ctx, &h)
	}
	respond(w, out, err)
}

// manage is the leader's part.
func (c *cluster) manage(ctx context.Context, h *handover) (out httpapi.Revocation, err error) {
	if h.Transfer {
		return out, c.transfer(ctx, h.To)
	}
	m, ok := c.memberNamed(h.Remove)
	switch {
	case !ok:
		return out, fault.Newf(fault.NotFound, "There is no node %.64q in this cluster.", h.Remove)
	case m.ID == c.self.ID:
		return out, fault.Newf(fault.Conflict, "%s leads the cluster; transfer the leadership first, or stop it.", m.Name)
	}
	if out, err = c.remove(ctx, m, h.Actor); err != nil {
		return out, fault.From(err)
	}
	c.log.Info("a node was removed", "name", m.Name, "address", m.Address)
	return out, nil
}

func (c *cluster) memberNamed(name string) (store.Member, bool) {
	for _, m := range c.r.Store().Members() {
		if m.Name == name {
			return m, true
		}
	}
	return store.Member{}, false
}

// transfer hands leadership to the voter called to, or to the one that is most up
// to date.
func (c *cluster) transfer(ctx context.Context, to string) error {
	others := 0
	for _, s := range c.otherServers() {
		if s.Suffrage == raft.Voter {
			others++
		}
	}
	if others == 0 {
		return fault.Newf(fault.Conflict, "No other node has a vote.")
	}
	f := c.r.engine.raft.LeadershipTransfer
	if to == "" {
		return c.transferred(ctx, f())
	}
	m, ok := c.memberNamed(to)
	if !ok {
		return fault.Newf(fault.NotFound, "There is no node %.64q in this cluster.", to)
	}
	if m.ID == c.self.ID {
		return nil // it leads already
	}
	for _, s := range c.otherServers() {
		if string(s.ID) == m.ID && s.Suffrage == raft.Voter {
			return c.transferred(ctx, c.r.engine.raft.LeadershipTransferToServer(s.ID, s.Address))
		}
	}
	return fault.Newf(fault.Conflict, "%s has no vote yet.", m.Name)
}

func (c *cluster) transferred(ctx context.Context, f raft.Future) error {
	ctx, cancel := context.WithTimeout(ctx, transferWait)
	defer cancel()
	if err := c.await(ctx, f); err != nil {
		return refuse(fault.Unavailable, err)
	}
	return nil
}
