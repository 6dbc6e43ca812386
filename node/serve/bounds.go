package serve

import (
	"net/http"

	"github.com/perfgate/perfgate/httpapi/fault"
)

// The bounds of a request's head over HTTP/2, in bytes; h1 has the same for HTTP/1.1.
// net/http's own refusals are plain text, so its bound is wider than ours.
const (
	maxTarget  = 8 << 10
	maxHead    = 32 << 10 // target and header fields
	hardHead   = 128 << 10
	perField   = len(": \r\n")
	headOfHTTP = 4 << 10 // net/http adds this to its bound
)

// bounded refuses requests with too large a head and passes the others to next.
func bounded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		code := fault.HeadersTooLarge
		switch size := headSize(r); {
		case len(r.RequestURI) > maxTarget:
			code = fault.URITooLong
		case size <= maxHead:
			next.ServeHTTP(w, r)
			return
		}
		forget(r.Header)
		answer(w, r, fault.New(code))
	})
}

// forget drops what an answer does not need: a client that takes none of its answers holds
// up to maxStreams heads in memory.
func forget(h http.Header) {
	for name, values := range h {
		if name != fault.RequestIDHeader && name != "Accept" || len(values) > 1 || len(values[0]) > 1<<10 {
			delete(h, name)
		}
	}
}

func headSize(r *http.Request) int {
	n := len(r.RequestURI) + len(r.Host)
	for name, values := range r.Header {
		for _, v := range values {
			n += len(name) + len(v) + perField
		}
	}
	return n
}
