package h1

import (
	"errors"
	"fmt"
)

// ConnectError is the failure to make a connection: nothing of the request was sent.
type ConnectError struct{ Err error }

func (e *ConnectError) Error() string { return e.Err.Error() }
func (e *ConnectError) Unwrap() error { return e.Err }

// RequestError refuses a request that cannot be sent as HTTP/1.1. No upstream has a part
// in it.
type RequestError struct{ Reason string }

func (e *RequestError) Error() string { return "the request cannot be sent: " + e.Reason }

func unsendable(format string, args ...any) error {
	return &RequestError{fmt.Sprintf(format, args...)}
}

// ErrNoResponse is returned when the head of an answer does not come in time after the
// request has been written. It implements [net.Error].
var ErrNoResponse error = noResponse{}

type noResponse struct{}

func (noResponse) Error() string   { return "timeout awaiting response headers" }
func (noResponse) Timeout() bool   { return true }
func (noResponse) Temporary() bool { return true }

// errNoHandshake is wrapped in a [ConnectError].
var errNoHandshake error = noHandshake{}

type noHandshake struct{}

func (noHandshake) Error() string   { return "timeout in the TLS handshake" }
func (noHandshake) Timeout() bool   { return true }
func (noHandshake) Temporary() bool { return true }

// The faults of answers that concern more than one head.
var (
	errInterim   = bad("interim", "Too many interim responses (1xx) came before the answer.")
	errUnasked   = bad("upgrade", "The connection switches to a protocol that the request did not ask for.")
	errHalfAsked = bad("upgrade", "The connection switches protocols before the request has ended.")
)

// errEnded is the end of a connection before the first octet of an answer.
var errEnded = errors.New("the connection ended before a response")

// errStray is returned when octets have come before the upstream's kernel had received
// any of the request: they are no answer to it. They came after the connection was checked.
var errStray = errors.New("the connection has octets that no request asked for")
