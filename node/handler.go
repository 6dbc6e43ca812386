package node

import (
	"net/http"
	"sync/atomic"

	"github.com/perfgate/perfgate/httpapi"
)

// handlerSlot is the handler of a listener that is bound already while the node
// is still being assembled. The zero value is empty: [httpapi.Starting] answers.
type handlerSlot struct{ h atomic.Pointer[http.Handler] }

func (s *handlerSlot) set(h http.Handler) { s.h.Store(&h) }

func (s *handlerSlot) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h := s.h.Load(); h != nil {
		(*h).ServeHTTP(w, r)
		return
	}
	httpapi.Starting(w, r)
}
