package config

import (
	"slices"
	"testing"

	"github.com/perfgate/perfgate/node/config/configtest"
)

func TestChanged(t *testing.T) {
	file := func(text string) *Config { return mustLoad(t, []string{"--config", configtest.File(t, text)}) }
	base := file("[log]\nlevel = \"info\"\n[proxy]\nupstream = \"http://a\"")
	for text, want := range map[string][]string{
		"[log]\nlevel = \"info\"\n[proxy]\nupstream = \"http://a\"": nil,
		// The default written out is no change.
		"[log]\nlevel = \"info\"\nformat = \"text\"\n[proxy]\nupstream = \"http://a\"":                  nil,
		"[proxy]\nupstream = \"http://b\"":                                                              {"proxy.upstream"},
		"[log]\nlevel = \"warn\"":                                                                       {"proxy.upstream", "log.level"},
		"[proxy]\nupstream = \"http://a\"\ntrusted_proxies = [\"::1\"]":                                 {"proxy.trusted_proxies"},
		"[proxy]\nupstream = \"http://a\"\n[[proxy.routes]]\npath = \"/a\"":                             {"proxy.routes"},
		"[proxy]\nupstream = \"http://a\"\n[audit]\nmax_bytes = \"1024MiB\"":                            {"audit.max_bytes"}, // as written
		"[proxy]\nupstream = \"http://a\"\ndrain = \"7s\"\n[backup]\nkeep = 8\n[node]\nregion = \"eu\"": {"node.region", "proxy.drain", "backup.keep"},
	} {
		if got := Changed(base, file(text)); !slices.Equal(got, want) {
			t.Errorf("%q: changed %q, want %q", text, got, want)
		}
	}
}

// A reload applies live keys; the others wait for a restart.
func TestNeedRestart(t *testing.T) {
	certs := func(table, files string) string {
		return "[" + table + "]\ncert_file = \"" + files + ".crt\"\nkey_file = \"" + files + ".key\"\n"
	}
	for name, tt := range map[string]struct {
		from, to string
		want     []string
	}{
		"nothing":             {"", "", nil},
		"live keys":           {"", "[log]\nlevel = \"debug\"\n[proxy]\nupstream = \"http://a\"", nil},
		"other keys":          {"", "[log]\nformat = \"json\"\n[proxy]\ndrain = \"7s\"", []string{"proxy.drain", "log.format"}},
		"new certificate":     {certs("proxy.tls", "a"), certs("proxy.tls", "b"), nil},
		"TLS switched on":     {"", certs("proxy.tls", "a"), []string{"proxy.tls.cert_file"}},
		"TLS switched off":    {certs("proxy.tls", "a"), "", []string{"proxy.tls.cert_file"}},
		"floor":               {certs("proxy.tls", "a"), certs("proxy.tls", "a") + "min_version = \"1.2\"", []string{"proxy.tls.min_version"}},
		"admin TLS on":        {"", certs("admin.tls", "a"), []string{"admin.tls.cert_file"}},
		"admin new files":     {certs("admin.tls", "a"), certs("admin.tls", "b"), nil},
		"self-signed to file": {"[admin]\nlisten = \":1\"", "[admin]\nlisten = \":1\"\n" + certs("admin.tls", "a"), nil},
		"plaintext to file":   {"[admin]\nlisten = \":1\"\ninsecure = true", "[admin]\nlisten = \":1\"\ninsecure = true\n" + certs("admin.tls", "a"), []string{"admin.tls.cert_file"}},
	} {
		a := mustLoad(t, []string{"--config", configtest.File(t, tt.from)})
		b := mustLoad(t, []string{"--config", configtest.File(t, tt.to)})
		if got := NeedRestart(a, b); !slices.Equal(got, tt.want) {
			t.Errorf("%s: a restart is needed for %q, want %q", name, got, tt.want)
		}
	}
}
