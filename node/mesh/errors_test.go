package mesh

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
)

// An error of a dial tells an operator whether the network, the address or the
// certificates are wrong.
func TestSortDial(t *testing.T) {
	op := func(op string, err error) error { return &net.OpError{Op: op, Net: "tcp", Err: err} }
	for _, c := range []struct {
		name string
		err  error
		is   error  // nil: unclassified
		text string // in the result
	}{
		{"end of stream", io.EOF, ErrUnreachable, "no answer"},
		{"cut off", fmt.Errorf("read: %w", io.ErrUnexpectedEOF), ErrUnreachable, "no answer"},
		{"closed here", net.ErrClosed, ErrUnreachable, "no answer"},
		{"too late", context.DeadlineExceeded, ErrUnreachable, "no answer"},
		{"given up", context.Canceled, ErrUnreachable, "no answer"},
		{"deadline of the connection", os.ErrDeadlineExceeded, ErrUnreachable, "no answer"},
		{"refused", op("dial", syscall.ECONNREFUSED), ErrUnreachable, "connection refused"},
		{"reset", op("read", syscall.ECONNRESET), ErrUnreachable, "connection reset"},
		{"not TLS", tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}, ErrNotCluster, "cluster.listen"},
		{"the peer's alert", op("remote error", errors.New("tls: bad certificate")), nil, "the peer refused the connection"},
		{"our alert", op("local error", errors.New("tls: bad certificate")), nil, "bad certificate"},
		{"another error", errors.New("x"), nil, "x"},
	} {
		got := sortDial(c.err)
		if !errors.Is(got, c.err) || !strings.Contains(got.Error(), c.text) {
			t.Errorf("%s: %v", c.name, got)
		}
		for _, class := range []error{ErrUnreachable, ErrNotCluster} {
			if errors.Is(got, class) != (class == c.is) {
				t.Errorf("%s: %v", c.name, got)
			}
		}
	}
}

func TestErrorTexts(t *testing.T) {
	if err := (&NotSent{fmt.Errorf("call: %w", ErrDenied)}); !errors.Is(err, ErrDenied) || err.Error() != "call: the peer was removed from the cluster" {
		t.Errorf("%v", err)
	}
	long := &StatusError{Status: 503, Body: []byte(strings.Repeat("x", 10_000))}
	if got := long.Error(); len(got) > 300 || !strings.HasPrefix(got, `the peer answered 503: "xxx`) {
		t.Errorf("%d bytes: %.100s", len(got), got)
	}
	if got := (&StatusError{Status: 500, Body: []byte("\x1b[31m\n")}).Error(); strings.ContainsAny(got, "\x1b\n") {
		t.Errorf("the peer's bytes are not quoted: %q", got)
	}
	if got := (&RemoteError{Text: "no room"}).Error(); got != "the peer refused: no room" {
		t.Error(got)
	}
}
