package h1

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/http/httputil"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

// A head that is taken reads the same in one piece and by octets, and net/http reads it
// in the same way.
func FuzzRequestHead(f *testing.F) {
	for _, tt := range heads {
		f.Add([]byte(tt.text))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		read := func(r io.Reader) (string, int, error) {
			s := requestScanner()
			text, err := readHead(newInput(r, 64), &s)
			return text, s.fields, err
		}
		text, n, err := read(bytes.NewReader(p))
		again, _, same := read(iotest.OneByteReader(bytes.NewReader(p)))
		if err != same || err == nil && text != again {
			t.Fatalf("%q: %q, %v in one piece; %q, %v by octets", p, text, err, again, same)
		}
		if err != nil {
			return
		}
		line, fields, _ := strings.Cut(strings.TrimLeft(text, "\r\n"), "\r\n")
		ours := parseFields(t, fields)
		lines := 0
		for _, values := range ours {
			lines += len(values)
		}
		if lines != n || strings.Count(line, " ") != 2 {
			t.Fatalf("%q: %d fields of %d, request line %q", p, lines, n, line)
		}
		theirs, err := http.ReadRequest(bufio.NewReader(strings.NewReader(strings.TrimLeft(text, "\r\n"))))
		if err != nil {
			return // it judges targets, Host and framing, too
		}
		for _, name := range []string{"Host", "Transfer-Encoding", "Content-Length", "Trailer", "Pragma", "Cache-Control"} { // those that it moves or adds
			delete(ours, name)
			delete(theirs.Header, name)
		}
		if !reflect.DeepEqual(ours, theirs.Header) {
			t.Fatalf("%q: fields %q, net/http reads %q", p, ours, theirs.Header)
		}
	})
}

// A body that is taken reads the same by octets, as net/http reads it, and after it was
// encoded again. Its end is where net/http sees it.
func FuzzChunked(f *testing.F) {
	for _, tt := range chunks {
		f.Add([]byte(tt.text))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		br := newInput(bytes.NewReader(p), 16)
		cr := chunkedReader{br: br}
		body, err := io.ReadAll(&cr)
		slow := chunkedReader{br: newInput(iotest.OneByteReader(bytes.NewReader(p)), 16)}
		again, same := io.ReadAll(&slow)
		if !bytes.Equal(body, again) || err != same {
			t.Fatalf("%q: %q, %v in one piece; %q, %v by octets", p, body, err, again, same)
		}
		if err != nil {
			return
		}
		theirs, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(p)))
		tooStrict := err != nil && (strings.Contains(err.Error(), "too large") || strings.Contains(err.Error(), "non-data"))
		if !tooStrict && (!bytes.Equal(body, theirs) || err != nil) {
			t.Fatalf("%q: %q, net/http reads %q, %v", p, body, theirs, err)
		}
		var out bytes.Buffer
		bw := bufio.NewWriter(&out)
		w := chunkedWriter{bw}
		w.Write(body)
		w.end(&cr.trailer)
		bw.Flush()
		once := chunkedReader{br: inputOf(&out)}
		if encoded, err := io.ReadAll(&once); !bytes.Equal(encoded, body) || err != nil || !reflect.DeepEqual(once.trailer, cr.trailer) {
			t.Fatalf("%q: after encoding %q, trailer %q, %v", p, encoded, once.trailer, err)
		}
	})
}
