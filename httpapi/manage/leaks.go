package manage

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
)

// maxReport bounds the body of a report, in bytes: everybody may send one.
const maxReport = 4 << 10

// maxLeaks bounds the reports that wait to be worked off; each holds a few hundred bytes.
const maxLeaks = 256

// A report that cannot be carried out, for want of a leader, is tried again every
// leakRetry until leakPatience has passed.
const (
	leakRetry    = time.Second
	leakPatience = 10 * time.Minute
)

// leakStore is the part of the state that a report of a leaked key reads.
type leakStore interface {
	Lookup(store.Hash) (*store.Record, error)
	Pepper() store.Hash
}

// reportGate bounds the reports of one address, as [admit.Gate] does.
type reportGate interface {
	Report(client netip.Addr) *fault.Error
}

// Leaks serves the call by which anyone who finds a key can revoke it. A report is only noted
// by the call and carried out after it, so that neither the answer nor its time tells
// whether the key exists. Make it with [NewLeaks].
type Leaks struct {
	store   leakStore
	gate    reportGate
	backend rest.Backend
	log     *slog.Logger
	reports chan leak
	retry   time.Duration // see leakRetry
}

// NewLeaks returns the call's handler; reports are carried out by [Leaks.Run].
func NewLeaks(s leakStore, g reportGate, b rest.Backend, log *slog.Logger) *Leaks {
	return &Leaks{store: s, gate: g, backend: b, log: log, reports: make(chan leak, maxLeaks), retry: leakRetry}
}

// leak is a report. It holds the hash of the key and never the key.
type leak struct {
	hash   store.Hash
	origin store.Command // of the report: who sent it, and when
	came   time.Time     // the same time with its monotonic reading
}

// leakedKey is the body of POST /v1/keys/revoke-leaked.
type leakedKey struct {
	Key *string `json:"key"`
}

// Check implements [rest.Checker].
func (in *leakedKey) Check(*rest.Call) error {
	if in.Key == nil || *in.Key == "" {
		return rest.Invalid("key", "is required: the whole key that was found")
	}
	return nil
}

// Revoke notes that a key was found where it must not be. The answer is the same for
// every key.
func (h *Leaks) Revoke(c *rest.Call) error {
	if f := h.gate.Report(c.Client); f != nil {
		return f
	}
	raw, err := c.Body(maxReport, "application/json")
	if err != nil {
		return err
	}
	in := new(leakedKey)
	if err := c.Decode(raw, in); err != nil {
		return err
	}
	if err := in.Check(c); err != nil {
		return err
	}
	l := leak{hash: apikey.Hash(h.store.Pepper(), *in.Key), came: time.Now()}
	l.origin.At = c.Stamp()
	c.Describe(&l.origin)
	select {
	case h.reports <- l:
	default:
		return &fault.Error{Code: fault.Unavailable, RetryAfter: 1, Message: "Too many reports of leaked keys are waiting; send this one again."}
	}
	c.Status = http.StatusAccepted
	return c.Answer(struct{}{})
}

// Run carries out reports, one after the other, until ctx ends. A report that waits at
// that time is lost, and so is one of a node that crashes: a sender that wants to be
// sure tries the key afterwards.
func (h *Leaks) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case l := <-h.reports:
			h.carryOut(ctx, &l)
		}
	}
}

// carryOut tries a report until it succeeds or is too old.
func (h *Leaks) carryOut(ctx context.Context, l *leak) {
	ctx, cancel := context.WithTimeout(ctx, leakPatience)
	defer cancel()
	for {
		err := h.end(ctx, l)
		if err == nil {
			return
		}
		select {
		case <-time.After(h.retry):
		case <-ctx.Done():
			h.log.Error("a key that was reported as leaked is not revoked; revoke it by its secret with: perfgate keys revoke --stdin",
				"request_id", l.origin.Request.ID, "error", err)
			return
		}
	}
}

// end revokes the reported key if it is known and not yet at its end.
func (h *Leaks) end(ctx context.Context, l *leak) error {
	ctx, cancel := context.WithTimeout(ctx, rest.ProposeTimeout)
	defer cancel()
	// The key may have been made on another node a moment ago.
	if err := h.backend.Linearize(ctx); err != nil {
		return err
	}
	rec, err := h.store.Lookup(l.hash)
	if err != nil || rec == nil {
		return err
	}
	account := rec.Account.Load()
	if s := rec.State(l.origin.At); account == nil || s == store.Revoked || s == store.Expired {
		return nil
	}
	cmd := l.origin
	// A leader takes an old time for that of a wrong clock.
	cmd.At = cmd.At.Add(time.Since(l.came)).Truncate(time.Millisecond)
	cmd.Actor = store.Actor{Type: store.ActorSystem, ID: "leak-report"}
	cmd.Account = account.ID
	cmd.Change = &store.KeyRevoke{ID: rec.ID, Reason: "leaked"}
	rc, err := h.backend.Propose(ctx, &cmd)
	if err != nil {
		return err
	}
	if rc.Refusal != nil {
		h.log.Info("a key that was reported as leaked is gone already", "key_id", rec.ID)
		return nil
	}
	h.log.Warn("revoked a key that was reported as leaked", "key_id", rec.ID, "account", account.ID, "ip", cmd.IP)
	return nil
}
