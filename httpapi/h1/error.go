package h1

import "net/http"

// Error is a fault in the octets that the peer has sent. All of them are variables of
// this package, so that they can be compared.
type Error struct {
	Status  int    // of the answer, if the peer is a client: 400, 408, 414, 417, 431, 501 or 505
	Reason  string // a short constant, for metrics
	Message string // a sentence for the peer
}

func (e *Error) Error() string { return e.Message }

func bad(reason, message string) *Error { return &Error{http.StatusBadRequest, reason, message} }

// The faults of lines, in heads, trailer sections and chunks.
var (
	errBareLF = bad("bare_lf", "A line ends in LF without CR.")
	errBareCR = bad("bare_cr", "A CR is not followed by LF.")
)

// The faults of a field section.
var (
	errFold       = bad("folded_line", "A header line begins with white space.")
	errFieldName  = bad("field_name", "The name of a header field is not a token.")
	errFieldSpace = bad("field_name", "White space stands before the colon of a header field.")
	errFieldColon = bad("field_name", "A header line has no colon.")
	errFieldValue = bad("field_value", "The value of a header field has a control character.")
	errTooLarge   = &Error{http.StatusRequestHeaderFieldsTooLarge, "head_too_large", "The head of the request is too large."}
	errManyFields = &Error{http.StatusRequestHeaderFieldsTooLarge, "head_too_large", "The request has too many header fields."}
)

// The faults of a start line.
var (
	errEmptyLines = bad("request_line", "Too many empty lines stand before the request line.")
	errMethod     = bad("method", "The method is not a token.")
	errLongMethod = bad("method", "The method is too long.")
	errTarget     = bad("target", "The request target has a character that must be percent-encoded.")
	errNoTarget   = bad("request_line", "The request line must be a method, a target and a version with one space between them.")
	errNoVersion  = bad("request_line", "The request line has no version: HTTP/0.9 is not supported.")
	errVersion    = bad("version", "The version is not of the form HTTP/1.1.")
	errLongTarget = &Error{http.StatusRequestURITooLong, "target_too_long", "The request target is too long."}
	errMajor      = &Error{http.StatusHTTPVersionNotSupported, "version", "The version of HTTP is not supported: use HTTP/1.1."}
	errStatusLine = bad("status_line", "The status line is malformed.")
)

// The faults of a request's head that no octet alone shows.
var (
	errHosts     = bad("host", "Host is given more than once.")
	errNoHost    = bad("host", "Host is missing.")
	errHost      = bad("host", "Host must be a name or an address, and perhaps a port.")
	errPath      = bad("target", "The request target is neither a path nor a URL.")
	errAsterisk  = bad("target", "The target * is only for OPTIONS.")
	errAuthority = bad("target", "The target of CONNECT must be a host and a port.")
	errAbsolute  = bad("target", "The request target must be a path, or a URL with the scheme of this connection and a host.")
	errOtherHost = bad("host", "The host in the request target is not that in Host.")
	errOtherName = bad("host", "The host in :authority is not that in Host.")
	errNotAPath  = bad("target", "The :path must begin with a slash.")
	errTypes     = bad("content_type", "Content-Type is given more than once.")
	errHalfHead  = bad("incomplete", "The connection ended before the head of the request was complete.")
	errSlowHead  = &Error{http.StatusRequestTimeout, "incomplete", "The head of the request took too long."}
	errPlaintext = bad("plaintext", "This port speaks TLS: use https.")
	errExpect    = &Error{http.StatusExpectationFailed, "expect", "Expect: only 100-continue is supported."}
)

// The faults of a body's framing.
var (
	errLength    = bad("content_length", "Content-Length must be one decimal number without a sign or leading zeros.")
	errLengths   = bad("content_length", "Content-Length is given more than once.")
	errCodings   = bad("transfer_encoding", "Transfer-Encoding must be chunked, alone and in one line.")
	errCoding    = &Error{http.StatusNotImplemented, "transfer_encoding", "The transfer coding is not supported: use chunked."}
	errTwoFrames = bad("two_framings", "Transfer-Encoding and Content-Length stand in one message.")
	errNoBody    = bad("content_length", "Content-Length announces a body, and the request has none.")
	errOldCoding = bad("transfer_encoding", "Transfer-Encoding needs HTTP/1.1.")
)

// The faults of a chunked body.
var (
	errChunkSize     = bad("chunk_size", "The size of a chunk is not a hexadecimal number of at most 16 digits.")
	errChunkExt      = bad("chunk_extension", "A chunk extension is malformed.")
	errLongChunkLine = bad("chunk_extension", "The line of a chunk's size is too long.")
	errOverhead      = bad("chunk_extension", "The chunks are mostly overhead.")
	errChunkEnd      = bad("chunk_end", "A chunk is not followed by CRLF.")
	errLongTrailer   = bad("trailer_too_large", "The trailer section is too large.")
)
