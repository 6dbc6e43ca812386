package manage

import (
	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
)

// Cluster serves the calls about the cluster.
type Cluster struct {
	Node Node
	Keys *Keys
}

// Read shows the state of the cluster and its nodes.
func (h *Cluster) Read(c *rest.Call) (*ClusterStatus, error) {
	s := h.Node.Cluster(c.Request.Context())
	return &s, nil
}

// transfer is the body of POST /v1/cluster/transfer-leadership: the name of the
// next leader, or nothing for any other node than the present one.
type transfer struct {
	To    *string `json:"to"`
	Force bool    `json:"force"` // as in the query
}

// forced reads the query of a call that may leave the cluster without a majority.
func forced(c *rest.Call) (bool, error) {
	q := c.Query()
	force := q.Bool("force")
	return force, q.Err()
}

// TransferLeadership makes another node the leader.
func (h *Cluster) TransferLeadership(c *rest.Call, in *transfer) (*ClusterStatus, error) {
	force, err := forced(c)
	if err != nil {
		return nil, err
	}
	to := ""
	if in.To != nil {
		if to = *in.To; to == "" {
			return nil, rest.Invalid("to", "is empty; leave it out for any other node")
		}
		if apikey.Holds(to) {
			return nil, rest.Invalid("to", "is an API key; send the name of a node")
		}
	}
	if err := h.Node.TransferLeadership(c.Request.Context(), to, force || in.Force, c.Caller.Actor); err != nil {
		return nil, fault.From(err)
	}
	s := h.Node.Cluster(c.Request.Context())
	return &s, nil
}

// RemoveNode ends a node's membership.
func (h *Cluster) RemoveNode(c *rest.Call) (*deleted, error) {
	force, err := forced(c)
	if err != nil {
		return nil, err
	}
	rv, err := h.Node.RemoveNode(c.Request.Context(), c.Param, force, c.Caller.Actor)
	if err != nil {
		return nil, fault.From(err)
	}
	c.Committed()
	return &deleted{c.Param, true, c.Revoked(rest.Receipt{Revocation: rv})}, nil
}
