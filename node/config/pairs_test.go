package config

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/node/config/configtest"
)

// pairs are values that load alone and not together, with the fault, and the change
// of one of them that mends it.
var pairs = map[string]struct{ bad, says, good string }{
	"a key without its certificate": {"[proxy.tls]\nkey_file = \"k\"", `proxy.tls.key_file = "k": proxy.tls.cert_file is missing`, "[proxy.tls]\nkey_file = \"k\"\ncert_file = \"c\""},
	"a certificate without its key": {"[admin.tls]\ncert_file = \"c\"", `admin.tls.cert_file = "c": admin.tls.key_file is missing`, "[admin.tls]\nkey_file = \"k\"\ncert_file = \"c\""},
	"clients without TLS":           {"[proxy.tls]\nclient_ca_file = \"ca\"", "proxy.tls.cert_file and key_file must be set too", "[proxy.tls]\nclient_ca_file = \"ca\"\nkey_file = \"k\"\ncert_file = \"c\""},
	"clients on plain loopback":     {"[admin.tls]\nclient_ca_file = \"ca\"", "admin.tls.cert_file and key_file must be set too", "[admin.tls]\nclient_ca_file = \"ca\"\nkey_file = \"k\"\ncert_file = \"c\""},
	"clients in plaintext":          {"[admin]\ninsecure = true\n[admin.tls]\nclient_ca_file = \"ca\"", "admin.insecure = true: must be false", "[admin]\nlisten = \":8081\"\ninsecure = false\n[admin.tls]\nclient_ca_file = \"ca\""},
	"a protocol without peers":      {"[proxy]\nproxy_protocol = true", "proxy.trusted_proxies must list", "[proxy]\nproxy_protocol = true\ntrusted_proxies = [\"::1\"]"},
	"one port for two listeners":    {"[proxy]\nlisten = \":9\"\n[admin]\nlisten = \":9\"", `admin.listen = ":9": must differ from proxy.listen`, "[proxy]\nlisten = \":0\"\n[admin]\nlisten = \":0\""},
	"one port for the cluster too":  {"[admin]\nlisten = \":9\"\n[cluster]\nlisten = \":9\"\nsecret_file = \"s\"", `cluster.listen = ":9": must differ`, "[admin]\nlisten = \":9\"\n[cluster]\nlisten = \":8\"\nsecret_file = \"s\""},
	"peers without a listener":      {"[cluster]\njoin = [\"a:1\"]", "cluster.listen must be set too", "[cluster]\njoin = [\"a:1\"]\nlisten = \":8\"\nsecret_file = \"s\""},
	"an address without a listener": {"[cluster]\nadvertise = \"a:1\"", "cluster.listen must be set too", "[cluster]\nadvertise = \"a:1\"\nlisten = \":8\"\nsecret_file = \"s\""},
	"a size without peers":          {"[cluster]\nlisten = \":8\"\nsecret_file = \"s\"\nexpect = 2", "cluster.join must list", "[cluster]\nlisten = \":8\"\nsecret_file = \"s\"\nexpect = 2\njoin = [\"a:1\"]"},
	"a cluster without a secret":    {"[cluster]\nlisten = \":8\"", "a cluster needs a secret", "[cluster]\nlisten = \":8\"\nsecret_file = \"s\""},
	"a page without contact":        {"[security_txt]\nhiring = \"https://a\"", "security_txt.contact", "[security_txt]\nhiring = \"https://a\"\ncontact = \"https://a\"\nexpires = \"2027-01-01T00:00:00Z\""},
}

func TestPairs(t *testing.T) {
	for name, tt := range pairs {
		_, err := Load([]string{"--config", configtest.File(t, tt.bad)}, configtest.Environ())
		if configtest.ExitCode(err) != 2 || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want %q", name, err, tt.says)
		}
		if _, err := Load([]string{"--config", configtest.File(t, tt.good)}, configtest.Environ()); err != nil {
			t.Errorf("%s, mended: %v", name, err)
		}
	}
}

// A later layer mends the fault of a value of an earlier one, but not of its kind.
func TestLayersMendFaults(t *testing.T) {
	low := configtest.File(t, "[log]\nlevel = \"loud\"\n[proxy]\nlisten = \"8080\"")
	if c := mustLoad(t, []string{"--config", low, "--log-level", "warn"}, "PERFGATE_PROXY_LISTEN=:1"); c.Log.Level != "warn" || c.Proxy.Listen != ":1" {
		t.Errorf("%+v", c)
	}
	_, err := Load([]string{"--config", configtest.File(t, "[log]\nlevel = 5"), "--log-level", "warn"}, configtest.Environ())
	var usage *UsageError
	if !errors.As(err, &usage) || usage.Key != "log.level" || !strings.HasSuffix(usage.Source, "perfgate.toml") {
		t.Errorf("%v", err)
	}
}

// A fault hides those that follow from it: of the same key, and of keys that depend on it.
// A key that merely looks like a part of their text hides none.
func TestConsequences(t *testing.T) {
	for _, tt := range []struct {
		file   string
		faults []string // in this order
	}{
		{"[cluster]\nlisten = 5\njoin = [\"a:1\"]", []string{"cluster.listen = 5"}},
		{"[cluster]\nl = 5\njoin = [\"a:1\"]", []string{"cluster.l = 5", "cluster.join"}},
		{"[proxy]\ntls = 5\n[log]\nlevel = \"loud\"", []string{"proxy.tls = 5", "log.level"}},
		{"[proxy.tls]\nkey_file = 5\ncert_file = \"c\"", []string{"proxy.tls.key_file = 5"}},
		{"a = 5\nmust = 5\n[log]\nlevel = \"loud\"", []string{"a = 5", "must = 5", "log.level"}},
		{"[proxy]\nlisten = 5\n[admin]\nlisten = \":8080\"", []string{"proxy.listen = 5"}}, // the proxy's default
		{"[proxy]\ntrusted_proxies = [\"x\"]\nproxy_protocol = true", []string{"proxy.trusted_proxies[0]"}},
	} {
		_, err := Load([]string{"--config", configtest.File(t, tt.file)}, configtest.Environ())
		got := leaves(err)
		same := slices.EqualFunc(got, tt.faults, func(fault, want string) bool { return strings.Contains(fault, ": "+want) })
		if !same {
			t.Errorf("%q: %q, want faults of %q", tt.file, got, tt.faults)
		}
	}
}

// An address is HOST:PORT, with a number as the port.
func TestAddressFault(t *testing.T) {
	for address, says := range map[string]string{
		":0": "", "a:1": "", "127.0.0.1:65535": "", "[fe80::1%eth0]:1": "", "a_b.c.:1": "",
		"": "must be HOST:PORT", "a": "must be HOST:PORT", "::1:1": "must be HOST:PORT", ":01": "the port is", ":65536": "the port is", ":+1": "the port is",
		":http": "the port is", "a b:1": "the host is", "http://a:1": "must be HOST:PORT", "-a:1": "the host is", strings.Repeat("a", 254) + ":1": "the host is",
	} {
		if got := addressFault(address); (got == "") != (says == "") || !strings.Contains(got, says) {
			t.Errorf("%q: %q, want %q", address, got, says)
		}
	}
}
