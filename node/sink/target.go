package sink

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/perfgate/perfgate/store"
)

// Options of a target.
type Options struct {
	Roots *x509.CertPool // that the receiver's certificate is verified with; nil are the system's
	Token string         // of an HTTPS receiver, sent as a bearer token
}

// The schemes of targets.
const (
	Syslog = "syslog+tls"
	HTTPS  = "https"
	File   = "file"
)

func newTarget(cfg *Config) (target, error) {
	secure := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: cfg.Roots, ServerName: cfg.Target.Hostname()} // RFC 5425 asks for 1.2
	switch cfg.Target.Scheme {
	case Syslog:
		port := cfg.Target.Port()
		if port == "" {
			port = "6514"
		}
		return &syslog{addr: net.JoinHostPort(cfg.Target.Hostname(), port), secure: secure, node: cfg.Node}, nil
	case HTTPS:
		t := &http.Transport{TLSClientConfig: secure, MaxIdleConns: 1, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true, Proxy: http.ProxyFromEnvironment}
		return &endpoint{url: cfg.Target.String(), token: cfg.Token, node: cfg.Node, client: &http.Client{
			Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}}, nil
	case File:
		return &file{path: cfg.Target.Path}, nil
	}
	return nil, fmt.Errorf("the scheme %q of a sink is unknown", cfg.Target.Scheme)
}

// endpoint takes batches by HTTPS: one POST of NDJSON each. Any 2xx says that it has them.
type endpoint struct {
	url, token, node string
	client           *http.Client
}

func (t *endpoint) send(ctx context.Context, batch []message) error {
	var body bytes.Buffer
	for _, m := range batch {
		body.Write(m.text)
		body.WriteByte('\n')
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.url, &body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-ndjson")
	req.Header.Set("User-Agent", "perfgate")
	req.Header.Set("X-Perf-Node", t.node)
	if t.token != "" {
		req.Header.Set("Authorization", "Bearer "+t.token)
	}
	resp, err := t.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection can be used again
	switch resp.StatusCode {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return &refusedError{resp.StatusCode}
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fmt.Errorf("the receiver answers %d", resp.StatusCode)
	}
	return nil
}

func (t *endpoint) close() { t.client.CloseIdleConnections() }

// file appends lines to a file, which is opened for each batch: it may be moved away.
type file struct{ path string }

func (t *file) send(_ context.Context, batch []message) (err error) {
	f, err := os.OpenFile(t.path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var out bytes.Buffer
	if end, err := f.Seek(0, io.SeekEnd); err == nil && end > 0 {
		last := []byte{0}
		if _, err := f.ReadAt(last, end-1); err == nil && last[0] != '\n' {
			out.WriteByte('\n') // a crash cut the last line
		}
	}
	for _, m := range batch {
		out.Write(m.text)
		out.WriteByte('\n')
	}
	if _, err := f.Write(out.Bytes()); err != nil {
		return err
	}
	return f.Sync()
}

func (t *file) close() {}

// syslog sends RFC 5424 messages over TLS, each after its length (RFC 5425).
type syslog struct {
	addr, node string
	secure     *tls.Config
	conn       *tls.Conn
	dead       chan struct{} // closed when the receiver closes the connection
}

// linger is how long a connection must stay open after a batch for it to count as taken.
const linger = 200 * time.Millisecond

func (t *syslog) send(ctx context.Context, batch []message) (err error) {
	if err := t.dial(ctx); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			t.close()
		}
	}()
	if until, ok := ctx.Deadline(); ok {
		if err := t.conn.SetWriteDeadline(until); err != nil {
			return err
		}
	}
	var out []byte
	for i := range batch {
		out = appendSyslog(out, t.node, &batch[i])
	}
	if _, err := t.conn.Write(out); err != nil {
		return err
	}
	select {
	case <-t.dead:
		return errors.New("the receiver closed the connection")
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(linger):
		return nil
	}
}

func (t *syslog) dial(ctx context.Context) error {
	if t.conn != nil {
		select {
		case <-t.dead:
			t.close()
		default:
			return nil
		}
	}
	d := tls.Dialer{NetDialer: &net.Dialer{KeepAlive: 30 * time.Second}, Config: t.secure}
	conn, err := d.DialContext(ctx, "tcp", t.addr)
	if err != nil {
		return err
	}
	t.conn, t.dead = conn.(*tls.Conn), make(chan struct{})
	go func(dead chan struct{}) { // ends with the connection
		_, _ = io.Copy(io.Discard, conn)
		close(dead)
	}(t.dead)
	return nil
}

func (t *syslog) close() {
	if t.conn == nil {
		return
	}
	_ = t.conn.Close()
	<-t.dead
	t.conn = nil
}

// facility 13 is that of log audits.
const facility = 13

// appendSyslog writes one message: its severity is that of the outcome, its MSGID the action.
func appendSyslog(out []byte, node string, m *message) []byte {
	severity := 6 // informational
	switch m.outcome {
	case store.Denied:
		severity = 4 // warning
	case store.Failed:
		severity = 3 // error
	case store.Success:
	}
	head := fmt.Sprintf("<%d>1 %s %s perfgate - %s - ", facility*8+severity, m.time.UTC().Format("2006-01-02T15:04:05.000Z"), word(node, 255), word(m.action, 32))
	out = strconv.AppendInt(out, int64(len(head)+len(m.text)), 10)
	out = append(append(out, ' '), head...)
	return append(out, m.text...)
}

// word is a field of the head: visible ASCII, "-" if there is nothing.
func word(s string, bound int) string {
	b := []byte(s[:min(len(s), bound)])
	for i := range b {
		if b[i] <= ' ' || b[i] > '~' {
			b[i] = '?'
		}
	}
	if len(b) == 0 {
		return "-"
	}
	return string(b)
}
