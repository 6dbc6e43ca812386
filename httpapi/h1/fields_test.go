package h1

import (
	"bufio"
	"bytes"
	"net/http"
	"reflect"
	"strings"
	"testing"
)

func TestParseFields(t *testing.T) {
	const text = "host:a\r\nX-A: 1\r\nx-b: \t two words \t\r\nX-A:\r\nX-A: 3\r\nE:\t\r\n\r\n"
	want := http.Header{"Host": {"a"}, "X-A": {"1", "", "3"}, "X-B": {"two words"}, "E": {""}}
	got := parseFields(t, text)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for name, values := range got {
		if cap(values) != len(values) && len(values) == 1 {
			t.Errorf("%s: a value that is added would overwrite another's", name)
		}
	}
	if got := parseFields(t, "\r\n"); len(got) != 0 {
		t.Errorf("an empty section has %q", got)
	}
}

// The lines of Content-Length and Transfer-Encoding, with the length of the body: -1 is
// chunked.
func TestBodyLength(t *testing.T) {
	for _, tt := range []struct {
		fields string
		want   int64
		err    error
	}{
		{"", 0, nil},
		{"Content-Length: 0", 0, nil},
		{"Content-Length: 5", 5, nil},
		{"Content-Length:   5  ", 5, nil},
		{"Content-Length: 9223372036854775807", 1<<63 - 1, nil},
		{"Content-Length: 9223372036854775808", 0, errLength},
		{"Content-Length: 99999999999999999999", 0, errLength},
		{"Content-Length:", 0, errLength},
		{"Content-Length: abc", 0, errLength},
		{"Content-Length: +5", 0, errLength},
		{"Content-Length: -5", 0, errLength},
		{"Content-Length: -0", 0, errLength},
		{"Content-Length: 0o5", 0, errLength},
		{"Content-Length: 0x5", 0, errLength},
		{"Content-Length: 1 2", 0, errLength},
		{"Content-Length: 1_2", 0, errLength},
		{"Content-Length: 5.0", 0, errLength},
		{"Content-Length: 005", 0, errLength},
		{"Content-Length: 00", 0, errLength},
		{"Content-Length: 0200", 0, errLength},
		{"Content-Length: 5, 5", 0, errLength},
		{"Content-Length: 5, 6", 0, errLength},
		{"Content-Length: 5\nContent-Length: 6", 0, errLengths},
		{"Content-Length: 5\nContent-Length: 5", 0, errLengths},

		{"Transfer-Encoding: chunked", -1, nil},
		{"Transfer-Encoding: Chunked", -1, nil},
		{"Transfer-Encoding: \tchunked ", -1, nil},
		{"Transfer-Encoding: gzip", 0, errCoding},
		{"Transfer-Encoding: identity", 0, errCoding},
		{"Transfer-Encoding: xchunked", 0, errCoding},
		{"Transfer-Encoding: gzip, deflate", 0, errCoding},
		{"Transfer-Encoding: \"chunked\"", 0, errCoding},
		{"Transfer-Encoding:", 0, errCodings},
		{"Transfer-Encoding: ,", 0, errCodings},
		{"Transfer-Encoding: chunked, chunked", 0, errCodings},
		{"Transfer-Encoding: gzip, chunked", 0, errCodings},
		{"Transfer-Encoding: chunked, gzip", 0, errCodings},
		{"Transfer-Encoding: , chunked", 0, errCodings},
		{"Transfer-Encoding: chunked,", 0, errCodings},
		{"Transfer-Encoding: chunked;ext=val", 0, errCodings},
		{"Transfer-Encoding: chunked\nTransfer-Encoding: identity", 0, errCodings},
		{"Transfer-Encoding: chunked\nTransfer-Encoding: chunked", 0, errCodings},
		{"Transfer-Encoding:\nTransfer-Encoding: chunked", 0, errCodings},

		{"Content-Length: 5\nTransfer-Encoding: chunked", 0, errTwoFrames},
		{"Transfer-Encoding: Chunked\nContent-Length: 5", 0, errTwoFrames},
		{"Transfer-Encoding: gzip\nContent-Length: 5", 0, errTwoFrames},
		{"Transfer-Encoding:\nContent-Length: +5", 0, errTwoFrames},
	} {
		fields := ""
		if tt.fields != "" {
			fields = strings.ReplaceAll(tt.fields, "\n", "\r\n") + "\r\n"
		}
		h := parseFields(t, fields+"\r\n")
		got, err := bodyLength(h["Transfer-Encoding"], h["Content-Length"], false)
		if err != tt.err || err == nil && got != tt.want {
			t.Errorf("%q: %d, %v, want %d, %v", tt.fields, got, err, tt.want, tt.err)
		}
		if _, err := bodyLength(h["Transfer-Encoding"], h["Content-Length"], true); strings.HasPrefix(tt.fields, "Transfer-Encoding") && err != errOldCoding && err != errTwoFrames {
			t.Errorf("%q in HTTP/1.0: %v", tt.fields, err)
		}
	}
}

// No value can end its line, and no name can be another field.
func TestWriteFields(t *testing.T) {
	var out bytes.Buffer
	bw := bufio.NewWriter(&out)
	bad := FieldsOf(http.Header{"A": {" b\r\nC: d\x00\xff "}, "": {"x"}, "E F": {"x"}, "G\r\nH": {"x"}})
	writeFields(bw, &bad)
	bw.Flush()
	if got := out.String(); got != "A: b  C: d \xff\r\n" {
		t.Errorf("%q", got)
	}
}
