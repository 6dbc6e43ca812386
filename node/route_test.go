package node

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/node/config"
	"github.com/perfgate/perfgate/node/config/configtest"
)

// The example's routes compile too, the commented one included.
func TestExampleRoutes(t *testing.T) {
	raw, err := os.ReadFile("../config.example.toml")
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(raw), "# [[proxy.routes]]\n")
	block, _, _ = strings.Cut(block, "\n\n")
	block = strings.ReplaceAll("\n"+block, "\n# ", "\n")
	c := mustLoad(t, []string{"--config", configtest.File(t, "[[proxy.routes]]"+block)}, "UPSTREAM_KEY=secret")
	if table, err := compileRoutes(c, ""); err != nil || table.Len() != 1 {
		t.Errorf("compileRoutes = %v", err)
	}
}

func TestCompileRoutes(t *testing.T) {
	const demo = "http://127.0.0.1:9002"
	path := configtest.File(t, "[[proxy.routes]]\npath = \"/v1/\"\nupstreams = [\"http://127.0.0.1:9000\"]\nheaders = { A = \"${UP}\" }\n")
	all := configtest.File(t, "[[proxy.routes]]\npath = \"/{rest...}\"\nupstreams = [\"http://127.0.0.1:9000\"]\n")
	for _, c := range []struct {
		args []string
		demo string
		want int // routes
	}{
		{[]string{"--config", path, "--upstream", "http://127.0.0.1:9001"}, demo, 2},
		{nil, demo, 1},
		{nil, "", 0},
		{[]string{"--config", path, "--demo"}, demo, 2},
		{[]string{"--config", path}, "", 1},
		{[]string{"--config", all, "--demo"}, demo, 1},
	} {
		table, err := compileRoutes(mustLoad(t, c.args, "UP=secret"), c.demo)
		if err != nil {
			t.Errorf("%v: %v", c.args, err)
		} else if table.Len() != c.want {
			t.Errorf("%v: %d routes, want %d", c.args, table.Len(), c.want)
		}
	}
}

// Every field of a route in the file reaches the proxy.
func TestProxyRouteHasEveryField(t *testing.T) {
	n, units := 2, int64(3)
	in := config.Route{
		Path: "/", Host: "h", Methods: []string{"GET"}, Upstreams: []string{"u"}, UpstreamTLS: config.UpstreamTLS{CAFile: "a", CertFile: "c", KeyFile: "k", ServerName: "n"}, Require: []string{"r"}, Public: true,
		Preflight: "pass", StripPrefix: "/s", PreserveHost: true, Headers: map[string]string{"A": "b"},
		Timeouts: config.Timeouts{Connect: 1, ResponseHeader: 2, Idle: 3, Total: 4}, MaxBody: "1MiB", Retries: &n, Units: &units,
		Cost: 0.5, MaxCostPerCall: "1", AllowEncodedSlash: true, AllowMethodOverride: []string{"X-Method-Override"}, PassAuthorization: true,
	}
	from, to := reflect.ValueOf(in), reflect.ValueOf(proxyRoute(&in))
	if from.NumField() != to.NumField() {
		t.Errorf("config.Route has %d fields, proxy.Route %d", from.NumField(), to.NumField())
	}
	for i := range from.NumField() {
		name := from.Type().Field(i).Name
		if from.Field(i).IsZero() {
			t.Errorf("this test sets no %s", name)
		}
		got := to.FieldByName(name)
		if !got.IsValid() || !reflect.DeepEqual(got.Convert(from.Field(i).Type()).Interface(), from.Field(i).Interface()) {
			t.Errorf("%s = %v, want %v", name, got, from.Field(i))
		}
	}
}

// Faults of routes name source, key and value, and are usage errors.
func TestRouteFaults(t *testing.T) {
	for name, tt := range map[string]struct {
		file string
		args []string
		want []string // all in the error's text
		not  string
	}{
		"route value":     {file: "[[proxy.routes]]\npath = \"v1\"\nupstreams = [\"ftp://x\"]", want: []string{`perfgate.toml: line 2: proxy.routes[0].path = "v1"`, `proxy.routes[0].upstreams[0] = "ftp://x"`}},
		"route variable":  {file: "[[proxy.routes]]\npath = \"/\"\nupstreams = [\"http://x\"]\nheaders = { A = \"hunter2 ${NOT_THERE}\" }", want: []string{`proxy.routes[0].headers.A`, "NOT_THERE"}, not: "hunter2"},
		"upstream port":   {args: []string{"--upstream", "http://h:99999"}, want: []string{`proxy.upstream = "http://h:99999": must have a port from 1 to 65535`}},
		"upstream port 0": {args: []string{"--upstream", "http://h:0"}, want: []string{"must have a port"}},
		"upstream IPv4":   {args: []string{"--upstream", "http://256.1.1.1"}, want: []string{"four numbers from 0 to 255"}},
		"upstream short":  {args: []string{"--upstream", "http://10.1:80"}, want: []string{"four numbers from 0 to 255"}},
		"empty variable":  {file: "[[proxy.routes]]\npath = \"/\"\nupstreams = [\"http://x\"]\nheaders = { A = \"${EMPTY}\" }", want: []string{`proxy.routes[0].headers.A`, "EMPTY is empty; it must have a value"}},
		"two catch-alls":  {file: "[proxy]\nupstream = \"http://x\"\n[[proxy.routes]]\npath = \"/\"\nupstreams = [\"http://x\"]", want: []string{`proxy.upstream`}},
		"same paths":      {file: "[[proxy.routes]]\npath = \"/app\"\nupstreams = [\"http://x\"]\n[[proxy.routes]]\npath = \"/app/\"\nrequire = [\"strict\"]\nupstreams = [\"http://x\"]", want: []string{`line 5: proxy.routes[1].path = "/app/": same host, path and methods as proxy.routes[0]`}},
		"upstream":        {args: []string{"--upstream", "localhost:9000"}, want: []string{"--upstream: proxy.upstream", "http://"}},
		"upstream secret": {args: []string{"--upstream", "http://u:hunter2@h/?q"}, want: []string{"proxy.upstream"}, not: "hunter2"},
	} {
		t.Run(name, func(t *testing.T) {
			args := tt.args
			if tt.file != "" {
				args = append(args, "--config", configtest.File(t, tt.file))
			}
			_, err := Load(args, configtest.Environ("EMPTY="))
			if configtest.ExitCode(err) != 2 {
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
