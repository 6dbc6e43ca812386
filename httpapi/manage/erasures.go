package manage

import (
	"cmp"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/chain"
	"github.com/perfgate/perfgate/store/ids"
)

// erasureStore is the part of the state that the calls about erasures read.
type erasureStore interface {
	Erasures() store.Erasures
	ClusterID() string
	AuditKeys() []chain.Key
	Sign(text []byte) (key string, signature []byte, err error)
}

// Erasures serves the calls about the erasure of an account's data.
type Erasures struct{ Store erasureStore }

// newErasure is the body of DELETE /v1/account/data.
type newErasure struct {
	Confirm    *store.AccountID `json:"confirm"`
	Everything *bool            `json:"everything"`
	Now        *bool            `json:"now"`
}

// Check implements [rest.Checker].
func (in *newErasure) Check(c *rest.Call) error {
	var faults fault.List
	switch {
	case in.Confirm == nil:
		faults.Add(rest.Invalid("confirm", "is required: the id of the account, %s", c.Account))
	case *in.Confirm != c.Account:
		faults.Add(rest.Invalid("confirm", "must be the id of the account whose data is erased, %s", c.Account))
	}
	if in.Everything != nil && *in.Everything && c.Account == store.DefaultAccount {
		faults.Add(rest.Invalid("everything", "must be false for the account %s, which always exists", c.Account))
	}
	if in.Now != nil && *in.Now && !c.Caller.Operates() {
		faults.Add(rest.Invalid("now", "must be false: only an operator may leave out the %d hours in which an erasure can be cancelled", int(store.ErasureNotice.Hours())))
	}
	return faults.Err()
}

// erasureView is an erasure as answers show it.
type erasureView struct {
	ID          store.ErasureID    `json:"id"`
	Account     store.AccountID    `json:"account"`
	Everything  bool               `json:"everything"`
	State       store.ErasureState `json:"state"`
	RequestedAt time.Time          `json:"requested_at"`
	RequestedBy erasureActor       `json:"requested_by"`
	EffectiveAt time.Time          `json:"effective_at"`
	CancelledAt *time.Time         `json:"cancelled_at"`
	ErasedAt    *time.Time         `json:"erased_at"`
	DoneAt      *time.Time         `json:"done_at"`
	Nodes       []erasureNode      `json:"nodes"`
}

type erasureActor struct {
	Type store.ActorType `json:"type"`
	ID   string          `json:"id"`
}

// erasureNode is what a node has done, and what it knows to be left.
type erasureNode struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	At      time.Time `json:"at"`
	LogFrom uint64    `json:"log_from"`
	OldKeys bool      `json:"old_data_keys_until_restart"`
	Backups []string  `json:"backups_with_data"`
	Count   int       `json:"backups_with_data_total"`
}

// receipt proves that an erasure is done. The signature is over [chain.ReceiptFormat] and the
// statement without blanks.
type receipt struct {
	Statement jsontext.Value `json:"statement"`
	Signature reportSeal     `json:"signature"`
	Keys      []chain.Key    `json:"keys"`
}

// erasureStatement is what the signature of a receipt covers.
type erasureStatement struct {
	ClusterID string      `json:"cluster_id"`
	Erasure   erasureView `json:"erasure"`
}

// wholeErasure is an erasure with its receipt, once there is one.
type wholeErasure struct {
	erasureView
	Receipt *receipt `json:"receipt"`
}

func viewErasure(e *store.Erasure) erasureView {
	some := func(t time.Time) *time.Time {
		if t.IsZero() {
			return nil
		}
		return &t
	}
	v := erasureView{
		ID: e.ID, Account: e.Account, Everything: e.Everything, State: e.State, RequestedAt: e.RequestedAt,
		RequestedBy: erasureActor{e.RequestedBy.Type, e.RequestedBy.ID}, EffectiveAt: e.EffectiveAt,
		CancelledAt: some(e.CancelledAt), ErasedAt: some(e.ErasedAt), DoneAt: some(e.DoneAt), Nodes: []erasureNode{},
	}
	for _, n := range e.Nodes {
		backups := n.Backups
		if backups == nil {
			backups = []string{}
		}
		v.Nodes = append(v.Nodes, erasureNode{n.ID, n.Name, n.At, n.Log, n.OldKeys, backups, n.Count})
	}
	return v
}

// Create schedules the erasure of the account's data.
func (h *Erasures) Create(c *rest.Call, in *newErasure) (*erasureView, error) {
	if err := in.Check(c); err != nil {
		return nil, err
	}
	change := &store.ErasureSchedule{ID: store.ErasureID(ids.New("ers_")), EffectiveAt: c.Stamp().Add(store.ErasureNotice)}
	set(&change.Everything, in.Everything)
	if in.Now != nil && *in.Now {
		change.EffectiveAt = c.Stamp()
	}
	rc, err := c.Propose(&store.Command{Change: change})
	if err != nil {
		return nil, err
	}
	c.Status = 202
	v := viewErasure(rc.Erasure)
	return &v, nil
}

// List shows the account's erasures, the newest first.
func (h *Erasures) List(c *rest.Call) (*rest.Page[erasureView], error) {
	q := c.Query()
	limit := q.Limit()
	after, err := q.Cursor()
	if err != nil {
		return nil, err
	}
	list, err := h.Store.Erasures().List(c.Account)
	if err != nil {
		return nil, err
	}
	out := &rest.Page[erasureView]{Data: []erasureView{}}
	skip := after != ""
	for _, e := range list {
		switch {
		case skip:
			skip = string(e.ID) != after
		case len(out.Data) == limit:
			out.Next = q.Seal(string(out.Data[limit-1].ID))
			return out, nil
		default:
			out.Data = append(out.Data, viewErasure(e))
		}
	}
	return out, nil
}

// named finds the erasure that the path names. Operators find those of every account, since
// an account that was erased as a whole cannot be named any more.
func (h *Erasures) named(c *rest.Call) (*store.Erasure, error) {
	e, err := h.Store.Erasures().Get(store.ErasureID(c.Param))
	if err == nil && (e == nil || e.Account != c.Account && !c.Caller.Operates()) {
		err = fault.Newf(fault.NotFound, "There is no such erasure in this account.")
	}
	return e, err
}

// Get shows an erasure, with its receipt once it is done.
func (h *Erasures) Get(c *rest.Call) (*wholeErasure, error) {
	e, err := h.named(c)
	if err != nil {
		return nil, err
	}
	c.ETag = e.Modified
	out := &wholeErasure{erasureView: viewErasure(e)}
	if e.State != store.ErasureDone {
		return out, nil
	}
	r := &receipt{Signature: reportSeal{Algorithm: "Ed25519"}, Keys: h.Store.AuditKeys()}
	if r.Statement, err = json.Marshal(&erasureStatement{h.Store.ClusterID(), out.erasureView}, json.Deterministic(true)); err != nil {
		return nil, err
	}
	if r.Signature.Key, r.Signature.Value, err = h.Store.Sign(append([]byte(chain.ReceiptFormat), r.Statement...)); err != nil {
		return nil, unsigned(err)
	}
	out.Receipt = r
	return out, nil
}

// Cancel ends an erasure that is still scheduled.
func (h *Erasures) Cancel(c *rest.Call, _ *nothing) (*erasureView, error) {
	e, err := h.named(c)
	if err != nil {
		return nil, err
	}
	rc, err := c.Propose(&store.Command{Account: cmp.Or(e.Account, c.Account), Change: &store.ErasureCancel{ID: e.ID}})
	if err != nil {
		return nil, err
	}
	c.ETag = rc.Erasure.Modified
	v := viewErasure(rc.Erasure)
	return &v, nil
}
