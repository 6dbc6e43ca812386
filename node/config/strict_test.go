package config

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/node/config/configtest"
)

// A name that is almost right gets its correction, any other the list of names.
func TestUnknownKeys(t *testing.T) {
	for text, want := range map[string]string{
		"[node]\nDATA_DIR = \"x\"":                            `node.DATA_DIR = "x": unknown key; did you mean "data_dir"?`,
		"[node]\ndatadir = \"x\"":                             `node.datadir = "x": unknown key; did you mean "data_dir"?`,
		"[proxy]\nself-service = true":                        `proxy.self-service = true: unknown key; did you mean "self_service"?`,
		"[node]\nport = 1":                                    "node.port = 1: unknown key; the keys here are data_dir, memory, name, region",
		"[log.file]\nname = \"x\"":                            "log.file = {…}: unknown key; the keys here are access, format, level",
		"[[proxy.routes]]\nstripPrefix = \"/a\"":              `proxy.routes[0].stripPrefix = "/a": unknown key; did you mean "strip_prefix"?`,
		"[[proxy.routes]]\ntimeouts = { read = \"1s\" }":      "proxy.routes[0].timeouts.read",
		"[cluster]\n\"-\" = \"x\"":                            "cluster.- = \"x\": unknown key",
		"[cluster]\nsecret = \"hunter2 hunter2\"":             "cluster.secret",
		"[[proxy.routes]]\n[[proxy.routes]]\nheaders = \"x\"": `proxy.routes[1].headers = "x": must be a table`,
		"[proxy]\nroutes = [1]":                               "proxy.routes[0] = 1: must be a table",
		"[proxy]\nroutes = 1":                                 "proxy.routes = 1: must be a list in brackets",
		"[[proxy.routes]]\nmethods = [\"GET\", 1]":            "proxy.routes[0].methods[1] = 1: must be a string in quotes",
		"[[proxy.routes]]\nretries = \"1\"":                   `proxy.routes[0].retries = "1": must be a whole number, without quotes`,
		"[[proxy.routes]]\ncost = true":                       "proxy.routes[0].cost = true: must be a number or a string",
		"[security_txt]\ncontact = 1":                         "security_txt.contact = 1: must be a list in brackets",
		"[security_txt]\ncontact = [1]":                       "security_txt.contact[0] = 1: must be a string in quotes",
		"[security_txt]\nexpires = 1":                         "security_txt.expires = 1: must be a time with its zone",
		"[security_txt]\nexpires = \"tomorrow\"":              `security_txt.expires = "tomorrow": must be a time as in RFC 3339`,
		"[webhooks]\nallow_private = [\"10.0.0.0/8\", \"x\"]": `webhooks.allow_private[1] = "x": must be an IP address or CIDR range`,
	} {
		_, err := Load([]string{"--config", configtest.File(t, text)}, configtest.Environ())
		if configtest.ExitCode(err) != 2 || !regexp.MustCompile(`perfgate\.toml: line [1-3]: `+regexp.QuoteMeta(want)).MatchString(err.Error()) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// All faults of a file are in one error, one on each line.
func TestAllFaults(t *testing.T) {
	_, err := Load([]string{"--config", configtest.File(t, "[node]\nname = 5\nnmae = \"x\"\n[log]\nlevel = true\n[[proxy.routes]]\npublic = 1")}, configtest.Environ("PERFGATE_EXPECT=x"))
	if err == nil || strings.Count(err.Error(), "\n") != 4 {
		t.Errorf("%v, want five faults", err)
	}
	for _, key := range []string{"node.name", "node.nmae", "log.level", "proxy.routes[0].public", "PERFGATE_EXPECT"} {
		if !strings.Contains(err.Error(), key) {
			t.Errorf("%v, without %s", err, key)
		}
	}
}

func TestUnreadableFile(t *testing.T) {
	dir := t.TempDir()
	large := filepath.Join(dir, "large.toml")
	if err := os.WriteFile(large, []byte("# "+strings.Repeat("x", maxFile)), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "missing.toml"): "missing.toml: read the configuration file: no such file or directory",
		dir:                                ": read the configuration file: it is a directory",
		large:                              "large.toml: read the configuration file: it is larger than 4MiB",
		configtest.File(t, "[node]\nname = \"a\nregion = \"b\""): "perfgate.toml: line 2, column 10: ",
		configtest.File(t, "[node]\n[node]\n"):                   "perfgate.toml: ",
	} {
		for _, how := range [][]string{{"--config", path}, nil} {
			env := configtest.Environ()
			if how == nil {
				env = configtest.Environ("PERFGATE_CONFIG=" + path)
			}
			if _, err := Load(how, env); configtest.ExitCode(err) != 2 || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", path, err, want)
			}
		}
	}
	if _, err := Load([]string{"--config="}, configtest.Environ("PERFGATE_CONFIG=/nonexistent")); configtest.ExitCode(err) != 2 || err.Error() != "--config: must be the path of a configuration file" {
		t.Errorf("an empty path: %v", err)
	}
}
