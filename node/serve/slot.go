package serve

import (
	"net/http"
	"sync/atomic"

	"github.com/perfgate/perfgate/httpapi/h1"
)

// Slot is the handler of a listener that is bound while the node is still being
// assembled. Until Set, starting answers. It is safe for concurrent use.
type Slot struct {
	starting func(w http.ResponseWriter, r *http.Request, waits bool)
	handler  atomic.Pointer[http.Handler]
	lane     atomic.Pointer[Lane]
	waits    atomic.Bool // see Waiting
}

// Lane is the field of [h1.Server]: it returns the function that serves a request, or nil
// if the handler is to serve it.
type Lane func(r *h1.Request) func(*h1.Exchange)

// NewSlot returns a slot without a handler. starting answers requests meanwhile;
// waits says that the node waits for other nodes.
func NewSlot(starting func(w http.ResponseWriter, r *http.Request, waits bool)) *Slot {
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

// Waiting notes why the node waits for other nodes; "" says that it does not. Clients
// learn only that it waits: the reason holds addresses and faults.
func (s *Slot) Waiting(reason string) { s.waits.Store(reason != "") }

func (s *Slot) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h := s.handler.Load(); h != nil {
		(*h).ServeHTTP(w, r)
		return
	}
	s.starting(w, r, s.waits.Load())
}
