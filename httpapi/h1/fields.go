package h1

import (
	"bufio"
	"bytes"
	"iter"
	"net/http"
	"slices"
	"strings"
)

// Fields are header fields, or those of a trailer, in their order. Names are canonical,
// as [http.CanonicalHeaderKey] has them. The zero value has none.
type Fields struct{ names, values []string }

// FieldsOf copies h, whose names must be canonical, in any order.
func FieldsOf(h http.Header) (f Fields) {
	for name, values := range h {
		for _, v := range values {
			f.Add(name, v)
		}
	}
	return f
}

// Header copies f.
func (f *Fields) Header() http.Header {
	h := make(http.Header, len(f.names))
	values := slices.Clone(f.values) // each name gets a slice of one
	for i, name := range f.names {
		if before := h[name]; before != nil {
			h[name] = append(before, values[i])
		} else {
			h[name] = values[i : i+1 : i+1]
		}
	}
	return h
}

// Len is the number of lines.
func (f *Fields) Len() int { return len(f.names) }

// All yields the lines in their order. The loop may set the value of a line by
// [Fields.SetAt] with its index, and must not change f otherwise.
func (f *Fields) All() iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		for i, name := range f.names {
			if !yield(name, f.values[i]) {
				return
			}
		}
	}
}

// At is line i.
func (f *Fields) At(i int) (name, value string) { return f.names[i], f.values[i] }

// SetAt sets the value of line i.
func (f *Fields) SetAt(i int, value string) { f.values[i] = value }

// RenameAt changes the name of line i, to a canonical one.
func (f *Fields) RenameAt(i int, name string) { f.names[i] = name }

// DeleteAt removes line i.
func (f *Fields) DeleteAt(i int) {
	f.names, f.values = slices.Delete(f.names, i, i+1), slices.Delete(f.values, i, i+1)
}

// Has reports whether a line has the name.
func (f *Fields) Has(name string) bool { return f.index(name, 0) >= 0 }

// Get is the value of the first line with the name; "" if there is none.
func (f *Fields) Get(name string) string {
	if i := f.index(name, 0); i >= 0 {
		return f.values[i]
	}
	return ""
}

// Values are the values of the lines with the name. They must not be changed.
func (f *Fields) Values(name string) []string {
	first := f.index(name, 0)
	if first < 0 {
		return nil
	}
	next := f.index(name, first+1)
	if next < 0 {
		return f.values[first : first+1 : first+1]
	}
	all := []string{f.values[first]}
	for ; next >= 0; next = f.index(name, next+1) {
		all = append(all, f.values[next])
	}
	return all
}

// index is that of the first line with the name, from line i on; -1 if there is none.
func (f *Fields) index(name string, i int) int {
	for ; i < len(f.names); i++ {
		if f.names[i] == name {
			return i
		}
	}
	return -1
}

// Add appends a line. The name must be canonical.
func (f *Fields) Add(name, value string) {
	f.names, f.values = append(f.names, name), append(f.values, value)
}

// Set removes the lines with the name and appends one.
func (f *Fields) Set(name, value string) {
	f.Del(name)
	f.Add(name, value)
}

// Del removes the lines with the name.
func (f *Fields) Del(name string) {
	if first := f.index(name, 0); first >= 0 {
		f.deleteFrom(first, func(other, _ string) bool { return other == name })
	}
}

// DeleteFunc removes the lines that drop holds for.
func (f *Fields) DeleteFunc(drop func(name, value string) bool) { f.deleteFrom(0, drop) }

func (f *Fields) deleteFrom(i int, drop func(name, value string) bool) {
	kept := i
	for ; i < len(f.names); i++ {
		if !drop(f.names[i], f.values[i]) {
			f.names[kept], f.values[kept] = f.names[i], f.values[i]
			kept++
		}
	}
	f.truncate(kept)
}

// Reset removes all lines and keeps the room for others.
func (f *Fields) Reset() { f.truncate(0) }

func (f *Fields) truncate(n int) {
	clear(f.names[n:])
	clear(f.values[n:])
	f.names, f.values = f.names[:n], f.values[:n]
}

// parse appends the lines of a scanned section, whose names are canonical. The names and
// values are parts of text.
func (f *Fields) parse(text string) {
	for text != "\r\n" && text != "" {
		end := strings.IndexByte(text, '\r')
		colon := strings.IndexByte(text[:end], ':')
		f.Add(text[:colon], trimBlanks(text[colon+1:end]))
		text = text[end+len("\r\n"):]
	}
}

// canonicalize makes the names in p canonical, a scanned section with its last line. A
// bare one has no start line.
func canonicalize(p []byte, bare bool) {
	for !bare && len(p) > 0 {
		bare = p[0] != '\r' // else it is an empty line before the start line
		p = p[skipLine(p):]
	}
	for len(p) > 0 && p[0] != '\r' {
		upper := true
		i := 0
		for ; p[i] != ':'; i++ {
			c := p[i]
			if upper && 'a' <= c && c <= 'z' || !upper && 'A' <= c && c <= 'Z' {
				p[i] = c ^ ' '
			}
			upper = c == '-'
		}
		p = p[i:]
		p = p[skipLine(p):]
	}
}

// skipLine is the length of the line that p begins with.
func skipLine(p []byte) int { return bytes.IndexByte(p, '\n') + 1 }

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
			name = trimBlanks(name)
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

// bodyLength is the length of the body that the lines of Transfer-Encoding and
// Content-Length frame: -1 if it is chunked, and 0 if there are none, which in a request
// means that it has no body.
func bodyLength(codings, lengths []string, old bool) (n int64, err error) {
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

// writeFields writes the lines of f. A name that is not a token is left out. In a value,
// an octet that none may have becomes a space, so that no value can end its line.
func writeFields(bw *bufio.Writer, f *Fields) {
	for name, v := range f.All() {
		if isToken(name) {
			writeField(bw, name, v)
		}
	}
}

func writeField(bw *bufio.Writer, name, value string) {
	bw.WriteString(name)
	bw.WriteString(": ")
	bw.WriteString(trimBlanks(cleanValue(value)))
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

// hasToken reports whether a list has a token, in any case.
func hasToken(lines []string, token string) bool {
	for _, line := range lines {
		for part := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(trimBlanks(part), token) {
				return true
			}
		}
	}
	return false
}

func allEqual(values []string) bool {
	for _, v := range values[1:] {
		if v != values[0] {
			return false
		}
	}
	return true
}

// announced are the canonical names in the lines of Trailer.
func announced(lines []string) (names []string) {
	for _, line := range lines {
		for name := range strings.SplitSeq(line, ",") {
			if name = trimBlanks(name); name != "" {
				names = append(names, http.CanonicalHeaderKey(name))
			}
		}
	}
	return names
}
