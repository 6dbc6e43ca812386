package e2e

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/e2e/harness"
)

// tool returns the path of a program of .ci/grpc.mod.
func tool(t *testing.T, name string) string {
	t.Helper()
	cmd := exec.Command("go", "tool", "-modfile=.ci/grpc.mod", "-n", name)
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("build gRPC's %s: %v", name, err)
	}
	return strings.TrimSpace(string(out))
}

// calls are the cases of gRPC's interoperability tests that are about a proxy.
var calls = []string{
	"empty_unary", "large_unary", "client_streaming", "server_streaming", "ping_pong", "empty_stream", "timeout_on_sleeping_server", "cancel_after_begin",
	"cancel_after_first_response", "status_code_and_message", "special_status_message", "custom_metadata", "unimplemented_method", "unimplemented_service",
}

// A client and a server of gRPC that others wrote understand each other, in plaintext and
// over TLS.
func TestGRPC(t *testing.T) {
	if os.Getenv("PERFGATE_E2E_HTTP2") == "" {
		t.Skip("make e2e runs it: it fetches gRPC")
	}
	dir := t.TempDir()
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	server := exec.Command(tool(t, "server"), "-port", "0")
	server.Env = append(os.Environ(), "GRPC_GO_LOG_SEVERITY_LEVEL=info")
	server.Stderr = log
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		server.Process.Kill()
		server.Wait()
	})
	listening, port := regexp.MustCompile(`interop server listening on \[::\]:(\d+)`), ""
	waitFor(t, "gRPC's server to listen", func() bool {
		raw, _ := os.ReadFile(log.Name())
		if m := listening.FindSubmatch(raw); m != nil {
			port = string(m[1])
		}
		return port != ""
	})
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	harness.WriteCertificate(t, cert, key, "one")
	client := tool(t, "client")
	for name, config := range map[string]string{"plaintext": "", "TLS": fmt.Sprintf("[proxy.tls]\ncert_file = %q\nkey_file = %q\n", cert, key)} {
		t.Run(name, func(t *testing.T) {
			s := start(t, options{config: config, upstream: "h2c://127.0.0.1:" + port})
			credential, _ := s.create(nil)
			_, at, _ := strings.Cut(s.proxy, "://")
			host, port, err := net.SplitHostPort(at)
			if err != nil {
				t.Fatal(err)
			}
			for _, call := range calls {
				args := []string{"-server_host", host, "-server_port", port, "-test_case", call, "-additional_metadata", "authorization:Bearer " + credential}
				if config != "" {
					args = append(args, "-use_tls", "-use_test_ca", "-ca_file", cert)
				}
				if out, err := exec.Command(client, args...).CombinedOutput(); err != nil {
					t.Errorf("%s: %v\n%s", call, err, bytes.TrimSpace(out))
				}
			}
			if out, err := exec.Command(client, "-server_host", host, "-server_port", port, "-test_case", "empty_unary").CombinedOutput(); err == nil {
				t.Errorf("a call without a key passes: %s", out)
			}
		})
	}
}
