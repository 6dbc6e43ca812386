package cli

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The token comes from the flag, the environment or the local node; the node's own
// is sent to this machine only.
func TestToken(t *testing.T) {
	s := start(t, map[string]answer{"GET /v1/cluster": {body: `{"cluster_id":"c","nodes":[],"healthy":true}`}})
	dir := t.TempDir()
	put(t, dir, tokenFile, []byte("pgop_local\n"))
	for _, tt := range []struct {
		args []string
		env  map[string]string
		want string
	}{
		{[]string{"--token", "pgop_flag"}, map[string]string{tokenEnv: "pgop_env", dataDirEnv: dir}, "pgop_flag"},
		{nil, map[string]string{tokenEnv: " pgop_env\n", dataDirEnv: dir}, "pgop_env"},
		{nil, map[string]string{dataDirEnv: dir}, "pgop_local"},
		{[]string{"--data-dir", dir}, map[string]string{dataDirEnv: "/nonexistent"}, "pgop_local"},
	} {
		s.calls = nil
		got := perfgate(t, "", tt.env, append([]string{"cluster", "status", "--server", s.URL + "/", "--account", "acct_1"}, tt.args...)...)
		if got.code != 0 || s.calls[0].header.Get("Authorization") != "Bearer "+tt.want || s.calls[0].header.Get("X-Perf-Account") != "acct_1" {
			t.Errorf("%v: %+v, %v", tt.args, got, s.calls)
		}
	}
	for _, tt := range []struct{ server, dir, err string }{
		{"http://perfgate.example.com:8081", dir, "no token: set PERFGATE_TOKEN; the local node's token is not sent to another machine"},
		{s.URL, t.TempDir(), "no token: set PERFGATE_TOKEN, or name the node's data directory with --data-dir (there is no "},
		{s.URL, put(t, dir, "file", nil), "read operator token: open"},
	} {
		got := perfgate(t, "", map[string]string{dataDirEnv: tt.dir}, "cluster", "status", "--server", tt.server)
		if got.code != 1 || !strings.Contains(got.err, tt.err) || strings.Contains(got.err, "pgop_local") {
			t.Errorf("%s: %+v", tt.server, got)
		}
	}
	got := perfgate(t, "", map[string]string{tokenEnv: "pgop_a pgop_b"}, "cluster", "status", "--server", s.URL)
	if got.code != 1 || strings.Contains(got.err, "pgop_") {
		t.Errorf("a token with a blank: %+v", got)
	}
}

// A redirect is not followed: the token belongs to the server that was named.
func TestRedirect(t *testing.T) {
	other := start(t, nil)
	s := start(t, map[string]answer{"GET /v1/cluster": {do: func(w http.ResponseWriter, r *http.Request, _ string) {
		http.Redirect(w, r, other.URL, http.StatusFound)
	}}})
	if got := s.run(t, "", "cluster", "status"); got.code != 1 || !strings.Contains(got.err, "302") || len(other.calls) > 0 {
		t.Errorf("%+v; the other server received %q", got, other.received())
	}
}

// A token that leaves the machine unencrypted is warned about.
func TestPlaintextWarning(t *testing.T) {
	for server, warned := range map[string]bool{
		"http://perfgate.invalid": true, "https://perfgate.invalid": false, "http://127.0.0.1:1": false, "http://[::1]:1": false, "http://localhost:1": false,
	} {
		got := perfgate(t, "", map[string]string{tokenEnv: "pgop_x"}, "keys", "list", "--server", server)
		if got.code != 1 || strings.Contains(got.err, "is sent to perfgate.invalid in plaintext") != warned {
			t.Errorf("%s: %+v", server, got)
		}
	}
}

func TestServerURL(t *testing.T) {
	for _, server := range []string{"ftp://h", "127.0.0.1:8081", "http://", "http://a?b", "http://user@h", "http://h\x7f", "://"} {
		got := perfgate(t, "", map[string]string{tokenEnv: "pgop_x"}, "keys", "list", "--server", server)
		if got.code != 2 || !strings.Contains(got.err, "must be a URL such as http://127.0.0.1:8081") {
			t.Errorf("%q: %+v", server, got)
		}
	}
	s := start(t, map[string]answer{"GET /prefix/v1/cluster": {body: `{"cluster_id":"c","nodes":[],"healthy":true}`}})
	if got := perfgate(t, "", map[string]string{tokenEnv: "pgop_x", serverEnv: s.URL + "/prefix/"}, "cluster", "status"); got.code != 0 {
		t.Errorf("behind a prefix: %+v", got)
	}
}

// Without --server, the node's own settings tell where it listens.
func TestLocalServer(t *testing.T) {
	for _, tt := range []struct{ listen, want string }{
		{"", "http://127.0.0.1:8081"},
		{":1", "http://127.0.0.1:1"},
		{"0.0.0.0:1", "http://127.0.0.1:1"},
		{"[::]:1", "http://127.0.0.1:1"},
		{"127.0.0.1:1", "http://127.0.0.1:1"},
	} {
		a := &app{Config: Config{Env: func(name string) (string, bool) {
			return map[string]string{adminEnv: tt.listen, dataDirEnv: "/nonexistent"}[name], true
		}}}
		if got := a.localServer(); got != tt.want {
			t.Errorf("listening on %q: %s, want %s", tt.listen, got, tt.want)
		}
	}
}

// A self-signed server is trusted when its certificate is given or lies in the
// local data directory, and otherwise not.
func TestTLS(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `{"cluster_id":"c","nodes":[],"status":"ok","healthy":true}`)
	}))
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS13}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	dir, empty := t.TempDir(), t.TempDir()
	cert := put(t, dir, certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	junk := put(t, dir, "junk", []byte("junk"))
	address := strings.TrimPrefix(s.URL, "https://")
	for _, tt := range []struct {
		args []string
		env  map[string]string
		err  string
	}{
		{[]string{"cluster", "status", "--server", s.URL, "--data-dir", empty}, nil, "--ca-file"},
		{[]string{"cluster", "status", "--server", s.URL, "--data-dir", empty, "--ca-file", cert}, nil, ""},
		{[]string{"cluster", "status", "--server", s.URL, "--data-dir", empty, "--insecure-skip-verify"}, nil, ""},
		{[]string{"cluster", "status", "--server", s.URL, "--data-dir", dir}, nil, ""},
		{[]string{"cluster", "status", "--server", s.URL, "--ca-file", junk}, nil, `read CA certificate: "` + junk + `" contains no PEM certificate`},
		{[]string{"cluster", "status", "--server", s.URL, "--ca-file", filepath.Join(dir, "none")}, nil, "read CA certificate: open"},
		// As in a container: the node's own settings tell where it listens.
		{[]string{"cluster", "status"}, map[string]string{adminEnv: ":" + address[strings.LastIndex(address, ":")+1:], dataDirEnv: dir}, ""},
		// A probe sends no secret, and trusts any certificate of this machine.
		{[]string{"health"}, map[string]string{adminEnv: address, dataDirEnv: empty}, ""},
		{[]string{"health", "--server", s.URL, "--data-dir", empty}, nil, ""},
		{[]string{"health", "--server", s.URL, "--ca-file", junk}, nil, "contains no PEM certificate"},
	} {
		env := map[string]string{tokenEnv: "pgop_x"}
		for k, v := range tt.env {
			env[k] = v
		}
		got := perfgate(t, "", env, tt.args...)
		if tt.err == "" && got.code != 0 || tt.err != "" && (got.code != 1 || !strings.Contains(got.err, tt.err)) {
			t.Errorf("%v: %+v, want %q", tt.args, got, tt.err)
		}
	}
}

// TLS 1.2 is refused.
func TestOldTLS(t *testing.T) {
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.TLS = &tls.Config{MaxVersion: tls.VersionTLS12}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	got := perfgate(t, "", map[string]string{tokenEnv: "pgop_x"}, "cluster", "status", "--server", s.URL, "--insecure-skip-verify")
	if got.code != 1 || !strings.Contains(got.err, "protocol version") {
		t.Errorf("%+v", got)
	}
}

// A certificate left over from an earlier configuration does not lead to TLS.
func TestPlainBesideCertificate(t *testing.T) {
	s := start(t, map[string]answer{"GET /readyz": {body: `{"status":"ok"}`}})
	dir := t.TempDir()
	put(t, dir, certFile, []byte("old"))
	env := map[string]string{adminEnv: strings.TrimPrefix(s.URL, "http://"), dataDirEnv: dir}
	if got := perfgate(t, "", env, "health"); got.code != 0 {
		t.Errorf("%+v", got)
	}
}

// otherCertificate returns a PEM certificate that no server of these tests has.
func otherCertificate(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// --ca-file replaces the system's authorities and the local node's certificate,
// for a probe too.
func TestOtherAuthority(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `{"status":"ok"}`)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	dir := t.TempDir()
	put(t, dir, certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	other := put(t, dir, "other.crt", otherCertificate(t))
	for _, args := range []string{"cluster status", "health"} {
		got := perfgate(t, "", map[string]string{tokenEnv: "pgop_x", dataDirEnv: dir},
			append(strings.Fields(args), "--server", s.URL, "--ca-file", other)...)
		if got.code != 1 || !strings.Contains(got.err, "certificate signed by unknown authority") {
			t.Errorf("%s: %+v", args, got)
		}
	}
}

// A probe of a node that hangs ends by itself, so that a supervisor gets its
// answer.
func TestHealthTimeout(t *testing.T) {
	t.Parallel() // waits for healthTimeout
	done := make(chan struct{})
	s := start(t, map[string]answer{"GET /readyz": {do: func(http.ResponseWriter, *http.Request, string) { <-done }}})
	t.Cleanup(func() { close(done) }) // before the server closes
	got := perfgate(t, "", map[string]string{serverEnv: s.URL}, "health")
	if got.code != 1 || !strings.Contains(got.err, "context deadline exceeded") {
		t.Errorf("%+v", got)
	}
}

// A command that cannot use a streamed answer ends the call.
func TestStreamIsEnded(t *testing.T) {
	gone := make(chan struct{})
	s := start(t, map[string]answer{"GET /v1/audit-logs": {do: func(w http.ResponseWriter, r *http.Request, _ string) {
		io.WriteString(w, "no event\n")
		w.(http.Flusher).Flush()
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, deniedEvent+"\n"); err != nil {
				break
			}
		}
		close(gone)
	}}})
	if got := s.run(t, "", "explain", "req_1"); got.code != 1 || !strings.Contains(got.err, "read the server's answer") {
		t.Errorf("%+v", got)
	}
	select {
	case <-gone:
	case <-time.After(time.Minute):
		t.Error("the server still sends after a minute")
	}
}
