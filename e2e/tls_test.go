package e2e

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/perfgate/perfgate/e2e/harness"
)

// secured starts a node with TLS from files on both listeners.
func secured(t *testing.T) (s *server, cert, key string) {
	up, _ := echo(t)
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	harness.WriteCertificate(t, cert, key, "0")
	return start(t, options{upstream: up, config: fmt.Sprintf(`
[proxy.tls]
cert_file = %[1]q
key_file = %[2]q
[admin.tls]
cert_file = %[1]q
key_file = %[2]q
`, cert, key)}), cert, key
}

// Both listeners prefer the hybrid of X25519 and ML-KEM, resume sessions, and tell browsers
// to stay with TLS, on every kind of answer.
func TestTLSOfListeners(t *testing.T) {
	s, _, _ := secured(t)
	k, _ := s.create(nil)
	for _, base := range []string{s.proxy, s.admin} {
		conf := &tls.Config{InsecureSkipVerify: true, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
		for i := range 2 {
			c, err := tls.Dial("tcp", strings.TrimPrefix(base, "https://"), conf)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(c, "GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
			for buf := make([]byte, 4096); err == nil; { // the ticket comes after the handshake
				_, err = c.Read(buf)
			}
			state := c.ConnectionState()
			if state.Version != tls.VersionTLS13 || state.CurveID != tls.X25519MLKEM768 {
				t.Errorf("%s: version %x, key exchange %v", base, state.Version, state.CurveID)
			}
			if state.DidResume != (i == 1) {
				t.Errorf("%s: connection %d resumed a session: %v", base, i, state.DidResume)
			}
			c.Close()
		}
	}
	for url, h := range map[string]harness.Header{
		s.proxy + "/x":       as(k),  // an upstream's answer
		s.proxy + "/y":       nil,    // a refusal
		s.proxy + "/livez":   nil,    // a page of the proxy listener
		s.proxy + "/v1/keys": as(k),  // a call there
		s.admin + "/v1/keys": nil,    // a refused call
		s.admin + "/nowhere": as(""), // no call
	} {
		if r := do(t, "GET", url, h, nil); r.Header.Get("Strict-Transport-Security") != "max-age=31536000" {
			t.Errorf("%s %s: %v", url, r.Status, r.Header)
		}
	}
	plain := start(t, options{upstream: s.proxy})
	for _, url := range []string{plain.proxy + "/y", plain.admin + "/v1/keys"} {
		if r := do(t, "GET", url, nil, nil); r.Header.Get("Strict-Transport-Security") != "" {
			t.Errorf("without TLS, %s: %v", url, r.Header)
		}
	}
}

// No request fails while certificates are replaced, on new connections or on old ones.
func TestCertificatesChangeUnderLoad(t *testing.T) {
	s, cert, key := secured(t)
	k, _ := s.create(nil)
	stop := make(chan struct{})
	var done sync.WaitGroup
	var requests atomic.Int64
	for i := range 8 {
		done.Go(func() {
			client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{
				TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: i%2 == 0,
			}}
			defer client.CloseIdleConnections()
			for {
				select {
				case <-stop:
					return
				default:
				}
				r, err := harness.Call(t.Context(), client, "GET", s.proxy+"/x", as(k), nil)
				if err != nil || r.StatusCode != 200 && r.StatusCode != 429 {
					t.Errorf("after %d requests: %v, %v", requests.Load(), r, err)
					return
				}
				requests.Add(1)
			}
		})
	}
	for i := 1; i <= 5; i++ {
		name := fmt.Sprint(i)
		harness.WriteCertificate(t, cert, key, name)
		waitFor(t, "the new certificate", func() bool { got, _ := subject(s.proxy, tls.VersionTLS13); return got == name })
	}
	close(stop)
	done.Wait()
	t.Logf("%d requests", requests.Load())
}

// The scanners of others find TLS 1.3 alone. sslscan and nmap are Debian's.
func TestTLSScanners(t *testing.T) {
	if os.Getenv("PERFGATE_E2E_TLS") == "" {
		t.Skip("set PERFGATE_E2E_TLS=1; needs sslscan and nmap")
	}
	s, _, _ := secured(t)
	for _, base := range []string{s.proxy, s.admin} {
		addr := strings.TrimPrefix(base, "https://")
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			t.Fatal(err)
		}
		scan := output(t, "sslscan", "--no-colour", addr)
		for _, version := range []string{"SSLv2", "SSLv3", "TLSv1.0", "TLSv1.1", "TLSv1.2"} {
			if !holdsFields(scan, version, "disabled") {
				t.Errorf("sslscan does not find that %s is off:\n%s", version, scan)
			}
		}
		if !holdsFields(scan, "TLSv1.3", "enabled") || strings.Contains(strings.ReplaceAll(scan, "not vulnerable", ""), "vulnerable") {
			t.Errorf("sslscan:\n%s", scan)
		}
		ciphers := output(t, "nmap", "-Pn", "-p", port, "--script", "ssl-enum-ciphers", host)
		for _, old := range []string{"SSLv3", "TLSv1.0", "TLSv1.1", "TLSv1.2"} {
			if strings.Contains(ciphers, old) {
				t.Errorf("nmap finds %s:\n%s", old, ciphers)
			}
		}
		if !strings.Contains(ciphers, "TLSv1.3") || !strings.Contains(ciphers, "least strength: A") {
			t.Errorf("nmap finds a weak cipher suite, or none:\n%s", ciphers)
		}
	}
}

// holdsFields reports whether a line of text consists of these fields.
func holdsFields(text string, fields ...string) bool {
	for line := range strings.Lines(text) {
		if strings.Join(strings.Fields(line), " ") == strings.Join(fields, " ") {
			return true
		}
	}
	return false
}

func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return string(out)
}
