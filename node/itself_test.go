package node

import (
	"net/url"
	"os"
	"strings"
	"testing"
)

// An upstream is this node itself by any address of the machine and by any spelling of
// its name; another machine, port or address is not.
func TestReachesItself(t *testing.T) {
	m := machine{name: "gate-1.Example.net", named: []string{"127.0.1.1", "203.0.113.9"}, addrs: []string{"192.0.2.7", "fe80::1"}}
	for _, tt := range []struct {
		upstream, listen string
		want             bool
	}{
		{"http://gate-1.example.net:8080", ":8080", true},
		{"http://GATE-1.example.net.:8080/x", "0.0.0.0:8080", true},
		{"http://gate-1:8080", "[::]:8080", true},
		{"http://gate-1:8080", "203.0.113.9:8080", true},
		{"http://gate-1:8080", "127.0.1.1:8080", true},
		{"http://gate-1:8080", "192.0.2.7:8080", false},
		{"http://gate-1:8081", ":8080", false},
		{"http://gate-1", ":80", true},
		{"https://gate-1", ":443", true},
		{"http://gate-2.example.net:8080", ":8080", false},
		{"http://gate-1.example.org:8080", ":8080", false},
		{"http://example.net:8080", ":8080", false},
		{"http://203.0.113.9:8080", ":8080", true},
		{"http://192.0.2.7:8080", ":8080", true},
		{"http://[fe80::1]:8080", ":8080", true},
		{"http://192.0.2.8:8080", ":8080", false},
		{"http://localhost:8080", ":8080", true},
		{"http://LocalHost.:8080", "127.0.0.1:8080", true},
		{"http://localhost:8080", "[::1]:8080", true},
		{"http://localhost:8080", "192.0.2.7:8080", false},
		{"http://named.example:8080", "named.example:8080", true},
	} {
		u, err := url.Parse(tt.upstream)
		if err != nil {
			t.Fatal(err)
		}
		if got := m.reaches(u, tt.listen); got != tt.want {
			t.Errorf("%s reaches %s: %v", tt.upstream, tt.listen, got)
		}
	}
	u, _ := url.Parse("http://gate-1:8080")
	if (machine{}).reaches(u, ":8080") || !(machine{name: "gate-1"}).reaches(u, ":8080") {
		t.Error("a machine without a name or without an answer of the resolver is judged wrongly")
	}
}

// check-config knows the name of the machine that it runs on.
func TestCheckConfigKnowsThisMachine(t *testing.T) {
	name, err := os.Hostname()
	if err != nil || name == "" {
		t.Skip("this machine has no name")
	}
	_, warned, err := check(t, []string{"--data-dir", t.TempDir(), "--upstream", "http://" + strings.ToUpper(name) + ":8080"})
	if err != nil || !strings.Contains(warned, "this is proxy.listen of this node itself") {
		t.Errorf("%v, warns %q", err, warned)
	}
}
