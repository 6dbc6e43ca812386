package h1

import (
	"bufio"
	"net/http"
	"net/textproto"
	"strings"
)

// parseFields takes a scanned section of n fields apart. The values are parts of text.
func parseFields(text string, n int) http.Header {
	h := make(http.Header, n)
	values := make([]string, n) // of all fields; each gets a slice of one
	for text != "\r\n" && text != "" {
		var line string
		line, text, _ = strings.Cut(text, "\r\n")
		name, value, _ := strings.Cut(line, ":")
		name, value = textproto.CanonicalMIMEHeaderKey(name), strings.Trim(value, " \t")
		if before := h[name]; before != nil {
			h[name] = append(before, value)
			continue
		}
		values[0] = value
		h[name], values = values[:1:1], values[1:]
	}
	return h
}

// contentLength is the length that the lines of Content-Length give; -1 without lines.
// A leading zero is refused, because some take it for octal.
func contentLength(lines []string) (int64, error) {
	switch len(lines) {
	case 0:
		return -1, nil
	case 1:
		return parseLength(lines[0])
	}
	return 0, errLengths
}

func parseLength(s string) (int64, error) {
	if s == "" || len(s) > 1 && s[0] == '0' {
		return 0, errLength
	}
	var n int64
	for i := range len(s) {
		d := int64(s[i]) - '0'
		if d < 0 || d > 9 || n > (1<<63-1-d)/10 {
			return 0, errLength
		}
		n = 10*n + d
	}
	return n, nil
}

// isChunked judges the lines of Transfer-Encoding: the only coding is chunked, alone.
// Without lines, the body is not chunked. Chunked beside anything else is malformed;
// other codings are unsupported.
func isChunked(lines []string) (bool, error) {
	switch {
	case len(lines) == 0:
		return false, nil
	case len(lines) == 1 && strings.EqualFold(lines[0], "chunked"):
		return true, nil
	}
	other := false
	for _, line := range lines {
		for coding := range strings.SplitSeq(line, ",") {
			name, _, _ := strings.Cut(coding, ";")
			name = strings.Trim(name, " \t")
			if strings.EqualFold(name, "chunked") {
				return false, errCodings
			}
			other = other || name != ""
		}
	}
	if !other {
		return false, errCodings
	}
	return false, errCoding
}

// bodyLength is the length of the body that h frames: -1 if it is chunked, and 0 if h
// says nothing, which in a request means that there is none.
func bodyLength(h http.Header, old bool) (n int64, err error) {
	codings, lengths := h["Transfer-Encoding"], h["Content-Length"]
	switch {
	case codings == nil:
		n, err = contentLength(lengths)
		return max(n, 0), err
	case lengths != nil:
		return 0, errTwoFrames
	case old:
		return 0, errOldCoding
	}
	_, err = isChunked(codings)
	return -1, err
}

// writeFields writes the lines of h in any order. A name that is not a token is left
// out. In a value, an octet that none may have becomes a space, so that no value can end
// its line.
func writeFields(bw *bufio.Writer, h http.Header) {
	for name, values := range h {
		if !isToken(name) {
			continue
		}
		for _, v := range values {
			writeField(bw, name, v)
		}
	}
}

func writeField(bw *bufio.Writer, name, value string) {
	bw.WriteString(name)
	bw.WriteString(": ")
	bw.WriteString(strings.Trim(cleanValue(value), " \t"))
	bw.WriteString("\r\n")
}

// cleanValue is value with a space in place of each octet that no value may have.
func cleanValue(value string) string {
	for i := range len(value) {
		if octets[value[i]]&inValue == 0 {
			clean := []byte(value)
			for i, c := range clean {
				if octets[c]&inValue == 0 {
					clean[i] = ' '
				}
			}
			return string(clean)
		}
	}
	return value
}
