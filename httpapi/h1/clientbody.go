package h1

import (
	"io"
	"net/http"
	"time"
)

var (
	errShortBody = unsendable("the body is shorter than its Content-Length")
	errLongBody  = unsendable("the body is longer than its Content-Length")
)

// mayBeEmpty reports whether it is worth finding out whether the body of x is empty: its
// length is not known, and servers may refuse its method for the mere presence of a body.
func (x *Call) mayBeEmpty() bool {
	if !x.Unsure || x.Length >= 0 {
		return false
	}
	switch x.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodDelete, "PROPFIND", "SEARCH":
		return true
	}
	return false
}

// probeTime is how long probe waits. net/http waits as long.
const probeTime = 200 * time.Millisecond

// probe finds out whether a body is empty, and returns nil then. HTTP/2 has requests that
// say so only after their head.
func probe(body io.ReadCloser) io.ReadCloser {
	first := &firstOctet{ready: make(chan struct{})}
	go func() {
		first.n, first.err = body.Read(first.octet[:])
		close(first.ready)
	}()
	limit := time.NewTimer(probeTime)
	defer limit.Stop()
	select {
	case <-first.ready:
		if first.n == 0 && first.err == io.EOF {
			body.Close()
			return nil
		}
	case <-limit.C:
	}
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(first, body), body}
}

// firstOctet reads what was read already, or will be soon.
type firstOctet struct {
	ready chan struct{} // closed once the fields below are set
	octet [1]byte
	n     int
	err   error
}

// Read implements [io.Reader].
func (f *firstOctet) Read(p []byte) (n int, err error) {
	<-f.ready
	if f.n == 1 && len(p) > 0 {
		p[0], n, f.n = f.octet[0], 1, 0
		return n, nil
	}
	if f.err == nil {
		return 0, io.EOF // the rest follows
	}
	return 0, f.err
}

// expectEnd reads the end of a body that has yielded all of its octets: an announced
// trailer, or a watcher, may depend on it. It returns io.EOF.
func expectEnd(body io.Reader) error {
	var octet [1]byte
	for range 100 {
		if n, err := body.Read(octet[:]); n > 0 {
			return errLongBody
		} else if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}
