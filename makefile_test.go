package main_test

import (
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// makeVariable is the value of a variable in the Makefile, as the shell gets it.
func makeVariable(t *testing.T, name string) string {
	t.Helper()
	m := regexp.MustCompile(`(?m)^` + name + ` *= *(.*)$`).FindStringSubmatch(read(t, "Makefile"))
	if m == nil {
		t.Fatalf("the Makefile has no %s", name)
	}
	return strings.ReplaceAll(m[1], "$$", "$")
}

// "make test" leaves no test out: each test that LONE excludes from the race detector is
// in a package of LONES, where it runs without, and each name of LONE and RACES is a test.
func TestMakefileRunsEveryTest(t *testing.T) {
	lone := regexp.MustCompile(makeVariable(t, "LONE"))
	packages := strings.Fields(makeVariable(t, "LONES"))
	used := map[string]bool{}
	tests := map[string][]string{} // package: its tests
	declared := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	err := eachGoFile(func(file string, src []byte) error {
		if strings.HasSuffix(file, "_test.go") {
			for _, m := range declared.FindAllSubmatch(src, -1) {
				tests["./"+path.Dir(file)] = append(tests["./"+path.Dir(file)], string(m[1]))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for dir, names := range tests {
		if strings.HasPrefix(dir, "./e2e") || dir == "./node/nodetest" {
			continue // they run without the race detector, all of them
		}
		for _, name := range names {
			if !lone.MatchString(name) {
				continue
			}
			used[name] = true
			if !slices.Contains(packages, dir) {
				t.Errorf("%s of %s is in LONE, but its package is not in LONES: it never runs", name, dir)
			}
		}
	}
	for _, name := range alternatives(makeVariable(t, "LONE")) {
		if !used[name] {
			t.Errorf("LONE names %s, which no package has", name)
		}
	}
	for _, name := range alternatives(makeVariable(t, "RACES")) {
		if !slices.Contains(tests["./node/nodetest"], name) {
			t.Errorf("RACES names %s, which node/nodetest does not have", name)
		}
	}
}

// alternatives are the tests that a pattern ^Test(A|B)$ names.
func alternatives(pattern string) (names []string) {
	inner := strings.TrimSuffix(strings.TrimPrefix(pattern, "^Test("), ")$")
	for name := range strings.SplitSeq(inner, "|") {
		names = append(names, "Test"+name)
	}
	return names
}
