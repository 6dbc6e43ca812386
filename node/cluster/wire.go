package cluster

import (
	"errors"

	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/store"
)

// The structs of the calls between nodes. Their JSON is that of earlier versions,
// too: a member may be added, and none may be renamed or dropped, so
// that nodes of two versions work together while a cluster is upgraded. They are
// not the public API's, which may change without regard to this.

// wireFault is a refusal. Retry says that nothing of the request is held: see
// [replica.ErrNotTaken].
type wireFault struct {
	Code       string `json:"code"`
	Message    string `json:"message,omitzero"`
	RetryAfter int64  `json:"retry_after,omitzero"`
	Retry      bool   `json:"retry,omitzero"`
}

// reply is the answer of a call.
type reply[T any] struct {
	Fault *wireFault `json:"fault,omitzero"`
	Value T          `json:"value,omitzero"`
}

// codeInternal is the code of errors that have no reason.
const codeInternal = "internal_error"

// codes are the names of reasons. A full disk has none of its own: its sentence
// tells it from other causes of unavailability.
var codes = []struct {
	code   string
	reason error
}{
	{"no_leader", replica.ErrNoLeader},
	{"unknown_outcome", replica.ErrUnknownOutcome},
	{"unavailable", replica.ErrUnavailable},
	{"unavailable", replica.ErrDiskFull},
	{"too_busy", replica.ErrBusy},
	{"body_too_large", replica.ErrTooLarge},
	{"not_found", replica.ErrNotFound},
	{"conflict", replica.ErrConflict},
	{"forbidden", replica.ErrForbidden},
	{"would_lose_quorum", replica.ErrWouldLoseQuorum},
	{"unknown_command", replica.ErrUnknownCommand},
	{"diverged", replica.ErrDiverged},
	{"contested", replica.ErrContested},
}

// toWire is err for another node.
func toWire(err error) *wireFault {
	f := &wireFault{Code: codeInternal, Retry: errors.Is(err, replica.ErrNotTaken)}
	var e *replica.Error
	if !errors.As(err, &e) {
		return f
	}
	for _, c := range codes {
		if errors.Is(e.Reason, c.reason) {
			f.Code = c.code
		}
	}
	f.Message, f.RetryAfter = e.Message, e.RetryAfter
	return f
}

// err is the error that another node answered with. A code that this version does
// not know leaves it open whether anything was done.
func (f *wireFault) err() error {
	if f.Retry {
		return replica.ErrNotTaken
	}
	if f.Code == codeInternal {
		return errors.New("the other node failed; its log says why")
	}
	for _, c := range codes {
		if c.code == f.Code {
			return &replica.Error{Reason: c.reason, Message: f.Message, RetryAfter: f.RetryAfter}
		}
	}
	return &replica.Error{
		Reason: replica.ErrUnknownOutcome, RetryAfter: max(f.RetryAfter, replica.RetryAfter), Cause: errors.New("the other node answered with the unknown code " + f.Code),
	}
}

// wireReceipt is a [replica.Receipt]: Repeat is none of the stored result's members.
type wireReceipt struct {
	Result     store.Result   `json:"result"`
	Repeat     bool           `json:"repeat,omitzero"`
	Revocation wireRevocation `json:"revocation"`
}

func receiptToWire(r replica.Receipt) wireReceipt {
	return wireReceipt{Result: r.Result, Repeat: r.Repeat, Revocation: revocationToWire(r.Revocation)}
}

func (w *wireReceipt) receipt() replica.Receipt {
	w.Result.Repeat = w.Repeat
	return replica.Receipt{Result: w.Result, Revocation: w.Revocation.revocation()}
}

// wireRevocation is a [replica.Revocation].
type wireRevocation struct {
	Index     uint64    `json:"index"`
	Effective bool      `json:"effective"`
	TookMS    int64     `json:"took_ms"`
	Nodes     []wireAck `json:"nodes"`
}

type wireAck struct {
	Name string `json:"name"`
	How  string `json:"how"`
}

func revocationToWire(r replica.Revocation) wireRevocation {
	w := wireRevocation{Index: r.Index, Effective: r.Effective, TookMS: r.TookMS}
	for _, n := range r.Nodes {
		w.Nodes = append(w.Nodes, wireAck(n))
	}
	return w
}

func (w *wireRevocation) revocation() replica.Revocation {
	r := replica.Revocation{Index: w.Index, Effective: w.Effective, TookMS: w.TookMS}
	for _, n := range w.Nodes {
		r.Nodes = append(r.Nodes, replica.Ack(n))
	}
	return r
}

// wireStatus is a [replica.Status].
type wireStatus struct {
	ClusterID string           `json:"cluster_id"`
	Leader    string           `json:"leader"`
	Term      uint64           `json:"term"`
	Nodes     []wireNodeStatus `json:"nodes"`
	Healthy   bool             `json:"healthy"`
	Reasons   []string         `json:"reasons"`
	Warnings  []string         `json:"warnings,omitzero"`
}

// wireNodeStatus is a [replica.NodeStatus].
type wireNodeStatus struct {
	Name          string `json:"name"`
	Role          string `json:"role"`
	State         string `json:"state"`
	AppliedIndex  uint64 `json:"applied_index"`
	LeaseMS       *int64 `json:"lease_ms"`
	Version       string `json:"version"`
	Region        string `json:"region"`
	LastContactMS int64  `json:"last_contact_ms"`
}

func statusToWire(s replica.Status) wireStatus {
	w := wireStatus{ClusterID: s.ClusterID, Leader: s.Leader, Term: s.Term, Nodes: []wireNodeStatus{}, Healthy: s.Healthy, Reasons: s.Reasons, Warnings: s.Warnings}
	for _, n := range s.Nodes {
		w.Nodes = append(w.Nodes, wireNodeStatus(n))
	}
	return w
}

func (w *wireStatus) status() replica.Status {
	s := replica.Status{ClusterID: w.ClusterID, Leader: w.Leader, Term: w.Term, Nodes: []replica.NodeStatus{}, Healthy: w.Healthy, Reasons: w.Reasons, Warnings: w.Warnings}
	for _, n := range w.Nodes {
		s.Nodes = append(s.Nodes, replica.NodeStatus(n))
	}
	return s
}
