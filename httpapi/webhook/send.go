package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// The bounds of one delivery.
const (
	Timeout    = 10 * time.Second // for the whole exchange
	maxAnswer  = 64 << 10         // of the answer's body that is read, so that the connection can be used again
	maxDrain   = time.Second
	maxHeaders = 64 << 10
	idle       = 90 * time.Second
)

// Sender posts notices.
type Sender struct {
	agent     string
	transport http.RoundTripper
	close     func() // idle connections
}

// NewSender returns a sender that also reaches the private addresses in allowed.
func NewSender(version string, allowed []netip.Prefix) *Sender {
	d := &net.Dialer{Timeout: Timeout, KeepAlive: -1, Control: guard{allowed}.control}
	t := &http.Transport{
		Proxy: nil, DialContext: d.DialContext, TLSHandshakeTimeout: Timeout, ForceAttemptHTTP2: true,
		MaxIdleConnsPerHost: 1, MaxIdleConns: 256, IdleConnTimeout: idle, MaxResponseHeaderBytes: maxHeaders,
		DisableCompression: true,
	}
	return &Sender{agent: "perfgate/" + version, transport: t, close: t.CloseIdleConnections}
}

// Close closes idle connections.
func (s *Sender) Close() { s.close() }

// Notice is what one delivery sends.
type Notice struct {
	URL     string
	ID      string // webhook-id
	Body    []byte
	Secrets Secrets
}

// Outcome is the end of an attempt: a 2xx status is a success.
type Outcome struct {
	Status int   // 0 without an answer
	Err    error // nil after a success
	Took   time.Duration
}

// Send makes one attempt. Redirects are not followed: they are failures.
func (s *Sender) Send(ctx context.Context, n *Notice) (o Outcome) {
	began := time.Now()
	defer func() { o.Took = time.Since(began) }()
	ctx, cancel := context.WithTimeoutCause(ctx, Timeout, fmt.Errorf("no answer within %v", Timeout))
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, n.URL, bytes.NewReader(n.Body))
	if err != nil {
		return Outcome{Err: err}
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", s.agent)
	Sign(r.Header, n.Secrets, n.ID, began, n.Body)
	resp, err := s.transport.RoundTrip(r)
	if err != nil {
		return Outcome{Err: reason(ctx, err)}
	}
	defer resp.Body.Close()
	// The status is the answer. What follows is read so that the connection can be used again,
	// unless it is slow.
	hurry := time.AfterFunc(maxDrain, cancel)
	defer hurry.Stop()
	_, _ = io.CopyN(io.Discard, resp.Body, maxAnswer)
	switch code := resp.StatusCode; {
	case code >= 200 && code < 300:
		return Outcome{Status: code}
	case code >= 300 && code < 400:
		return Outcome{Status: code, Err: fmt.Errorf("answered %d; redirects are not followed, so enter the final URL", code)}
	default:
		return Outcome{Status: code, Err: fmt.Errorf("answered %d", code)}
	}
}

// reason is err without what a reader cannot use.
func reason(ctx context.Context, err error) error {
	var no *Refused
	switch {
	case errors.As(err, &no):
		return no
	case errors.Is(context.Cause(ctx), context.Canceled):
		return context.Canceled
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return err
}
