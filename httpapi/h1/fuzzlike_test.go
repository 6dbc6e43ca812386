package h1

import (
	"bufio"
	"bytes"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// message is what a message means.
type message struct {
	method, target, host string // of a request
	status               int    // of an answer
	fields               http.Header
	body                 string
	trailer              http.Header
	left                 int // octets that follow it
}

// without drops the fields that one of the two readers moves or adds.
func without(h http.Header) http.Header {
	h = maps.Clone(h)
	maps.DeleteFunc(h, func(_ string, values []string) bool { return len(values) == 0 }) // a trailer that was announced and did not come
	for _, name := range []string{"Host", "Transfer-Encoding", "Content-Length", "Trailer", "Pragma", "Cache-Control", "Connection", "Expect", "Upgrade"} {
		delete(h, name)
	}
	if h == nil {
		h = http.Header{}
	}
	return h
}

// same reports whether two messages mean the same.
func (m *message) same(o *message) bool {
	equal := func(a, b http.Header) bool { return maps.EqualFunc(a, b, slices.Equal) }
	return m.method == o.method && m.target == o.target && strings.EqualFold(m.host, o.host) && m.status == o.status &&
		equal(m.fields, o.fields) && m.body == o.body && equal(m.trailer, o.trailer) && m.left == o.left
}

// ourRequest reads the next request of br, over src.
func ourRequest(br *input, src *bytes.Reader) (*message, error) {
	c := &conn{server: &Server{}, br: br}
	q := new(Request)
	q.reset(c)
	if err := c.readRequest(q); err != nil {
		return nil, err
	}
	m := &message{method: q.Method, target: q.Target, host: q.Host, fields: without(q.Fields.Header()), trailer: http.Header{}}
	var body []byte
	var err error
	if q.Length < 0 {
		cr := chunkedReader{br: br}
		body, err = io.ReadAll(&cr)
		m.trailer = without(cr.trailer.Header())
	} else if q.Length > 0 {
		body, err = io.ReadAll(&lengthReader{br: br, left: q.Length})
	}
	if err != nil {
		return nil, err
	}
	m.body, m.left = string(body), br.Buffered()+src.Len()
	return m, nil
}

// theirRequest is ourRequest by net/http.
func theirRequest(br *bufio.Reader, src *bytes.Reader) (*message, error) {
	r, err := http.ReadRequest(br)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	return &message{
		method: r.Method, target: r.RequestURI, host: r.Host, fields: without(r.Header), body: string(body),
		trailer: without(r.Trailer), left: br.Buffered() + src.Len(),
	}, nil
}

// Requests that follow each other on a connection mean the same to net/http, as far as both
// take them: no octet of one belongs to another.
func FuzzRequests(f *testing.F) {
	for _, tt := range heads {
		f.Add([]byte(tt.text + "GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
	}
	for _, tt := range chunks {
		f.Add([]byte("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + tt.text + "GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		ourSrc, theirSrc := bytes.NewReader(p), bytes.NewReader(p)
		ours, theirs := newInput(ourSrc, bufferSize), bufio.NewReaderSize(theirSrc, bufferSize)
		for {
			for { // net/http skips no empty lines
				b, _ := theirs.Peek(2)
				if string(b) != "\r\n" {
					break
				}
				theirs.Discard(2)
			}
			a, err := ourRequest(ours, ourSrc)
			if err != nil {
				return
			}
			b, err := theirRequest(theirs, theirSrc)
			if err != nil {
				return
			}
			if !a.same(b) {
				t.Fatalf("%q means\n%+v; to net/http\n%+v", p, a, b)
			}
		}
	})
}

// Answers that are taken mean the same to net/http, as far as it takes them.
func FuzzAnswer(f *testing.F) {
	for _, tt := range responses {
		f.Add([]byte(tt.text), false)
		f.Add([]byte(tt.text), true)
	}
	f.Fuzz(func(t *testing.T, p []byte, head bool) {
		method := map[bool]string{false: "GET", true: "HEAD"}[head]
		src := bytes.NewReader(p)
		br := newInput(src, bufferSize)
		var a Answer
		framed, err := a.read(br, method, 64<<10)
		if err != nil || a.Status < 200 {
			return
		}
		ours := &message{status: a.Status, fields: without(a.Fields.Header()), trailer: http.Header{}}
		var body []byte
		switch framed {
		case byLength:
			body, err = io.ReadAll(&lengthReader{br: br, left: a.Length})
		case byChunks:
			cr := chunkedReader{br: br}
			body, err = io.ReadAll(&cr)
			ours.trailer = without(cr.trailer.Header())
		case byClose:
			body, err = io.ReadAll(br)
		}
		if err != nil {
			return
		}
		ours.body, ours.left = string(body), br.Buffered()+src.Len()
		src = bytes.NewReader(p)
		their := bufio.NewReaderSize(src, bufferSize)
		res, err := http.ReadResponse(their, &http.Request{Method: method})
		if err != nil {
			return
		}
		defer res.Body.Close()
		if body, err = io.ReadAll(res.Body); err != nil {
			return
		}
		theirs := &message{status: res.StatusCode, fields: without(res.Header), body: string(body), trailer: without(res.Trailer), left: their.Buffered() + src.Len()}
		if !ours.same(theirs) {
			t.Fatalf("%q means\n%+v; to net/http\n%+v", p, ours, theirs)
		}
	})
}
