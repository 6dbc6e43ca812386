package h1

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// passed is a connection that has been given to the server of HTTP/2.
type passed struct {
	net.Conn
	tls *tls.ConnectionState // nil in plaintext
}

// NetConn returns the connection as it was accepted.
func (c *passed) NetConn() net.Conn { return c.Conn }

// tlsKey is the context key of the state of TLS.
type tlsKey struct{}

// adopt has the server of HTTP/2 refuse what this one refuses. Its connections are all
// plaintext to it, so that a guard can read their frames; requests get the state of TLS
// here.
func (s *Server) adopt(h *http.Server) {
	next, connContext := h.Handler, h.ConnContext
	h.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// net/http believes the client's :scheme.
		r.TLS, _ = r.Context().Value(tlsKey{}).(*tls.ConnectionState)
		if e := judgeHTTP2(r); e != nil {
			s.fault(e)
			s.refuse(w, r, e)
			return
		}
		next.ServeHTTP(w, r)
	})
	h.ConnContext = func(ctx context.Context, nc net.Conn) context.Context {
		if p, ok := nc.(*passed); ok && p.tls != nil {
			ctx = context.WithValue(ctx, tlsKey{}, p.tls)
		}
		if connContext != nil {
			ctx = connContext(ctx, nc)
		}
		return ctx
	}
	if h.Protocols == nil {
		h.Protocols = new(http.Protocols)
	}
	h.Protocols.SetUnencryptedHTTP2(true)
}

// judgeHTTP2 refuses requests that RFC 9113, section 8, calls malformed and net/http's
// server lets pass. What is no matter of the protocol is held to the rules for HTTP/1.1.
func judgeHTTP2(r *http.Request) *Error {
	hosts, target := r.Header["Host"], r.RequestURI
	switch { // net/http has taken Host in the place of a missing :authority
	case len(hosts) > 1:
		return errHosts
	case r.Host == "":
		return errNoHost
	case !validHost(r.Host):
		return errHost
	case len(hosts) == 1 && !sameHost(hosts[0], r.Host, r.TLS != nil):
		return errOtherName
	}
	delete(r.Header, "Host")
	switch {
	case r.Method != "" && !isToken(r.Method):
		return errMethod
	case r.Method == http.MethodConnect:
		if _, port := splitHost(target); port == "" {
			return errAuthority
		}
	case target == "*":
		if r.Method != http.MethodOptions {
			return errAsterisk
		}
		r.URL = &url.URL{Path: "*"}
	case !strings.HasPrefix(target, "/"):
		return errNotAPath
	case span([]byte(target), inTarget) < len(target):
		return errTarget
	}
	return judgeHTTP2Fields(r)
}

func judgeHTTP2Fields(r *http.Request) *Error {
	n, err := bodyLength(r.Header["Transfer-Encoding"], r.Header["Content-Length"], false)
	if e := new(Error); errors.As(err, &e) {
		return e
	}
	if n > 0 && r.ContentLength == 0 { // the head has ended the stream
		return errNoBody
	}
	if types := r.Header["Content-Type"]; len(types) > 1 && !allEqual(types) {
		return errTypes
	}
	if _, known := expectation(r.Header["Expect"]); !known { // net/http has taken those for a 100 out
		return errExpect
	}
	return nil
}

// suites are those of TLS 1.2 that HTTP/2 allows (RFC 9113, section 9.2.2) and crypto/tls
// knows. net/http cannot look, as the connection is plaintext to it.
var suites = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

// secureEnough reports whether HTTP/2 may be spoken in a state of TLS.
func secureEnough(state *tls.ConnectionState) bool {
	return state.Version >= tls.VersionTLS13 || state.Version == tls.VersionTLS12 && slices.Contains(suites, state.CipherSuite)
}

// inadequate is GOAWAY with INADEQUATE_SECURITY, before any stream.
var inadequate = binary.BigEndian.AppendUint32([]byte{0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 0xc)
