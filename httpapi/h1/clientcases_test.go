package h1

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// requestCases are requests that any client of HTTP must send in the same way.
var requestCases = map[string]func(*testing.T, string) *http.Request{
	"GET": func(t *testing.T, url string) *http.Request { return newRequest(t, "GET", url, nil) },
	"HEAD": func(t *testing.T, url string) *http.Request {
		return withHeader(newRequest(t, "GET", url+"/x", nil), "Accept", "a", "b")
	},
	"DELETE": func(t *testing.T, url string) *http.Request { return newRequest(t, "DELETE", url+"/%2f?", nil) },
	"POST without a body": func(t *testing.T, url string) *http.Request {
		return newRequest(t, "POST", url+"/a//b?c=d&e", nil)
	},
	"POST with NoBody": func(t *testing.T, url string) *http.Request { return newRequest(t, "POST", url, http.NoBody) },
	"POST": func(t *testing.T, url string) *http.Request {
		return newRequest(t, "POST", url, strings.NewReader("body"))
	},
	"streamed": func(t *testing.T, url string) *http.Request {
		return newRequest(t, "PUT", url, streamed{strings.NewReader("body")})
	},
	"streamed with a length": func(t *testing.T, url string) *http.Request {
		req := newRequest(t, "PATCH", url, streamed{strings.NewReader("body")})
		req.ContentLength = 4
		return req
	},
	"empty and streamed": func(t *testing.T, url string) *http.Request {
		return newRequest(t, "POST", url, streamed{strings.NewReader("")})
	},
	"GET that turns out to have no body": func(t *testing.T, url string) *http.Request {
		return newRequest(t, "GET", url, streamed{strings.NewReader("")})
	},
	"DELETE that turns out to have a body": func(t *testing.T, url string) *http.Request {
		return newRequest(t, "DELETE", url, streamed{strings.NewReader("body")})
	},
	"GET in chunks": func(t *testing.T, url string) *http.Request {
		req := newRequest(t, "GET", url, streamed{strings.NewReader("")})
		req.TransferEncoding = []string{"chunked"}
		return req
	},
	"large": func(t *testing.T, url string) *http.Request {
		return newRequest(t, "PUT", url, streamed{strings.NewReader(strings.Repeat("0123456789", 20_000))})
	},
	"large with a length": func(t *testing.T, url string) *http.Request {
		return newRequest(t, "PUT", url, strings.NewReader(strings.Repeat("0123456789", 20_000)))
	},
	"large head": func(t *testing.T, url string) *http.Request {
		return withHeader(newRequest(t, "PUT", url, streamed{strings.NewReader(strings.Repeat("x", 100_000))}), "X-Large", strings.Repeat("y", 70_000))
	},
	"trailer": func(t *testing.T, url string) *http.Request {
		req := newRequest(t, "POST", url, streamed{strings.NewReader("body")})
		req.Trailer = http.Header{"X-A": {"1"}, "X-B": nil}
		return req
	},
	"late trailer": func(t *testing.T, url string) *http.Request {
		req := newRequest(t, "POST", url, nil)
		req.Trailer = http.Header{"X-A": nil}
		req.Body, req.ContentLength = toldBody{readerFunc(func([]byte) (int, error) {
			req.Trailer["X-A"] = []string{"late"}
			return 0, io.EOF
		}), func() {}}, -1
		return req
	},
	"trailer without chunks": func(t *testing.T, url string) *http.Request {
		req := newRequest(t, "POST", url, strings.NewReader("body"))
		req.Trailer = http.Header{"X-A": {"1"}}
		return req
	},
	"close": func(t *testing.T, url string) *http.Request {
		req := newRequest(t, "GET", url, nil)
		req.Close = true
		return req
	},
	"host": func(t *testing.T, url string) *http.Request {
		req := newRequest(t, "GET", url, nil)
		req.Host = "bücher.example:80"
		return req
	},
	"zone": func(t *testing.T, url string) *http.Request {
		req := newRequest(t, "GET", url, nil)
		req.Host = "[fe80::1%25en0]:80"
		return req
	},
	"fields that the message decides": func(t *testing.T, url string) *http.Request {
		req := newRequest(t, "POST", url, strings.NewReader("body"))
		req.Header = http.Header{"Host": {"x"}, "Content-Length": {"9"}, "Transfer-Encoding": {"gzip"}, "Trailer": {"X"}, "X-Spaces": {" a b\t"}, "x-lower": {"1"}, "X-Empty": {""}}
		return req
	},
	"user agents": func(t *testing.T, url string) *http.Request {
		return withHeader(newRequest(t, "GET", url, nil), "User-Agent", "a", "b")
	},
	"upgrade": func(t *testing.T, url string) *http.Request {
		return withHeader(withHeader(newRequest(t, "GET", url, nil), "Connection", "Upgrade"), "Upgrade", "websocket")
	},
}

// withHeader sets a field; an empty User-Agent keeps net/http from making one up.
func withHeader(req *http.Request, name string, values ...string) *http.Request {
	req.Header[name] = values
	return req
}

// canonical is a head, and what came with it, with its fields sorted and without those
// that net/http adds.
func canonical(text string) string {
	head, _, _ := strings.Cut(text, "\r\n\r\n")
	lines := strings.Split(head, "\r\n")
	lines = slices.DeleteFunc(lines, func(line string) bool { return line == "User-Agent: Go-http-client/1.1" })
	slices.Sort(lines[1:])
	for i, line := range lines {
		if names, ok := strings.CutPrefix(line, "Trailer: "); ok {
			list := strings.FieldsFunc(names, func(r rune) bool { return r == ',' || r == ' ' })
			slices.Sort(list)
			lines[i] = "Trailer: " + strings.Join(list, ",")
		}
	}
	return strings.Join(lines, "\n")
}

func join(h http.Header) (out string) {
	for _, name := range slices.Sorted(maps.Keys(h)) {
		out += fmt.Sprint(name, h[name])
	}
	return out
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

type writerFunc func(p []byte)

func (f writerFunc) Write(p []byte) (int, error) { f(p); return len(p), nil }

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// toldBody is a body that tells when it is closed.
type toldBody struct {
	io.Reader
	closed func()
}

func (c toldBody) Close() error { c.closed(); return nil }
