package main_test

import (
	"context"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"

	"github.com/perfgate/perfgate/httpapi/cli"
	"github.com/perfgate/perfgate/node/config"
)

var (
	variable  = regexp.MustCompile(`\bPERFGATE_[A-Z0-9_]+\b`)
	configKey = regexp.MustCompile("`((?:node|proxy|admin|cluster|accounts|encryption|audit|webhooks|mail|geoip|security_txt|log|backup)\\.[a-z_]+(?:\\.[a-z_]+)?)\\b")
	goVersion = regexp.MustCompile(`(?m)^go (\d+\.\d+)`)
)

// pages are the texts for users: the pages but those for contributors and the
// decisions, the example, and the files in deploy.
func pages(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{"Dockerfile": read(t, "Dockerfile"), "config.example.toml": read(t, "config.example.toml")}
	add := func(file string, src []byte) error {
		if dir := path.Dir(file); dir == "docs" || dir == "deploy" || file == "README.md" {
			out[file] = string(src)
		}
		return nil
	}
	for _, ext := range []string{".md", ".yaml", ".service"} {
		if err := eachFile(ext, add); err != nil {
			t.Fatal(err)
		}
	}
	if len(out) < 10 {
		t.Fatalf("%d pages; the tree was not found", len(out))
	}
	return out
}

// variables returns the names of the environment variables that a node and the
// commands look up, apart from those of commands alone in the second list.
func variables(t *testing.T) (node, commands []string) {
	t.Helper()
	record := func(into *[]string) func(string) (string, bool) {
		return func(name string) (string, bool) {
			if strings.HasPrefix(name, "PERFGATE_") && !slices.Contains(*into, name) {
				*into = append(*into, name)
			}
			return "", false
		}
	}
	if _, err := config.Load(nil, record(&node)); err != nil {
		t.Fatal(err)
	}
	// No server answers at port 1: the lookups come before the call.
	for _, args := range [][]string{{"keys", "list"}, {"backup", t.TempDir() + "/b", "--server", "http://127.0.0.1:1", "--token", "none"}} {
		cli.Execute(context.Background(), cli.Config{Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: io.Discard, Env: record(&commands)}, args)
	}
	if len(node) < 15 || len(commands) < 4 {
		t.Fatalf("looked up: %q, %q", node, commands)
	}
	return node, commands
}

// TestVariables: the reference lists every variable, and no page names one that
// nothing reads.
func TestVariables(t *testing.T) {
	node, commands := variables(t)
	keys := configKeys(t)
	_, section, _ := strings.Cut(read(t, "docs/reference.md"), "\n## Variables\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for _, name := range append(slices.Clone(node), commands...) {
		if !strings.Contains(section, "`"+name+"`") && !slices.ContainsFunc(keys, func(k string) bool { return variableOf(k) == name }) {
			t.Errorf("docs/reference.md does not list %s under Variables", name)
		}
	}
	tests := ofTests(t)
	seen := 0
	for file, text := range pages(t) {
		for _, name := range variable.FindAllString(text, -1) {
			seen++
			if !slices.Contains(node, name) && !slices.Contains(commands, name) && !tests[name] {
				t.Errorf("%s: nothing reads %s", file, name)
			}
		}
	}
	if seen < 30 {
		t.Fatalf("%d variables seen", seen)
	}
}

// ofTests are the variables that tests read.
func ofTests(t *testing.T) map[string]bool {
	t.Helper()
	read := regexp.MustCompile(`Getenv\("(PERFGATE_[A-Z0-9_]+)"\)`)
	names := map[string]bool{}
	err := eachGoFile(func(file string, src []byte) error {
		if strings.HasSuffix(file, "_test.go") {
			for _, m := range read.FindAllSubmatch(src, -1) {
				names[string(m[1])] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// variableOf is the variable that the name of a configuration key makes.
func variableOf(key string) string {
	return "PERFGATE_" + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

// configKeys lists the keys of config.example.toml. Another test holds that file
// to the settings.
func configKeys(t *testing.T) []string {
	t.Helper()
	var tables map[string]any
	if err := toml.Unmarshal([]byte(read(t, "config.example.toml")), &tables); err != nil {
		t.Fatal(err)
	}
	var keys []string
	var walk func(prefix string, table map[string]any)
	walk = func(prefix string, table map[string]any) {
		for name, v := range table {
			keys = append(keys, prefix+name)
			if sub, ok := v.(map[string]any); ok {
				walk(prefix+name+".", sub)
			}
		}
	}
	walk("", tables)
	return append(keys, "proxy.routes")
}

// notKeys are names of another kind that look like configuration keys.
var notKeys = []string{
	"audit.dropped", // an action of the audit log
	"cluster.secret", "backup.md", "cluster.md", "admin.crt", "admin.key", "encryption.key",
}

// TestConfigKeysInDocs looks for every configuration key that a page names.
func TestConfigKeysInDocs(t *testing.T) {
	keys, seen := configKeys(t), 0
	for file, text := range pages(t) {
		for _, m := range configKey.FindAllStringSubmatch(text, -1) {
			if slices.Contains(notKeys, m[1]) {
				continue
			}
			seen++
			if !slices.Contains(keys, m[1]) {
				t.Errorf("%s: there is no configuration key %s", file, m[1])
			}
		}
	}
	if seen < 15 {
		t.Fatalf("%d keys seen", seen)
	}
}

// TestGoVersionInDocs holds the pages to the version in go.mod.
func TestGoVersionInDocs(t *testing.T) {
	m := goVersion.FindStringSubmatch(read(t, "go.mod"))
	if m == nil {
		t.Fatal("go.mod names no version")
	}
	for file, want := range map[string]string{"README.md": "Go " + m[1] + " or later", "Dockerfile": "FROM golang:" + m[1] + " "} {
		if !strings.Contains(read(t, file), want) {
			t.Errorf("%s does not say %q", file, want)
		}
	}
}
