package mesh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
)

// Call sends body to path on the node at addr, as a POST, and returns the body
// of its answer; both have at most [MaxBody] bytes. want is the node that has to
// answer, "" for any of the cluster: if another one does the error is
// [ErrOtherNode].
//
// A [*NotSent] error says that the call had no effect, a [*StatusError] that the
// peer answered and with what. After any other the outcome is unknown. The
// caller's context is the only bound on how long an answer may take, but a peer
// that is gone is noticed in two seconds.
func (m *Mesh) Call(ctx context.Context, addr, want, path string, body []byte) ([]byte, error) {
	if len(body) > MaxBody {
		return nil, &NotSent{fmt.Errorf("call %s at %s: %w: %d bytes", path, addr, ErrTooLarge, len(body))}
	}
	for {
		d, fresh, err := m.calls.get(ctx, addr, want)
		if err != nil {
			return nil, &NotSent{fmt.Errorf("call %s: %w", path, err)}
		}
		out, err := d.post(ctx, addr, path, body)
		if err == nil {
			return out, nil
		}
		var not *NotSent
		if !fresh && ctx.Err() == nil && errors.As(err, &not) {
			m.calls.drop(addr, d) // an old connection that had ended unnoticed
			continue
		}
		if m.ctx.Err() != nil {
			err = fmt.Errorf("%w: %w", ErrClosed, err)
		}
		if errors.As(err, &not) {
			return nil, &NotSent{fmt.Errorf("call %s at %s: %w", path, addr, not.Err)}
		}
		return nil, fmt.Errorf("call %s at %s: %w", path, addr, err)
	}
}

// post makes the call on one connection.
func (d *dialed) post(ctx context.Context, addr, path string, body []byte) ([]byte, error) {
	var sent atomic.Bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteHeaders: func() { sent.Store(true) }, // called also if writing them failed midway
	})
	req, err := http.NewRequestWithContext(traced, http.MethodPost, "http://"+addr+path, bytes.NewReader(body))
	if err != nil {
		return nil, &NotSent{err}
	}
	resp, err := d.http.RoundTrip(req)
	if err != nil {
		// While ctx lives, RoundTrip returns only after the writing has ended, so that
		// what is not sent by now never will be. Once it is over that is not certain.
		if refused(err) || ctx.Err() == nil && !sent.Load() {
			return nil, &NotSent{err}
		}
		return nil, err
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(io.LimitReader(resp.Body, MaxBody+1))
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if len(out) > MaxBody {
		return nil, fmt.Errorf("read the answer: %w", ErrTooLarge)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, &StatusError{Status: resp.StatusCode, Body: out}
	}
	return out, nil
}

// streamError is net/http's error of one HTTP/2 stream, which it does not
// export: errors.As fills any struct that has these fields.
type streamError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (e streamError) Error() string { return fmt.Sprintf("stream error %d", e.Code) }

const (
	refusedStream = 0x7 // RFC 9113, 8.7: not processed, safe to send again
	// A GOAWAY below this stream; the error is not exported and has no fields. Should
	// a new Go word it otherwise the outcome is taken for unknown, and a test fails.
	goneAway = "http2: Transport received Server's graceful shutdown GOAWAY"
)

// refused tells whether the peer said that it did not begin with the call.
func refused(err error) bool {
	var s streamError
	return errors.As(err, &s) && s.Code == refusedStream || err.Error() == goneAway
}
