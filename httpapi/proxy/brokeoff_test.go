package proxy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/perfgate/perfgate/httpapi/h1"
)

// A client of HTTP/2 that leaves must not pass for one whose body is malformed, which is
// refunded: the error of its body may be read before its context is done.
func TestBrokeOff(t *testing.T) {
	short := fmt.Errorf("request declared a Content-Length of %d but only wrote %d bytes", 5, 3)
	for _, c := range []struct {
		major int
		err   error
		want  bool
	}{
		{1, io.ErrUnexpectedEOF, true},
		{1, &net.OpError{Op: "read", Err: errors.New("connection reset by peer")}, true},
		{1, errors.New("invalid byte in chunk length"), false},
		{1, errBadTrailer, false},
		{2, errors.New("client disconnected"), true},
		{2, errors.New("stream error: stream ID 1; CANCEL"), true},
		{2, short, false},
		{2, errBadTrailer, false},
	} {
		if got := brokeOff(&h1.Request{Major: c.major}, c.err); got != c.want {
			t.Errorf("HTTP/%d, %q: %v, want %v", c.major, c.err, got, c.want)
		}
	}
}
