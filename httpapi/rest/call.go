package rest

import (
	"net/http"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/local"
)

// Call is one request on its way through the frame. It belongs to the goroutine
// that serves the request.
//
// The fields of the first group are set before the handler runs; a handler reads
// them. Those of the second the handler sets for [Call.Answer]. The others are
// the frame's own.
type Call struct {
	Request *http.Request
	Route   *Route
	Param   string // the path's variable segment
	Admin   bool   // came in on the admin listener
	Now     time.Time
	Client  netip.Addr
	Caller  Caller
	Account store.AccountID // that the call is about

	Status int    // of a success; 0 is 200
	ETag   uint64 // of the answer; 0 is none

	frame  *Frame
	w      *recorder
	mono   int64      // the monotonic time that belongs to Now
	pass   admit.Pass // of a key, as the gate judged it by rule
	rule   admit.Rule
	meter  *meter // nil for a caller without bound, and for a call that does not count
	hint   string // of a credential that was refused
	repeat repeat
	done   []func() // called when the call ends, last first
	change change
}

// change is what a call has done about the change that it makes.
type change struct {
	committed bool // a command carries this call's audit event
}

// Caller is the identity that makes a call: a key with its Record, an operator token, or
// a session, which may be a user's. An open call has none.
type Caller struct {
	Actor   store.Actor
	Record  *store.Record
	Role    store.Role // of an operator token or user; "" for keys and sessions of links
	Session *store.Session
	User    *store.User

	cookie string // of the session
}

// Maker is the creator of keys that the caller makes: for the session of a link, whoever made
// the link. What they hand out goes with them when they leave.
func (c *Caller) Maker() string {
	if c.Session != nil && c.Session.Kind == store.OfLink {
		if by := strings.TrimPrefix(c.Session.Name, store.LinkOf); by != "" {
			return by
		}
	}
	return c.Actor.ID
}

// recorder keeps the status of the answer.
type recorder struct {
	http.ResponseWriter
	status   int  // 0 until the head is written
	constant bool // see [SetConstant]
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

// run takes the call through identity and handler, and maps the error.
func (c *Call) run() *fault.Error {
	if err := c.identify(); err != nil {
		return err
	}
	if err := c.Route.checkParams(c.Param, c.Second()); err != nil {
		return err
	}
	if c.Route.Method != http.MethodGet && c.Route.Access&(Open|Quiet) == 0 { // also where no command is proposed
		if f := c.conditions(); f != nil {
			return f
		}
	}
	if len(c.Route.Query) == 0 && strings.HasPrefix(c.Route.Path, "/v1/") { // else the handler reads it; pages may be sent anything
		if err := c.Query().Err(); err != nil {
			return fault.From(err)
		}
	}
	if c.Route.Access&(Open|Anytime) == 0 && c.Route.Method == http.MethodGet {
		if err := c.Linearize(); err != nil {
			return fault.From(err)
		}
	}
	if err := c.Route.Serve(c); err != nil {
		return fault.From(err)
	}
	return nil
}

// Second is the path's second variable segment; "" if there is none.
func (c *Call) Second() string { return c.Route.second(c.Request.URL.Path) }

// Writer is the answer, for handlers that do not answer in JSON.
func (c *Call) Writer() http.ResponseWriter { return c.w }

// Answered reports whether the head of the answer is written.
func (c *Call) Answered() bool { return c.w.status != 0 }

// RequestID is the id of the request, the client's or a new one.
func (c *Call) RequestID() string { return c.w.Header().Get(fault.RequestIDHeader) }

// Stamp is the call's time in the form that is stored: milliseconds, UTC.
func (c *Call) Stamp() time.Time { return stamp(c.Now) }

func stamp(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

// Linearize returns once this node's state includes every write that was
// answered before. The frame does so before every GET that needs a leader.
func (c *Call) Linearize() error { return c.frame.cfg.Backend.Linearize(c.Request.Context()) }

// Present looks for a thing that a body names, and again after this node has caught up: another
// node may have made it a moment ago.
func Present(c *Call, there func(*store.Store) bool) (bool, error) {
	if there(c.frame.cfg.Store) || c.Repeated() { // a repeat is answered with the stored result
		return true, nil
	}
	if err := c.Linearize(); err != nil {
		return false, err
	}
	return there(c.frame.cfg.Store), nil
}

// Committed notes that a command carries the call's audit event, so that the
// call is no event of its own. [Call.Propose] does so by itself.
func (c *Call) Committed() { c.change.committed = true }

// observe hands the call to this node's audit log, and the key's last use with
// it. A success is no event of its own if its command carries the event, or if
// the route is quiet.
func (c *Call) observe(f *fault.Error, took time.Duration) {
	if c.Route.Action == "" {
		return
	}
	o := &local.Observation{
		At: c.Now, Duration: took, RequestID: c.RequestID(),
		Method: c.Request.Method, Route: c.Route.Path, Status: c.w.status, Client: c.Client,
		UserAgent: agent(c.Request), Account: c.Account, Hint: c.hint, Management: true, Action: c.Route.Action,
		Actor: c.Caller.Actor,
	}
	o.Path = c.Route.pathOf(c.Param)
	if f != nil {
		o.Code = string(f.Code)
	} else if c.change.committed || c.Route.Access&Quiet != 0 {
		o.Action = ""
	} else if v := viewOf(c.Request); v != nil {
		o.Action, o.Route, o.Path = v.note(), v.Pattern, apikey.Mask(v.Path)
	}
	if rec := c.Caller.Record; rec != nil {
		o.Key, o.Type = rec.ID, rec.Type
	}
	if c.Caller.Operates() && c.Route.Access&Global != 0 {
		o.Account = "" // the log of the operators
	}
	c.frame.cfg.Observer.Observe(o)
}

// maxAgent bounds the part of a User-Agent that is kept, in bytes.
const maxAgent = 256

// agent is the part of r's User-Agent that is kept.
func agent(r *http.Request) string {
	s := apikey.Mask(r.UserAgent())
	if len(s) > maxAgent {
		s = s[:maxAgent]
	}
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	return s
}
