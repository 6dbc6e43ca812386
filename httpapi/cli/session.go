package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/perfgate/perfgate/httpapi/client"
)

const maxLine = 1 << 20 // bytes of one line of a streamed answer

// session is one command's connection to a server. It is used by one call at a
// time.
type session struct {
	*app
	api  *client.Client
	base *url.URL
	etag string // of the last answer
}

// dial returns a session. No connection is made before the first call.
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
		a.warn("the token is sent to %s in plaintext", u.Host)
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
	s := &session{app: a, api: api, base: u}
	api.Account, api.Agent, api.Explain = a.account, "perfgate-cli/"+a.Version, s.diagnose
	api.HTTP = &http.Client{
		Transport: roundTripFunc(func(r *http.Request) (*http.Response, error) {
			resp, err := transport.RoundTrip(r)
			if err == nil {
				s.etag = resp.Header.Get("ETag")
			}
			return resp, err
		}),
		// A redirect would take the token to a server that the user did not name.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return s, nil
}

type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// call is one call of the API.
type call struct {
	method      string
	path        string // arguments of the user in it are escaped
	query       url.Values
	body        any // an io.Reader is sent as it is, anything else as JSON
	contentType string
	ifMatch     string
	accept      string
}

// do makes a call; see [client.Client.Do] for out.
func (s *session) do(ctx context.Context, c call, out any) error {
	var opts []client.Option
	if c.contentType != "" {
		opts = append(opts, client.Header("Content-Type", c.contentType))
	}
	if c.accept != "" {
		opts = append(opts, client.Header("Accept", c.accept))
	}
	if c.ifMatch != "" {
		opts = append(opts, client.IfMatch(c.ifMatch))
	}
	return s.api.Do(ctx, c.method, c.path, c.query, c.body, out, opts...)
}

// raw makes a call and returns the answer undecoded.
func (s *session) raw(ctx context.Context, c call) (raw json.RawMessage, err error) {
	err = s.do(ctx, c, &raw)
	return raw, err
}

// show prints one decoded answer as a table.
type show[T any] func(a *app, v *T) error

// run makes one call in a session of its own and prints the answer.
func run[T any](ctx context.Context, a *app, c call, show show[T]) error {
	s, err := a.dial()
	if err != nil {
		return err
	}
	return runIn(ctx, s, c, show)
}

// runIn makes a call and prints the answer: as the API's own JSON, or with show.
func runIn[T any](ctx context.Context, s *session, c call, show show[T]) error {
	raw, err := s.raw(ctx, c)
	if err != nil {
		return err
	}
	if s.json {
		return s.printJSON(raw)
	}
	v := new(T)
	if err := decode(raw, v); err != nil {
		return err
	}
	return show(s.app, v)
}

// maxPage is the API's bound of one page, in rows.
const maxPage = 1000

// list prints a list: with --json one page, as a table every page until limit
// rows (0: all) are shown.
func list[T any](ctx context.Context, a *app, c call, limit int, head []string, row func(*table, *T)) error {
	if limit < 0 {
		return usagef("--limit %d: must be 0 or more", limit)
	}
	s, err := a.dial()
	if err != nil {
		return err
	}
	t := newTable(a.Stdout, head...)
	for shown := 0; ; {
		n := maxPage
		if limit > 0 {
			n = min(n, limit-shown)
		}
		c.query.Set("limit", fmt.Sprint(n))
		raw, err := s.raw(ctx, c)
		if err != nil {
			return err
		}
		if a.json {
			return a.printJSON(raw)
		}
		var page client.List[T]
		if err := decode(raw, &page); err != nil {
			return err
		}
		for i := range page.Data {
			row(t, &page.Data[i])
		}
		shown += len(page.Data)
		if page.Next == nil || limit > 0 && shown >= limit || len(page.Data) == 0 {
			return t.flush()
		}
		c.query.Set("cursor", *page.Next)
	}
}

// query turns the given flags among names into parameters: --created-by is
// created_by.
func query(cmd *cobra.Command, names ...string) url.Values {
	q := url.Values{}
	for _, name := range names {
		if f := cmd.Flags().Lookup(name); f != nil && f.Changed {
			q.Set(snake(name), f.Value.String())
		}
	}
	return q
}

// lines streams an NDJSON answer into each, line by line. A line is valid only
// during the call of each.
func (s *session) lines(ctx context.Context, c call, each func(line []byte) error) error {
	r, w := io.Pipe()
	go func() { w.CloseWithError(s.do(ctx, c, w)) }()
	defer r.Close() // ends the call if each fails
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 64<<10), maxLine)
	for lines.Scan() {
		if err := each(lines.Bytes()); err != nil {
			return err
		}
	}
	return lines.Err()
}
