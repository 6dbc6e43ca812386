package main_test

import (
	"regexp"
	"testing"
)

// TestProbedProtocol: the command line knows a cluster port by a protocol that it speaks.
// It must not import the port to learn the name.
func TestProbedProtocol(t *testing.T) {
	named := func(file, constant string) string {
		m := regexp.MustCompile(constant + `\s*= "([^"]+)"`).FindStringSubmatch(read(t, file))
		if m == nil {
			t.Fatalf("%s has no %s", file, constant)
		}
		return m[1]
	}
	if port, probe := named("node/mesh/tls.go", "protoCall"), named("httpapi/cli/probe.go", "callProtocol"); port != probe {
		t.Errorf("the cluster port speaks %q, the command line asks for %q", port, probe)
	}
}
