package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// h11Row is a row of a table of docs/http11.md: a rule with its tests.
var h11Row = regexp.MustCompile(`(?m)^\| ([A-Z]{2}[0-9]{2}) \| (.+) \| (.*) \|$`)

// Every rule that is written down has a test that exists, and every case is a rule that is
// written down.
func TestHTTP11IsWrittenDown(t *testing.T) {
	raw, err := os.ReadFile("../docs/http11.md")
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]string{}
	for _, c := range slices.Concat(h11HeadCases, h11BodyCases) {
		if cases[c.name] != "" {
			t.Errorf("two cases are named %q", c.name)
		}
		cases[c.name] = c.want
	}
	written, ids := map[string]bool{}, map[string]bool{}
	rows := h11Row.FindAllStringSubmatch(string(raw), -1)
	for _, row := range rows {
		id, rule, shown := row[1], row[2], row[3]
		if ids[id] {
			t.Errorf("two rules are named %s", id)
		}
		ids[id] = true
		for test := range strings.SplitSeq(shown, ", ") {
			if err := h11Test(strings.Trim(test, "`")); err != "" {
				t.Errorf("%s: %q %s", id, test, err)
			}
		}
		if !strings.Contains(rule, " → ") {
			continue
		}
		for part := range strings.SplitSeq(rule, " · ") {
			name, want, _ := strings.Cut(part, " → ")
			if written[name] = true; cases[name] != want {
				t.Errorf("%s: the case %q wants %q, not %q", id, name, cases[name], want)
			}
		}
	}
	for name := range cases {
		if !written[name] {
			t.Errorf("no rule has the case %q", name)
		}
	}
	if lines := strings.Count(string(raw), "\n| "); len(rows) < 200 || lines != len(rows)+2*strings.Count(string(raw), "| rule |") {
		t.Errorf("%d rules in %d lines of tables", len(rows), lines)
	}
}

// h11Test reports what is wrong with "folder TestName"; "" if the test is there.
func h11Test(name string) string {
	folder, test, ok := strings.Cut(name, " ")
	if !ok || !strings.HasPrefix(test, "Test") {
		return "names no test"
	}
	files, err := filepath.Glob(filepath.Join("..", folder, "*_test.go"))
	if err != nil {
		return err.Error()
	}
	for _, path := range files {
		if raw, err := os.ReadFile(path); err == nil && strings.Contains(string(raw), "\nfunc "+test+"(t *testing.T) {") {
			return ""
		}
	}
	return "does not exist"
}
