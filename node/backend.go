package node

import (
	"context"
	"errors"
	"time"

	"github.com/perfgate/perfgate/httpapi"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/manage"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/store"
)

// backend is the node as the API sees it: the one place where errors of the
// replicated state become faults, and its status the public JSON.
type backend struct{ node *Node }

var _ httpapi.Backend = backend{}

// Propose implements [httpapi.Backend].
func (b backend) Propose(ctx context.Context, cmd *store.Command) (rest.Receipt, error) {
	r, err := b.node.replica.Propose(ctx, cmd)
	return rest.Receipt{Result: r.Result, Revocation: revocationOf(r.Revocation)}, faultOf(err)
}

// Linearize implements [httpapi.Backend].
func (b backend) Linearize(ctx context.Context) error { return faultOf(b.node.replica.Linearize(ctx)) }

// Cluster implements [httpapi.Backend]. A node that is about to stop says so
// before the leader can know.
func (b backend) Cluster(ctx context.Context) manage.ClusterStatus {
	s := statusOf(b.node.replica.Coordinator().Status(ctx))
	if b.node.draining.Load() {
		for i := range s.Nodes {
			if s.Nodes[i].Name == b.node.config.Node.Name {
				s.Nodes[i].State = replica.StateDraining
			}
		}
	}
	if w := b.node.local.Warning(time.Now()); w != "" {
		s.Warnings = append(s.Warnings, b.node.config.Node.Name+": "+w)
	}
	return s
}

// TransferLeadership implements [httpapi.Backend].
func (b backend) TransferLeadership(ctx context.Context, to string, force bool, who store.Actor) error {
	return faultOf(b.node.replica.Coordinator().TransferLeadership(ctx, to, force, who))
}

// RemoveNode implements [httpapi.Backend].
func (b backend) RemoveNode(ctx context.Context, name string, force bool, who store.Actor) (rest.Revocation, error) {
	r, err := b.node.replica.Coordinator().RemoveNode(ctx, name, force, who)
	return revocationOf(r), faultOf(err)
}

// Ready implements [httpapi.Backend].
func (b backend) Ready() error { return b.node.Ready() }

// faults are the codes of the reasons for which the replicated state refuses a call.
var faults = []struct {
	reason error
	code   fault.Code
}{
	{replica.ErrNoLeader, fault.NoLeader},
	{replica.ErrUnknownOutcome, fault.UnknownOutcome},
	{replica.ErrUnavailable, fault.Unavailable},
	{replica.ErrDiskFull, fault.Unavailable},
	{replica.ErrBusy, fault.TooBusy},
	{replica.ErrTooLarge, fault.BodyTooLarge},
	{replica.ErrNotFound, fault.NotFound},
	{replica.ErrConflict, fault.Conflict},
	{replica.ErrForbidden, fault.Forbidden},
	{replica.ErrWouldLoseQuorum, fault.WouldLoseQuorum},
	{replica.ErrUnknownCommand, fault.Unavailable},
}

// faultOf is err as a [*fault.Error], nil if there is none. An error without a
// reason is an internal one.
func faultOf(err error) error {
	if err == nil {
		return nil
	}
	var e *replica.Error
	if errors.As(err, &e) {
		for _, f := range faults {
			if errors.Is(e.Reason, f.reason) {
				return &fault.Error{Code: f.code, Message: e.Message, RetryAfter: e.RetryAfter, Cause: e.Cause}
			}
		}
	}
	return fault.From(err)
}

func revocationOf(r replica.Revocation) rest.Revocation {
	out := rest.Revocation{Index: r.Index, Effective: r.Effective, TookMS: r.TookMS, Nodes: []rest.RevocationAck{}}
	for _, n := range r.Nodes {
		out.Nodes = append(out.Nodes, rest.RevocationAck{Name: n.Name, How: n.How})
	}
	return out
}

func statusOf(s replica.Status) manage.ClusterStatus {
	out := manage.ClusterStatus{
		ClusterID: s.ClusterID, Leader: s.Leader, Term: s.Term, Nodes: []manage.NodeStatus{},
		Healthy: s.Healthy, FailureTolerance: s.FailureTolerance(), Reasons: s.Reasons, Warnings: s.Warnings,
	}
	for _, n := range s.Nodes {
		out.Nodes = append(out.Nodes, manage.NodeStatus{
			Name: n.Name, Role: n.Role, State: n.State, AppliedIndex: n.AppliedIndex, LeaseMS: n.LeaseMS,
			Version: n.Version, Region: n.Region, LastContactMS: n.LastContactMS,
		})
	}
	return out
}
