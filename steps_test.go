package main_test

import (
	"regexp"
	"strings"
	"testing"
)

// The way of a proxied request has at most eight steps, and both places that tell it have
// as many.
func TestStepsOfARequest(t *testing.T) {
	const most = 8
	_, way, _ := strings.Cut(read(t, "httpapi/proxy/doc.go"), "\n// # The way of a request\n")
	way, _, _ = strings.Cut(way, "\n// # ")
	inCode := len(regexp.MustCompile(`(?m)^//  \d+\. `).FindAllString(way, -1))
	_, way, _ = strings.Cut(read(t, "docs/architecture.md"), "\n## A proxied request\n")
	way, _, _ = strings.Cut(way, "\n## ")
	inDocs := len(regexp.MustCompile(`(?m)^\| \d+ \|`).FindAllString(way, -1))
	if inCode == 0 || inCode > most || inCode != inDocs {
		t.Errorf("%d steps in httpapi/proxy/doc.go, %d in docs/architecture.md, at most %d", inCode, inDocs, most)
	}
}
