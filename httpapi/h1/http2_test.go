package h1

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// HTTP/2 over TLS 1.2 needs a cipher suite that RFC 9113 allows; with another one, the
// connection ends before any request.
func TestCipherSuitesOfHTTP2(t *testing.T) {
	pair := httptest.NewUnstartedServer(nil)
	pair.StartTLS()
	defer pair.Close()
	for suite, want := range map[uint16]string{
		tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256: "settings",
		tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA:    "INADEQUATE_SECURITY",
	} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		cfg := &tls.Config{Certificates: pair.TLS.Certificates, NextProtos: []string{"h2"}, CipherSuites: []uint16{suite}, MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12}
		addr := serveOn(t, &Server{Handler: http.NotFoundHandler(), HTTP2: &http.Server{Handler: http.NotFoundHandler()}}, tls.NewListener(ln, cfg))
		conn, err := tls.Dial("tcp", addr.String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}, CipherSuites: []uint16{suite}, MaxVersion: tls.VersionTLS12})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(patience))
		io.WriteString(conn, http2.ClientPreface)
		got := ""
		switch f, err := http2.NewFramer(conn, conn).ReadFrame(); f := f.(type) {
		case *http2.GoAwayFrame:
			got = f.ErrCode.String()
		case *http2.SettingsFrame:
			got = "settings"
		default:
			t.Fatal(f, err)
		}
		if got != want {
			t.Errorf("%s: %s, want %s", tls.CipherSuiteName(suite), got, want)
		}
	}
}
