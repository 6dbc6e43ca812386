package h1

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

const get = "GET / HTTP/1.1\r\nHost: a\r\n"

// heads are the octets of request heads, with the fault that each has.
var heads = []struct {
	name, text string
	want       error
}{
	{"a good one", get + "\r\n", nil},
	{"no fields", "GET / HTTP/1.1\r\n\r\n", nil},
	{"empty lines before it", "\r\n\r\n" + get + "\r\n", nil},
	{"many empty lines", strings.Repeat("\r\n", maxEmptyLines+1) + get, errEmptyLines},
	{"white space alone", "  \r\n\r\n", errMethod},
	{"LF before it", "\n" + get, errBareLF},
	{"CR before it", "\r" + get, errBareCR},

	{"two spaces before the target", "GET  / HTTP/1.1\r\n", errNoTarget},
	{"a TAB before the target", "GET\t/ HTTP/1.1\r\n", errMethod},
	{"no target", "GET HTTP/1.1\r\n", errNoVersion},
	{"no method", " / HTTP/1.1\r\n", errMethod},
	{"a method that is no token", "G@T / HTTP/1.1\r\n", errMethod},
	{"a control octet in the method", "GE\x00T / HTTP/1.1\r\n", errMethod},
	{"a method of 32 octets", strings.Repeat("M", 32) + " / HTTP/1.1\r\n\r\n", nil},
	{"a method of 33 octets", strings.Repeat("M", 33), errLongMethod},
	{"random octets", "\x16\x03\x01\x02\x00\x01", errMethod},
	{"HTTP/0.9", "GET /\r\n", errNoVersion},
	{"HTTP/0.9 with LF", "GET /\n", errNoVersion},
	{"a space in the target", "GET /a b HTTP/1.1\r\n", errVersion},
	{"# in the target", "GET /a#b HTTP/1.1\r\n", errTarget},
	{"NUL in the target", "GET /a\x00b HTTP/1.1\r\n", errTarget},
	{"UTF-8 in the target", "GET /\u00e9 HTTP/1.1\r\n", errTarget},
	{"overlong UTF-8 in the target", "GET /\xc0\xaf HTTP/1.1\r\n", errTarget},
	{"a backslash in the target", `GET /a\b HTTP/1.1`, errTarget},
	{"a TAB after the target", "GET /\tHTTP/1.1\r\n", errTarget},
	{"a target at the bound", "GET /" + strings.Repeat("a", maxTarget-1) + " HTTP/1.1\r\n\r\n", nil},
	{"a target beyond it", "GET /" + strings.Repeat("a", maxTarget), errLongTarget},

	{"two spaces before the version", "GET /  HTTP/1.1\r\n", errVersion},
	{"a space after the version", "GET / HTTP/1.1 \r\n", errVersion},
	{"a version without a digit", "GET / HTTP/1\r\n", errVersion},
	{"a version with zeros", "GET / HTTP/01.01\r\n", errVersion},
	{"a space in the version", "GET / HTTP/ 1.1\r\n", errVersion},
	{"a version in lower case", "GET / http/1.1\r\n", errVersion},
	{"another protocol", "GET / RTSP/1.0\r\n", errVersion},
	{"HTTP/9.9", "GET / HTTP/9.9\r", errMajor},
	{"HTTP/2.0", "PRI * HTTP/2.0\r", errMajor},
	{"HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", nil},
	{"HTTP/1.2", "GET / HTTP/1.2\r\n\r\n", nil},
	{"a request line that ends in LF", "GET / HTTP/1.1\n", errBareLF},
	{"a request line that ends in CR", "GET / HTTP/1.1\rH", errBareCR},
	{"CR CR LF", "GET / HTTP/1.1\r\r", errBareCR},

	{"a folded line", get + " b", errFold},
	{"a fold with a TAB", get + "\tb", errFold},
	{"white space before the first field", "GET / HTTP/1.1\r\n Host: a\r\n", errFold},
	{"a space before the colon", get + "A :", errFieldSpace},
	{"a TAB in a name", get + "A\tB:", errFieldSpace},
	{"a name that is no token", get + "A[", errFieldName},
	{"UTF-8 in a name", get + "\u00e9", errFieldName},
	{"no name", get + ":", errFieldName},
	{"no colon", get + "A\r", errFieldColon},
	{"no colon, LF", get + "A\n", errFieldColon},
	{"CR in a value", get + "A: b\rc", errBareCR},
	{"LF after a value", get + "A: b\n", errBareLF},
	{"NUL in a value", get + "A: b\x00", errFieldValue},
	{"BEL in a value", get + "A: \a", errFieldValue},
	{"VT in a value", get + "A: \v", errFieldValue},
	{"DEL in a value", get + "A: \x7f", errFieldValue},
	{"TAB and obs-text in a value", get + "A: \t\xff\u00e9\t\r\n\r\n", nil},
	{"the last line ends in LF", get + "\n", errBareLF},
	{"the last line ends in CR", get + "\rA", errBareCR},
	{"a large value", get + "A: " + strings.Repeat("x", maxHead), errTooLarge},
	{"a large name", get + strings.Repeat("x", maxHead), errTooLarge},
	{"a head at the bound", get + "A: " + strings.Repeat("x", maxHead-len(get)-len("A: \r\n\r\n")) + "\r\n\r\n", nil},
	{"a head beyond it", get + "A: " + strings.Repeat("x", maxHead-len(get)-len("A: \r\n\r\n")+1) + "\r\n\r", errTooLarge},
	{"as many fields as may be", "GET / HTTP/1.1\r\n" + strings.Repeat("A:\r\n", maxFields) + "\r\n", nil},
	{"one more", "GET / HTTP/1.1\r\n" + strings.Repeat("A:\r\n", maxFields) + "A", errManyFields},

	{"nothing", "", io.EOF},
	{"half a request", "GET / HT", io.ErrUnexpectedEOF},
	{"no last line", get, io.ErrUnexpectedEOF},
}

// Each fault of a head is found at its octet: the texts end there, and a reader that
// is asked for more fails the test. Octets after a head are not read.
func TestRequestHeads(t *testing.T) {
	for _, tt := range heads {
		for name, r := range map[string]io.Reader{"whole": strings.NewReader(tt.text), "by octets": iotest.OneByteReader(strings.NewReader(tt.text))} {
			rest := ""
			if tt.want == nil {
				rest = "REST"
				r = io.MultiReader(r, strings.NewReader(rest))
			} else if _, ours := tt.want.(*Error); ours {
				r = io.MultiReader(r, iotest.ErrReader(errors.New("asked for more")))
			}
			br := newInput(r, 64) // most heads spill
			s := requestScanner()
			text, err := readHead(br, &s)
			if err != tt.want {
				t.Errorf("%s, %s: %v, want %v", tt.name, name, err, tt.want)
				continue
			}
			if err != nil {
				if !strings.HasPrefix(tt.text, text) || len(tt.text)-len(text) > 40 {
					t.Errorf("%s, %s: before the fault stands %q", tt.name, name, text)
				}
				continue
			}
			if after, _ := io.ReadAll(br); text != tt.text || string(after) != rest {
				t.Errorf("%s, %s: the head is %q, and %q is left", tt.name, name, text, after)
			}
		}
	}
}

// A status line has a version, three digits and perhaps a reason.
func TestResponseHeads(t *testing.T) {
	for text, want := range map[string]error{
		"HTTP/1.1 200 OK\r\nA: b\r\n\r\n":      nil,
		"HTTP/1.0 200 OK\r\n\r\n":              nil,
		"HTTP/1.1 200 \r\n\r\n":                nil,
		"HTTP/1.1 200\r\n\r\n":                 nil,
		"HTTP/1.1 099 Sehr gut \u00e9\r\n\r\n": nil, // the number is judged elsewhere
		"HTTP/1.1 20":                          io.ErrUnexpectedEOF,
		"HTTP/1.1 20 OK":                       errStatusLine,
		"HTTP/1.1 2000":                        errStatusLine,
		"HTTP/1.1  200":                        errStatusLine,
		"HTTP/1.1 +20":                         errStatusLine,
		"HTTP/1.1 200 a\x00":                   errStatusLine,
		"HTTP/1.1 200 OK\n":                    errBareLF,
		"HTTP/1.1 200 OK\rA":                   errBareCR,
		"HTTP/2.0 200 ":                        errMajor,
		"\r\n":                                 errStatusLine,
		"HTTP/1.1 200 OK\r\n A":                errFold,
		"HTTP/1.1 200 OK\r\nA :":               errFieldSpace,
		"HTTP/1.1 200 OK\r\n" + strings.Repeat("x", 200): errTooLarge,
	} {
		s := responseScanner(100)
		got, err := readHead(inputOf(strings.NewReader(text)), &s)
		if err != want || err == nil && got != text {
			t.Errorf("%q: %q, %v, want %v", text, got, err, want)
		}
	}
}
