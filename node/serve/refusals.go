package serve

import (
	"net/http"

	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/h1"
)

// refuse answers a malformed request, which no handler sees, in the form of this API.
func refuse(w http.ResponseWriter, r *http.Request, e *h1.Error) {
	code := fault.InvalidRequest
	switch e.Status {
	case http.StatusRequestTimeout:
		code = fault.RequestTimeout
	case http.StatusRequestURITooLong:
		code = fault.URITooLong
	case http.StatusExpectationFailed:
		code = fault.ExpectationFailed
	case http.StatusRequestHeaderFieldsTooLarge:
		code = fault.HeadersTooLarge
	case http.StatusNotImplemented:
		code = fault.NotImplemented
	case http.StatusHTTPVersionNotSupported:
		code = fault.HTTPVersion
	}
	answer(w, r, &fault.Error{Code: code, Message: e.Message})
}

// answer answers with f, and ends the connection. Over HTTP/2 it ends the stream alone: the
// others may be of other people, behind one proxy.
func answer(w http.ResponseWriter, r *http.Request, f *fault.Error) {
	w.Header().Set(fault.RequestIDHeader, admit.RequestID(r.Header[fault.RequestIDHeader]))
	if r.ProtoMajor < 2 {
		w.Header().Set("Connection", "close")
	}
	admit.WriteFault(w, r, f)
}

// methods is the value of Allow for the whole server.
const methods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"

// whole answers "OPTIONS *", which asks about the server as a whole and goes to no
// route. Other requests go to next.
func whole(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodOptions || r.URL.Path != "*" {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set(fault.RequestIDHeader, admit.RequestID(r.Header[fault.RequestIDHeader]))
		w.Header().Set("Allow", methods)
		fault.Linger(w, r)
		w.WriteHeader(http.StatusNoContent)
	})
}
