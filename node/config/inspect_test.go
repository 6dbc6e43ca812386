package config

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/perfgate/perfgate/node/config/configtest"
)

// leaves are the single faults of an error.
func leaves(err error) (out []string) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			out = append(out, leaves(e)...)
		}
		return out
	}
	if err != nil {
		out = append(out, err.Error())
	}
	return out
}

// faulty has faults of every kind; faultsOfIt are those of a load of it with one flag
// and two variables that are wrong too.
const faulty = `[nod]
name = "x"

[proxy]
listen = "256.1.1.1:80"
drain = 5
trusted_proxies = [
  "10.0.0.0/8",
  "10.1.2.3/8",
]

[[proxy.routes]]
path = "/a"

[[proxy.routes]]
upstreams = ["http://a"]
headers = { A = 1 }
timeouts = { connect = "x" }

[admin]
listn = ":9"

[cluster]
listen = 7946
join = ["a:1", "b:0"]

[log]
level = "inof"
`

var faultsOfIt = []string{
	`line 1: nod = {…}: unknown key; did you mean "node"?`,
	`line 5: proxy.listen = "256.1.1.1:80": must be HOST:PORT, such as ":8080" or "127.0.0.1:0"; an IPv4 address is four numbers from 0 to 255`,
	`line 6: proxy.drain = 5: must be a duration in quotes, with its unit, such as "5s"`,
	`line 9: proxy.trusted_proxies[1] = "10.1.2.3/8": must begin at its first address: write 10.0.0.0/8, or one address alone`,
	`line 17: proxy.routes[1].headers.A = 1: must be a string in quotes`,
	`line 18: proxy.routes[1].timeouts.connect = "x": must be a duration such as "500ms", "24h" or "30d"`,
	`line 21: admin.listn = ":9": unknown key; did you mean "listen"?`,
	`line 24: cluster.listen = 7946: must be a string in quotes`,
	`line 25: cluster.join[1] = "b:0": must have the port at which other nodes reach it, from 1 to 65535`,
	`line 28: log.level = "inof": must be "debug", "info", "warn" or "error"; did you mean "info"?`,
	`--log-format: log.format = "xml": must be "json" or "text"`,
	`PERFGATE_EXPECT: cluster.expect = "three": must be a whole number`,
	`PERFGATE_AUDIT_REQUESTS: audit.requests = "none": must be "all", "denied" or "off"`,
}

// Faults of every kind are in one error, each with its line, and none is a mere
// consequence of another.
func TestAllFaultsAtOnce(t *testing.T) {
	path := configtest.File(t, faulty)
	_, err := Load([]string{"--config", path, "--log-format", "xml"}, configtest.Environ("PERFGATE_EXPECT=three", "PERFGATE_AUDIT_REQUESTS=none"))
	got := leaves(err)
	for i, s := range got {
		got[i] = strings.TrimPrefix(s, path+": ")
	}
	want := slices.Clone(faultsOfIt)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("the faults are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	c, again := Inspect(flagsOf(t, "--config", path), configtest.Environ())
	if c == nil || again == nil || len(c.Proxy.Routes) != 2 || c.Proxy.Routes[1].Upstreams[0] != "http://a" || !c.Faulty("proxy.routes[1].headers") || c.Faulty("proxy.routes[0]") {
		t.Errorf("what is left: %+v", c)
	}
}

// The file's encoding is named, where it is another than UTF-8.
func TestEncodings(t *testing.T) {
	const text = "[node]\nname = \"a\"\n"
	wide := func(high, low int) string {
		var b strings.Builder
		for _, u := range utf16.Encode([]rune(text)) {
			pair := [2]byte{}
			pair[high], pair[low] = byte(u>>8), byte(u)
			b.Write(pair[:])
		}
		return b.String()
	}
	for in, want := range map[string]string{
		"\xef\xbb\xbf" + text:             "line 1: it begins with a byte order mark (BOM); save it as UTF-8",
		"\xff\xfe" + wide(1, 0):           "it is encoded in UTF-16; save it as UTF-8",
		"\xfe\xff" + wide(0, 1):           "it is encoded in UTF-16; save it as UTF-8",
		wide(1, 0):                        "it looks like UTF-16",
		wide(0, 1):                        "it looks like UTF-16",
		"\xff\xfe\x00\x00n\x00\x00\x00":   "it is encoded in UTF-32",
		"\x00\x00\xfe\xff\x00\x00\x00n":   "it is encoded in UTF-32",
		"[node]\nname = \"Z\xfcrich\"\n":  "line 2: a character is not encoded in UTF-8",
		"[node]\n# \x00\n":                "line 2: there is a NUL character",
		"[node]\nname = \"\xe2\x82\xac\"": "node.name", // UTF-8, and refused for another reason
	} {
		_, err := Load([]string{"--config", configtest.File(t, in)}, configtest.Environ())
		if configtest.ExitCode(err) != 2 || !strings.Contains(err.Error(), want) || len(leaves(err)) != 1 {
			t.Errorf("%q: %v, want %s", in, err, want)
		}
	}
}

// A byte order mark hides none of the faults after it.
func TestByteOrderMark(t *testing.T) {
	for text, want := range map[string]string{
		"[node]\nnmae = 5\n": "line 2: node.nmae = 5: unknown key",
		"[node]\nname = x\n": "line 2, column 8: ",
	} {
		_, err := Load([]string{"--config", configtest.File(t, "\xef\xbb\xbf"+text)}, configtest.Environ())
		got := leaves(err)
		if len(got) != 2 || !strings.Contains(got[0], "line 1: it begins with a byte order mark") || !strings.Contains(got[1], want) {
			t.Errorf("%q: %q, want the mark and %q", text, got, want)
		}
	}
}

// A file that is no TOML hides none of the faults in the environment and the flags.
func TestSyntaxHidesNoOtherSource(t *testing.T) {
	_, err := Load([]string{"--config", configtest.File(t, "[node]\nname = x")}, configtest.Environ("PERFGATE_EXPECT=three"))
	if got := leaves(err); len(got) != 2 || !strings.Contains(got[0], "line 2, column 8") || !strings.HasPrefix(got[1], "PERFGATE_EXPECT: ") {
		t.Errorf("%q", got)
	}
}

func TestLines(t *testing.T) {
	l := parseLines([]byte(`
top = 1
a.b = 2
[t]
x = [
  1, # one
  { y = 2 },
]
"q.\u0061" = 1
[t.sub]
z = """
two
lines"""
w = 1
[[l]]
v = 1
[[l.m]]
n = 1
[[l.m]]
n = 2
[l.o]
p = 1
[[l]]
v = 2
  [l.o]
p = { r = { s = 1 } }
`))
	for key, want := range map[string]int{
		"top": 2, "a": 3, "a.b": 3, "t": 4, "t.x": 5, "t.x[0]": 6, "t.x[1].y": 7, "t.q.a": 9, "t.sub": 10, "t.sub.z": 11, "t.sub.w": 14,
		"l[0]": 15, "l[0].v": 16, "l[0].m[0]": 17, "l[0].m[0].n": 18, "l[0].m[1].n": 20, "l[0].o.p": 22, "l[1].v": 24, "l[1].o.p.r.s": 26,
		"t.nothing": 4, "l[1].o.nothing[3].at.all": 25, "nothing": 0, "": 0,
	} {
		if got := l.of(key); got != want {
			t.Errorf("%s is in line %d, want %d", key, got, want)
		}
	}
}

// A name of another table leads to that table, and a flag to the nearest one.
func TestMeantElsewhere(t *testing.T) {
	_, err := Load([]string{"--config", configtest.File(t, "[admin]\nkey_header = \"x\"")}, configtest.Environ())
	if err == nil || !strings.Contains(err.Error(), `did you mean "proxy.key_header"?`) {
		t.Error(err)
	}
	if _, err = Load([]string{"--proxy-listn", ":1"}, configtest.Environ()); configtest.ExitCode(err) != 2 || !strings.Contains(err.Error(), "did you mean --proxy-listen?") {
		t.Error(err)
	}
}

// Every key but the routes, the sinks and the tables of regions and roles has a variable, and no two
// have the same.
func TestVariables(t *testing.T) {
	keys := map[string]string{}
	for _, s := range settings {
		name := s.env()
		if (name == "") != (s.key == routesKey || s.key == regionsKey || s.key == oidcRoles || s.key == sinksKey) {
			t.Errorf("%s has the variable %q", s.key, name)
		}
		if name == "" {
			continue
		}
		if other, ok := keys[name]; ok {
			t.Errorf("%s is of %s and %s", name, other, s.key)
		}
		keys[name] = s.key
	}
	c := mustLoad(t, nil, "PERFGATE_AUDIT_REQUESTS=off", "PERFGATE_AUDIT_MAX_BYTES=5MiB", "PERFGATE_PROXY_DRAIN=7s", "PERFGATE_PROXY_SELF_SERVICE=false",
		"PERFGATE_BACKUP_KEEP=3", "PERFGATE_BACKUP_EVERY=14d12h", "PERFGATE_SECURITY_TXT_CONTACT=mailto:a@b.c,https://b.c", "PERFGATE_SECURITY_TXT_EXPIRES=2099-01-01T00:00:00Z")
	if c.Audit.Requests != "off" || c.Audit.MaxBytes != 5<<20 || c.Proxy.Drain.Seconds() != 7 || c.Proxy.SelfService || c.Backup.Keep != 3 || c.Backup.Every.Hours() != 348 || len(c.SecurityTxt.Contact) != 2 || c.SecurityTxt.Expires.Year() != 2099 {
		t.Errorf("%+v", c)
	}
	_, err := Load(nil, configtest.Environ("PERFGATE_PROXY_DRAIN=7"))
	if configtest.ExitCode(err) != 2 || !strings.Contains(err.Error(), `PERFGATE_PROXY_DRAIN: proxy.drain = "7": must be a duration`) {
		t.Error(err)
	}
}

func TestUnknownVariables(t *testing.T) {
	var known []string
	for _, s := range settings {
		if s.env() != "" {
			known = append(known, s.env()+"=x")
		}
	}
	for _, name := range otherVariables {
		known = append(known, name+"=x")
	}
	known = append(known, "PERFGATE_PORT=tcp://10.0.0.1:80", "PERFGATE_SERVICE_HOST=10.0.0.1", "PERFGATE_SERVICE_PORT=80", "PERFGATE_SERVICE_PORT_HTTP=80",
		"PERFGATE_PORT_80_TCP=x", "PERFGATE_PORT_80_TCP_ADDR=x", "PERFGATE_PROXY_PORT_80_UDP_PROTO=x", "PERFGATE_ADMIN_SERVICE_HOST=x", "HOME=/", "XPERFGATE_NAM=x", "=x", "")
	if got := UnknownVariables(known); len(got) > 0 {
		t.Errorf("%v", got)
	}
	got := leaves(errors.Join(UnknownVariables([]string{"PERFGATE_PROXY_LISTN=hunter2", "PERFGATE_ROUTES=x", "PERFGATE_PROXY_ROUTES=x", "PERFGATE_PROXY_ROUTES_0_PATH=x", "PERFGATE_NODE_NAME=x", "PERFGATE_AUDIT_REQUEST=x", "PERFGATE_SPEED=x"})...))
	want := []string{
		"PERFGATE_AUDIT_REQUEST: this variable has no effect; no setting has this name; did you mean PERFGATE_AUDIT_REQUESTS?",
		"PERFGATE_NODE_NAME: this variable has no effect; no setting has this name; did you mean PERFGATE_NAME?",
		"PERFGATE_PROXY_LISTN: this variable has no effect; no setting has this name; did you mean PERFGATE_PROXY_LISTEN?",
		"PERFGATE_PROXY_ROUTES: this variable has no effect: routes are set in the file, or as one catch-all route in PERFGATE_UPSTREAM",
		"PERFGATE_PROXY_ROUTES_0_PATH: this variable has no effect: routes are set in the file, or as one catch-all route in PERFGATE_UPSTREAM",
		"PERFGATE_ROUTES: this variable has no effect: routes are set in the file, or as one catch-all route in PERFGATE_UPSTREAM",
		"PERFGATE_SPEED: this variable has no effect; no setting has this name",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%s", strings.Join(got, "\n"))
	}
}

func TestWarnings(t *testing.T) {
	now := time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC)
	c := mustLoad(t, []string{"--config", configtest.File(t, `
[proxy]
trusted_proxies = ["10.0.0.0/8", "0.0.0.0/0", "::/0", "2000::/3", "fd00::/8", "127.0.0.1"]
[admin]
trusted_proxies = ["0.0.0.0/1"]
[[proxy.routes]]
path = "/"
upstreams = ["http://a", "http://b", "http://a"]
headers = { A = "Bearer $UP_TOKEN", B = "${UP}", C = "costs $5" }
`)}, "UP=x")
	text := errors.Join(c.Warnings(now)...).Error()
	for _, want := range []string{
		`line 3: proxy.trusted_proxies[1] = "0.0.0.0/0": trusts everybody`, `proxy.trusted_proxies[2] = "::/0"`, `proxy.trusted_proxies[3] = "2000::/3"`, `proxy.trusted_proxies[4] = "fd00::/8"`,
		`line 5: admin.trusted_proxies[0] = "0.0.0.0/1"`, `line 9: proxy.routes[0].headers.A: $UP_TOKEN is sent as it stands; write ${UP_TOKEN}`,
		`line 8: proxy.routes[0].upstreams[2] = "http://a": is listed twice`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the warnings\n%s\nlack %s", text, want)
		}
	}
	if n := len(c.Warnings(now)); n != 7 {
		t.Errorf("%d warnings:\n%s", n, text)
	}
	if w := mustLoad(t, nil).Warnings(now); len(w) > 0 {
		t.Errorf("the defaults are warned about: %v", w)
	}
}

// Settings that have no effect, or not the one that people expect.
func TestWarningsOfEffect(t *testing.T) {
	now := time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC)
	const secret = "PERFGATE_CLUSTER_SECRET=0123456789abcdef0123456789abcdef"
	for _, tt := range []struct {
		env  []string
		want string
	}{
		{[]string{secret, "PERFGATE_CLUSTER_LISTEN=:7946", "PERFGATE_JOIN=a:1,b:1,c:1,d:1", "PERFGATE_EXPECT=4"}, "PERFGATE_EXPECT: cluster.expect = 4: 4 nodes bear no more failures than 3"},
		{[]string{secret, "PERFGATE_CLUSTER_LISTEN=:7946", "PERFGATE_JOIN=a:1,b:1,c:1", "PERFGATE_EXPECT=3"}, ""},
		{[]string{"PERFGATE_PROXY_CLIENT_IP_HEADER=CF-Connecting-IP"}, `proxy.client_ip_header = "CF-Connecting-IP": is read from no one`},
		{[]string{"PERFGATE_PROXY_CLIENT_IP_HEADER=CF-Connecting-IP", "PERFGATE_TRUSTED_PROXIES=10.0.0.1"}, ""},
		{[]string{"PERFGATE_SECURITY_TXT_CONTACT=mailto:a@b.c", "PERFGATE_SECURITY_TXT_EXPIRES=2027-01-30T00:00:00Z"}, "security_txt.expires = \"2027-01-30T00:00:00Z\": has passed"},
		{[]string{"PERFGATE_SECURITY_TXT_CONTACT=mailto:a@b.c", "PERFGATE_SECURITY_TXT_EXPIRES=2027-02-01T00:00:00Z"}, ""},
	} {
		got := mustLoad(t, nil, tt.env...).Warnings(now)
		if (len(got) == 1) != (tt.want != "") || len(got) > 1 || len(got) == 1 && !strings.Contains(got[0].Error(), tt.want) {
			t.Errorf("%q: %v, want %s", tt.env, got, tt.want)
		}
	}
}

func TestOverlap(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{":8080", ":8080", true}, {":8080", "127.0.0.1:8080", true}, {"0.0.0.0:8080", "[::1]:8080", true}, {"[::]:8080", "10.0.0.1:8080", true},
		{"localhost:8080", "127.0.0.1:8080", true}, {"[::ffff:10.0.0.1]:8080", "10.0.0.1:8080", true}, {"A.example:1", "a.example:1", true},
		{"10.0.0.1:8080", "10.0.0.2:8080", false}, {":8080", ":8081", false}, {":0", ":0", false}, {"a:1", "10.0.0.1:1", false}, {"x", ":1", false},
	} {
		if Overlap(tt.a, tt.b) != tt.want || Overlap(tt.b, tt.a) != tt.want {
			t.Errorf("%s and %s: %v", tt.a, tt.b, !tt.want)
		}
	}
}
