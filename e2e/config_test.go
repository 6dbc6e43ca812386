package e2e

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A wrong configuration is refused with exit code 2 and a sentence that names
// file, key and value.
func TestConfigurationErrors(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, toml string
		args, env  []string
		want       []string
	}{
		{"unknown key", "[proxy]\nlisten_on = \":1\"\n", nil, nil, []string{"perfgate.toml", "proxy.listen_on"}},
		{"unknown section", "[prxy]\nlisten = \":1\"\n", nil, nil, []string{"perfgate.toml", "prxy"}},
		{"other case", "[node]\nName = \"n\"\n", nil, nil, []string{"perfgate.toml", "Name"}},
		{"number as duration", "[proxy]\nshutdown_delay = 5\n", nil, nil, []string{"perfgate.toml", "proxy.shutdown_delay", "5"}},
		{"bad duration", "[proxy]\ndrain = \"soon\"\n", nil, nil, []string{"perfgate.toml", "proxy.drain", "soon"}},
		{"bad CIDR", "[proxy]\ntrusted_proxies = [\"10.0.0.0/33\"]\n", nil, nil, []string{"perfgate.toml", "proxy.trusted_proxies", "10.0.0.0/33"}},
		{"not TOML", "[proxy\n", nil, nil, []string{"perfgate.toml"}},
		{"bad upstream", "", []string{"--upstream", "ftp://x"}, nil, []string{"upstream", "ftp://x"}},
		{"bad environment", "", nil, []string{"PERFGATE_LOG_LEVEL=loud"}, []string{"PERFGATE_LOG_LEVEL", "loud"}},
		{"unknown flag", "", []string{"--nonsense"}, nil, []string{"--nonsense"}},
		{"port taken", "", []string{"--proxy-listen", taken.Addr().String()}, nil, []string{taken.Addr().String()}},
		{"plaintext admin off loopback", "[admin]\ncert_file = \"x\"\n", nil, nil, []string{"admin.cert_file"}},
		{"route without upstream", "[[proxy.routes]]\npath = \"/\"\n", nil, nil, []string{"perfgate.toml", "proxy.routes", "upstreams"}},
		{"missing variable", "[[proxy.routes]]\npath = \"/\"\nupstreams=[\"http://127.0.0.1:1\"]\nheaders = { X-Key = \"${NO_SUCH_VARIABLE}\" }\n", nil, nil, []string{"NO_SUCH_VARIABLE"}},
		{"data directory is a file", "", []string{"--data-dir", file}, nil, []string{file}},
	} {
		dir := t.TempDir()
		args := []string{"serve", "--data-dir", filepath.Join(dir, "data"), "--proxy-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"}
		if c.toml != "" {
			path := filepath.Join(dir, "perfgate.toml")
			if err := os.WriteFile(path, []byte(c.toml), 0o600); err != nil {
				t.Fatal(err)
			}
			args = append(args, "--config", path)
		}
		_, stderr, code := perfgate(t, c.env, "", append(args, c.args...)...)
		if code != 2 {
			t.Errorf("%s: exit code %d, want 2", c.name, code)
		}
		for _, w := range c.want {
			if !strings.Contains(stderr, w) {
				t.Errorf("%s: %q is not named in:\n%s", c.name, w, stderr)
			}
		}
	}
}

func TestCheckConfig(t *testing.T) {
	example, err := filepath.Abs("../config.example.toml")
	if err != nil {
		t.Fatal(err)
	}
	if _, stderr, code := perfgate(t, nil, "", "check-config", "--config", example); code != 0 {
		t.Errorf("config.example.toml: exit %d\n%s", code, stderr)
	}
	bad := filepath.Join(t.TempDir(), "bad.toml")
	if err := os.WriteFile(bad, []byte("[log]\nlevel = \"loud\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, stderr, code := perfgate(t, nil, "", "check-config", "--config", bad); code != 2 || !strings.Contains(stderr, "log.level") {
		t.Errorf("exit %d\n%s", code, stderr)
	}
}
