package apitest

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/manage"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/chain"
)

// Backend is a cluster of one without a log: commands go straight into the
// store, through their wire form. A test sets its exported fields while no call
// is under way.
type Backend struct {
	Held     chan struct{}       // when Hold is set, gets a token for each Propose that waits
	Hold     chan struct{}       // when set, Propose waits for it to be closed
	Settle   chan struct{}       // when set, Propose waits for it to be closed once the change is made
	Others   []manage.NodeStatus // of the cluster, apart from n1
	Silent   []chain.Missing     // nodes that do not answer for usage
	Fail     error               // of every write after the first Good
	Good     int64               // see Fail
	Stale    error               // of Linearize
	Unready  error               // of Ready
	Partial  bool                // a node does not confirm
	Leader   string              // set by TransferLeadership
	Forced   bool                // set by TransferLeadership and RemoveNode
	Measured manage.Facts        // by Facts

	Proposed   atomic.Int64 // calls of Propose
	Linearized atomic.Int64 // calls of Linearize

	store *store.Store
	mu    sync.Mutex
	index uint64       // of the last command; guarded by mu
	log   bytes.Buffer // the commands in their wire form; guarded by mu
}

// Commands returns the wire form of every command so far.
func (b *Backend) Commands() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.log.String()
}

// Propose implements [rest.Backend].
func (b *Backend) Propose(ctx context.Context, cmd *store.Command) (rest.Receipt, error) {
	n := b.Proposed.Add(1)
	if b.Hold != nil {
		b.Held <- struct{}{}
		<-b.Hold
	}
	if b.Fail != nil && n > b.Good {
		return rest.Receipt{}, b.Fail
	}
	rc, err := b.Apply(cmd)
	if b.Settle != nil {
		<-b.Settle
	}
	return rc, err
}

// Apply applies cmd with the next index.
func (b *Backend) Apply(cmd *store.Command) (rest.Receipt, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.index++
	b.log.Write(cmd.Encode())
	answer := b.store.ApplyBatch([]*raft.Log{{Index: b.index, Type: raft.LogCommand, Data: cmd.Encode()}})[0]
	result, ok := answer.(store.Result)
	if !ok {
		return rest.Receipt{}, fmt.Errorf("apply: %v", answer)
	}
	rv := rest.Revocation{Index: result.Index, Effective: !b.Partial, Nodes: []rest.RevocationAck{{Name: "n1", How: "applied"}}}
	if b.Partial {
		rv.Nodes = append(rv.Nodes, rest.RevocationAck{Name: "n2", How: "unconfirmed"})
	}
	return rest.Receipt{Result: result, Revocation: rv}, nil
}

// Facts implements [manage.Node].
func (b *Backend) Facts() manage.Facts { return b.Measured }

// Linearize implements [rest.Backend].
func (b *Backend) Linearize(context.Context) error {
	b.Linearized.Add(1)
	return b.Stale
}

// Ready implements [manage.Node].
func (b *Backend) Ready() error { return b.Unready }

// TransferLeadership implements [manage.Node].
func (b *Backend) TransferLeadership(_ context.Context, to string, force bool, _ store.Actor) error {
	b.Leader, b.Forced = to, force
	return b.Fail
}

// RemoveNode implements [manage.Node]; the other node is n2.
func (b *Backend) RemoveNode(_ context.Context, name string, force bool, _ store.Actor) (rest.Revocation, error) {
	b.Forced = force
	if name != "n2" {
		return rest.Revocation{}, fault.New(fault.NotFound)
	}
	return rest.Revocation{Index: 7, Effective: !b.Partial}, b.Fail
}

// Cluster implements [manage.Node].
func (b *Backend) Cluster(context.Context) manage.ClusterStatus {
	b.mu.Lock()
	defer b.mu.Unlock()
	return manage.ClusterStatus{ClusterID: "c", Leader: cmp.Or(b.Leader, "n1"), Term: 1, Healthy: true, Reasons: []string{},
		Nodes: append([]manage.NodeStatus{{Name: "n1", Role: "leader", State: "ready", AppliedIndex: b.index, Version: "test"}}, b.Others...)}
}

// Keyring implements [manage.Vault].
func (b *Backend) Keyring() (manage.KeyringStatus, error) {
	return manage.KeyringStatus{Node: "n1", KEK: "kek1", Source: "file", DataKeys: []manage.DataKey{{ID: "key1", Current: true, Files: 3, Bytes: 5}}}, nil
}

// RotateKEK implements [manage.Vault].
func (b *Backend) RotateKEK(context.Context) error { return b.Fail }

// RotateData implements [manage.Vault].
func (b *Backend) RotateData() error { return b.Fail }
