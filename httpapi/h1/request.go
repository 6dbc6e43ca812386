package h1

import (
	"net/http"
	"net/url"
	"strings"
)

// head tells what a request's head says beside its [http.Request].
type head struct {
	length int64 // of the body; -1 is chunked
	close  bool  // the connection ends after the answer
	expect bool  // the client waits for a 100 before it sends the body
}

// parseRequest takes a scanned head of n fields apart into r, and judges all that no
// octet alone can tell. secure is the scheme that the connection has. After an error, r
// has at least the method.
func parseRequest(r *http.Request, text string, n int, secure bool) (h head, err error) {
	line, fields := cutStart(text)
	parseLine(r, line)
	r.Header = parseFields(fields, n)
	if err := parseTarget(r, secure); err != nil {
		return h, err
	}
	if h.length, err = bodyLength(r.Header, r.ProtoMinor == 0); err != nil {
		return h, err
	}
	r.ContentLength = h.length
	if types := r.Header["Content-Type"]; len(types) > 1 && !allEqual(types) {
		return h, errTypes
	}
	if h.expect, err = expectation(r); err != nil {
		return h, err
	}
	if h.length < 0 {
		r.TransferEncoding = chunkedOnly
		delete(r.Header, "Transfer-Encoding")
		announceTrailer(r)
	}
	h.close = hasToken(r.Header["Connection"], "close")
	if r.ProtoMinor == 0 {
		h.close = h.close || !hasToken(r.Header["Connection"], "keep-alive")
		delete(r.Header, "Upgrade") // HTTP/1.0 has none (RFC 9110, 7.8)
	}
	return h, nil
}

// chunkedOnly is the TransferEncoding of every chunked message; nobody may change it.
var chunkedOnly = []string{"chunked"}

// cutStart cuts a head after its start line.
func cutStart(text string) (line, fields string) {
	line, fields, _ = strings.Cut(strings.TrimLeft(text, "\r\n"), "\r\n")
	return line, fields
}

// parseLine takes a scanned request line apart.
func parseLine(r *http.Request, line string) {
	r.Method, line, _ = strings.Cut(line, " ")
	r.RequestURI, r.Proto, _ = strings.Cut(line, " ")
	r.ProtoMajor, r.ProtoMinor = 1, int(r.Proto[len(r.Proto)-1]-'0')
}

// parsePart fills r with the whole lines of a head that is refused, for the answer.
func parsePart(r *http.Request, text string) {
	end := strings.LastIndex(text, "\r\n")
	if end <= 0 {
		return
	}
	line, fields := cutStart(text[:end+len("\r\n")])
	if line != "" {
		parseLine(r, line)
		r.Header = parseFields(fields, strings.Count(fields, "\r\n"))
	}
}

// parseTarget judges the four forms of a target, and Host.
func parseTarget(r *http.Request, secure bool) (err error) {
	hosts, target := r.Header["Host"], r.RequestURI
	switch {
	case len(hosts) > 1:
		return errHosts
	case len(hosts) == 1:
		if r.Host = hosts[0]; !validHost(r.Host) {
			return errHost
		}
		delete(r.Header, "Host")
	case r.ProtoMinor > 0:
		return errNoHost
	}
	switch {
	case r.Method == http.MethodConnect:
		if _, port := splitHost(target); port == "" || !validHost(target) {
			return errAuthority
		}
		r.URL, r.Host = &url.URL{Host: target}, target
		return nil
	case target == "*":
		if r.Method != http.MethodOptions {
			return errAsterisk
		}
		r.URL = &url.URL{Path: "*"}
		return nil
	}
	if r.URL, err = url.ParseRequestURI(target); err != nil {
		return errPath
	}
	if target[0] != '/' {
		return judgeAbsolute(r, len(hosts) > 0, secure)
	}
	return nil
}

// judgeAbsolute refuses an absolute form that does not name this server as Host and the
// connection do: two programs might serve it to two different hosts.
func judgeAbsolute(r *http.Request, hasHost, secure bool) error {
	u := r.URL
	scheme, port := "http", ":80"
	if secure {
		scheme, port = "https", ":443"
	}
	switch {
	case u.Scheme != scheme || u.User != nil || u.Opaque != "" || !validHost(u.Host):
		return errAbsolute
	case hasHost && !strings.EqualFold(strings.TrimSuffix(u.Host, port), strings.TrimSuffix(r.Host, port)):
		return errOtherHost
	}
	r.Host = u.Host
	return nil
}

// expectation tells whether the client waits for a 100. HTTP/1.0 has no expectations.
func expectation(r *http.Request) (bool, error) {
	expect := false
	for _, v := range r.Header["Expect"] {
		switch {
		case strings.EqualFold(v, "100-continue"):
			expect = true
		case v != "":
			return false, errExpect
		}
	}
	return expect && r.ProtoMinor > 0 && r.ContentLength != 0, nil
}

// announceTrailer moves the names in Trailer to r.Trailer.
func announceTrailer(r *http.Request) {
	for _, line := range r.Header["Trailer"] {
		for name := range strings.SplitSeq(line, ",") {
			if name = strings.Trim(name, " \t"); name == "" {
				continue
			}
			if r.Trailer == nil {
				r.Trailer = http.Header{}
			}
			r.Trailer[http.CanonicalHeaderKey(name)] = nil
		}
	}
	delete(r.Header, "Trailer")
}

// hasToken reports whether a list has a token, in any case.
func hasToken(lines []string, token string) bool {
	for _, line := range lines {
		for part := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.Trim(part, " \t"), token) {
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
