package proxy

import (
	"errors"
	"strings"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/h1"
)

// ofRequest is the fault of a request that the transport refused to send, nil where err
// is another error: the upstream has no part in it. The errors of HTTP/2 have no types.
func ofRequest(err error) *fault.Error {
	text := err.Error()
	switch {
	case errors.As(err, new(*h1.RequestError)):
		return fault.Wrap(fault.InvalidRequest, err)
	case strings.Contains(text, "request header list larger than peer's advertised limit"): // of HTTP/2
		return fault.Wrap(fault.HeadersTooLarge, err)
	case strings.HasPrefix(text, "net/http: invalid "), strings.HasPrefix(text, "net/http: can't write control character"),
		strings.HasPrefix(text, "http: invalid Host header"), strings.HasPrefix(text, "http2: invalid "), strings.HasPrefix(text, "invalid HTTP "):
		return fault.Wrap(fault.InvalidRequest, err)
	}
	return nil
}

// largeHead is the size of a request's head, in bytes, above which servers may hang up
// instead of answering: the smallest bound among common servers.
const largeHead = 8 << 10

// mayOwe reports whether err, an upstream's failure, may be owed to x's client: its body
// had not come to its end, or its head is so large that the upstream may have hung up on
// it. Such failures do not count against the upstream's health, or one client could have
// it taken for down. A connection that was never made is owed to no client.
func mayOwe(x *exchange, err error) bool {
	return !dialing(err) && (x.body != nil && !x.body.over() || headSize(x.r) > largeHead)
}

func headSize(r *h1.Request) int {
	n := len(r.Target)
	for name, v := range r.Fields.All() {
		n += len(name) + len(v)
	}
	return n
}
