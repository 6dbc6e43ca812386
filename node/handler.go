package node

import (
	"net/http"
	"sync/atomic"

	"github.com/perfgate/perfgate/httpapi"
)

// handlerSlot is the handler of a listener that is bound already while the node
// is still being assembled. The zero value is empty: [httpapi.Starting] answers.
type handlerSlot struct {
	h   atomic.Pointer[http.Handler]
	why atomic.Pointer[string] // what the start waits for; nil tells nothing
}

func (s *handlerSlot) set(h http.Handler) { s.h.Store(&h) }

func (s *handlerSlot) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h := s.h.Load(); h != nil {
		(*h).ServeHTTP(w, r)
		return
	}
	why := ""
	if p := s.why.Load(); p != nil {
		why = *p
	}
	httpapi.Starting(w, r, why)
}
