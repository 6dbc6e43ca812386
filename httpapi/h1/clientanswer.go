package h1

import (
	"bufio"
	"errors"
	"net/http"
	"net/textproto"
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

// readResponse reads the head of one answer to req, an interim one (1xx) too. The head
// has at most max octets. An [*Error] comes as a [*ResponseError]; io.EOF means that the
// connection has ended before the first octet.
func readResponse(br *bufio.Reader, req *http.Request, max int) (*http.Response, framing, error) {
	s := responseScanner(max)
	text, err := readHead(br, &s)
	if err != nil {
		return nil, 0, ofResponse(err)
	}
	res := &http.Response{Request: req, ProtoMajor: 1}
	body, err := parseResponse(res, text, s.fields)
	if err != nil {
		return nil, 0, ofResponse(err)
	}
	return res, body, nil
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

// parseResponse takes a scanned head with n fields apart.
func parseResponse(res *http.Response, text string, n int) (framing, error) {
	line, rest, _ := strings.Cut(text, "\r\n")
	const version, code = len("HTTP/1.1"), len("HTTP/1.1 200")
	res.ProtoMinor = int(line[version-1] - '0')
	res.Proto = line[:version]
	res.Status = strings.TrimRight(line[version+1:], " ")
	for _, digit := range line[version+1 : code] {
		res.StatusCode = 10*res.StatusCode + int(digit-'0')
	}
	if res.StatusCode < 100 {
		return 0, errStatus
	}
	res.Header = parseFields(rest, n)
	res.Close = closes(res)
	return frame(res)
}

// closes reports whether the connection ends with res. The field Connection stays: a
// proxy drops the fields that it names.
func closes(res *http.Response) bool {
	lines := res.Header["Connection"]
	return hasToken(lines, "close") || res.ProtoMinor == 0 && !hasToken(lines, "keep-alive")
}

// frame judges how the body of res ends (RFC 9112, section 6.3), and sets the fields of
// res that say so. The lines of the framing are judged even where there is no body.
func frame(res *http.Response) (framing, error) {
	h := res.Header
	codings, lengths := h["Transfer-Encoding"], h["Content-Length"]
	length, err := contentLength(lengths)
	if err != nil {
		return 0, err
	}
	if codings != nil {
		switch chunked, err := isChunked(codings); {
		case lengths != nil:
			return 0, errTwoFrames
		case res.ProtoMinor == 0:
			return 0, errOldCoding
		case err != nil:
			return 0, err
		case chunked:
			res.TransferEncoding = codings
			delete(h, "Transfer-Encoding")
			expectTrailer(res)
		}
	}
	res.ContentLength = length
	switch status := res.StatusCode; {
	case status < 200 || status == http.StatusNoContent:
		delete(h, "Content-Length") // RFC 9110, section 8.6
		res.ContentLength, res.TransferEncoding, res.Trailer = 0, nil, nil
		return noBody, nil
	case status == http.StatusNotModified:
		res.ContentLength = 0
		return noBody, nil
	case res.Request != nil && res.Request.Method == http.MethodHead, length == 0:
		return noBody, nil
	case codings != nil:
		return byChunks, nil
	case length > 0:
		return byLength, nil
	}
	res.Close = true
	return byClose, nil
}

// expectTrailer moves the names of the field Trailer to res.Trailer, as net/http does.
func expectTrailer(res *http.Response) {
	lines := res.Header["Trailer"]
	delete(res.Header, "Trailer")
	for _, line := range lines {
		for name := range strings.SplitSeq(line, ",") {
			name = textproto.CanonicalMIMEHeaderKey(strings.Trim(name, " \t"))
			if !mayTrail(name) {
				continue
			}
			if res.Trailer == nil {
				res.Trailer = http.Header{}
			}
			res.Trailer[name] = nil
		}
	}
}

// takeTrailer adds the fields of a trailer section to those of res.
func takeTrailer(res *http.Response, section http.Header) {
	for name, values := range section {
		if !mayTrail(name) {
			continue
		}
		if res.Trailer == nil {
			res.Trailer = http.Header{}
		}
		res.Trailer[name] = values
	}
}
