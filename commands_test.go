package main_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"mvdan.cc/sh/v3/syntax"

	"github.com/perfgate/perfgate/httpapi/cli"
	"github.com/perfgate/perfgate/node"
	"github.com/perfgate/perfgate/node/config"
	"github.com/perfgate/perfgate/node/recovery"
)

var (
	shellFence    = regexp.MustCompile("(?ms)^```(?:sh)?\n(.*?)^```")
	commandInSpan = regexp.MustCompile("`((?:sudo )?(?:\\./)?perfgate [a-z][^`]*)`")
	curlInSpan    = regexp.MustCompile("`(curl [^`]*)`")
)

// TestCommandsInDocs parses every command line of the pages and of deploy as the programs
// would: those of perfgate by their names, flags and number of arguments, those of curl by
// the calls that they make.
func TestCommandsInDocs(t *testing.T) {
	calls := described(t)
	commands, curls := 0, 0
	for file, text := range pages(t) {
		for _, script := range scripts(file, text) {
			lines, err := commandLines(script)
			if err != nil {
				t.Errorf("%s: %v in\n%s", file, err, script)
			}
			for _, args := range lines {
				switch path.Base(args[0]) {
				case "perfgate":
					commands++
					err = parseCommand(args[1:])
				case "curl":
					curls++
					err = calls.curl(args[1:])
				}
				if err != nil {
					t.Errorf("%s: %s: %v", file, strings.Join(args, " "), err)
				}
			}
		}
	}
	if commands < 60 || curls < 3 {
		t.Fatalf("%d command lines of perfgate and %d of curl seen", commands, curls)
	}
}

// TestExamplesOfLocalCommands parses the examples in the help of the commands that main
// passes in, whose flags the tests of the command line do not know.
func TestExamplesOfLocalCommands(t *testing.T) {
	root, seen := program(), 0
	var visit func(*cobra.Command)
	visit = func(cmd *cobra.Command) {
		lines, err := commandLines(cmd.Example)
		if err != nil {
			t.Errorf("help of %s: %v", cmd.CommandPath(), err)
		}
		for _, args := range lines {
			if args[0] != "perfgate" {
				continue
			}
			seen++
			if err := parseCommand(args[1:]); err != nil {
				t.Errorf("help of %s: %s: %v", cmd.CommandPath(), strings.Join(args, " "), err)
			}
		}
		for _, sub := range cmd.Commands() {
			visit(sub)
		}
	}
	visit(root)
	if seen < 100 {
		t.Fatalf("%d examples seen", seen)
	}
}

// scripts returns the shell scripts in a file: of a page its shell blocks and the command
// lines in its text, of another file the indented lines of its comments.
func scripts(file, text string) (out []string) {
	if strings.HasSuffix(file, ".md") {
		for _, m := range shellFence.FindAllStringSubmatch(text, -1) {
			if strings.HasPrefix(m[0], "```sh") || strings.HasPrefix(m[1], "curl ") {
				out = append(out, m[1])
			}
		}
		text = codeFence.ReplaceAllString(text, "")
		for _, span := range []*regexp.Regexp{commandInSpan, curlInSpan} {
			for _, m := range span.FindAllStringSubmatch(text, -1) {
				if line := strings.ReplaceAll(m[1], "\n", " "); !isName(line) {
					out = append(out, line)
				}
			}
		}
		return out
	}
	var script strings.Builder
	for line := range strings.Lines(strings.ReplaceAll(text, "\\\n#", " ")) {
		if line, ok := strings.CutPrefix(line, "#   "); ok && strings.Contains(line, "perfgate ") {
			script.WriteString(line)
		}
	}
	return append(out, script.String())
}

// isName reports whether a code span names a command, or an event of the audit log as syslog
// shows it. Neither is a command line.
func isName(text string) bool {
	words := strings.Fields(text)[1:]
	cmd, rest, err := program().Find(words)
	return err == nil && len(rest) == 0 && cmd.CommandPath() == "perfgate "+strings.Join(words, " ") || strings.HasPrefix(text, "perfgate audit event ")
}

// commandLines returns the simple commands of a shell script, also those within others,
// with their words as far as they are known before it runs.
func commandLines(script string) (lines [][]string, err error) {
	parsed, err := syntax.NewParser().Parse(strings.NewReader(script), "")
	if err != nil {
		return nil, err
	}
	syntax.Walk(parsed, func(n syntax.Node) bool {
		if call, ok := n.(*syntax.CallExpr); ok {
			var args []string
			for _, w := range call.Args {
				if arg := wordText(w.Parts); arg != "…" {
					args = append(args, strings.Trim(arg, "[]")) // of an argument that may be left out
				}
			}
			for len(args) > 0 && slices.Contains([]string{"sudo", "exec", "time"}, args[0]) {
				args = args[1:]
			}
			if i := slices.Index(args, "/perfgate"); i > 0 { // in a container
				args = args[i:]
			}
			if len(args) > 0 {
				lines = append(lines, args)
			}
		}
		return true
	})
	return lines, nil
}

// wordText is the text of a word, with X for what is known only when it runs.
func wordText(parts []syntax.WordPart) string {
	var b strings.Builder
	for _, p := range parts {
		switch p := p.(type) {
		case *syntax.Lit:
			b.WriteString(strings.ReplaceAll(p.Value, "\\", ""))
		case *syntax.SglQuoted:
			b.WriteString(p.Value)
		case *syntax.DblQuoted:
			b.WriteString(wordText(p.Parts))
		default:
			b.WriteString("1")
		}
	}
	return b.String()
}

// program is the command line with the flags of every command.
func program() *cobra.Command {
	run := func(context.Context, *pflag.FlagSet, []string) error { return nil }
	root := cli.New(cli.Config{
		Stdout: io.Discard, Stderr: io.Discard,
		Serve: cli.Command{Flags: config.Flags(), Run: run}, CheckConfig: cli.Command{Flags: node.CheckFlags(), Run: run},
		Restore: cli.Command{Flags: recovery.RestoreFlags(), Run: run}, Recover: cli.Command{Flags: recovery.RecoverFlags(), Run: run},
	})
	root.InitDefaultHelpCmd()
	return root
}

// parseCommand reports why the program would refuse a command line.
func parseCommand(args []string) error {
	cmd, rest, err := program().Find(args)
	if err != nil {
		return err
	}
	if slices.Equal(rest, []string{"COMMAND", "--help"}) || len(args) == 1 && args[0] == "COMMAND" {
		return nil
	}
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	if cmd.Annotations["group"] != "" && cmd.Flags().NArg() == 0 {
		return errors.New("a subcommand is missing")
	}
	return cmd.ValidateArgs(cmd.Flags().Args())
}

// operations are the methods of the API by path.
type operations map[string][]string

// described are the calls of openapi.yaml, which a test holds to the table of routes.
func described(t *testing.T) operations {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromFile("httpapi/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	out := operations{}
	for at, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			out[at] = append(out[at], method)
		}
	}
	return out
}

// proxied are the paths in examples that belong to a service behind the proxy.
var proxied = []string{"/hello", "/v1/chat"}

// curl reports why the API has no answer to a command line of curl.
func (o operations) curl(args []string) error {
	method, target := http.MethodGet, ""
	for i := 0; i < len(args); i++ {
		switch arg := args[i]; {
		case arg == "-X" || arg == "--request":
			i++
			method = args[i]
		case arg == "-d" || strings.HasPrefix(arg, "--data"):
			i++
			if method == http.MethodGet {
				method = http.MethodPost
			}
		case slices.Contains([]string{"-H", "-o", "-c", "-b", "-w", "--cacert", "--header", "-T", "--max-time"}, arg):
			i++
		case strings.Contains(arg, "://"):
			target = arg
		}
	}
	u, err := url.Parse(target)
	if err != nil || target == "" {
		return fmt.Errorf("%q is no URL: %v", target, err)
	}
	if slices.Contains(proxied, u.Path) {
		return nil
	}
	for at, methods := range o {
		if ok, _ := path.Match(regexp.MustCompile(`\{[^}]*\}`).ReplaceAllString(at, "*"), u.Path); ok && slices.Contains(methods, method) {
			return nil
		}
	}
	return fmt.Errorf("the API has no %s %s", method, u.Path)
}

// TestParseCommand shows each kind of fault.
func TestParseCommand(t *testing.T) {
	calls := described(t)
	for script, good := range map[string]bool{
		"perfgate serve --name n1 --expect 3": true, `perfgate keys create --name "a b" --type test`: true, "perfgate cluster transfer [n2]": true,
		"perfgate serve --nmae n1": false, "perfgate kyes list": false, "perfgate explain": false, "perfgate explain a b": false, "perfgate keys": false, "perfgate serve --expect x": false,
		"X=$(perfgate kyes list)": false, "for n in 1 2; do perfgate cluster transfer a b; done": false,
		"curl http://127.0.0.1:8081/v1/keys": true, `curl -d '{}' http://127.0.0.1:8081/v1/keys/key_1/rotate`: true, "curl -X DELETE http://127.0.0.1:8081/v1/keys": false,
		"curl http://127.0.0.1:8081/v1/kyes": false, "curl http://127.0.0.1:8080/hello": true,
	} {
		lines, err := commandLines(script)
		if err != nil || len(lines) == 0 {
			t.Fatal(script, err)
		}
		var wrong error
		for _, args := range lines {
			switch args[0] {
			case "perfgate":
				wrong = errors.Join(wrong, parseCommand(args[1:]))
			case "curl":
				wrong = errors.Join(wrong, calls.curl(args[1:]))
			}
		}
		if (wrong == nil) != good {
			t.Errorf("%s: %v", script, wrong)
		}
	}
}
