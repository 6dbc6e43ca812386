package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/perfgate/perfgate/httpapi/client"
)

// session is one command's connection to a server.
type session struct {
	*app
	api  *client.Client
	etag string // of the last answer
}

// dial makes a session; no connection is made before the first call.
func (a *app) dial() (*session, error) {
	u, err := a.base()
	if err != nil {
		return nil, err
	}
	token, err := a.credential(u)
	if err != nil {
		return nil, err
	}
	if u.Scheme == "http" && !onLoopback(u) {
		fmt.Fprintf(a.Stderr, "perfgate: warning: the token goes to %s in plaintext\n", u.Host)
	}
	return a.session(u, token)
}

func (a *app) session(u *url.URL, token string) (*session, error) {
	transport, err := a.transport(u)
	if err != nil {
		return nil, err
	}
	api, err := client.New(u.String(), token)
	if err != nil {
		return nil, err
	}
	s := &session{app: a, api: api}
	api.Account, api.Agent = a.account, "perfgate-cli/"+a.Version
	api.HTTP = &http.Client{
		Transport: tripper(func(r *http.Request) (*http.Response, error) {
			resp, err := transport.RoundTrip(r)
			if err == nil {
				s.etag = resp.Header.Get("ETag")
			}
			return resp, err
		}),
		// The token belongs to the server that was named.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return s, nil
}

type tripper func(*http.Request) (*http.Response, error)

func (t tripper) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }

// ask is one call of the API. Commands hold its JSON as it came, to print it
// that way; tables are made of it afterwards.
type ask struct {
	method string
	path   string // parts from outside are escaped
	query  url.Values
	body   any // an io.Reader is sent as it is
	kind   string
	match  string // If-Match
}

// do makes a call; see [client.Client.Do] for out.
func (s *session) do(ctx context.Context, q ask, out any) error {
	var opts []client.Option
	if q.kind != "" {
		opts = append(opts, client.Header("Content-Type", q.kind))
	}
	if q.match != "" {
		opts = append(opts, client.IfMatch(q.match))
	}
	err := s.api.Do(ctx, q.method, q.path, q.query, q.body, out, opts...)
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return fmt.Errorf("call %s: %w", wrapped.URL, wrapped.Err)
	}
	return err
}

// call is do with the answer undecoded.
func (s *session) call(ctx context.Context, q ask) (raw json.RawMessage, err error) {
	err = s.do(ctx, q, &raw)
	return raw, err
}

// run makes a call and prints its answer: the API's own JSON, or what show makes
// of it.
func (a *app) run(ctx context.Context, q ask, show func(raw []byte) error) error {
	s, err := a.dial()
	if err != nil {
		return err
	}
	return s.print(ctx, q, show)
}

func (s *session) print(ctx context.Context, q ask, show func(raw []byte) error) error {
	raw, err := s.call(ctx, q)
	if err != nil {
		return err
	}
	if s.json {
		return s.printJSON(raw)
	}
	return show(raw)
}

// printJSON prints an answer as it came, with a line end.
func (a *app) printJSON(raw []byte) error {
	if len(raw) > 0 && raw[len(raw)-1] != '\n' {
		raw = append(raw, '\n')
	}
	_, err := a.Stdout.Write(raw)
	return err
}

// list prints a list: with --json the one page that was asked for, as a table
// every page until limit rows (0: all) are shown.
func list[T any](ctx context.Context, a *app, q ask, limit int, head []string, row func(*table, *T)) error {
	s, err := a.dial()
	if err != nil {
		return err
	}
	if limit < 0 {
		return usagef("--limit %d: want a number of rows", limit)
	}
	if q.query == nil {
		q.query = url.Values{}
	}
	const most = 1000 // of the API, a page
	t := newTable(a.Stdout, head...)
	for shown := 0; ; {
		n := most
		if limit > 0 {
			n = min(most, limit-shown)
		}
		q.query.Set("limit", fmt.Sprint(n))
		raw, err := s.call(ctx, q)
		if err != nil {
			return err
		}
		if a.json {
			return a.printJSON(raw)
		}
		var p client.List[T]
		if err := decode(raw, &p); err != nil {
			return err
		}
		for i := range p.Data {
			row(t, &p.Data[i])
		}
		shown += len(p.Data)
		if p.Next == nil || limit > 0 && shown >= limit || len(p.Data) == 0 {
			return t.flush()
		}
		q.query.Set("cursor", *p.Next)
	}
}

// query turns flags that were set into parameters: --created-by is created_by.
func query(cmd *cobra.Command, names ...string) url.Values {
	q := url.Values{}
	for _, n := range names {
		if f := cmd.Flags().Lookup(n); f != nil && f.Changed {
			q.Set(snake(n), f.Value.String())
		}
	}
	return q
}

// lines streams NDJSON into each, a line at a time.
func (s *session) lines(ctx context.Context, q ask, each func(line []byte) error) error {
	r, w := io.Pipe()
	go func() { w.CloseWithError(s.do(ctx, q, w)) }()
	defer r.Close() // ends the call if each fails
	return scanLines(r, each)
}
