package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/perfgate/perfgate/httpapi/fault"
)

// Client calls one server. The zero value is not usable; see [New]. Its fields
// may be changed before the first call.
type Client struct {
	// Account is sent as X-Perf-Account with an operator token; "" is the default account.
	Account string
	// Agent is the User-Agent; "" is Go's.
	Agent string
	// HTTP does the requests. The default one has no timeout: a context bounds a call.
	HTTP *http.Client

	base  *url.URL
	token string
}

// New returns a client of the server at base ("http://127.0.0.1:8081") that
// shows token, an operator token or an API key.
func New(base, token string) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, fmt.Errorf("server %q: %w", base, err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("server %q: want a URL such as http://127.0.0.1:8081", base)
	}
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, fmt.Errorf("the token holds blanks or characters that no token has; was it copied whole?")
	}
	return &Client{HTTP: http.DefaultClient, base: u, token: token}, nil
}

// Option changes one call.
type Option func(*http.Request)

// IfMatch makes a change hold only while the target still has this ETag.
func IfMatch(etag string) Option {
	return func(r *http.Request) { r.Header.Set("If-Match", etag) }
}

// IdempotencyKey makes a POST safe to repeat for 24 h.
func IdempotencyKey(key string) Option {
	return func(r *http.Request) { r.Header.Set("Idempotency-Key", key) }
}

// Force carries a change out although it shuts out the caller.
func Force() Option {
	return func(r *http.Request) {
		q := r.URL.Query()
		q.Set("force", "true")
		r.URL.RawQuery = q.Encode()
	}
}

// Header sets one header field of the request.
func Header(name, value string) Option {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

// Do makes any call. body is sent as it is if it is an io.Reader or nil, else as
// JSON. out takes the answer: JSON is decoded into it, a *json.RawMessage takes
// it undecoded, an io.Writer gets it streamed, nil drops it.
func (c *Client) Do(ctx context.Context, method, path string, query url.Values, body, out any, opts ...Option) error {
	resp, err := c.send(ctx, method, path, query, body, opts)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch out := out.(type) {
	case nil:
		return nil
	case io.Writer:
		if _, err := io.Copy(out, resp.Body); err != nil {
			return fmt.Errorf("%s %s: the answer broke off: %w", method, path, err)
		}
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("%s %s: read the answer: %w", method, path, err)
	}
	return nil
}

// send returns a response with a good status, whose body the caller closes.
func (c *Client) send(ctx context.Context, method, target string, query url.Values, body any, opts []Option) (*http.Response, error) {
	if path.Clean(target) != target { // an id like that would make it another call's path
		return nil, fmt.Errorf("%s %s: an id is missing or is none", method, target)
	}
	var payload io.Reader
	asJSON := false
	switch b := body.(type) {
	case nil:
	case io.Reader:
		payload = b
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			return nil, fmt.Errorf("%s %s: encode the body: %w", method, target, err)
		}
		payload, asJSON = bytes.NewReader(raw), true
	}
	u := c.base.JoinPath(target)
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, method, u.String(), payload)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, target, err)
	}
	if asJSON {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if c.Account != "" {
		req.Header.Set("X-Perf-Account", c.Account)
	}
	if c.Agent != "" {
		req.Header.Set("User-Agent", c.Agent)
	}
	for _, o := range opts {
		o(req)
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return nil, err // net/http names method and URL, and the token is in neither
	}
	if resp.StatusCode >= 300 {
		defer resp.Body.Close()
		return nil, fault.Decode(resp)
	}
	return resp, nil
}

// call is [Client.Do] with an answer of type T.
func call[T any](ctx context.Context, c *Client, method, path string, query url.Values, body any, opts []Option) (*T, error) {
	out := new(T)
	if err := c.Do(ctx, method, path, query, body, out, opts...); err != nil {
		return nil, err
	}
	return out, nil
}

// Page asks for a part of a list; the zero value for its beginning.
type Page struct {
	Limit  int
	Cursor string
}

func (p Page) query() url.Values {
	q := url.Values{}
	if p.Limit > 0 {
		q.Set("limit", fmt.Sprint(p.Limit))
	}
	add(q, "cursor", p.Cursor)
	return q
}

func add(q url.Values, name, value string) {
	if value != "" {
		q.Set(name, value)
	}
}

// List is a part of a list. Next is nil at the end.
type List[T any] struct {
	Data []T     `json:"data"`
	Next *string `json:"next_cursor"`
}
