package mesh

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
)

// The errors that a caller may branch on. Their texts are for operators.
var (
	// ErrSecret: the peer speaks our protocol and knows another secret, or none; or it
	// refused our proof.
	ErrSecret = errors.New("the cluster secrets differ: give both nodes the same PERFGATE_CLUSTER_SECRET (or cluster.secret_file)")
	// ErrUnreachable: there was no answer in time, or the connection broke.
	ErrUnreachable = errors.New("no answer; check the address, that the node runs, and that no firewall blocks the port")
	// ErrNotCluster: the answer is not that of a cluster port of perfgate.
	ErrNotCluster = errors.New("the address is not that of a perfgate cluster port; give the address of the node's cluster.listen")
	// ErrNoCredentials: this node has no certificate yet.
	ErrNoCredentials = errors.New("this node has no cluster certificate yet: it must join first")
	// ErrRemoved: the peer knows that this node was removed from the cluster.
	ErrRemoved = errors.New("this node was removed from the cluster; to take it back, empty its data directory and let it join with the cluster's current secret")
	// ErrDenied: this node knows that the peer was removed from the cluster.
	ErrDenied = errors.New("the peer was removed from the cluster")
	// ErrOtherNode: the certificate of the peer names another node than the expected one.
	ErrOtherNode = errors.New("another node answers at this address")
	// ErrTooLarge: a body exceeds its bound.
	ErrTooLarge = errors.New("body too large")
	// ErrClosed: this mesh is closed.
	ErrClosed = errors.New("the cluster port is closed")
)

// NotSent wraps an error of [Mesh.Call] that certainly had no effect: the request
// was never sent, or the peer said that it did not process it. Every other error
// except StatusError means that the outcome is unknown.
type NotSent struct{ Err error }

func (e *NotSent) Error() string { return e.Err.Error() }
func (e *NotSent) Unwrap() error { return e.Err }

// StatusError is an answer to a call with another status than 200.
type StatusError struct {
	Status int
	Body   []byte
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("the peer answered %d: %.200q", e.Status, e.Body)
}

// RemoteError is a peer's reason for refusing a join request.
type RemoteError struct{ Text string }

func (e *RemoteError) Error() string { return "the peer refused: " + e.Text }

// network reports whether err comes from the network, so that it says nothing about
// the peer.
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

// sortDial classifies an error of connecting to a peer.
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
		return fmt.Errorf("the peer refused the connection; it may not have joined the cluster yet, or belong to another one (%w)", err)
	}
	return err
}
