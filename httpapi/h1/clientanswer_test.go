package h1

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// responses are answers to a GET, or to the method that begins the line. want is the
// reason of the refusal; else the body, and what follows it: "close" or the octets left.
var responses = []struct{ name, text, want string }{
	{"length", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", `200 "abc"`},
	{"nothing", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", `200 ""`},
	{"surplus", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 200 OK\r\n", `200 "abc" left "HTTP/1.1 200 OK\r\n"`},
	{"to the end", "HTTP/1.1 200 OK\r\n\r\nabc", `200 "abc" close`},
	{"close", "HTTP/1.1 200 OK\r\nConnection: X, Close\r\nContent-Length: 1\r\n\r\na", `200 "a" close`},
	{"no reason", "HTTP/1.1 299 \r\nContent-Length: 0\r\n\r\n", `299 ""`},
	{"no space before the reason", "HTTP/1.1 299\r\nContent-Length: 0\r\n\r\n", `299 ""`},
	{"999", "HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n", `999 ""`},
	{"HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na", `200 "a" close`},
	{"HTTP/1.0 kept", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\na", `200 "a"`},
	{"chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\n\r\n", `200 "abc"`},
	{"no chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX", `200 "" left "X"`},
	{"trailer", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-A\r\n\r\n1\r\na\r\n0\r\nx-a: 1\r\nX-B: 2\r\nContent-Length: 9\r\n\r\n", `200 "a" trailer X-A=1 X-B=2`},
	{"trailer that never comes", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-A, Host, @\r\n\r\n0\r\n\r\n", `200 "" trailer X-A=`},
	{"204", "HTTP/1.1 204 No Content\r\n\r\n", `204 ""`},
	{"204 with a length", "HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\nabc", `204 "" left "abc"`},
	{"304", "HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n", `304 ""`},
	{"HEAD", "HEAD HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", `200 ""`},
	{"HEAD in chunks", "HEAD HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", `200 ""`},
	{"HEAD without framing", "HEAD HTTP/1.1 200 OK\r\n\r\n", `200 ""`},
	{"interim", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200", `103 "" left "HTTP/1.1 200"`},

	{"early end", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", "unexpected EOF"},
	{"early end in chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", "unexpected EOF"},
	{"early end of the trailer", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: 1\r\n", "unexpected EOF"},
	{"early end of the head", "HTTP/1.1 200 OK\r\nContent-Length", "unexpected EOF"},
	{"nothing at all", "", "EOF"},

	{"99", "HTTP/1.1 099 X\r\nContent-Length: 0\r\n\r\n", "status_line"},
	{"0", "HTTP/1.1 000 X\r\nContent-Length: 0\r\n\r\n", "status_line"},
	{"two digits", "HTTP/1.1 20 X\r\nContent-Length: 0\r\n\r\n", "status_line"},
	{"four digits", "HTTP/1.1 2000 X\r\nContent-Length: 0\r\n\r\n", "status_line"},
	{"sign", "HTTP/1.1 -20 X\r\nContent-Length: 0\r\n\r\n", "status_line"},
	{"no status", "HTTP/1.1\r\nContent-Length: 0\r\n\r\n", "status_line"},
	{"two spaces", "HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n", "status_line"},
	{"control octet in the reason", "HTTP/1.1 200 O\x01K\r\nContent-Length: 0\r\n\r\n", "status_line"},
	{"HTTP/2.0", "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", "version"},
	{"another protocol", "ICY 200 OK\r\nContent-Length: 0\r\n\r\n", "status_line"},
	{"empty line first", "\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "status_line"},
	{"bare LF", "HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n", "bare_lf"},
	{"bare LF in a field", "HTTP/1.1 200 OK\r\nX: 1\nContent-Length: 0\r\n\r\n", "bare_lf"},
	{"bare CR", "HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n", "bare_cr"},
	{"fold", "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n", "folded_line"},
	{"space before the colon", "HTTP/1.1 200 OK\r\nX : a\r\nContent-Length: 0\r\n\r\n", "field_name"},
	{"no colon", "HTTP/1.1 200 OK\r\nX\r\nContent-Length: 0\r\n\r\n", "field_name"},
	{"no name", "HTTP/1.1 200 OK\r\n: x\r\nContent-Length: 0\r\n\r\n", "field_name"},
	{"NUL", "HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 0\r\n\r\n", "field_value"},
	{"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", "content_length"},
	{"the same length twice", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", "content_length"},
	{"list of lengths", "HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\n\r\nabc", "content_length"},
	{"signed length", "HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\nabc", "content_length"},
	{"negative length", "HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\nabc", "content_length"},
	{"huge length", "HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775808\r\n\r\n", "content_length"},
	{"negative length of a 204", "HTTP/1.1 204 No Content\r\nContent-Length: -1\r\n\r\n", "content_length"},
	{"gzip", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc", "transfer_encoding"},
	{"gzip, chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "transfer_encoding"},
	{"identity", "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nabc", "transfer_encoding"},
	{"chunked twice", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "transfer_encoding"},
	{"chunked in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "transfer_encoding"},
	{"two framings", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", "two_framings"},
	{"two framings for HEAD", "HEAD HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", "two_framings"},
	{"chunk without a size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n", "chunk_size"},
	{"chunk without its end", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc", "chunk_end"},
	{"fold in the trailer", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: 1\r\n 2\r\n\r\n", "folded_line"},
	{"large head", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", testHead) + "\r\n\r\n", "head_too_large"},
	{"many fields", "HTTP/1.1 200 OK\r\n" + strings.Repeat("X:\r\n", maxFields+1) + "\r\n", "head_too_large"},
}

const testHead = 8 << 10 // the bound of these heads

// readWhole reads an answer with its body, and says how it went.
func readWhole(r io.Reader, method string) (*http.Response, string, error) {
	br := newInput(r, 16)
	res, f, err := readResponse(br, &http.Request{Method: method}, testHead)
	if err != nil {
		return nil, "", err
	}
	var body []byte
	if f != noBody {
		var b answerBody
		b.init(&Call{try: try{conn: &persistConn{br: br}}, answer: Answer{Length: res.ContentLength}}, f)
		if body, err = io.ReadAll(b.from); err != nil {
			return nil, "", ofResponse(err)
		}
		var a Answer
		a.takeTrailer(&b.chunks.trailer)
		addTrailer(res, &a.Trailer)
	}
	got := fmt.Sprintf("%d %q", res.StatusCode, body)
	if res.Close {
		got += " close"
	}
	if len(res.Trailer) > 0 {
		got += " trailer"
	}
	for _, name := range slices.Sorted(maps.Keys(res.Trailer)) {
		got += " " + name + "=" + strings.Join(res.Trailer[name], "|")
	}
	if rest, _ := io.ReadAll(br); len(rest) > 0 {
		got += fmt.Sprintf(" left %q", rest)
	}
	return res, got, nil
}

// methodOf splits the method off a case; GET without one.
func methodOf(text string) (method, rest string) {
	if rest, ok := strings.CutPrefix(text, "HEAD "); ok {
		return http.MethodHead, rest
	}
	return http.MethodGet, text
}

func TestResponses(t *testing.T) {
	for _, tt := range responses {
		method, text := methodOf(tt.text)
		for _, r := range []io.Reader{strings.NewReader(text), iotest.OneByteReader(strings.NewReader(text))} {
			_, got, err := readWhole(r, method)
			if fault := new(Error); errors.As(err, &fault) {
				got = fault.Reason
				if !errors.As(err, new(*ResponseError)) {
					t.Errorf("%s: %v is no ResponseError", tt.name, err)
				}
			} else if err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
			}
		}
	}
}

// What is left of an answer's fields is what net/http leaves, so that a proxy need not
// know who read them.
func TestResponseFields(t *testing.T) {
	const text = "HTTP/1.1 200 Fine Then\r\nconnection: close, X-Secret\r\nTransfer-Encoding: chunked\r\nTrailer: X-A\r\nX-Secret: 1\r\nset-cookie: a\r\nSet-Cookie: b\r\n\r\n0\r\n\r\n"
	res, _, err := readWhole(strings.NewReader(text), http.MethodGet)
	if err != nil {
		t.Fatal(err)
	}
	want := http.Header{"Connection": {"close, X-Secret"}, "X-Secret": {"1"}, "Set-Cookie": {"a", "b"}}
	if !reflect.DeepEqual(res.Header, want) || res.Status != "200 Fine Then" || res.Proto != "HTTP/1.1" || res.ContentLength != -1 ||
		!slices.Equal(res.TransferEncoding, []string{"chunked"}) || res.Trailer["X-A"] != nil || len(res.Trailer) != 1 {
		t.Errorf("%+v", res)
	}
	res, _, err = readWhole(strings.NewReader("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"), http.MethodGet)
	if err != nil || len(res.Header) != 0 {
		t.Errorf("a 204 keeps %v, %v", res.Header, err)
	}
}

// An answer that is taken reads the same in one piece and by octets, and whatever
// net/http takes as well, it reads in the same way.
func FuzzResponse(f *testing.F) {
	for _, tt := range responses {
		method, text := methodOf(tt.text)
		f.Add([]byte(text), method == http.MethodHead)
	}
	f.Fuzz(func(t *testing.T, p []byte, head bool) {
		method := http.MethodGet
		if head {
			method = http.MethodHead
		}
		ours, got, err := readWhole(bytes.NewReader(p), method)
		_, again, same := readWhole(iotest.OneByteReader(bytes.NewReader(p)), method)
		if got != again || fmt.Sprint(err) != fmt.Sprint(same) {
			t.Fatalf("%q: %q, %v in one piece; %q, %v by octets", p, got, err, again, same)
		}
		if err != nil {
			return
		}
		br := bufio.NewReaderSize(bytes.NewReader(p), 16)
		theirs, err := http.ReadResponse(br, &http.Request{Method: method})
		if err != nil {
			return // a trailer that none may have, for one, is dropped here and refused there
		}
		if none := ours.StatusCode < 200 || ours.StatusCode == 204 || ours.StatusCode == 304; ours.StatusCode != theirs.StatusCode || ours.ContentLength != theirs.ContentLength && !none || ours.Close != theirs.Close && !none {
			t.Fatalf("%q: %+v, net/http reads %+v", p, ours, theirs)
		}
		body, err := io.ReadAll(theirs.Body)
		if err != nil {
			return // it bounds overhead more narrowly
		}
		if !strings.HasPrefix(got, fmt.Sprintf("%d %q", theirs.StatusCode, body)) {
			t.Fatalf("%q: %s, net/http reads the body %q", p, got, body)
		}
		for _, name := range []string{"Connection", "Content-Length", "Trailer", "Pragma", "Cache-Control"} { // those that either moves or adds
			delete(ours.Header, name)
			delete(theirs.Header, name)
		}
		if !reflect.DeepEqual(ours.Header, theirs.Header) {
			t.Fatalf("%q: fields %q, net/http reads %q", p, ours.Header, theirs.Header)
		}
		for name, values := range ours.Trailer {
			if !slices.Equal(values, theirs.Trailer[name]) {
				t.Fatalf("%q: trailer %q, net/http reads %q", p, ours.Trailer, theirs.Trailer)
			}
		}
	})
}
