package mesh

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
)

// What a caller may branch on. The sentences are for operators.
var (
	// ErrSecret: the peer speaks our protocol and proved to know another secret, or
	// none; or it refused our proof.
	ErrSecret = errors.New("the cluster secrets differ: give both nodes the same PERFGATE_CLUSTER_SECRET (or cluster.secret_file)")
	// ErrUnreachable: nobody answered in time, or the connection broke.
	ErrUnreachable = errors.New("no answer; check the address, that the node runs, and that no firewall is between")
	// ErrNotCluster: something answers there that is no cluster port of perfgate.
	ErrNotCluster = errors.New("what answers there is not a perfgate cluster port; give the address of the node's cluster.listen")
	// ErrNoCredentials: this node has no certificate yet.
	ErrNoCredentials = errors.New("this node has no cluster certificate yet: it has to join first")
	// ErrRemoved: the peer knows that this node was removed from the cluster.
	ErrRemoved = errors.New("this node was removed from the cluster; to take it back, empty its data directory and let it join with the cluster's present secret")
	// ErrDenied: this node knows that the peer was removed from the cluster.
	ErrDenied = errors.New("the peer was removed from the cluster")
	// ErrOtherNode: the certificate of the peer names another node than was asked for.
	ErrOtherNode = errors.New("another node answers at this address")
	// ErrTooLarge: a body is over its bound.
	ErrTooLarge = errors.New("body too large")
	// ErrClosed: this mesh is closed.
	ErrClosed = errors.New("the cluster port is closed")
)

// NotSent wraps an error of [Mesh.Call] that certainly left no effect: the
// request was never sent, or the peer said that it did not begin with it. Every
// other error, StatusError aside, means that the outcome is unknown.
type NotSent struct{ Err error }

func (e *NotSent) Error() string { return e.Err.Error() }
func (e *NotSent) Unwrap() error { return e.Err }

// StatusError is an answer to a call that was not 200.
type StatusError struct {
	Status int
	Body   []byte
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("the peer answered %d: %.200q", e.Status, e.Body)
}

// RemoteError is the reason that a peer gave for refusing a join request.
type RemoteError struct{ Text string }

func (e *RemoteError) Error() string { return "the peer refused: " + e.Text }

// network tells whether err is the network's: nothing can be said of the peer.
func network(err error) bool {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return true
	}
	var op *net.OpError
	if errors.As(err, &op) {
		// crypto/tls wraps alerts, its own and the peer's, in the same type.
		return op.Op != "remote error" && op.Op != "local error"
	}
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

// sortDial puts err, from connecting with protocol proto, into one of the classes.
func sortDial(err error) error {
	var plain tls.RecordHeaderError
	switch {
	case errors.As(err, &plain):
		return fmt.Errorf("%w (%w)", ErrNotCluster, err)
	case network(err):
		return fmt.Errorf("%w (%w)", ErrUnreachable, err)
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" {
		return fmt.Errorf("the peer refused the connection; it may not have joined the cluster yet, or be of another one (%w)", err)
	}
	return err
}
