package h1

import (
	"bufio"
	"errors"
	"io"
	"strconv"
)

// The bounds of chunks.
const (
	maxChunkDigits = 16  // after leading zeros
	maxChunkLine   = 256 // octets of the leading zeros and of the extensions

	// A body may have this many octets of overhead more than its chunks justify.
	maxOverhead   = 16 << 10
	chunkOverhead = 16 // octets that a chunk may have beside twice its data
)

// chunkedReader decodes a chunked body. Its Read returns io.EOF after the trailer
// section, an [*Error] at a fault, io.ErrUnexpectedEOF at an early end, or the error of
// the connection. Each of them is final.
type chunkedReader struct {
	br      *input
	trailer Fields // set at the end

	left     uint64 // octets of the chunk
	inside   bool   // a chunk's data or its CRLF comes next
	overhead int64
	err      error
}

// Read implements [io.Reader]. It returns octets of one chunk, so that none waits for the
// line of the next one.
func (r *chunkedReader) Read(p []byte) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	for r.err == nil {
		switch {
		case r.left > 0:
			n, err = r.br.Read(p[:min(uint64(len(p)), r.left)])
			r.left -= uint64(n)
			if r.fail(err); n > 0 {
				return n, nil
			}
		case r.inside:
			r.fail(r.chunkEnd())
		default:
			r.fail(r.chunkBegin())
		}
	}
	return 0, r.err
}

// fail keeps err. The end of the connection is an early end.
func (r *chunkedReader) fail(err error) {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		r.err = err
	}
}

func (r *chunkedReader) chunkEnd() error {
	r.inside = false
	for _, want := range []byte("\r\n") {
		if c, err := r.br.ReadByte(); err != nil {
			return err
		} else if c != want {
			return errChunkEnd
		}
	}
	return nil
}

// chunkBegin reads the line of a chunk's size; after the last one, the trailer section.
func (r *chunkedReader) chunkBegin() error {
	size, length, err := readChunkLine(r.br)
	if err != nil {
		return err
	}
	r.left, r.inside = size, size > 0
	if size == 0 {
		return r.end()
	}
	allowed := chunkOverhead + 2*int64(min(size, maxOverhead))
	if r.overhead = max(0, r.overhead+int64(length)-allowed); r.overhead > maxOverhead {
		return errOverhead
	}
	return nil
}

func (r *chunkedReader) end() error {
	s := fieldScanner(maxTrailer)
	text, err := readHead(r.br, &s)
	switch {
	case errors.Is(err, errTooLarge), errors.Is(err, errManyFields):
		return errLongTrailer
	case err != nil:
		return err
	}
	r.trailer.parse(text)
	r.err = io.EOF
	return nil
}

// readChunkLine reads the line with the size of a chunk, which has so many octets.
func readChunkLine(br *input) (size uint64, octets int, err error) {
	digits, zeros := 0, 0 // digits without leading zeros
	var c byte
	for {
		if c, err = br.ReadByte(); err != nil {
			return 0, 0, err
		}
		d := hexDigit(c)
		switch {
		case d < 0:
			if digits+zeros == 0 {
				return 0, 0, errChunkSize
			}
			n, err := readExtensions(br, c, maxChunkLine-zeros)
			return size, digits + zeros + n, err
		case d == 0 && digits == 0:
			zeros++
		default:
			digits++
		}
		if digits > maxChunkDigits || zeros > maxChunkLine {
			return 0, 0, errChunkSize
		}
		size = size<<4 | uint64(d)
	}
}

func hexDigit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// The states of chunk extensions: the place of the next octet.
const (
	extSize  = iota // after the size
	extName         // at the first octet of a name
	extNamed        // inside of a name
	extValue        // at the first octet of a value
	extToken        // inside of a token
	extQuoted
	extEscaped // after a backslash
	extEnd     // after a value in quotes
	extCR
)

// readExtensions reads the rest of a chunk's line, whose first octet is c, up to its end.
// Extensions are checked and dropped. White space between their parts, which RFC 9112
// calls bad, is refused.
func readExtensions(br *input, c byte, most int) (n int, err error) {
	state := extSize
	for {
		if n++; n > most+len("\r\n") {
			return n, errLongChunkLine
		}
		if state, err = nextExtension(state, c); err != nil || state < 0 {
			return n, err
		}
		if c, err = br.ReadByte(); err != nil {
			return n, err
		}
	}
}

// nextExtension is the state after c; negative after the end of the line.
func nextExtension(state int, c byte) (next int, err error) {
	token := octets[c]&inToken != 0
	ended := state == extSize || state == extEnd || state == extNamed || state == extToken
	switch {
	case state == extCR && c == '\n':
		return -1, nil
	case state == extCR:
		return 0, errBareCR
	case c == '\n':
		return 0, errBareLF
	case ended && c == '\r':
		return extCR, nil
	case ended && c == ';':
		return extName, nil
	case token && (state == extName || state == extNamed):
		return extNamed, nil
	case state == extNamed && c == '=':
		return extValue, nil
	case token && (state == extValue || state == extToken):
		return extToken, nil
	case state == extValue && c == '"':
		return extQuoted, nil
	case state == extQuoted && c == '"':
		return extEnd, nil
	case state == extQuoted && c == '\\':
		return extEscaped, nil
	case state == extQuoted && octets[c]&inQuoted != 0, state == extEscaped && octets[c]&inValue != 0:
		return extQuoted, nil
	case state == extSize:
		return 0, errChunkSize
	}
	return 0, errChunkExt
}

// chunkedWriter encodes a body. Each Write makes a chunk.
type chunkedWriter struct{ bw *bufio.Writer }

// Write implements [io.Writer].
func (w chunkedWriter) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil // a chunk without data would be the last one
	}
	w.bw.Write(strconv.AppendUint(w.bw.AvailableBuffer(), uint64(len(p)), 16))
	w.bw.WriteString("\r\n")
	w.bw.Write(p)
	_, err := w.bw.WriteString("\r\n") // bufio's errors stay
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// end writes the last chunk and the trailer section.
func (w chunkedWriter) end(trailer *Fields) error {
	w.bw.WriteString("0\r\n")
	writeFields(w.bw, trailer)
	_, err := w.bw.WriteString("\r\n")
	return err
}
