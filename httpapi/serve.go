package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/local"
)

// call is one request on its way through the API.
type call struct {
	*API
	w     *recorder
	r     *http.Request
	route *route
	param string // the path's variable segment
	admin bool   // came in on the admin listener

	now     time.Time
	mono    int64
	client  netip.Addr
	caller  caller
	hint    string          // of a credential that was refused
	account store.AccountID // that the call is about

	once      *store.Once // set by the first read of a body, where the client asked for it
	done      []func()    // undone when the call ends, last first
	status    int         // of a success; 0 is 200
	etag      uint64      // of the answer; 0 is none
	committed bool        // a command carries this call's audit event
}

// caller is who makes a call. Record is nil for operators and for open calls.
type caller struct {
	actor  store.Actor
	record *store.Record
}

// recorder remembers what was answered.
type recorder struct {
	http.ResponseWriter
	status int // 0 until the head is written
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach flush and deadlines.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// stamp sets what every answer of the API carries.
func stamp(h http.Header, r *http.Request) {
	h.Set(fault.RequestIDHeader, RequestID(r))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Frame-Options", "DENY")
}

// RequestID is the client's X-Request-Id if it is one of 1–128 of
// [A-Za-z0-9._-], else a new one.
func RequestID(r *http.Request) string {
	if v := r.Header[fault.RequestIDHeader]; len(v) == 1 && isToken(v[0]) {
		return v[0]
	}
	return apikey.NewID("req_")
}

// refuse answers a request that belongs to no route.
func (a *API) refuse(w http.ResponseWriter, r *http.Request, f *fault.Error) {
	stamp(w.Header(), r)
	fault.Write(w, r, f)
	a.metrics.count("none", f.Code.Status(), untimed)
}

// serve takes a request through identity, handler and answer, in that order.
func (a *API) serve(w http.ResponseWriter, r *http.Request, rt *route, param string, admin bool) {
	stamp(w.Header(), r)
	c := &call{API: a, w: &recorder{ResponseWriter: w}, r: r, route: rt, param: param, admin: admin}
	c.now, c.mono = a.Clock()
	began := c.mono
	fault.Linger(w, r) // until a handler wants the body
	var failed *fault.Error
	defer func() {
		for i := len(c.done) - 1; i >= 0; i-- {
			c.done[i]()
		}
		if p := recover(); p != nil {
			if p == http.ErrAbortHandler {
				a.metrics.count(rt.id, 499, untimed)
				panic(p) // a stream that broke off must not look whole
			}
			a.Logger.Error("panic in a management call", "call", rt.id, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			failed = fault.New(fault.Internal)
			if c.w.status != 0 {
				panic(http.ErrAbortHandler)
			}
			fault.Write(c.w, r, failed)
		}
		_, end := a.Clock()
		took := time.Duration(end - began)
		a.metrics.count(rt.id, c.w.status, took)
		c.observe(failed, took)
	}()
	if failed = c.run(); failed != nil {
		if failed.Code == fault.Internal && r.Context().Err() == nil { // a client that has gone broke it off itself
			a.Logger.Error("management call failed", "call", rt.id, "request_id", w.Header().Get(fault.RequestIDHeader), "error", failed.Cause)
		}
		if c.w.status != 0 {
			panic(http.ErrAbortHandler)
		}
		fault.Write(c.w, r, failed)
	}
}

func (c *call) run() *fault.Error {
	if err := c.identify(); err != nil {
		return err
	}
	if c.route.access&(open|anytime) == 0 && c.route.method == http.MethodGet {
		if err := c.Backend.Linearize(c.r.Context()); err != nil {
			return fault.From(err)
		}
	}
	if err := c.route.serve(c); err != nil {
		return fault.From(err)
	}
	return nil
}

// observe hands the call to this node's audit log, and the key's last use with
// it. A call whose command has told of it, or that is too frequent to be told
// of, is no event of its own.
func (c *call) observe(f *fault.Error, took time.Duration) {
	if c.route.action == "" {
		return
	}
	o := &local.Observation{
		At: c.now, Duration: took, RequestID: c.w.Header().Get(fault.RequestIDHeader),
		Method: c.r.Method, Route: c.route.path, Status: c.w.status, Client: c.client,
		UserAgent: c.agent(), Account: c.account, Hint: c.hint, Management: true, Action: c.route.action,
		Actor: c.caller.actor,
	}
	if f != nil {
		o.Code = string(f.Code)
	} else if c.committed || c.route.access&quiet != 0 {
		o.Action = ""
	}
	if rec := c.caller.record; rec != nil {
		o.Key, o.Type = rec.ID, rec.Type
	}
	c.Local.Observe(o)
}

// maxAgent bounds what is kept of a User-Agent, in bytes.
const maxAgent = 256

func (c *call) agent() string {
	s := c.r.UserAgent()
	if len(s) > maxAgent {
		s = s[:maxAgent]
	}
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	return s
}

// propose settles who, when and whence, and hands cmd to the cluster. What
// apply refuses comes back as a fault.
func (c *call) propose(cmd *store.Command) (Receipt, error) {
	cmd.At = c.stamp()
	cmd.Actor = c.caller.actor
	if cmd.Account == "" {
		cmd.Account = c.account
	}
	if c.client.IsValid() {
		cmd.IP = c.client.String()
	}
	cmd.Agent = c.agent()
	cmd.Request = store.RequestInfo{ID: c.w.Header().Get(fault.RequestIDHeader), Method: c.r.Method, Route: c.route.path}
	cmd.Once = c.once
	if cmd.Match == 0 && c.param != "" {
		match, err := c.ifMatch(nil)
		if err != nil {
			return Receipt{}, err
		}
		cmd.Match = match
	}
	ctx, cancel := context.WithTimeout(c.r.Context(), ProposeTimeout)
	defer cancel()
	rc, err := c.Backend.Propose(ctx, cmd)
	if err != nil {
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			return Receipt{}, fault.Wrap(fault.UnknownOutcome, err)
		}
		return Receipt{}, err
	}
	if no := rc.Refusal; no != nil {
		return Receipt{}, fault.Newf(fault.Code(no.Reason), "%s.", sentence(no))
	}
	c.committed = true
	return rc, nil
}

// sentence begins with the field's name, or else with a capital.
func sentence(no *store.Refusal) string {
	if no.Field != "" || no.Message == "" {
		return no.Message
	}
	return strings.ToUpper(no.Message[:1]) + no.Message[1:]
}

// revocation is rc's part of an answer to a write that may take a right away.
// While a node may still admit the old state the answer is 202.
func (c *call) revocation(rc Receipt) *Revocation {
	if !rc.Revocation.Effective {
		c.status = http.StatusAccepted
	}
	if rc.Revocation.Nodes == nil {
		rc.Revocation.Nodes = []RevocationAck{}
	}
	return &rc.Revocation
}

// created answers 201, or 200 when the result is a repeat's.
func (c *call) created(rc Receipt) {
	c.status = http.StatusCreated
	if rc.Repeat {
		c.status = http.StatusOK
	}
}
