package main_test

import (
	"context"
	"errors"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/pflag"

	"github.com/perfgate/perfgate/httpapi/cli"
	"github.com/perfgate/perfgate/node/config"
	"github.com/perfgate/perfgate/node/recovery"
)

var (
	variable   = regexp.MustCompile(`\bPERFGATE_[A-Z0-9_]+\b`)
	configKey  = regexp.MustCompile("`((?:node|proxy|admin|cluster|accounts|encryption|audit|webhooks|mail|geoip|security_txt|log|backup)\\.[a-z_]+(?:\\.[a-z_]+)?)\\b")
	shellFence = regexp.MustCompile("(?ms)^```sh\n(.*?)^```")
	command    = regexp.MustCompile(`(?:^|[\s/])perfgate ([a-z][a-z-]+[^&|>;]*)`)
	nested     = regexp.MustCompile(`\$\(([^()]*)\)`)
	goVersion  = regexp.MustCompile(`(?m)^go (\d+\.\d+)`)
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
	seen := 0
	for file, text := range pages(t) {
		for _, name := range variable.FindAllString(text, -1) {
			seen++
			if !slices.Contains(node, name) && !slices.Contains(commands, name) {
				t.Errorf("%s: nothing reads %s", file, name)
			}
		}
	}
	if seen < 30 {
		t.Fatalf("%d variables seen", seen)
	}
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

// TestCommandsInDocs parses every command line of the pages' shell blocks and of
// deploy as the program would: its name, its flags, the number of its arguments.
func TestCommandsInDocs(t *testing.T) {
	seen := 0
	for file, text := range pages(t) {
		for _, line := range shellLines(file, text) {
			for _, m := range nested.FindAllStringSubmatch(line, -1) {
				line = strings.ReplaceAll(line, m[0], "X") + " ; " + m[1]
			}
			for _, m := range command.FindAllStringSubmatch(line, -1) {
				seen++
				if err := parseCommand(m[1]); err != nil {
					t.Errorf("%s: perfgate %s: %v", file, m[1], err)
				}
			}
		}
	}
	if seen < 20 {
		t.Fatalf("%d commands seen", seen)
	}
}

// shellLines returns the command lines of a file: of a page those in its shell
// blocks, of another file the indented ones of its comments.
func shellLines(file, text string) (lines []string) {
	if strings.HasSuffix(file, ".md") {
		for _, m := range shellFence.FindAllStringSubmatch(text, -1) {
			for line := range strings.Lines(strings.ReplaceAll(m[1], "\\\n", " ")) {
				line, _, _ = strings.Cut(line, " #")
				lines = append(lines, line)
			}
		}
		return lines
	}
	for line := range strings.Lines(strings.ReplaceAll(text, "\\\n#", " ")) {
		if line, ok := strings.CutPrefix(line, "#   "); ok {
			lines = append(lines, line)
		}
	}
	return lines
}

// parseCommand reports why the program would refuse a command line.
func parseCommand(line string) error {
	run := func(context.Context, *pflag.FlagSet, []string) error { return nil }
	root := cli.New(cli.Config{
		Serve: cli.Command{Flags: config.Flags(), Run: run}, CheckConfig: cli.Command{Flags: config.Flags(), Run: run},
		Restore: cli.Command{Flags: recovery.RestoreFlags(), Run: run}, Recover: cli.Command{Flags: recovery.RecoverFlags(), Run: run},
	})
	cmd, args, err := root.Find(words(line))
	if err != nil {
		return err
	}
	if err := cmd.ParseFlags(args); err != nil {
		return err
	}
	if cmd.HasSubCommands() && cmd.Flags().NArg() == 0 {
		return errors.New("a subcommand is missing")
	}
	return cmd.ValidateArgs(cmd.Flags().Args())
}

// words splits a line as a shell does, as far as the pages need it: quotes group,
// brackets around an argument that may be left out are dropped, and so are "…"
// and the number of a redirected file.
func words(line string) []string {
	var out []string
	var word strings.Builder
	quote := rune(0)
	for _, r := range strings.TrimSpace(line) + " " {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '\'' || r == '"'):
			quote = r
		case quote == 0 && r == ' ':
			if w := word.String(); w != "" && w != "2" && w != "…" {
				out = append(out, strings.Trim(word.String(), "[]"))
			}
			word.Reset()
		default:
			word.WriteRune(r)
		}
	}
	return out
}

// TestParseCommand shows each kind of fault.
func TestParseCommand(t *testing.T) {
	for line, good := range map[string]bool{
		"serve --name n1 --expect 3": true, `keys create --name "a b" --type test`: true, "cluster transfer [n2]": true,
		"serve --nmae n1": false, "kyes list": false, "explain": false, "explain a b": false, "keys": false, "serve --expect x": false,
	} {
		if err := parseCommand(line); (err == nil) != good {
			t.Errorf("%s: %v", line, err)
		}
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
