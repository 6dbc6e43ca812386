package serve

import (
	"net/http"
	"sync/atomic"

	"github.com/perfgate/perfgate/httpapi/h1"
)

// Slot is the handler of a listener that is bound while the node is still being
// assembled. Until Set, starting answers. It is safe for concurrent use.
type Slot struct {
	starting func(w http.ResponseWriter, r *http.Request, reason string)
	handler  atomic.Pointer[http.Handler]
	lane     atomic.Pointer[Lane]
	reason   atomic.Pointer[string] // see Waiting; nil is ""
}

// Lane is the field of [h1.Server]: it returns the function that serves a request, or nil
// if the handler is to serve it.
type Lane func(r *h1.Request) func(*h1.Exchange)

// NewSlot returns a slot without a handler. starting answers requests meanwhile;
// reason is the reason of the wait, "" if there is none to tell.
func NewSlot(starting func(w http.ResponseWriter, r *http.Request, reason string)) *Slot {
	return &Slot{starting: starting}
}

// Set makes h answer from now on.
func (s *Slot) Set(h http.Handler) { s.handler.Store(&h) }

// SetLane has l serve the requests of HTTP/1.1 that it takes, from now on.
func (s *Slot) SetLane(l Lane) { s.lane.Store(&l) }

// Lane is a [Lane] itself.
func (s *Slot) Lane(r *h1.Request) func(*h1.Exchange) {
	if l := s.lane.Load(); l != nil {
		return (*l)(r)
	}
	return nil
}

// Waiting sets the reason of the wait that clients are told; "" is none.
func (s *Slot) Waiting(reason string) { s.reason.Store(&reason) }

func (s *Slot) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h := s.handler.Load(); h != nil {
		(*h).ServeHTTP(w, r)
		return
	}
	reason := ""
	if p := s.reason.Load(); p != nil {
		reason = *p
	}
	s.starting(w, r, reason)
}
