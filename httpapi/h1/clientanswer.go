package h1

import (
	"errors"
	"io"
	"net/http"
	"strings"
)

// ResponseError is a fault in the octets of an answer: what came is not HTTP/1.1, or not
// an answer to the request.
type ResponseError struct{ Err error }

func (e *ResponseError) Error() string { return "malformed response: " + e.Err.Error() }
func (e *ResponseError) Unwrap() error { return e.Err }

// The faults that only answers have.
var (
	errStatus     = bad("status_line", "The status code is below 100.")
	errLargeHead  = bad("head_too_large", "The head is too large.")
	errFewFields  = bad("head_too_large", "The head has too many header fields.")
	errNotChunked = bad("transfer_encoding", "The transfer coding is not chunked alone.")
)

// framing is how a body ends.
type framing uint8

const (
	noBody   framing = iota
	byLength         // after res.ContentLength octets
	byChunks
	byClose // at the end of the connection
)

// Answer is the head of an answer, and its trailer once the body has been read. Its
// strings are parts of the text that was read.
type Answer struct {
	Status int
	Reason string // with which the status came, perhaps ""
	Minor  int    // of the version
	// Fields are without Trailer, and without Transfer-Encoding of a chunked body.
	Fields    Fields
	Length    int64    // of the body; -1 is not known
	Chunked   bool     // the body is
	Close     bool     // the connection ends with the answer
	Announced []string // the names of the trailer's fields, as the head has them
	Trailer   Fields   // set at the end of the body
	// Body must be read to its end or closed. After a 101 it is an [io.ReadWriteCloser].
	Body io.ReadCloser
}

// read reads the head of one answer to a request with the method, an interim one (1xx)
// too. The head has at most max octets. An [*Error] comes as a [*ResponseError]; io.EOF
// means that the connection has ended before the first octet.
func (a *Answer) read(br *input, method string, max int) (framing, error) {
	s := responseScanner(max)
	text, err := readHead(br, &s)
	if err != nil {
		return 0, ofResponse(err)
	}
	body, err := a.parse(text, method)
	if err != nil {
		return 0, ofResponse(err)
	}
	return body, nil
}

// ofResponse is err, of reading an answer, with a fault of the codec as a [*ResponseError].
func ofResponse(err error) error {
	var fault *Error
	if !errors.As(err, &fault) {
		return err
	}
	switch fault {
	case errTooLarge:
		fault = errLargeHead // those speak of requests
	case errManyFields:
		fault = errFewFields
	case errCoding:
		fault = errNotChunked
	}
	return &ResponseError{fault}
}

// parse takes a scanned head apart, whose names are canonical.
func (a *Answer) parse(text, method string) (framing, error) {
	fields := a.Fields
	fields.Reset()
	*a = Answer{Fields: fields, Trailer: a.Trailer}
	line, rest, _ := strings.Cut(text, "\r\n")
	const version, code = len("HTTP/1.1"), len("HTTP/1.1 200")
	a.Minor = int(line[version-1] - '0')
	for _, digit := range line[version+1 : code] {
		a.Status = 10*a.Status + int(digit-'0')
	}
	if a.Status < 100 {
		return 0, errStatus
	}
	a.Reason = strings.Trim(line[code:], " ")
	a.Fields.parse(rest)
	// The field Connection stays: a proxy drops the fields that it names.
	lines := a.Fields.Values("Connection")
	a.Close = hasToken(lines, "close") || a.Minor == 0 && !hasToken(lines, "keep-alive")
	return a.frame(method)
}

// frame judges how the body of a ends (RFC 9112, section 6.3), and sets the fields of a
// that say so. The lines of the framing are judged even where there is no body.
func (a *Answer) frame(method string) (framing, error) {
	f := &a.Fields
	codings, lengths := f.Values("Transfer-Encoding"), f.Values("Content-Length")
	length, err := contentLength(lengths)
	if err != nil {
		return 0, err
	}
	if codings != nil {
		switch chunked, err := isChunked(codings); {
		case lengths != nil:
			return 0, errTwoFrames
		case a.Minor == 0:
			return 0, errOldCoding
		case err != nil:
			return 0, err
		case chunked:
			a.Chunked = true
			f.Del("Transfer-Encoding")
			a.expectTrailer()
		}
	}
	a.Length = length
	switch {
	case a.Status < 200 || a.Status == http.StatusNoContent:
		f.Del("Content-Length") // RFC 9110, section 8.6
		a.Length, a.Chunked, a.Announced = 0, false, nil
		return noBody, nil
	case a.Status == http.StatusNotModified:
		a.Length = 0
		return noBody, nil
	case method == http.MethodHead, length == 0:
		return noBody, nil
	case codings != nil:
		return byChunks, nil
	case length > 0:
		return byLength, nil
	}
	a.Close = true
	return byClose, nil
}

// expectTrailer moves the names of the field Trailer to a.Announced.
func (a *Answer) expectTrailer() {
	for _, name := range announced(a.Fields.Values("Trailer")) {
		if mayTrail(name) {
			a.Announced = append(a.Announced, name)
		}
	}
	a.Fields.Del("Trailer")
}

// takeTrailer takes the fields of a trailer section.
func (a *Answer) takeTrailer(section *Fields) {
	for name, v := range section.All() {
		if mayTrail(name) {
			a.Trailer.Add(name, v)
		}
	}
}
