package e2e

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/perfgate/perfgate/e2e/harness"
)

// Both listeners speak TLS 1.3 from files, and take new ones over while they
// run; files that are wrong change nothing.
func TestTLSFromFiles(t *testing.T) {
	up, _ := echo(t)
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	harness.WriteCertificate(t, cert, key, "one")
	s := start(t, options{upstream: up, config: fmt.Sprintf(`
[proxy.tls]
cert_file = %[1]q
key_file = %[2]q
[admin.tls]
cert_file = %[1]q
key_file = %[2]q
`, cert, key)})
	k, _ := s.create(nil)
	if r := do(t, "GET", s.proxy+"/x", as(k), nil); r.StatusCode != 200 || !strings.Contains(string(r.Raw), `"X-Forwarded-Proto":["https"]`) {
		t.Errorf("%s\n%s", r.Status, r.Raw)
	}
	listeners := []string{s.proxy, s.admin}
	for _, base := range listeners {
		if name, err := subject(base, tls.VersionTLS13); err != nil || name != "one" {
			t.Errorf("%s: %q, %v", base, name, err)
		}
		if _, err := subject(base, tls.VersionTLS12); err == nil {
			t.Errorf("%s takes TLS 1.2", base)
		}
	}
	harness.WriteCertificate(t, cert, key, "two")
	for _, base := range listeners {
		waitFor(t, "the new certificate at "+base, func() bool { name, _ := subject(base, tls.VersionTLS13); return name == "two" })
	}
	if err := os.WriteFile(cert, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "a line about the bad file", func() bool { return strings.Contains(s.Output(), "cannot be reloaded") })
	for _, base := range listeners {
		if name, err := subject(base, tls.VersionTLS13); err != nil || name != "two" {
			t.Errorf("%s after a bad file: %q, %v", base, name, err)
		}
	}
}

// Off loopback the admin listener makes a certificate of its own, and /metrics
// asks for a token.
func TestAdminOffLoopback(t *testing.T) {
	up, _ := echo(t)
	s := start(t, options{upstream: up, args: []string{"--admin-listen", ":0"}})
	if !strings.HasPrefix(s.admin, "https://") {
		t.Fatalf("the admin listener is %s", s.admin)
	}
	s.manage(200, "GET", "/metrics", nil)
	if r := do(t, "GET", s.admin+"/metrics", nil, nil); r.StatusCode != 401 {
		t.Errorf("/metrics without a token: %s", r.Status)
	}
	_, _, code := perfgate(t, []string{"PERFGATE_SERVER=" + s.admin, "PERFGATE_TOKEN=" + s.operator}, "", "keys", "list")
	if code != 1 {
		t.Errorf("the CLI trusts any certificate: exit %d", code)
	}
	if _, errs, code := perfgate(t, []string{"PERFGATE_SERVER=" + s.admin, "PERFGATE_TOKEN=" + s.operator}, "", "keys", "list",
		"--ca-file", filepath.Join(s.Data, "admin.crt")); code != 0 {
		t.Errorf("with the node's own certificate: exit %d, %s", code, errs)
	}
	err := filepath.WalkDir(s.Data, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // a file of Pebble's that is gone already
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// The PROXY protocol is required of trusted proxies, and tells the client.
func TestProxyProtocol(t *testing.T) {
	up, _ := echo(t)
	s := start(t, options{upstream: up, config: "[proxy]\nproxy_protocol = true\ntrusted_proxies = [\"127.0.0.1/32\"]\n"})
	key, _ := s.create(map[string]any{"allowlist": []string{"203.0.113.0/24"}})
	v2 := "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xcb\x00\x71\x09\x7f\x00\x00\x01\x04\xd2\x00\x50"
	for prefix, want := range map[string]string{
		"PROXY TCP4 203.0.113.9 127.0.0.1 1234 80\r\n":  "HTTP/1.1 200",
		"PROXY TCP4 198.51.100.7 127.0.0.1 1234 80\r\n": "HTTP/1.1 403",
		v2: "HTTP/1.1 200",
		"": "", // closed without a word
	} {
		got := converse(t, s.proxy, prefix+"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer "+key+"\r\n\r\n")
		if !strings.HasPrefix(got, want) || want == "" && got != "" {
			t.Errorf("%q: %.200q, want %q", prefix, got, want)
		}
	}
}

// A request that no handler ever sees is refused in the API's format all the same.
func TestRefusalsBelowHTTP(t *testing.T) {
	up, calls := echo(t)
	s := start(t, options{upstream: up})
	for _, c := range []struct {
		request string
		status  int
		code    string
	}{
		{"GET /x HTTP/2.5\r\nHost: a\r\n\r\n", 505, "http_version_not_supported"},
		{"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501, "not_implemented"},
		{"GET /x HTTP/1.1\r\n\r\n", 400, "invalid_request"},
		{"GET /x HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", 400, "invalid_request"},
		{"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, "invalid_request"},
		{"GET /x HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("a", 200<<10) + "\r\n\r\n", 431, "headers_too_large"},
		{"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: " + strings.Repeat("a", 40<<10) + "\r\n\r\n", 431, "headers_too_large"},
		{"GET /" + strings.Repeat("a", 9<<10) + " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 414, "uri_too_long"},
		{"TRACE /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 405, "method_not_allowed"},
	} {
		for _, base := range []string{s.proxy, s.admin} {
			if base == s.admin && c.status == 405 {
				continue // 404: there is no such path
			}
			got := converse(t, base, c.request)
			resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(got)), nil)
			if err != nil {
				t.Errorf("%.60q: %v: %.200q", c.request, err, got)
				continue
			}
			body, _ := io.ReadAll(resp.Body)
			r := &reply{Response: resp, Raw: body}
			if err := json.Unmarshal(body, &r.JSON); err != nil || resp.StatusCode != c.status || r.Code() != c.code {
				t.Errorf("%.60q: %s %s, want %d %s", c.request, resp.Status, body, c.status, c.code)
			}
			if id := resp.Header.Get("X-Request-Id"); id == "" || id != r.Str("error", "request_id") {
				t.Errorf("%.60q: X-Request-Id %q, body %s", c.request, id, body)
			}
		}
	}
	if calls.Load() != 0 {
		t.Error("the upstream was called")
	}
}

// A listener's own settings: key_header, self_service, each trusted_proxies.
func TestListenerSettings(t *testing.T) {
	up, _ := echo(t)
	s := start(t, options{upstream: up, config: `
[proxy]
key_header = "X-Api-Key"
self_service = false
[admin]
trusted_proxies = ["127.0.0.1/32"]
[security_txt]
contact = ["mailto:security@example.com"]
expires = "2099-12-31T00:00:00Z"
`})
	admin, _ := s.create(map[string]any{"scopes": []string{"admin"}, "allowlist": []string{"127.0.0.1", "203.0.113.0/24"}})
	forwarded := header{"X-Forwarded-For": "198.51.100.7"}
	for _, c := range []struct {
		name, url string
		h         header
		status    int
		code      string
	}{
		{"key_header", s.proxy + "/x", header{"X-Api-Key": admin}, 200, ""},
		{"both", s.proxy + "/x", as(admin, header{"X-Api-Key": admin}), 400, "ambiguous_credentials"},
		{"not trusted on the proxy listener", s.proxy + "/x", as(admin, forwarded), 200, ""},
		{"trusted on the admin listener", s.admin + "/v1/keys", as(admin, forwarded), 403, "ip_not_allowed"},
		{"operators' calls by key", s.admin + "/v1/accounts", as(admin), 403, "forbidden"},
		{"operator on the proxy listener", s.proxy + "/x", as(s.operator), 401, "malformed_key"},
	} {
		if r := do(t, "GET", c.url, c.h, nil); r.StatusCode != c.status || r.Code() != c.code {
			t.Errorf("%s: %s %s", c.name, r.Status, r.Raw)
		}
	}
	if r := do(t, "GET", s.proxy+"/v1/keys", as(admin), nil); r.Str("uri") != "/v1/keys" {
		t.Errorf("self_service = false keeps /v1/keys from the upstream: %s", r.Raw)
	}
	for _, base := range []string{s.proxy, s.admin} {
		for _, path := range []string{"/livez", "/readyz", "/.well-known/security.txt"} {
			if r := do(t, "GET", base+path, nil, nil); r.StatusCode != 200 || r.Header.Get("X-Request-Id") == "" {
				t.Errorf("%s%s: %s", base, path, r.Status)
			}
		}
	}
}

// The second SIGTERM does not wait for anything.
func TestSecondSignalStopsAtOnce(t *testing.T) {
	up, _ := echo(t)
	s := start(t, options{upstream: up, config: "[proxy]\nshutdown_delay = \"1h\"\n"})
	s.Signal(syscall.SIGTERM)
	waitFor(t, "/readyz to turn", func() bool { return do(t, "GET", s.proxy+"/readyz", nil, nil).StatusCode == 503 })
	if code := s.stop(); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
}

// subject is the name in the certificate that a listener shows.
func subject(base string, version uint16) (string, error) {
	c, err := tls.Dial("tcp", strings.TrimPrefix(base, "https://"),
		&tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version})
	if err != nil {
		return "", err
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0].Subject.CommonName, nil
}

// converse sends bytes as they are and returns the answer.
func converse(t testing.TB, base, request string) string {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(startTimeout))
	io.WriteString(c, request) // a refusal may come before its end
	answer, _ := io.ReadAll(c) // the part before a reset counts
	return string(answer)
}
