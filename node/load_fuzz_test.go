package node

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/perfgate/perfgate/node/config/configtest"
)

// Load accepts any file or refuses it with exit code 2 and the reason.
func FuzzLoad(f *testing.F) {
	example, err := os.ReadFile("../config.example.toml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(example)
	for _, s := range []string{
		"[[proxy.routes]]\npath = \"/\"\nupstreams = [\"http://a\"]\nheaders = { A = \"${X}\" }\ncost = 0.5\nretries = 3",
		"\"\" = 1\n[\"node.name\"]\na = 1", "[proxy]\nroutes = [1, [2], { path = 3 }]", "proxy.tls.cert_file = \"a\"\nproxy.tls.key_file = 1979-05-27",
		"[cluster]\nlease = 5", "[audit]\nmax_bytes = \"9e9MiB\"", "[security_txt]\nexpires = 2027-01-01T00:00:00Z\ncontact = [[]]",
		"[node]\n[node.name]\n", "cluster = []", "[cluster]\n\"-\" = \"x\"",
	} {
		f.Add([]byte(s))
	}
	path := filepath.Join(f.TempDir(), "perfgate.toml")
	f.Fuzz(func(t *testing.T, raw []byte) {
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := Load([]string{"--config", path}, configtest.Environ())
		if err != nil {
			if configtest.ExitCode(err) != 2 {
				t.Fatalf("not a usage error: %v", err)
			}
			return
		}
		if _, err := compileRoutes(c, ""); err != nil {
			t.Fatalf("loaded, and its routes are refused: %v", err)
		}
	})
}
