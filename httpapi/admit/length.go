package admit

import (
	"net/http"
	"strconv"

	"github.com/perfgate/perfgate/httpapi/fault"
)

// CheckLength refuses a request of HTTP/2 whose Content-Length is not that of its body,
// as far as the head shows it. RFC 9113 section 8.1.1 calls such requests malformed;
// net/http's server takes them: it drops the body if the number is none, and passes a
// head that announces a body and ends the stream. HTTP/1.1 is framed by the number.
func CheckLength(r *http.Request) *fault.Error {
	if r.ProtoMajor != 2 {
		return nil
	}
	stated := r.Header["Content-Length"]
	for _, text := range stated {
		n, err := strconv.ParseUint(text, 10, 63)
		switch {
		case err != nil, text != stated[0]:
			return fault.Newf(fault.InvalidRequest, "The Content-Length is not valid; send one number.")
		case n > 0 && r.ContentLength == 0:
			return fault.Newf(fault.InvalidRequest, "The Content-Length announces a body, and the request has none.")
		}
	}
	return nil
}
