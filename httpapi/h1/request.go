package h1

import (
	"context"
	"net/http"
	"net/url"
	"strings"
)

// Request is the head of a request, and its trailer once the body has been read. Its
// strings are parts of the text that was read.
type Request struct {
	Method string
	Target string // as it stands in the request line
	Path   string // of Target, percent-encoded as it was sent; "*" of "OPTIONS *", "" of CONNECT
	Query  string // of Target, after the "?"
	Asked  bool   // Target has a "?"
	Host   string // in the target of an absolute form, else in Host; "" if HTTP/1.0 says nothing
	Major  int    // of the version; see RequestOf
	Minor  int
	Secure bool   // it came over TLS
	Remote string // address of the peer, with its port
	// Context is that of the connection; nil outside of [Server.Lane].
	Context context.Context

	Fields    Fields   // without Host, and without Transfer-Encoding and Trailer of a chunked body
	Length    int64    // of the body: -1 is chunked, 0 is none
	Announced []string // names of the trailer's fields, as the head has them
	Trailer   Fields   // set at the end of the body

	close  bool // the connection ends after the answer
	expect bool // the client waits for a 100 before it sends the body
}

// RequestOf is r, which net/http has read, without its trailer. It may be one of HTTP/2.
func RequestOf(r *http.Request) *Request {
	q := &Request{
		Method: r.Method, Target: r.RequestURI, Path: r.URL.EscapedPath(), Query: r.URL.RawQuery, Asked: r.URL.ForceQuery || r.URL.RawQuery != "",
		Host: r.Host, Major: r.ProtoMajor, Minor: r.ProtoMinor, Secure: r.TLS != nil, Remote: r.RemoteAddr,
		Fields: FieldsOf(r.Header), Length: r.ContentLength,
	}
	for name := range r.Trailer {
		q.Announced = append(q.Announced, name)
	}
	return q
}

// reset makes q blank, for a request on c if that is not nil, and keeps its room.
func (q *Request) reset(c *conn) {
	fields, trailer := q.Fields, q.Trailer
	fields.Reset()
	trailer.Reset()
	*q = Request{Major: 1, Minor: 1, Fields: fields, Trailer: trailer}
	if c != nil {
		q.Remote, q.Secure, q.Context = c.remote, c.tls != nil, c.ctx
	}
}

// parse takes a scanned head apart, whose names are canonical, and judges all that no
// octet alone can tell. After an error, q has at least the method.
func (q *Request) parse(text string) (err error) {
	line, fields := cutStart(text)
	q.parseLine(line)
	q.Fields.parse(fields)
	if err := q.judgeTarget(); err != nil {
		return err
	}
	if q.Length, err = bodyLength(q.Fields.Values("Transfer-Encoding"), q.Fields.Values("Content-Length"), q.Minor == 0); err != nil {
		return err
	}
	if types := q.Fields.Values("Content-Type"); len(types) > 1 && !allEqual(types) {
		return errTypes
	}
	if q.Minor == 0 { // it has neither (RFC 9110, 7.8 and 10.1.1), and upstreams get HTTP/1.1
		q.Fields.Del("Upgrade")
		q.Fields.Del("Expect")
	}
	expect, known := expectation(q.Fields.Values("Expect"))
	if !known {
		return errExpect
	}
	q.expect = expect && q.Length != 0
	if q.Length < 0 {
		q.Fields.Del("Transfer-Encoding")
		q.Announced = announced(q.Fields.Values("Trailer"))
		q.Fields.Del("Trailer")
	}
	connection := q.Fields.Values("Connection")
	q.close = hasToken(connection, "close")
	if q.Minor == 0 {
		q.close = q.close || !hasToken(connection, "keep-alive")
	}
	return nil
}

// cutStart cuts a head after its start line.
func cutStart(text string) (line, fields string) {
	line, fields, _ = strings.Cut(strings.TrimLeft(text, "\r\n"), "\r\n")
	return line, fields
}

// parseLine takes a scanned request line apart.
func (q *Request) parseLine(line string) {
	var version string
	q.Method, line, _ = strings.Cut(line, " ")
	q.Target, version, _ = strings.Cut(line, " ")
	q.Minor = int(version[len(version)-1] - '0')
}

// parsePart fills q with the whole lines of a head that is refused, for the answer.
func (q *Request) parsePart(text string) {
	end := strings.LastIndex(text, "\r\n")
	if end <= 0 {
		return
	}
	whole := []byte(text[:end+len("\r\n")] + "\r\n")
	canonicalize(whole, false)
	line, fields := cutStart(string(whole))
	if line != "" {
		q.parseLine(line)
		q.Fields.parse(fields)
	}
}

// judgeTarget judges the four forms of a target, and Host.
func (q *Request) judgeTarget() error {
	hosts := q.Fields.Values("Host")
	switch {
	case len(hosts) > 1:
		return errHosts
	case len(hosts) == 1:
		if q.Host = hosts[0]; !validHost(q.Host) {
			return errHost
		}
		q.Fields.Del("Host")
	case q.Minor > 0:
		return errNoHost
	}
	switch {
	case q.Method == http.MethodConnect:
		if _, port := splitHost(q.Target); port == "" || !validHost(q.Target) {
			return errAuthority
		}
		q.Host = q.Target
		return nil
	case q.Target == "*":
		if q.Method != http.MethodOptions {
			return errAsterisk
		}
		q.Path = q.Target
		return nil
	case q.Target[0] != '/':
		return q.judgeAbsolute(len(hosts) > 0)
	}
	q.Path, q.Query, q.Asked = strings.Cut(q.Target, "?")
	if !validEscapes(q.Path) {
		return errPath
	}
	return nil
}

// validEscapes reports whether each "%" of a path begins a percent-encoded octet.
func validEscapes(path string) bool {
	for {
		i := strings.IndexByte(path, '%')
		if i < 0 {
			return true
		}
		if len(path) < i+3 || hexDigit(path[i+1]) < 0 || hexDigit(path[i+2]) < 0 {
			return false
		}
		path = path[i+3:]
	}
}

// judgeAbsolute refuses an absolute form that does not name this server as Host and the
// connection do: two programs might serve it to two different hosts.
func (q *Request) judgeAbsolute(hasHost bool) error {
	u, err := url.ParseRequestURI(q.Target)
	if err != nil {
		return errPath
	}
	scheme := "http"
	if q.Secure {
		scheme = "https"
	}
	switch {
	case u.Scheme != scheme || u.User != nil || u.Opaque != "" || !validHost(u.Host):
		return errAbsolute
	case hasHost && !sameHost(u.Host, q.Host, q.Secure):
		return errOtherHost
	}
	q.Host, q.Path, q.Query, q.Asked = u.Host, u.EscapedPath(), u.RawQuery, u.ForceQuery || u.RawQuery != ""
	return nil
}

// expectation reports whether a request with these lines of Expect waits for a 100, and
// whether no line has anything else.
func expectation(lines []string) (waits, known bool) {
	for _, v := range lines {
		switch {
		case strings.EqualFold(v, "100-continue"):
			waits = true
		case v != "":
			return false, false
		}
	}
	return waits, true
}

// chunkedOnly is the TransferEncoding of every chunked message; nobody may change it.
var chunkedOnly = []string{"chunked"}

// fill fills r, whose context is set, for a [http.Handler]. q may be of a head that is
// refused.
func (q *Request) fill(r *http.Request) {
	r.Method, r.RequestURI, r.Host, r.RemoteAddr = q.Method, q.Target, q.Host, q.Remote
	r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/1.1", 1, q.Minor
	if q.Minor != 1 {
		r.Proto = "HTTP/1." + string(rune('0'+q.Minor))
	}
	switch {
	case q.Method == http.MethodConnect:
		r.URL = &url.URL{Host: q.Target}
	case q.Target == "*":
		r.URL = &url.URL{Path: "*"}
	default:
		r.URL, _ = url.ParseRequestURI(q.Target) // has been judged
	}
	r.Header, r.Body, r.ContentLength = q.Fields.Header(), http.NoBody, q.Length
	if q.Length < 0 {
		r.TransferEncoding = chunkedOnly
	}
	for _, name := range q.Announced {
		if r.Trailer == nil {
			r.Trailer = http.Header{}
		}
		r.Trailer[name] = nil
	}
}
