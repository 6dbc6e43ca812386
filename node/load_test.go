package node

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	koanftoml "github.com/knadh/koanf/parsers/toml/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"

	"github.com/perfgate/perfgate/httpapi/proxy"
)

func environ(pairs ...string) Getenv {
	return func(name string) (string, bool) {
		for _, p := range pairs {
			if n, v, _ := strings.Cut(p, "="); n == name {
				return v, true
			}
		}
		return "", false
	}
}

// write puts text into a file named perfgate.toml and returns its path.
func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "perfgate.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func mustLoad(t *testing.T, args []string, env ...string) *Config {
	t.Helper()
	c, err := Load(args, environ(env...))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The example file is the manual: it has every key, each at its default.
func TestExample(t *testing.T) {
	const example = "../config.example.toml"
	c := mustLoad(t, []string{"--config", example})
	d := mustLoad(t, nil)
	if got := changed(d, c); len(got) > 0 {
		t.Errorf("the example does not have the default of %v", got)
	}
	k := koanf.New(".")
	if err := k.Load(file.Provider(example), koanftoml.Parser()); err != nil {
		t.Fatal(err)
	}
	for _, s := range settings() {
		if s.key != "proxy.routes" && !k.Exists(s.key) {
			t.Errorf("the example lacks %s", s.key)
		}
	}
	c.source, d.source = source{}, source{}
	if !reflect.DeepEqual(c, d) {
		t.Errorf("the example loads as\n%+v\nthe defaults are\n%+v", c, d)
	}
}

// The commented route of the example has every key, and loads.
func TestExampleRoute(t *testing.T) {
	raw, err := os.ReadFile("../config.example.toml")
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(raw), "# [[proxy.routes]]\n")
	block, _, _ = strings.Cut(block, "\n\n")
	block = strings.ReplaceAll("\n"+block, "\n# ", "\n")
	c := mustLoad(t, []string{"--config", write(t, "[[proxy.routes]]"+block)}, "UPSTREAM_KEY=secret")
	if len(c.Proxy.Routes) != 1 {
		t.Fatalf("routes %+v", c.Proxy.Routes)
	}
	rt := reflect.TypeFor[proxy.Route]()
	for i := range rt.NumField() {
		if name := rt.Field(i).Tag.Get("koanf"); !strings.Contains(block, "\n"+name+" = ") {
			t.Errorf("the example's route lacks %s", name)
		}
	}
}

// Every field of Config has a setting and the other way round.
func TestSettingsMatchConfig(t *testing.T) {
	var walk func(t reflect.Type, key string)
	fields := map[string]bool{}
	walk = func(rt reflect.Type, key string) {
		if rt.Kind() != reflect.Struct || leaf(nil, rt) {
			fields[key] = true
			return
		}
		for i := range rt.NumField() {
			f := rt.Field(i)
			if name := f.Tag.Get("koanf"); f.IsExported() && name != "-" {
				walk(f.Type, strings.TrimPrefix(key+"."+name, "."))
			}
		}
	}
	walk(reflect.TypeFor[Config](), "")
	for _, s := range settings() {
		if !fields[s.key] {
			t.Errorf("setting %s has no field", s.key)
		}
		delete(fields, s.key)
	}
	for key := range fields {
		t.Errorf("field %s has no setting", key)
	}
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
	path := write(t, "[node]\nname = \"file\"\nregion = \"file\"\n[proxy]\ntrusted_proxies = [\"10.0.0.0/8\", \"::1\"]\n[log]\nlevel=\"debug\"\n[admin]\n")
	env := []string{"PERFGATE_CONFIG=" + path, "PERFGATE_NAME=env", "PERFGATE_REGION=env", "PERFGATE_DEMO=", "PERFGATE_PORT=tcp://10.0.0.1:80"}
	c := mustLoad(t, []string{"--name", "flag", "--upstream=http://127.0.0.1:9000"}, env...)
	if c.Node.Name != "flag" || c.Node.Region != "env" || c.Log.Level != "debug" {
		t.Errorf("name %q, region %q, level %q", c.Node.Name, c.Node.Region, c.Log.Level)
	}
	if c.RunsDemo() {
		t.Error("the demo runs beside an upstream")
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
	path := write(t, `
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
	if table, err := c.Routes("http://127.0.0.1:9002"); err != nil || table.Len() != 2 {
		t.Errorf("Routes = %v", err)
	}
	c = mustLoad(t, nil)
	if table, err := c.Routes("http://127.0.0.1:9002"); err != nil || table.Len() != 1 {
		t.Errorf("Routes of the demo = %v", err)
	}
	c = mustLoad(t, []string{"--config", path, "--demo"}, "UP=secret")
	if table, err := c.Routes("http://127.0.0.1:9002"); err != nil || table.Len() != 2 {
		t.Errorf("Routes with the demo = %v", err)
	}
	c = mustLoad(t, []string{"--config", path}, "UP=secret")
	if len(c.Proxy.Routes) != 1 || c.Proxy.Routes[0].Path != "/v1/" || c.Proxy.Routes[0].Headers["X.Up-Key"] != "${UP}" || c.RunsDemo() {
		t.Errorf("%+v", c.Proxy.Routes)
	}
}

// Every fault names source, key and value, and is a usage error.
func TestFaults(t *testing.T) {
	for name, tt := range map[string]struct {
		file string
		args []string
		env  []string
		want []string // all in the error's text
		not  string
	}{
		"unknown key":          {file: "[node]\nnmae = \"x\"", want: []string{"perfgate.toml: node.nmae = \"x\": unknown key", "name"}},
		"unknown table":        {file: "[nodes]\nname = \"x\"", want: []string{"nodes", "unknown key"}},
		"unknown at the top":   {file: "name = \"x\"", want: []string{"name = \"x\": unknown key"}},
		"dotted name":          {file: "\"node.name\" = \"x\"", want: []string{"node.name", "unknown key"}},
		"case":                 {file: "[node]\nName = \"x\"", want: []string{"node.Name", `did you mean "name"`}},
		"dash":                 {file: "[node]\ndata-dir = \"x\"", want: []string{`did you mean "data_dir"`}},
		"secret in the file":   {file: "[cluster]\nSecret = \"x\"", want: []string{"cluster.Secret", "unknown key"}},
		"number for duration":  {file: "[cluster]\nlease = 5", want: []string{"cluster.lease = 5: want a duration in quotes"}},
		"bad duration":         {file: "[proxy]\ndrain = \"5\"", want: []string{`proxy.drain = "5": want a duration`}},
		"negative duration":    {file: "[proxy]\ndrain = \"-5s\"", want: []string{`proxy.drain = "-5s"`, "from 0s to 1h"}},
		"number for string":    {file: "[node]\nname = 5", want: []string{"node.name = 5: want a string"}},
		"string for bool":      {file: "[proxy]\ndemo = \"true\"", want: []string{`proxy.demo = "true": want true or false`}},
		"string for list":      {file: "[proxy]\ntrusted_proxies = \"10.0.0.0/8\"", want: []string{"want a list"}},
		"float for int":        {file: "[backup]\nkeep = 1.5", want: []string{"backup.keep = 1.5"}},
		"value for table":      {file: "node = 5", want: []string{"node = 5: want a table"}},
		"number for size":      {file: "[audit]\nmax_bytes = 5", want: []string{"audit.max_bytes = 5"}},
		"bad size":             {file: "[audit]\nmax_bytes = \"64 miB\"", want: []string{`want a size such as "64MiB"`}},
		"huge size":            {file: "[audit]\nmax_bytes = \"9999999TiB\"", want: []string{"audit.max_bytes"}},
		"small size":           {file: "[audit]\nmax_bytes = \"1B\"", want: []string{"1MiB"}},
		"host bits":            {file: "[proxy]\ntrusted_proxies = [\"10.1.2.3/8\"]", want: []string{`proxy.trusted_proxies[0] = "10.1.2.3/8"`, "10.0.0.0/8"}},
		"syntax":               {file: "[node]\nname = x", want: []string{"perfgate.toml: line 2"}},
		"twice":                {file: "[node]\nname = \"a\"\nname = \"b\"", want: []string{"perfgate.toml: ", "name"}},
		"route key":            {file: "[[proxy.routes]]\npath = \"/\"\n[[proxy.routes]]\npaht = \"/\"", want: []string{`proxy.routes[1].paht`, "unknown key"}},
		"route type":           {file: "[[proxy.routes]]\npublic = \"yes\"", want: []string{`proxy.routes[0].public = "yes"`}},
		"route header":         {file: "[[proxy.routes]]\nheaders = { A = 5 }", want: []string{`proxy.routes[0].headers.A`}},
		"route value":          {file: "[[proxy.routes]]\npath = \"v1\"\nupstreams = [\"ftp://x\"]", want: []string{`perfgate.toml: proxy.routes[0].path = "v1"`, `proxy.routes[0].upstreams[0] = "ftp://x"`}},
		"route variable":       {file: "[[proxy.routes]]\npath = \"/\"\nupstreams = [\"http://x\"]\nheaders = { A = \"hunter2 ${NOT_THERE}\" }", want: []string{`proxy.routes[0].headers.A`, "NOT_THERE"}, not: "hunter2"},
		"route timeout":        {file: "[[proxy.routes]]\npath = \"/\"\nupstreams = [\"http://x\"]\ntimeouts = { total = 5 }", want: []string{`proxy.routes[0].timeouts.total = 5: want a duration`}},
		"two catch-alls":       {file: "[proxy]\nupstream = \"http://x\"\n[[proxy.routes]]\npath = \"/\"\nupstreams = [\"http://x\"]", want: []string{`proxy.upstream`}},
		"two faults":           {file: "[node]\nname = 5\n[log]\nlevel = 6", want: []string{"node.name", "log.level"}},
		"no file":              {args: []string{"--config", "/nonexistent.toml"}, want: []string{"/nonexistent.toml: ", "no such file"}},
		"file is a directory":  {env: []string{"PERFGATE_CONFIG=/"}, want: []string{"/: ", "directory"}},
		"unknown flag":         {args: []string{"--nmae=x"}, want: []string{"--nmae"}},
		"argument":             {args: []string{"x"}, want: []string{`"x"`}},
		"flag type":            {args: []string{"--expect=three"}, want: []string{`--expect: cluster.expect = "three": want a whole number`}},
		"flag value":           {args: []string{"--log-level=loud"}, want: []string{`--log-level: log.level = "loud": want "debug" or`}},
		"env type":             {env: []string{"PERFGATE_EXPECT=three"}, want: []string{`PERFGATE_EXPECT: cluster.expect = "three"`}},
		"env value":            {env: []string{"PERFGATE_PROXY_LISTEN=8080"}, want: []string{`PERFGATE_PROXY_LISTEN: proxy.listen = "8080": want HOST:PORT`}},
		"env list":             {env: []string{"PERFGATE_TRUSTED_PROXIES=10.0.0.0/8,x"}, want: []string{"PERFGATE_TRUSTED_PROXIES: proxy.trusted_proxies[1] = \"x\""}},
		"env bool":             {env: []string{"PERFGATE_DEMO=yes"}, want: []string{"PERFGATE_DEMO", "want true or false"}},
		"port":                 {args: []string{"--admin-listen", "127.0.0.1:65536"}, want: []string{"admin.listen"}},
		"port name":            {args: []string{"--admin-listen", "127.0.0.1:http"}, want: []string{"admin.listen"}},
		"same address":         {args: []string{"--admin-listen", ":9", "--proxy-listen", ":9"}, want: []string{"admin.listen"}},
		"upstream":             {args: []string{"--upstream", "localhost:9000"}, want: []string{"--upstream: proxy.upstream", "http://"}},
		"upstream secret":      {args: []string{"--upstream", "http://u:hunter2@h/?q"}, want: []string{"proxy.upstream"}, not: "hunter2"},
		"short secret":         {env: []string{"PERFGATE_CLUSTER_SECRET=hunter2"}, want: []string{"PERFGATE_CLUSTER_SECRET: want a secret of 32"}, not: "hunter2"},
		"token":                {env: []string{"PERFGATE_OPERATOR_TOKEN=hunter 2 hunter 2 hunter 2"}, want: []string{"PERFGATE_OPERATOR_TOKEN: want"}, not: "hunter"},
		"TLS 1.2 on admin":     {file: "[admin.tls]\nmin_version = \"1.2\"", want: []string{"admin.tls.min_version = \"1.2\": want \"1.3\""}},
		"TLS 1.1":              {file: "[proxy.tls]\nmin_version = \"1.1\"", want: []string{"proxy.tls.min_version"}},
		"certificate alone":    {file: "[proxy.tls]\ncert_file = \"x\"", want: []string{"proxy.tls.key_file is missing"}},
		"CA alone":             {file: "[proxy.tls]\nclient_ca_file = \"x\"", want: []string{"proxy.tls.client_ca_file"}},
		"protocol of nobody":   {file: "[proxy]\nproxy_protocol = true", want: []string{"proxy.trusted_proxies must list"}},
		"key header":           {file: "[proxy]\nkey_header = \"authorization\"", want: []string{"always read"}},
		"cluster alone":        {args: []string{"--cluster-listen", ":7946"}, want: []string{`cluster.secret_file = "": a cluster needs its secret here or in PERFGATE_CLUSTER_SECRET`}},
		"two secrets":          {args: []string{"--cluster-listen", ":7946"}, env: []string{"PERFGATE_CLUSTER_SECRET=" + strings.Repeat("s", 32)}, file: "[cluster]\nsecret_file = \"x\"", want: []string{"cluster.secret_file", "is set too"}, not: "ssss"},
		"join without listen":  {args: []string{"--join", "a:1,b:2"}, want: []string{`--join: cluster.join = ["a:1", "b:2"]: cluster.listen must say`}},
		"expect without join":  {args: []string{"--cluster-listen", ":7946", "--expect", "3"}, env: []string{"PERFGATE_CLUSTER_SECRET=" + strings.Repeat("s", 32)}, want: []string{"--expect: cluster.expect = 3: cluster.join must say"}},
		"cluster on the proxy": {args: []string{"--cluster-listen", ":8080"}, env: []string{"PERFGATE_CLUSTER_SECRET=" + strings.Repeat("s", 32)}, want: []string{"--cluster-listen: cluster.listen = \":8080\": another listener"}},
		"long lease":           {file: "[cluster]\nlease = \"1m\"", want: []string{"cluster.lease = \"1m\": want a duration from 1s to 9s"}},
		"later: encryption":    {file: "[encryption]\nkey_file = \"x\"", want: []string{"not available"}},
		"later: webhooks":      {file: "[webhooks]\nallow_private = [\"10.0.0.0/8\"]", want: []string{"not available"}},
		"later: geoip":         {file: "[geoip]\ndatabase = \"x\"", want: []string{"not available"}},
		"backup rhythm":        {file: "[backup]\ndir = \"x\"\nevery = \"30s\"\nkeep = 0", want: []string{"backup.every = \"30s\"", "backup.keep = 0"}},
		"security.txt scheme":  {file: "[security_txt]\ncontact = \"a@b.c\"\nexpires = \"2027-01-01T00:00:00Z\"", want: []string{"security_txt.contact", "mailto:"}},
		"security.txt expires": {file: "[security_txt]\ncontact = \"mailto:a@b.c\"", want: []string{"security_txt.expires"}},
		"security.txt alone":   {file: "[security_txt]\npolicy = \"https://b.c\"", want: []string{"security_txt.contact"}},
		"tier":                 {file: "[accounts]\ndefault_tier = \"gold\"", want: []string{"accounts.default_tier = \"gold\": want \"free\" or \"pro\" or \"enterprise\""}},
	} {
		t.Run(name, func(t *testing.T) {
			args := tt.args
			if tt.file != "" {
				args = append(args, "--config", write(t, tt.file))
			}
			_, err := Load(args, environ(tt.env...))
			var usage *UsageError
			if !errors.As(err, &usage) || exitCode(err) != 2 {
				t.Fatalf("Load = %v, want a usage error", err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error\n%v\ndoes not say %q", err, want)
				}
			}
			if tt.not != "" && strings.Contains(err.Error(), tt.not) {
				t.Errorf("the error says %q: %v", tt.not, err)
			}
		})
	}
}

func TestSecurityTxt(t *testing.T) {
	c := mustLoad(t, []string{"--config", write(t, "[security_txt]\ncontact = [\"mailto:a@b.c\", \"https://b.c/x\"]\nexpires = 2027-01-01T00:00:00Z\npolicy = \"https://b.c/p\"\npreferred_languages = [\"en\", \"de\"]")})
	s := c.SecurityTxt
	if len(s.Contact) != 2 || len(s.Policy) != 1 || s.Policy[0] != "https://b.c/p" || s.Expires.Year() != 2027 || len(s.PreferredLanguages) != 2 {
		t.Errorf("%+v", s)
	}
}

func TestSecrets(t *testing.T) {
	secret := strings.Repeat("s", 32)
	c := mustLoad(t, nil, "PERFGATE_CLUSTER_SECRET="+secret, "PERFGATE_OPERATOR_TOKEN=op_0123456789abcdef")
	if string(c.Cluster.Secret) != secret || c.OperatorToken() != "op_0123456789abcdef" {
		t.Errorf("secret %q, token %q", c.Cluster.Secret, c.OperatorToken())
	}
}

func TestSize(t *testing.T) {
	for text, want := range map[string]Size{"512": 512, "1KiB": 1024, "64MiB": 64 << 20, "10 GB": 10e9, "0B": 0, "2TiB": 2 << 40} {
		var s Size
		if err := s.UnmarshalText([]byte(text)); err != nil || s != want {
			t.Errorf("%q is %d, %v; want %d", text, s, err, want)
		}
		var again Size
		if err := again.UnmarshalText([]byte(want.String())); err != nil || again != want {
			t.Errorf("%d is written %q and read as %d, %v", want, want, again, err)
		}
	}
	for _, text := range []string{"", "MiB", "-1MiB", "1.5GiB", "64mib", "1e3", "8388608TiB", "9223372036854775808"} {
		var s Size
		if err := s.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is read as %d", text, s)
		}
	}
}

// exitCode is what the process ends with for err.
func exitCode(err error) int {
	var coded interface{ ExitCode() int }
	switch {
	case err == nil:
		return 0
	case errors.As(err, &coded):
		return coded.ExitCode()
	}
	return 1
}
