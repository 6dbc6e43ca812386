package ui

import (
	"bytes"
	"io"
	"net/http"

	"github.com/perfgate/perfgate/httpapi/fault"
)

// unfaulty passes an answer of the API on, but keeps one that is a fault, so that a person who
// has followed a link gets a page, and not JSON.
type unfaulty struct {
	http.ResponseWriter
	status int // of the fault; 0 without one
	begun  bool
	body   bytes.Buffer
}

// maxFault bounds what is kept of a fault, in bytes.
const maxFault = 128 << 10

// WriteHeader implements [http.ResponseWriter].
func (u *unfaulty) WriteHeader(status int) {
	switch {
	case u.begun || u.status != 0:
	case status >= http.StatusBadRequest:
		u.status = status
	default:
		u.begun = status >= http.StatusOK
		u.ResponseWriter.WriteHeader(status)
	}
}

// Write implements [http.ResponseWriter].
func (u *unfaulty) Write(p []byte) (int, error) {
	if u.status != 0 {
		u.body.Write(p[:min(len(p), maxFault-u.body.Len())])
		return len(p), nil
	}
	u.begun = true
	return u.ResponseWriter.Write(p)
}

// FlushError sends what was written so far, unless it is kept.
func (u *unfaulty) FlushError() error {
	if u.status != 0 {
		return nil
	}
	u.begun = true
	return http.NewResponseController(u.ResponseWriter).Flush()
}

// Unwrap leads an [http.ResponseController] to the deadlines.
func (u *unfaulty) Unwrap() http.ResponseWriter { return u.ResponseWriter }

// fault is the fault that was kept; nil without one. The fields of the header that were about
// its text, or about a file, are gone.
func (u *unfaulty) fault(r *http.Request) *fault.Error {
	if u.status == 0 {
		return nil
	}
	for _, name := range []string{"Content-Disposition", "Content-Length", "Content-Type"} {
		u.Header().Del(name)
	}
	return fault.Decode(&http.Response{StatusCode: u.status, Status: http.StatusText(u.status), Body: io.NopCloser(&u.body), Request: r})
}

// Linked serves a call of the API that a page links to: a browser that asks for HTML gets a
// page where the call fails. Others get the answer of the API as it is.
func (u *UI) Linked(w http.ResponseWriter, r *http.Request, api http.Handler) {
	if !isBrowser(r) {
		api.ServeHTTP(w, r)
		return
	}
	kept := &unfaulty{ResponseWriter: w}
	api.ServeHTTP(kept, r)
	if f := kept.fault(r); f != nil {
		setPageHeaders(w.Header(), r)
		v := &visit{ui: u, w: w, r: r, carrier: &carrier{id: w.Header().Get(fault.RequestIDHeader)}}
		if err := v.render(kept.status, "problem", &page{Title: "That did not work", Problem: f}); err != nil {
			http.Error(w, f.Sentence(), kept.status)
		}
	}
}
