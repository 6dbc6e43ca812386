package ui

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
)

// maxAnswer bounds an answer of the API that a page is made of, in bytes: an allowlist of
// 100,000 entries with notes has about half.
const maxAnswer = 64 << 20

// carrier makes the calls of one visit, in this process and as the browser: with its
// address, its cookie and its request id. It belongs to the visit's goroutine.
type carrier struct {
	api     http.Handler
	browser *http.Request
	id      string // the request id of the visit, under which the calls are audited
	view    *rest.View
	cookies []string // that the API has set
}

// notCarried are the fields of the browser's request that are about its own body or
// answer, or that are not the browser's to set.
var notCarried = []string{
	"Accept", "Accept-Encoding", "Authorization", "Connection", "Content-Encoding", "Content-Length", "Content-Type", "Expect",
	"Idempotency-Key", "If-Match", "If-Modified-Since", "If-None-Match", "If-Unmodified-Since", "Keep-Alive", "Range", "Te",
	"Trailer", "Transfer-Encoding", "Upgrade", "X-Perf-Account", "X-Perf-Request",
}

// dress gives a call what the browser's request carries.
func (c *carrier) dress(r *http.Request) *http.Request {
	header := c.browser.Header.Clone()
	for _, name := range notCarried {
		header.Del(name)
	}
	for name, values := range r.Header {
		header[name] = values
	}
	header.Set(fault.RequestIDHeader, c.id)
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		header.Set("X-Perf-Request", "1") // the Origin has been checked, see [visit.ownOrigin]
	}
	in := r.Clone(r.Context())
	in.Header, in.Host, in.RemoteAddr, in.TLS = header, c.browser.Host, c.browser.RemoteAddr, c.browser.TLS
	in.URL = &url.URL{Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery}
	in.RequestURI = in.URL.RequestURI()
	in.Proto, in.ProtoMajor, in.ProtoMinor = "HTTP/1.1", 1, 1
	if in.Body == nil {
		in.Body = http.NoBody
	}
	return in
}

// RoundTrip implements [http.RoundTripper].
func (c *carrier) RoundTrip(r *http.Request) (resp *http.Response, err error) {
	defer func() {
		if p := recover(); p != nil {
			if p != http.ErrAbortHandler {
				panic(p)
			}
			resp, err = nil, errors.New("the answer of the management API broke off")
		}
	}()
	a := &answer{header: http.Header{}}
	in := c.dress(r)
	c.api.ServeHTTP(a, in.WithContext(rest.WithView(in.Context(), c.view)))
	if a.status == 0 {
		a.status = http.StatusOK
	}
	c.cookies = append(c.cookies, a.header.Values("Set-Cookie")...)
	return &http.Response{
		Status: fmt.Sprint(a.status, " ", http.StatusText(a.status)), StatusCode: a.status, Header: a.header,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Body: io.NopCloser(&a.body), ContentLength: int64(a.body.Len()), Request: r,
	}, nil
}

// answer holds an answer of the API.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	if a.status == 0 && status >= 200 {
		a.status = status
	}
}

func (a *answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	if a.body.Len()+len(p) > maxAnswer {
		return 0, fmt.Errorf("the answer is larger than %d bytes", maxAnswer)
	}
	return a.body.Write(p)
}
