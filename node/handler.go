package node

import (
	"net/http"
	"sync/atomic"

	"github.com/perfgate/perfgate/httpapi"
	"github.com/perfgate/perfgate/httpapi/fault"
)

// handlerSlot answers for a listener that is bound already while the node is
// still being assembled: /livez is alive, everything else is not ready. The
// zero value is empty.
type handlerSlot struct{ h atomic.Pointer[http.Handler] }

func (s *handlerSlot) set(h http.Handler) { s.h.Store(&h) }

func (s *handlerSlot) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h := s.h.Load(); h != nil {
		(*h).ServeHTTP(w, r)
		return
	}
	w.Header().Set(fault.RequestIDHeader, httpapi.RequestID(r))
	if r.URL.Path == "/livez" {
		w.WriteHeader(http.StatusOK)
		return
	}
	fault.Write(w, r, &fault.Error{Code: fault.Unavailable, RetryAfter: 1, Message: "The node is starting."})
}
