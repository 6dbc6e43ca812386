package cli

import (
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// tlsServer is a server with TLS and a certificate of its own.
func tlsServer(t *testing.T, h http.Handler, conf *tls.Config) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.TLS, s.Config.ErrorLog = conf, log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// clusterPort is a port that, like a node's, knows only the protocols of nodes, requires
// a certificate, and closes every other connection.
func clusterPort(t *testing.T) string {
	t.Helper()
	pair := tlsServer(t, http.NotFoundHandler(), &tls.Config{}).TLS.Certificates[0]
	conf := &tls.Config{MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAnyClientCert, Certificates: []tls.Certificate{pair}, NextProtos: []string{callProtocol}}
	return hangingUp(t, func(c net.Conn) { tls.Server(c, conf).HandshakeContext(t.Context()) })
}

// hangingUp is a port that closes every connection, after first, which may be nil.
func hangingUp(t *testing.T, first func(net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if first != nil {
					first(c)
				}
			}()
		}
	}()
	return ln.Addr().String()
}

// A --server with the wrong scheme, port or path is answered with one sentence that says
// which it is, and for the first and the last one with the URL to use instead.
func TestWrongServer(t *testing.T) {
	api := start(t, map[string]answer{
		"GET /openapi.yaml": page(200, "openapi: 3.1.0\n", true),
		"GET /v1/keys":      {body: `{"data":[],"next_cursor":null}`},
	})
	plain := strings.TrimPrefix(api.URL, "http://")
	admin := tlsServer(t, http.NotFoundHandler(), &tls.Config{MinVersion: tls.VersionTLS13})
	secured := strings.TrimPrefix(admin.URL, "https://")
	proxy := start(t, map[string]answer{
		"GET /livez":      page(200, `{"status":"ok","reason":null}`, true),
		"GET /v1/v1/keys": page(401, `{"error":{"type":"authentication_error","code":"invalid_key","message":"The API key is not known.","request_id":"r"}}`, true),
	})
	proxied := strings.TrimPrefix(proxy.URL, "http://")
	port, closing := clusterPort(t), hangingUp(t, nil)
	dead := httptest.NewServer(http.NotFoundHandler())
	dead.Close()
	gone := strings.TrimPrefix(dead.URL, "http://")
	const cluster = " is the cluster port of a perfgate node and not its admin listener, which --server must name (http://127.0.0.1:8081 unless configured)"
	for server, want := range map[string]string{
		"https://" + plain:          plain + " speaks HTTP without TLS; use --server http://" + plain,
		"http://" + secured:         secured + " speaks HTTPS; use --server https://" + secured,
		"http://" + port:            port + cluster,
		"https://" + port:           port + cluster,
		"http://" + gone:            "no server listens at " + gone,
		"https://" + gone:           "no server listens at " + gone,
		"http://" + plain + "/v1":   "the admin API at " + plain + " is not under the path /v1; use --server http://" + plain,
		"http://" + plain + "/a/b/": "the admin API at " + plain + " is not under the path /a/b; use --server http://" + plain,
		"http://" + proxied + "/v1": proxied + " is the proxy listener of a perfgate node and not its admin listener",
		"http://" + closing:         "call http://" + closing + "/v1/keys?limit=1000: ",
	} {
		got := perfgate(t, "", map[string]string{tokenEnv: "pgop_token"}, "keys", "list", "--server", server)
		if got.code != 1 || got.out != "" || !strings.HasPrefix(got.err, "perfgate: "+want) || strings.Count(got.err, "\n") != 1 {
			t.Errorf("%s: %+v, want %q", server, got, want)
		}
	}
	// A probe of the health says the same.
	if got := perfgate(t, "", nil, "health", "--server", "https://"+plain); got.code != 1 || !strings.Contains(got.err, "use --server http://"+plain) {
		t.Errorf("%+v", got)
	}
	if got := perfgate(t, "", map[string]string{tokenEnv: "pgop_token"}, "keys", "list", "--server", api.URL); got.code != 0 {
		t.Errorf("the right server: %+v", got)
	}
}
