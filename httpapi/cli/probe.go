package cli

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/perfgate/perfgate/httpapi/fault"
)

// probeTime bounds each of the calls and handshakes that find out which server this is.
const probeTime = 3 * time.Second

// callProtocol is the protocol of calls between nodes, in the handshakes of the cluster
// port. A client without a certificate gets through its own half of the handshake, and
// the node then closes the connection without a line in its log.
const callProtocol = "perfgate-call/1"

// listener is a kind of server.
type listener int

const (
	unknownServer listener = iota // it does not answer any more
	adminListener
	proxyListener
	otherServer
)

// probe asks which server base is, without the token: only the admin listener has a
// description of the API, and only perfgate answers its health page with a status and a
// request id.
func (s *session) probe(ctx context.Context, base *url.URL) listener {
	ask := func(path string) (status int, id, begins string) {
		ctx, cancel := context.WithTimeout(ctx, probeTime)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, base.JoinPath(path).String(), nil)
		if err != nil {
			return 0, "", ""
		}
		resp, err := s.api.HTTP.Do(r)
		if err != nil {
			return 0, "", ""
		}
		defer resp.Body.Close()
		head, _ := io.ReadAll(io.LimitReader(resp.Body, 64))
		return resp.StatusCode, resp.Header.Get(fault.RequestIDHeader), string(head)
	}
	status, _, begins := ask("/openapi.yaml")
	if status == http.StatusOK && strings.HasPrefix(begins, "openapi:") {
		return adminListener
	}
	if status == 0 {
		return unknownServer
	}
	if status, id, begins := ask("/livez"); status == http.StatusOK && id != "" && strings.HasPrefix(begins, `{"status":`) {
		return proxyListener
	}
	return otherServer
}

// speaks reports whether the server completes a TLS handshake, and selects the protocol
// if one is given. Nothing is sent after it.
func (s *session) speaks(ctx context.Context, protocol string) bool {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	conf := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true} // nothing is sent; the real connection verifies
	if protocol != "" {
		conf.NextProtos = []string{protocol}
	}
	address := s.base.Host
	if s.base.Port() == "" {
		address = net.JoinHostPort(s.base.Hostname(), s.base.Scheme)
	}
	c, err := (&tls.Dialer{Config: conf}).DialContext(ctx, "tcp", address)
	if err != nil {
		return false
	}
	defer c.Close()
	return protocol == "" || c.(*tls.Conn).ConnectionState().NegotiatedProtocol == protocol
}
