package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"

	"github.com/perfgate/perfgate/httpapi/h1"
)

// http2Transport makes calls over HTTP/2, with net/http.
type http2Transport struct{ *http.Transport }

// Do makes a call. ctx, not call.Abort, ends it.
func (t http2Transport) Do(ctx context.Context, call *h1.Call) (*h1.Answer, error) {
	req, err := requestOf(ctx, call)
	if err != nil {
		return nil, err
	}
	h1.WillWait(ctx)
	res, err := t.RoundTrip(req)
	if err != nil {
		if cause := causeOf(ctx); cause != nil {
			return nil, cause
		}
		return nil, err
	}
	if res.StatusCode < 100 || res.StatusCode > 999 {
		res.Body.Close()
		return nil, fmt.Errorf("the status %d is not one of HTTP", res.StatusCode)
	}
	a := &h1.Answer{Status: res.StatusCode, Fields: h1.FieldsOf(res.Header), Length: res.ContentLength}
	for name := range res.Trailer {
		a.Announced = append(a.Announced, name)
	}
	a.Body = &bodyHTTP2{res: res, answer: a}
	return a, nil
}

// causeOf is why a request has been ended; nil if it has not.
func causeOf(ctx context.Context) error {
	if l, ok := ctx.(*life); ok {
		return l.Cause()
	}
	return ctx.Err()
}

// requestOf is call for net/http.
func requestOf(ctx context.Context, call *h1.Call) (*http.Request, error) {
	u, err := url.ParseRequestURI(call.Path)
	if err != nil {
		return nil, &h1.RequestError{Reason: err.Error()}
	}
	u.Scheme, u.Host = call.Target.Scheme, call.Target.Addr
	trace := &httptrace.ClientTrace{
		// A connection rather than written octets: the hook runs before RoundTrip can
		// return.
		GotConn: func(i httptrace.GotConnInfo) { call.Connected(i.Conn, i.Reused) },
		Got1xxResponse: func(status int, h textproto.MIMEHeader) error {
			f := h1.FieldsOf(http.Header(h))
			return call.Interim(status, &f)
		},
	}
	req := (&http.Request{
		Method: call.Method, URL: u, Host: call.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: call.Fields.Header(),
	}).WithContext(httptrace.WithClientTrace(ctx, trace))
	if _, ok := req.Header["User-Agent"]; !ok {
		req.Header["User-Agent"] = nil // none of net/http's own
	}
	if call.Body == nil {
		return req, nil
	}
	req.Body, req.ContentLength = call.Body, call.Length
	if call.Trailer != nil {
		req.Trailer = http.Header{}
		for _, name := range call.Announced {
			req.Trailer[name] = nil
		}
		req.Body = trailedBody{call.Body, call.Trailer, req.Trailer}
	}
	return req, nil
}

// trailedBody is a request's body whose trailer is there at its end.
type trailedBody struct {
	io.ReadCloser
	from *h1.Fields
	to   http.Header
}

func (b trailedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		maps.Copy(b.to, b.from.Header())
	}
	return n, err
}

// bodyHTTP2 is the body of an answer. Its trailer is the answer's at the end.
type bodyHTTP2 struct {
	res    *http.Response
	answer *h1.Answer
}

func (b *bodyHTTP2) Read(p []byte) (int, error) {
	n, err := b.res.Body.Read(p)
	if errors.Is(err, io.EOF) {
		b.answer.Trailer = h1.FieldsOf(b.res.Trailer)
	}
	return n, err
}

func (b *bodyHTTP2) Close() error { return b.res.Body.Close() }
