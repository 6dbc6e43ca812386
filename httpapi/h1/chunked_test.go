package h1

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

// chunks are chunked bodies with the octets and the trailer that they stand for, or with
// their fault.
var chunks = []struct {
	text, want string
	trailer    http.Header
	err        error
}{
	{"5\r\nhello\r\n0\r\n\r\n", "hello", nil, nil},
	{"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "hello world", nil, nil},
	{"0\r\n\r\n", "", nil, nil},
	{"A\r\n0123456789\r\n0\r\n\r\n", "0123456789", nil, nil},
	{"a\r\n0123456789\r\n000\r\n\r\n", "0123456789", nil, nil},
	{"00000000000000000001\r\na\r\n0\r\n\r\n", "a", nil, nil},
	{"1;a\r\na\r\n1;a=b;c=\"d\\\"\t\\\\;\";e\r\nb\r\n0;f=g\r\n\r\n", "ab", nil, nil},
	{"1;" + strings.Repeat("x", maxChunkLine-1) + "\r\na\r\n0\r\n\r\n", "a", nil, nil},
	{"1\r\na\r\n0\r\nx-t: 1\r\nX-T:  2 \r\nE:\r\n\r\n", "a", http.Header{"X-T": {"1", "2"}, "E": {""}}, nil},

	{"\r", "", nil, errChunkSize},
	{"x", "", nil, errChunkSize},
	{"0x", "", nil, errChunkSize},
	{"+", "", nil, errChunkSize},
	{"-", "", nil, errChunkSize},
	{"1_", "", nil, errChunkSize},
	{" ", "", nil, errChunkSize},
	{"\t", "", nil, errChunkSize},
	{"1 ", "", nil, errChunkSize},
	{"1\t", "", nil, errChunkSize},
	{"1\n", "", nil, errBareLF},
	{"1\ra", "", nil, errBareCR},
	{"1\r\r", "", nil, errBareCR},
	{";", "", nil, errChunkSize},
	{"10000000000000000", "", nil, errChunkSize},
	{"fffffffffffffffff", "", nil, errChunkSize},
	{strings.Repeat("0", maxChunkLine+1), "", nil, errChunkSize},

	{"1;\r", "", nil, errChunkExt},
	{"1;;", "", nil, errChunkExt},
	{"1; ", "", nil, errChunkExt},
	{"1;=", "", nil, errChunkExt},
	{"1;bad[", "", nil, errChunkExt},
	{"1;a\x00", "", nil, errChunkExt},
	{"1;a ", "", nil, errChunkExt},
	{"1;a=\r", "", nil, errChunkExt},
	{"1;a= ", "", nil, errChunkExt},
	{"1;a=b=", "", nil, errChunkExt},
	{"1;a=\"b\r", "", nil, errChunkExt},
	{"1;a=\"b\n", "", nil, errBareLF},
	{"1;a=\"b\\\r", "", nil, errChunkExt},
	{"1;a=\"b\x7f", "", nil, errChunkExt},
	{"1;a=\"b\"c", "", nil, errChunkExt},
	{"1;a\rb", "", nil, errBareCR},
	{"1;a\n", "", nil, errBareLF},
	{"1;" + strings.Repeat("x", maxChunkLine+3), "", nil, errLongChunkLine},
	{strings.Repeat("1;"+strings.Repeat("x", 200)+"\r\na\r\n", 100), strings.Repeat("a", 88), nil, errOverhead},

	{"1\r\nab", "a", nil, errChunkEnd},
	{"1\r\na\n", "a", nil, errChunkEnd},
	{"1\r\na\ra", "a", nil, errChunkEnd},
	{"1\r\na\r\nGET", "a", nil, errChunkSize},

	{"0\r\nbad\r", "", nil, errFieldColon},
	{"0\r\nA: b\r\n c", "", nil, errFold},
	{"0\r\nA : b", "", nil, errFieldSpace},
	{"0\r\n: b", "", nil, errFieldName},
	{"0\r\nA: b\n", "", nil, errBareLF},
	{"0\r\nA: b\rc", "", nil, errBareCR},
	{"0\r\nA: \x00", "", nil, errFieldValue},
	{"0\r\n\n", "", nil, errBareLF},
	{"0\r\n\rx", "", nil, errBareCR},
	{"0\r\nA: " + strings.Repeat("x", maxTrailer), "", nil, errLongTrailer},

	{"", "", nil, io.ErrUnexpectedEOF},
	{"5", "", nil, io.ErrUnexpectedEOF},
	{"5\r\nhel", "hel", nil, io.ErrUnexpectedEOF},
	{"5\r\nhello", "hello", nil, io.ErrUnexpectedEOF},
	{"5\r\nhello\r\n", "hello", nil, io.ErrUnexpectedEOF},
	{"5\r\nhello\r\n0\r\n", "hello", nil, io.ErrUnexpectedEOF},
	{"5\r\nhello\r\n0\r\nA: b\r\n", "hello", nil, io.ErrUnexpectedEOF},
}

// Each fault is found at its octet, and is final. Octets after a body are not read.
func TestChunkedReader(t *testing.T) {
	for _, tt := range chunks {
		for name, r := range map[string]io.Reader{"whole": strings.NewReader(tt.text), "by octets": iotest.OneByteReader(strings.NewReader(tt.text))} {
			rest := ""
			if tt.err == nil {
				rest = "GET / HTTP/1.1\r\n"
				r = io.MultiReader(r, strings.NewReader(rest))
			} else if _, ours := tt.err.(*Error); ours {
				r = io.MultiReader(r, iotest.ErrReader(errors.New("asked for more")))
			}
			br := newInput(r, 16)
			cr := chunkedReader{br: br}
			got, err := io.ReadAll(&cr)
			if string(got) != tt.want || err != tt.err || !sameFields(&cr.trailer, tt.trailer) {
				t.Errorf("%q, %s: %q, trailer %q, %v; want %q, %q, %v", tt.text, name, got, cr.trailer.Header(), err, tt.want, tt.trailer, tt.err)
			}
			if _, again := cr.Read(make([]byte, 9)); err != nil && again != err {
				t.Errorf("%q: after %v comes %v", tt.text, err, again)
			}
			if after, _ := io.ReadAll(br); err == nil && string(after) != rest {
				t.Errorf("%q: %q is left, want %q", tt.text, after, rest)
			}
		}
	}
}

func sameFields(f *Fields, want http.Header) bool {
	return f.Len() == 0 && len(want) == 0 || reflect.DeepEqual(f.Header(), want)
}

// A read returns what is there, and does not wait for the next chunk.
func TestChunkedReaderDoesNotWait(t *testing.T) {
	cr := chunkedReader{br: inputOf(io.MultiReader(strings.NewReader("5\r\nhello\r\n5;a"), iotest.ErrReader(errors.New("waited"))))}
	p := make([]byte, 99)
	if n, err := cr.Read(p); string(p[:n]) != "hello" || err != nil {
		t.Errorf("%q, %v", p[:n], err)
	}
	if n, err := cr.Read(nil); n != 0 || err != nil {
		t.Errorf("a read of nothing: %d, %v", n, err)
	}
}

func TestChunkedWriter(t *testing.T) {
	var out bytes.Buffer
	bw := bufio.NewWriterSize(&out, 16)
	w := chunkedWriter{bw}
	long := strings.Repeat("x", 300)
	for _, s := range []string{"hello", "", long} {
		if n, err := io.WriteString(w, s); n != len(s) || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	}
	if err := w.end(&Fields{[]string{"X-T"}, []string{"1"}}); err != nil {
		t.Error(err)
	}
	bw.Flush()
	if got, want := out.String(), "5\r\nhello\r\n12c\r\n"+long+"\r\n0\r\nX-T: 1\r\n\r\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	w = chunkedWriter{bufio.NewWriterSize(brokenWriter{}, 16)}
	if n, err := io.WriteString(w, long); n != 0 || err != errBroken {
		t.Errorf("%d, %v", n, err)
	}
	if err := w.end(&Fields{}); err != errBroken {
		t.Error(err)
	}
}

var errBroken = errors.New("broken")

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }
