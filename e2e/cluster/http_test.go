package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// endpoint is a node as its clients see it.
type endpoint struct {
	name         string
	proxy, admin string // base URLs
}

// target is a cluster as its clients see it; a fake one serves as well.
type target struct {
	nodes    []endpoint
	operator string // token
}

// reply is one HTTP answer, read whole.
type reply struct {
	status int
	header http.Header
	raw    []byte
	json   map[string]any
}

func (r *reply) at(path ...string) any {
	var v any = r.json
	for _, p := range path {
		m, _ := v.(map[string]any)
		v = m[p]
	}
	return v
}

func (r *reply) str(path ...string) string  { s, _ := r.at(path...).(string); return s }
func (r *reply) num(path ...string) float64 { f, _ := r.at(path...).(float64); return f }

// code is the fault's code, or "" for a success.
func (r *reply) code() string { return r.str("error", "code") }

func (r *reply) String() string {
	return fmt.Sprintf("%d %s", r.status, bytes.TrimSpace(r.raw[:min(len(r.raw), 400)]))
}

type header map[string]string

func as(credential string) header { return header{"Authorization": "Bearer " + credential} }

func (h header) with(name, value string) header {
	out := header{name: value}
	for k, v := range h {
		out[k] = v
	}
	return out
}

// newClient returns a client that follows nothing. Connections are kept, as any
// client keeps them; a node that is gone is noticed within a second.
func newClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: time.Second}).DialContext,
			MaxIdleConnsPerHost: 256,
			IdleConnTimeout:     30 * time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

var client = newClient()

// call sends one request and reads the answer; body may be nil, a string or
// bytes (sent as they are) or a value (sent as JSON).
func call(ctx context.Context, method, url string, h header, body any) (*reply, error) {
	var rd io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		rd = bytes.NewReader([]byte(b))
	case []byte:
		rd = bytes.NewReader(b)
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			return nil, err
		}
		rd = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, url, rd)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for k, v := range h {
		req.Header.Set(k, v)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	out := &reply{status: resp.StatusCode, header: resp.Header}
	if out.raw, err = io.ReadAll(resp.Body); err != nil {
		return nil, err
	}
	json.Unmarshal(out.raw, &out.json) // some answers are not JSON
	return out, nil
}

// within is call with a deadline.
func within(limit time.Duration, method, url string, h header, body any) (*reply, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return call(ctx, method, url, h, body)
}

// manage makes a management call with the operator's token through node i.
func (g *target) manage(limit time.Duration, i int, method, path string, body any) (*reply, error) {
	return within(limit, method, g.nodes[i].admin+path, as(g.operator), body)
}

// unsent reports whether err shows that the server never saw the request.
func unsent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}
