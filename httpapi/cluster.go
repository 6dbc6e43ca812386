package httpapi

import "github.com/perfgate/perfgate/httpapi/fault"

func readCluster(c *call) (any, error) {
	if q := c.query(); q.err != nil {
		return nil, q.err
	}
	return c.Backend.Cluster(c.r.Context()), nil
}

// transfer is the body of POST /v1/cluster/transfer-leadership: the name of the
// node that shall lead, or nothing for any other than the leader.
type transfer struct {
	To *string `json:"to"`
}

func transferLeadership(c *call, in *transfer) (any, error) {
	if q := c.query(); q.err != nil {
		return nil, q.err
	}
	to := ""
	if in.To != nil {
		if to = *in.To; to == "" {
			return nil, invalid("to", "is empty; leave it out for any other node")
		}
	}
	if err := c.Backend.TransferLeadership(c.r.Context(), to, c.caller.actor); err != nil {
		return nil, fault.From(err)
	}
	return c.Backend.Cluster(c.r.Context()), nil
}

func removeNode(c *call) (any, error) {
	if q := c.query(); q.err != nil {
		return nil, q.err
	}
	rv, err := c.Backend.RemoveNode(c.r.Context(), c.param, c.caller.actor)
	if err != nil {
		return nil, fault.From(err)
	}
	c.committed = true // the change carries its event
	return deleted{c.param, true, c.revocation(Receipt{Revocation: rv})}, nil
}
