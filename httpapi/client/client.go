package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/fault"
)

// Client calls one server. Create it with [New]. Its fields may be changed before
// the first call.
type Client struct {
	// Account is sent as X-Perf-Account with an operator token; "" selects the
	// default account.
	Account string
	// Agent is the User-Agent; "" selects Go's.
	Agent string
	// HTTP sends the requests. The default has no timeout: the context of a call
	// bounds it.
	HTTP *http.Client
	// Explain, if it is set, sees the error of every failed call but [Client.Readyz],
	// and returns the one for the caller in its place.
	Explain func(ctx context.Context, err error) error

	base  *url.URL
	token string // not sent if empty
}

// New returns a client of the server at base ("http://127.0.0.1:8081", also with a
// path) that authenticates with token: an operator token, an API key, or "" for
// calls that need neither. Errors never contain the token.
func New(base, token string) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, fmt.Errorf("server %q: %w", base, err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("server %q: must be a URL such as http://127.0.0.1:8081", base)
	}
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, errors.New("the token contains blanks or characters that no token has; copy it again")
	}
	return &Client{HTTP: http.DefaultClient, base: u, token: token}, nil
}

// Option changes one request.
type Option func(*http.Request)

// IfMatch makes a change fail with [fault.PreconditionFailed] unless the target
// still has this ETag.
func IfMatch(etag string) Option {
	return func(r *http.Request) { r.Header.Set("If-Match", etag) }
}

// IdempotencyKey makes a POST safe to repeat for 24 h.
func IdempotencyKey(key string) Option {
	return func(r *http.Request) { r.Header.Set("Idempotency-Key", key) }
}

// Reassign also imports keys that another account imported and revoked; for operators.
func Reassign() Option { return parameter("reassign") }

// Force makes a change even if it locks the caller out or leaves the cluster without
// a majority.
func Force() Option { return parameter("force") }

// parameter sets a parameter of the query to true.
func parameter(name string) Option {
	return func(r *http.Request) {
		q := r.URL.Query()
		q.Set(name, "true")
		r.URL.RawQuery = q.Encode()
	}
}

// Header sets one header field of the request.
func Header(name, value string) Option {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

// Do makes any call. path is escaped and begins with a slash. body is sent as it is
// if it is nil or an io.Reader, and otherwise as JSON. The answer is streamed to out
// if that is an io.Writer, dropped if out is nil, and otherwise decoded into out as
// JSON; a *json.RawMessage receives it undecoded.
func (c *Client) Do(ctx context.Context, method, path string, query url.Values, body, out any, opts ...Option) error {
	_, err := c.do(ctx, method, path, query, body, out, opts)
	return err
}

// do is [Client.Do], and returns the header of the answer. Every call comes through here.
func (c *Client) do(ctx context.Context, method, path string, query url.Values, body, out any, opts []Option) (http.Header, error) {
	resp, err := c.send(ctx, method, path, query, body, opts)
	if err == nil {
		defer resp.Body.Close()
		if err = read(resp, path, out); err == nil {
			return resp.Header, nil
		}
		err = fmt.Errorf("%s %s: %w", method, path, err)
	}
	if c.Explain != nil {
		err = c.Explain(ctx, err)
	}
	return nil, err
}

// ErrKeyInURL is the error of a call that was not made, because an API key stands in
// its path or query: servers and proxies on the way log these. It does not name the key.
var ErrKeyInURL = errors.New("an API key stands where an id or a filter belongs; nothing was sent")

func holdsKey(target string, query url.Values) bool {
	if apikey.Holds(target) {
		return true
	}
	for name, values := range query {
		if apikey.Holds(name) || slices.ContainsFunc(values, apikey.Holds) {
			return true
		}
	}
	return false
}

// send returns a response with a status below 300; the caller closes its body.
func (c *Client) send(ctx context.Context, method, target string, query url.Values, body any, opts []Option) (*http.Response, error) {
	if holdsKey(target, query) { // first: the other errors repeat the target
		return nil, fmt.Errorf("%s: %w", method, ErrKeyInURL)
	}
	if path.Clean(target) != target { // an id such as ".." would lead to the path of another call
		return nil, fmt.Errorf("%s %s: an id is missing or invalid", method, target)
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
			return nil, fmt.Errorf("%s %s: encode body: %w", method, target, err)
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
		return nil, err // a *url.Error with method and URL, neither of which contains the token
	}
	if resp.StatusCode >= 300 {
		defer resp.Body.Close()
		return nil, fault.Decode(resp)
	}
	return resp, nil
}

// call is [Client.Do] for an answer of type T.
func call[T any](ctx context.Context, c *Client, method, path string, query url.Values, body any, opts []Option) (*T, error) {
	out := new(T)
	if err := c.Do(ctx, method, path, query, body, out, opts...); err != nil {
		return nil, err
	}
	return out, nil
}

// Page selects a part of a list; the zero value selects its first page.
type Page struct {
	Limit  int    // rows; 0 is the server's default
	Cursor string // from Next of the page before
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

// List is one page of a list. Next is the cursor of the next page, nil on the last.
type List[T any] struct {
	Data []T     `json:"data"`
	Next *string `json:"next_cursor"`
}
