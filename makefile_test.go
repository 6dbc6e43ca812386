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
// The packages of PLAIN never run under it, all of their tests.
func TestMakefileRunsEveryTest(t *testing.T) {
	lone := regexp.MustCompile(makeVariable(t, "LONE"))
	packages, plain := strings.Fields(makeVariable(t, "LONES")), strings.Fields(makeVariable(t, "PLAIN"))
	used := map[string]bool{}
	tests := map[string][]string{} // package: its tests
	declared := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	err := eachGoFile(func(file string, src []byte) error {
		if strings.HasSuffix(file, "_test.go") {
			for _, m := range declared.FindAllSubmatch(src, -1) {
				tests[folder(file)] = append(tests[folder(file)], string(m[1]))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range slices.Concat(packages, plain) {
		if len(tests[dir]) == 0 {
			t.Errorf("LONES or PLAIN names %s, which has no tests", dir)
		}
	}
	for dir, names := range tests {
		if strings.HasPrefix(dir, "./e2e") || dir == "./node/nodetest" || slices.Contains(plain, dir) {
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

// folder is the package of a file, as the Go command names it.
func folder(file string) string {
	if dir := path.Dir(file); dir != "." {
		return "./" + dir
	}
	return "."
}

// A package that never runs under the race detector starts no goroutine, nor do its tests, and
// has nothing that only goroutines need. The root is main.go, which its tests do not run.
func TestPlainPackagesHaveNoGoroutines(t *testing.T) {
	plain := strings.Fields(makeVariable(t, "PLAIN"))
	concurrent := regexp.MustCompile(`(?m)"(sync|sync/atomic|testing/synctest|net/http/httptest|golang.org/x/sync/\w+)"$|^\s*(defer )?go \w|\bgo func\b|\bt\.Parallel\(|\bmake\(chan\b`)
	err := eachGoFile(func(file string, src []byte) error {
		if !slices.Contains(plain, folder(file)) || file == "main.go" {
			return nil
		}
		if m := concurrent.Find(src); m != nil {
			t.Errorf("%s has %q, and PLAIN names its package, which then runs without the race detector", file, strings.TrimSpace(string(m)))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
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
