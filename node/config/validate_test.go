package config

import (
	"fmt"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/node/config/configtest"
)

// Each bound from both sides: the values on the left load, those on the right do
// not and name their key.
func TestBounds(t *testing.T) {
	const secret = "secret_file = \"x\"\n"
	var peers []string // with this node, as many as may be expected
	for i := range 98 {
		peers = append(peers, fmt.Sprintf(`"n%d:1"`, i))
	}
	long := func(n int) string { return strings.Repeat("a", n) }
	for _, tt := range []struct {
		table, key string
		good, bad  []string // TOML
	}{
		{"[node]", "name", []string{`"a"`, `"A.b_c-9"`, `"` + long(63) + `"`}, []string{`"-a"`, `"a-"`, `"a b"`, `"é"`, `"` + long(64) + `"`}},
		{"[node]", "data_dir", []string{`"/srv"`, `"."`}, []string{`""`, `"a\u0000b"`}},
		{"[node]", "region", []string{`""`, `"` + long(64) + `"`, `"Zürich 1"`}, []string{`"` + long(65) + `"`, `"a\u0007"`}},
		{"[proxy]", "listen", []string{`":0"`, `"[::1]:65535"`, `"host.example.com:80"`, `"10.0.0.1:80"`}, []string{`""`, `"80"`, `":080"`, `":-1"`, `":65536"`, `":"`, `"a b:80"`, `"::1:80"`, `"256.1.1.1:80"`, `"10.1:80"`, `"a..b:80"`, `"-a:80"`}},
		{"[proxy]", "client_ip_header", []string{`"X-Real-Ip"`, `"Forwarded"`}, []string{`""`, `"a b"`, `"a:b"`, `"` + long(65) + `"`}},
		{"[proxy]", "key_header", []string{`""`, `"X-Api-Key"`}, []string{`"Authorization"`, `"AUTHORIZATION"`, `"a,b"`}},
		{"[proxy]", "shutdown_delay", []string{`"0s"`, `"1h"`}, []string{`"-1ms"`, `"1h1ms"`}},
		{"[proxy]", "drain", []string{`"0s"`, `"1h"`}, []string{`"-1ms"`, `"1h1ms"`}},
		{"[proxy.tls]", "min_version", []string{`"1.2"`, `"1.3"`}, []string{`"1.1"`, `""`, `"TLS 1.3"`}},
		{"[admin]", "listen", []string{`"127.0.0.1:0"`}, []string{`"8081"`, `":8080"`, `"127.0.0.1:8080"`, `"[::1]:8080"`, `"localhost:8080"`}}, // the proxy's
		{"[admin.tls]", "min_version", []string{`"1.3"`}, []string{`"1.2"`}},
		{"[cluster]\nlisten = \":7946\"\n" + secret, "lease", []string{`"1s"`, `"9s"`}, []string{`"999ms"`, `"9001ms"`}},
		{"[cluster]\nlisten = \":7946\"\n" + secret, "when_isolated", []string{`"serve"`, `"refuse"`}, []string{`"ask"`}},
		{"[cluster]\nlisten = \":7946\"\njoin = [" + strings.Join(peers, ", ") + "]\n" + secret, "expect", []string{"1", "99"}, []string{"0", "100", "-1"}},
		{"[cluster]\nlisten = \":7946\"\n" + secret, "advertise", []string{`"10.0.0.1:7946"`, `"node.example.com:1"`}, []string{`"10.0.0.1"`, `":7946"`, `"[::]:7946"`, `"a:0"`}},
		{"[cluster]\nlisten = \":7946\"\n" + secret, "join", []string{`["a:1", "b:2"]`, "[]"}, []string{`["a"]`, `["a:1", "b"]`, `["a:0"]`, `[":1"]`, `["0.0.0.0:1"]`, `["256.1.1.1:1"]`, "[\"a:1\"]\nexpect = 3"}},
		{"[cluster]\n" + secret, "listen", []string{`":7946"`, `""`}, []string{`":8080"`, `"127.0.0.1:8081"`, `"x"`}},
		{"[accounts]", "default_tier", []string{`"free"`, `"pro"`, `"enterprise"`}, []string{`"gold"`, `""`}},
		{"[node]", "memory", []string{`""`, `"128MiB"`, `"2GB"`, `"1TiB"`}, []string{`"127MiB"`, `"0B"`, `"256"`, `"auto"`, "256"}},
		{"[audit]", "requests", []string{`"all"`, `"denied"`, `"off"`}, []string{`"some"`}},
		{"[audit]", "max_bytes", []string{`"1MiB"`, `"10TiB"`}, []string{`"1048575B"`, `""`}},
		{"[log]", "level", []string{`"debug"`, `"error"`}, []string{`"DEBUG"`, `"trace"`}},
		{"[log]", "format", []string{`"json"`, `"text"`}, []string{`"logfmt"`}},
		{"[backup]", "dir", []string{`""`, `"/srv/backups"`}, []string{`"a\u0000"`}},
		{"[backup]", "every", []string{`"1m"`, `"8784h"`, `"366d"`, `"365d24h"`}, []string{`"59s"`, `"8785h"`, `"367d"`, `"366d1ms"`, `"-1d"`, `"1.5d"`}},
		{"[backup]", "keep", []string{"1", "10000"}, []string{"0", "10001"}},
	} {
		load := func(value string) error {
			_, err := Load([]string{"--config", configtest.File(t, tt.table+"\n"+tt.key+" = "+value+"\n")}, configtest.Environ())
			return err
		}
		for _, v := range tt.good {
			if err := load(v); err != nil {
				t.Errorf("%s %s = %s: %v", tt.table, tt.key, v, err)
			}
		}
		table, _, _ := strings.Cut(strings.TrimPrefix(tt.table, "["), "]")
		for _, v := range tt.bad {
			if err := load(v); configtest.ExitCode(err) != 2 || !strings.Contains(err.Error(), table+"."+tt.key) {
				t.Errorf("%s %s = %s loads with %v", tt.table, tt.key, v, err)
			}
		}
	}
}

// Values that depend on each other, in sets that load.
func TestGoodCombinations(t *testing.T) {
	for name, text := range map[string]string{
		"two listeners, any port":    "[proxy]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"",
		"three listeners, any port":  "[proxy]\nlisten = \":0\"\n[admin]\nlisten = \":0\"\n[cluster]\nlisten = \":0\"\nsecret_file = \"x\"",
		"proxy protocol":             "[proxy]\nproxy_protocol = true\ntrusted_proxies = [\"10.0.0.0/8\"]",
		"certificate with clients":   "[proxy.tls]\ncert_file = \"c\"\nkey_file = \"k\"\nclient_ca_file = \"ca\"",
		"self-signed with clients":   "[admin]\nlisten = \":8081\"\n[admin.tls]\nclient_ca_file = \"ca\"",
		"plaintext off loopback":     "[admin]\nlisten = \":8081\"\ninsecure = true",
		"three nodes":                "[cluster]\nlisten = \":7946\"\nsecret_file = \"x\"\njoin = [\"a:1\", \"b:1\"]\nexpect = 3",
		"a secret without a cluster": "[cluster]\nsecret_file = \"x\"",
		"key of the data in a file":  "[encryption]\nkey_file = \"k\"",
		"key of the data by command": "[encryption]\nkey_command = \"print the key\"",
		"features at their default":  "[webhooks]\nallow_private = []\n[geoip]\ndatabase = \"\"\nheader = \"\"",
	} {
		if _, err := Load([]string{"--config", configtest.File(t, text)}, configtest.Environ()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// This node counts once among those that join leads to, whether it is in the list or not.
func TestJoinLeadsToEnough(t *testing.T) {
	for _, tt := range []struct {
		listen, advertise, join string
		expect                  int
		says                    string // "" loads
	}{
		{"127.0.0.1:1", "", `"127.0.0.1:1", "127.0.0.1:2"`, 3, "leads to 2 nodes at most"},
		{"127.0.0.1:1", "", `"127.0.0.1:1"`, 3, "leads to this node alone"},
		{"127.0.0.1:1", "", `"localhost:1", "127.0.0.1:2", "localhost:2"`, 3, "leads to 2 nodes at most"},
		{":1", "", `"127.0.0.1:1", "10.0.0.2:1"`, 3, "leads to 2 nodes at most"},
		{":1", "gate:1", `"GATE:1", "b:1"`, 3, "leads to 2 nodes at most"},
		{":1", "10.0.0.1:9", `"10.0.0.1:9", "10.0.0.2:9", "10.0.0.2:9"`, 3, "leads to 2 nodes at most"},
		{"10.0.0.1:1", "", `"10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"`, 3, ""},
		{"10.0.0.1:1", "", `"10.0.0.2:1", "10.0.0.3:1"`, 3, ""},
		{":1", "", `"a:1", "b:1"`, 3, ""}, // the one or the other may be this node, and nobody knows
		{":1", "", `"127.0.0.1:2", "127.0.0.1:3"`, 3, ""},
		{":1", "", `"127.0.0.1:1"`, 1, ""},
	} {
		text := fmt.Sprintf("[cluster]\nsecret_file = \"x\"\nlisten = %q\nadvertise = %q\njoin = [%s]\nexpect = %d", tt.listen, tt.advertise, tt.join, tt.expect)
		_, err := Load([]string{"--config", configtest.File(t, text)}, configtest.Environ())
		if tt.says == "" && err != nil || tt.says != "" && (err == nil || !strings.Contains(err.Error(), "cluster.join = ") || !strings.Contains(err.Error(), tt.says+" and cluster.expect is 3")) {
			t.Errorf("%+v: %v", tt, err)
		}
	}
}

func TestLoopback(t *testing.T) {
	for listen, want := range map[string]bool{
		"127.0.0.1:1": true, "127.9.9.9:1": true, "[::1]:1": true, "localhost:1": true,
		":1": false, "0.0.0.0:1": false, "[::]:1": false, "10.0.0.1:1": false, "example.com:1": false, "127.0.0.1": false,
	} {
		if got := (Admin{Listen: listen}).Loopback(); got != want {
			t.Errorf("%s: loopback %v", listen, got)
		}
	}
}

func TestQuoted(t *testing.T) {
	for want, options := range map[string][]string{`"a"`: {"a"}, `"a" or "b"`: {"a", "b"}, `"a", "b" or "c"`: {"a", "b", "c"}} {
		if got := quoted(options); got != want {
			t.Errorf("quoted(%q) = %s, want %s", options, got, want)
		}
	}
}
