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

// Call sends body to path on the node at addr, as a POST, and returns the body of
// its answer; each has at most [MaxBody] bytes. nodeID is the node that must
// answer, "" for any node of the cluster: if another one does, the error is
// [ErrOtherNode].
//
// A [*NotSent] error means that the call had no effect, a [*StatusError] that the
// peer answered with another status than 200. After any other error the outcome is
// unknown. The context is the only bound on the time of an answer, but a peer that
// has vanished is noticed within two seconds.
func (m *Mesh) Call(ctx context.Context, addr, nodeID, path string, body []byte) ([]byte, error) {
	if len(body) > MaxBody {
		return nil, &NotSent{fmt.Errorf("call %s at %s: %w: %d bytes", path, addr, ErrTooLarge, len(body))}
	}
	for {
		d, fresh, err := m.calls.get(ctx, addr, nodeID)
		if err != nil {
			return nil, &NotSent{fmt.Errorf("call %s: %w", path, err)}
		}
		out, err := d.post(ctx, addr, path, body)
		if err == nil {
			return out, nil
		}
		var not *NotSent
		if !fresh && ctx.Err() == nil && errors.As(err, &not) {
			m.calls.drop(addr, d) // an old connection whose end went unnoticed
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
		WroteHeaders: func() { sent.Store(true) }, // also called if writing them failed midway
	})
	req, err := http.NewRequestWithContext(traced, http.MethodPost, "http://"+addr+path, bytes.NewReader(body))
	if err != nil {
		return nil, &NotSent{err}
	}
	resp, err := d.http.RoundTrip(req)
	if err != nil {
		// While ctx is not done, RoundTrip returns only after writing has ended, so that
		// a request not sent by now never will be. Once ctx is done, that is not certain.
		if refused(err) || ctx.Err() == nil && !sent.Load() {
			return nil, &NotSent{err}
		}
		return nil, err
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(io.LimitReader(resp.Body, MaxBody+1))
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	if len(out) > MaxBody {
		return nil, fmt.Errorf("read answer: %w", ErrTooLarge)
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
	// A GOAWAY below this stream. The error is not exported and has no fields. If a
	// later Go changes its text, the outcome counts as unknown, and a test fails.
	goneAway = "http2: Transport received Server's graceful shutdown GOAWAY"
)

// refused reports whether the peer said that it did not process the call.
func refused(err error) bool {
	var s streamError
	return errors.As(err, &s) && s.Code == refusedStream || err.Error() == goneAway
}
