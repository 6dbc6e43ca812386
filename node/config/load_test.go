package config

import (
	"net/netip"
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/perfgate/perfgate/node/config/configtest"
)

func mustLoad(t *testing.T, args []string, pairs ...string) *Config {
	t.Helper()
	return configtest.MustLoad(t, Load, args, pairs...)
}

func TestDefaults(t *testing.T) {
	c := mustLoad(t, nil)
	if c.Proxy.Listen != ":8080" || c.Admin.Listen != "127.0.0.1:8081" || c.Node.DataDir != "./perfgate-data" {
		t.Errorf("listeners %q, %q, data %q", c.Proxy.Listen, c.Admin.Listen, c.Node.DataDir)
	}
	if c.Proxy.ShutdownDelay != 2*time.Second || c.Proxy.Drain != 6*time.Second || c.Cluster.Lease != 5*time.Second {
		t.Errorf("delay %v, drain %v, lease %v", c.Proxy.ShutdownDelay, c.Proxy.Drain, c.Cluster.Lease)
	}
	if c.Node.Name == "" || !c.RunsDemo() || !c.Proxy.SelfService || c.Audit.MaxBytes != 1<<30 {
		t.Errorf("%+v", c)
	}
}

// Defaults < file < environment < flags.
func TestOrder(t *testing.T) {
	path := configtest.File(t, "[node]\nname = \"file\"\nregion = \"file\"\n[proxy]\ntrusted_proxies = [\"10.0.0.0/8\", \"::1\"]\n[log]\nlevel=\"debug\"\n[admin]\n")
	env := []string{"PERFGATE_CONFIG=" + path, "PERFGATE_NAME=env", "PERFGATE_REGION=env", "PERFGATE_DEMO=", "PERFGATE_PORT=tcp://10.0.0.1:80"}
	c := mustLoad(t, []string{"--name", "flag", "--upstream=http://127.0.0.1:9000"}, env...)
	if c.Node.Name != "flag" || c.Node.Region != "env" || c.Log.Level != "debug" {
		t.Errorf("name %q, region %q, level %q", c.Node.Name, c.Node.Region, c.Log.Level)
	}
	if c.RunsDemo() || !c.Routed() {
		t.Error("the demo runs beside an upstream")
	}
	if port, ok := c.Getenv("PERFGATE_PORT"); !ok || port != "tcp://10.0.0.1:80" || c.File() != path {
		t.Errorf("it knows the variable %q, %v and the file %q", port, ok, c.File())
	}
	want := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	if !reflect.DeepEqual(c.Proxy.TrustedProxies, want) {
		t.Errorf("trusted proxies %v, want %v", c.Proxy.TrustedProxies, want)
	}
	c = mustLoad(t, []string{"--config", path, "--trusted-proxies", "192.0.2.1, 192.0.2.128/25", "--demo"})
	if len(c.Proxy.TrustedProxies) != 2 || c.Proxy.TrustedProxies[0].Bits() != 32 || !c.RunsDemo() {
		t.Errorf("%+v", c.Proxy)
	}
}

func TestRoutes(t *testing.T) {
	path := configtest.File(t, `
[[proxy.routes]]
path = "/v1/"
upstreams = ["http://127.0.0.1:9000"]
methods = ["GET"]
headers = { "X.Up-Key" = "${UP}", B = "c" }
timeouts = { connect = "1s" }
retries = 2
cost = 0.002
max_cost_per_call = "0.01"
`)
	c := mustLoad(t, []string{"--config", path, "--upstream", "http://127.0.0.1:9001"}, "UP=secret")
	if r := c.Proxy.Routes[0]; *r.Retries != 2 || r.Timeouts.Connect != time.Second || r.Cost != 0.002 {
		t.Errorf("%+v", r)
	}
	c = mustLoad(t, []string{"--config", path}, "UP=secret")
	if len(c.Proxy.Routes) != 1 || c.Proxy.Routes[0].Path != "/v1/" || c.Proxy.Routes[0].Headers["X.Up-Key"] != "${UP}" || c.RunsDemo() {
		t.Errorf("%+v", c.Proxy.Routes)
	}
}

func TestSecurityTxt(t *testing.T) {
	c := mustLoad(t, []string{"--config", configtest.File(t, "[security_txt]\ncontact = [\"mailto:a@b.c\", \"https://b.c/x\"]\nexpires = 2027-01-01T00:00:00Z\npolicy = \"https://b.c/p\"\npreferred_languages = [\"en\", \"de\"]")})
	s := c.SecurityTxt
	if len(s.Contact) != 2 || len(s.Policy) != 1 || s.Policy[0] != "https://b.c/p" || s.Expires.Year() != 2027 || len(s.PreferredLanguages) != 2 {
		t.Errorf("%+v", s)
	}
}

// Commands that run while no node does know the data directory alone.
func TestForDataDir(t *testing.T) {
	for _, tt := range []struct {
		args []string
		env  []string
		dir  string
		says string // of a fault
	}{
		{nil, nil, "perfgate-data", `node.data_dir = "./perfgate-data": gone`},
		{nil, []string{"PERFGATE_DATA_DIR=/srv/a/"}, "/srv/a", `PERFGATE_DATA_DIR: node.data_dir = "/srv/a/": gone`},
		{nil, []string{"PERFGATE_DATA_DIR="}, "perfgate-data", `node.data_dir = "./perfgate-data": gone`},
		{[]string{"--data-dir", "b"}, []string{"PERFGATE_DATA_DIR=/srv/a"}, "b", `--data-dir: node.data_dir = "b": gone`},
	} {
		fs := pflag.NewFlagSet("restore", pflag.ContinueOnError)
		fs.String("data-dir", "", "")
		if err := fs.Parse(tt.args); err != nil {
			t.Fatal(err)
		}
		c := ForDataDir(fs, configtest.Environ(tt.env...))
		if err := c.Fault("node.data_dir", "gone"); c.Node.DataDir != tt.dir || err.Error() != tt.says {
			t.Errorf("%v %v: %q, %v; want %q, %s", tt.args, tt.env, c.Node.DataDir, err, tt.dir, tt.says)
		}
		if _, ok := c.Getenv("HOME"); ok {
			t.Error("it has an environment")
		}
	}
}

// The name of a node is the host's unless it is set.
func TestNodeName(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if !nodeName.MatchString(host) {
		host = "perfgate"
	}
	if c := mustLoad(t, nil); c.Node.Name != host {
		t.Errorf("the node's name is %q, want %q", c.Node.Name, host)
	}
	if c := mustLoad(t, nil, "PERFGATE_NAME=n7"); c.Node.Name != "n7" || c.File() != "" {
		t.Errorf("the node's name is %q, of the file %q", c.Node.Name, c.File())
	}
}

func flagsOf(t *testing.T, args ...string) *pflag.FlagSet {
	t.Helper()
	fs := Flags()
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return fs
}
