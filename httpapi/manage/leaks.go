package manage

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
)

// maxReport bounds the body of a report, in bytes: everybody may send one.
const maxReport = 4 << 10

// maxLeaks bounds the reports that are carried out at a time, with the calls that wait for
// their answer; each holds a few kilobytes.
const maxLeaks = 256

// leakAnswer is when a report is answered, after its start. It is long enough for a
// revocation to be effective on all nodes of a healthy cluster, and the same for every key.
const leakAnswer = 500 * time.Millisecond

// A report that cannot be carried out, for want of a leader, is tried again every
// leakRetry until leakPatience has passed, or leakFarewell after the node began to stop.
const (
	leakRetry    = time.Second
	leakPatience = 10 * time.Minute
	leakFarewell = 3 * time.Second // less than the stop grants to background tasks
)

// reportGate bounds the reports of one address and finds keys, as [admit.Gate] does.
type reportGate interface {
	Report(client netip.Addr) *fault.Error
	Find(sum [32]byte) (*store.Record, error)
}

// Leaks serves the call by which anyone who finds a key can revoke it. The call carries the
// report out, but its answer comes at one moment for every key, so that neither the answer nor
// its time tells whether the key exists. Make it with [NewLeaks].
type Leaks struct {
	gate     reportGate
	backend  rest.Backend
	log      *slog.Logger
	places   chan struct{} // one for each report that is carried out or waits for its answer
	mu       sync.Mutex
	stopping bool           // under mu: no try begins any more
	tries    sync.WaitGroup // reports that are carried out
	life     context.Context
	end      context.CancelFunc // of life: gives up all reports
}

// NewLeaks returns the call's handler; [Leaks.Run] must run beside it.
func NewLeaks(g reportGate, b rest.Backend, log *slog.Logger) *Leaks {
	life, end := context.WithCancel(context.Background())
	return &Leaks{gate: g, backend: b, log: log, places: make(chan struct{}, maxLeaks), life: life, end: end}
}

// leak is a report. It holds the SHA-256 of the key and never the key.
type leak struct {
	sum    [32]byte
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

// Revoke takes the report of a key that was found where it must not be. The answer is the
// same for every key.
func (h *Leaks) Revoke(c *rest.Call) error {
	came := time.Now()
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
	l := leak{sum: apikey.Sum(*in.Key), came: came}
	l.origin.At = c.Stamp()
	c.Describe(&l.origin)
	if f := h.take(c.Request.Context(), &l); f != nil {
		return f
	}
	c.Status = http.StatusAccepted
	return c.Answer(struct{}{})
}

// take begins to carry l out and returns when the answer is due: leakAnswer after the report
// came, or when the client has gone. A report that is not carried out by then is tried on.
func (h *Leaks) take(client context.Context, l *leak) *fault.Error {
	select {
	case h.places <- struct{}{}:
	default:
		return &fault.Error{Code: fault.Unavailable, RetryAfter: 1, Message: "Too many reports of leaked keys are waiting; send this one again."}
	}
	due := time.NewTimer(time.Until(l.came.Add(leakAnswer)))
	defer due.Stop()
	answered := make(chan struct{})
	defer close(answered)
	if !h.begin(func() {
		h.carryOut(l)
		<-answered // the place is the waiting call's, too
		<-h.places
	}) {
		<-h.places
		return &fault.Error{Code: fault.Unavailable, RetryAfter: 1, Message: "The node is stopping; send this report to another one, or again."}
	}
	select {
	case <-due.C:
	case <-client.Done():
	}
	return nil
}

// Run waits for ctx to end, and then for the reports that are not carried out yet: until
// leakFarewell has passed. Each that is given up is logged. A crash loses them.
func (h *Leaks) Run(ctx context.Context) {
	<-ctx.Done()
	h.mu.Lock()
	h.stopping = true
	h.mu.Unlock()
	farewell := time.AfterFunc(leakFarewell, h.end)
	defer farewell.Stop()
	h.tries.Wait()
	h.end()
}

// begin runs a try, unless the node stops.
func (h *Leaks) begin(try func()) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.stopping {
		h.tries.Go(try)
	}
	return !h.stopping
}

// carryOut tries a report until it succeeds, is too old, or is given up as the node stops.
func (h *Leaks) carryOut(l *leak) {
	ctx, cancel := context.WithTimeout(h.life, leakPatience)
	defer cancel()
	for {
		err := h.revoke(ctx, l)
		if err == nil {
			return
		}
		select {
		case <-time.After(leakRetry):
		case <-ctx.Done():
			h.log.Error("a key that was reported as leaked is not revoked; revoke it by its secret with: perfgate keys revoke --stdin",
				"request_id", l.origin.Request.ID, "error", err)
			return
		}
	}
}

// revoke revokes the reported key if it is known and not yet at its end.
func (h *Leaks) revoke(ctx context.Context, l *leak) error {
	ctx, cancel := context.WithTimeout(ctx, rest.ProposeTimeout)
	defer cancel()
	// The key may have been made on another node a moment ago.
	if err := h.backend.Linearize(ctx); err != nil {
		return err
	}
	rec, err := h.gate.Find(l.sum)
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
