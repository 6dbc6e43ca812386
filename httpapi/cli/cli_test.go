package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// A wrong command line has exit code 2, makes no call, and names the mistake.
func TestUsage(t *testing.T) {
	s := start(t, nil)
	testFailures(t, s, []failure{
		{args: "frobnicate", code: 2, err: `unknown command "frobnicate" for "perfgate"; see perfgate --help`},
		{args: "kyes", code: 2, err: `unknown command "kyes" for "perfgate" (did you mean "keys"?)`},
		{args: "keys", code: 2, err: "perfgate keys needs a subcommand; see perfgate keys --help"},
		{args: "keys lsit", code: 2, err: `did you mean "list"?`},
		{args: "keys frobnicate", code: 2, err: `unknown command "frobnicate" for "perfgate keys"; see perfgate keys --help`},
		{args: "keys list --frobnicate", code: 2, err: "unknown flag: --frobnicate"},
		{args: "--server", code: 2, err: "flag needs an argument: --server"},
		{args: "scan", code: 2, err: "requires at least 1 arg"},
		{args: "version x", code: 2, err: "unknown command"},
		{args: "serve", code: 2, err: "serve is not part of this build"},
		{args: "restore x", code: 2, err: "restore is not part of this build"},
	})
	if s.received() != "" {
		t.Errorf("wrong usage makes calls: %s", s.received())
	}
	if got := s.run(t, ""); got.code != 2 || got.out != "" || !strings.Contains(got.err, "Usage:\n  perfgate COMMAND [flags]") {
		t.Errorf("no command: %+v", got)
	}
}

// A refusal by the server has exit code 1, and shows its sentence and code.
func TestFailures(t *testing.T) {
	s := start(t, map[string]answer{
		"GET /v1/keys":       {status: 401, body: `{"error":{"code":"invalid_key","message":"The API key is not known."}}`},
		"GET /v1/cluster":    {status: 503, body: `{"error":{"code":"no_leader","message":"None.","retry_after":2}}`},
		"GET /v1/usage":      {status: 502, body: `<html>nginx`},
		"GET /v1/allowlist":  {body: `{"entries":`},
		"GET /v1/accounts":   {body: `{"data":{}}`},
		"GET /v1/keys/key_1": {status: 500, body: `{"error":{"code":"internal","message":"\u001b[31mred\nrow"}}`},
		"GET /v1/tiers/t":    {body: `{"name":1}`},
	})
	testFailures(t, s, []failure{
		{args: "keys list", code: 1, err: "perfgate: The API key is not known. (invalid_key)\n"},
		{args: "cluster status", code: 1, err: "perfgate: None. (no_leader); try again in 2 s\n"},
		{args: "usage", code: 1, err: "502 Bad Gateway"},
		{args: "allowlist get", code: 1, err: "read the answer"},
		{args: "accounts list", code: 1, err: "read the answer"},
		{args: "tiers get t", code: 1, err: "read the answer"},
		{args: "keys get key_1", code: 1, err: "perfgate: ?[31mred?row (internal)\n"},
		{args: "keys get key_3", code: 1, err: "No such route or endpoint. (not_found)"},
		{args: "tiers get ..", code: 1, err: "an id is missing"},
	})
	s.Close()
	testFailures(t, s, []failure{{args: "keys list", code: 1, err: "no server listens at " + strings.TrimPrefix(s.URL, "http://") + ": dial tcp"}})
}

// A server that does not answer is given up when the caller's context ends.
func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan struct{})
	s := start(t, map[string]answer{"GET /v1/cluster": {do: func(_ http.ResponseWriter, r *http.Request, _ string) {
		cancel()
		<-r.Context().Done()
		close(gone)
	}}})
	var errs bytes.Buffer
	code := Execute(ctx, Config{Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: &errs, Env: os.LookupEnv},
		[]string{"cluster", "status", "--server", s.URL, "--token", "pgop_x"})
	if code != 1 || !strings.Contains(errs.String(), "context canceled") {
		t.Errorf("exit code %d: %s", code, errs.String())
	}
	select {
	case <-gone:
	case <-time.After(time.Minute):
		t.Error("the call goes on")
	}
}

// Lists are followed to their end, or as far as --limit says; --json prints one
// page.
func TestPages(t *testing.T) {
	s := start(t, map[string]answer{"GET /v1/accounts": {do: func(w http.ResponseWriter, r *http.Request, _ string) {
		n, limit := 0, 0
		fmt.Sscan(r.FormValue("cursor"), &n)
		fmt.Sscan(r.FormValue("limit"), &limit)
		var data []string
		for ; len(data) < min(limit, 2) && n < 5; n++ {
			data = append(data, fmt.Sprintf(`{"id":"acct_%d","name":"n","tier":"pro"}`, n))
		}
		next := "null"
		if n < 5 {
			next = fmt.Sprintf(`"%d"`, n)
		}
		fmt.Fprintf(w, `{"data":[%s],"next_cursor":%s}`, strings.Join(data, ","), next)
	}}})
	for _, tt := range []struct {
		args  string
		rows  int
		calls string
	}{
		{"accounts list", 5, "limit=1000 cursor=2&limit=1000 cursor=4&limit=1000"},
		{"accounts list --limit 3", 3, "limit=3 cursor=2&limit=1"},
		{"accounts list --limit 1", 1, "limit=1"},
		{"accounts list --cursor 3", 2, "cursor=3&limit=1000"},
		{"accounts list --json", 2, "limit=1000"},
		{"accounts list --json --limit 1 --cursor 4", 1, "cursor=4&limit=1"},
	} {
		got := s.run(t, "", strings.Fields(tt.args)...)
		calls := strings.ReplaceAll(strings.ReplaceAll(s.received(), "GET /v1/accounts?", ""), "\n", " ")
		if n := strings.Count(got.out, "acct_"); n != tt.rows || calls != tt.calls {
			t.Errorf("%s: %d rows in calls %s, want %d in %s", tt.args, n, calls, tt.rows, tt.calls)
		}
	}
}

// Commands that main passes in have their own flags, and none of a client's.
func TestLocalCommand(t *testing.T) {
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	flags.String("data-dir", "", "directory")
	var got string
	var out, errs bytes.Buffer
	c := Config{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Env: os.LookupEnv, Serve: Command{
		Flags: flags,
		Run: func(ctx context.Context, fs *pflag.FlagSet, args []string) error {
			got, _ = fs.GetString("data-dir")
			if !fs.Lookup("data-dir").Changed {
				return errors.Join(&usageError{errors.New("first")}, errors.New("second"))
			}
			return nil
		},
		FlagError: func(error) error { return &usageError{errors.New("in its own words")} },
	}}
	if code := Execute(t.Context(), c, []string{"serve", "--data-dir", "x"}); code != 0 || got != "x" {
		t.Errorf("exit code %d, data directory %q: %s", code, got, errs.String())
	}
	for args, want := range map[string]string{
		"serve --token x": "--token does not apply to serve",
		"serve --bogus":   "in its own words",
		"serve x":         "x",
	} {
		errs.Reset()
		if code := Execute(t.Context(), c, strings.Fields(args)); code != 2 || !strings.Contains(errs.String(), want) {
			t.Errorf("%s: exit code %d, %s", args, code, errs.String())
		}
	}
	errs.Reset()
	flags.Lookup("data-dir").Changed = false
	if code := Execute(t.Context(), c, []string{"serve"}); code != 2 || errs.String() != "perfgate: first\nperfgate: second\n" {
		t.Errorf("exit code %d, %s", code, errs.String())
	}
	out.Reset()
	Execute(t.Context(), c, []string{"serve", "--help"})
	if !strings.Contains(out.String(), "--data-dir") || strings.Contains(out.String(), "--token") {
		t.Errorf("help: %s", out.String())
	}
	out.Reset()
	Execute(t.Context(), c, []string{"--help"})
	if !strings.Contains(out.String(), "  serve ") || strings.Contains(out.String(), "check-config") {
		t.Errorf("help lists other commands than are there: %s", out.String())
	}
}

// A restore takes exactly one file, and its errors keep their exit code.
func TestRestoreCommand(t *testing.T) {
	var errs bytes.Buffer
	var got []string
	c := Config{Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: &errs, Env: os.LookupEnv, Restore: Command{
		Run: func(_ context.Context, _ *pflag.FlagSet, args []string) error { got = args; return exitError(7) },
	}}
	if code := Execute(t.Context(), c, []string{"restore", "file"}); code != 7 || errs.Len() > 0 || len(got) != 1 || got[0] != "file" {
		t.Errorf("exit code %d, %v, %s", code, got, errs.String())
	}
	for _, args := range []string{"restore", "restore a b", "restore a --json"} {
		if code := Execute(t.Context(), c, strings.Fields(args)); code != 2 {
			t.Errorf("%s: exit code %d", args, code)
		}
	}
}

func TestVersion(t *testing.T) {
	var v map[string]string
	if err := json.Unmarshal([]byte(perfgate(t, "", nil, "version", "--json").out), &v); err != nil || v["version"] != "1.2.3" || v["go"] == "" || v["platform"] == "" {
		t.Errorf("%v, %v", v, err)
	}
	if got := perfgate(t, "", nil, "version"); got.code != 0 || !strings.HasPrefix(got.out, "perfgate 1.2.3 (go") {
		t.Errorf("%+v", got)
	}
	if got := perfgate(t, "", nil, "--version"); got.code != 0 || got.out != "perfgate version 1.2.3\n" {
		t.Errorf("%+v", got)
	}
}

// The help of every command follows one style, prints on stdout, and fits a
// terminal.
func TestHelp(t *testing.T) {
	run := func(context.Context, *pflag.FlagSet, []string) error { return nil }
	root := New(Config{Serve: Command{Run: run}, CheckConfig: Command{Run: run}, Restore: Command{Run: run}, Recover: Command{Run: run}})
	var visit func(cmd *cobra.Command)
	visit = func(cmd *cobra.Command) {
		name := cmd.CommandPath()
		if cmd != root {
			if first := []rune(cmd.Short)[0]; !unicode.IsUpper(first) || strings.HasSuffix(cmd.Short, ".") {
				t.Errorf("%s: short description %q: must begin with a capital and end without a period", name, cmd.Short)
			}
			if len(cmd.Short) > 72 {
				t.Errorf("%s: short description %q is too long for a list", name, cmd.Short)
			}
			if cmd.Long != "" && !strings.HasSuffix(cmd.Long, ".") {
				t.Errorf("%s: description %q must be sentences", name, cmd.Long)
			}
		}
		for line := range strings.Lines(cmd.Long) {
			if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > 90 {
				t.Errorf("%s: a line of the description has %d characters: %q", name, n, line)
			}
		}
		for line := range strings.Lines(cmd.Example) {
			if !strings.HasPrefix(line, "  ") || !strings.Contains(line, "perfgate ") {
				t.Errorf("%s: example %q: must be an indented command", name, line)
			}
		}
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" || strings.HasSuffix(f.Usage, ".") || unicode.IsUpper([]rune(strings.TrimLeft(f.Usage, "`"))[0]) && !unicode.IsUpper([]rune(strings.TrimLeft(f.Usage, "`"))[1]) {
				t.Errorf("%s --%s: %q: must be a phrase without capital and period", name, f.Name, f.Usage)
			}
		})
		for _, sub := range cmd.Commands() {
			visit(sub)
		}
	}
	visit(root)
	for _, args := range []string{"--help", "help keys", "keys --help", "keys create --help", "audit tail -h"} {
		if got := perfgate(t, "", nil, strings.Fields(args)...); got.code != 0 || got.err != "" || !strings.Contains(got.out, "Usage:\n  perfgate") {
			t.Errorf("%s: %+v", args, got)
		}
	}
}

func TestCompletion(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if got := perfgate(t, "", nil, "completion", shell); got.code != 0 || !strings.Contains(got.out, "perfgate") {
			t.Errorf("%s: exit code %d, %s", shell, got.code, got.err)
		}
	}
}

// check-config takes its file as an argument, too.
func TestCheckConfigFile(t *testing.T) {
	for args, want := range map[string]string{
		"check-config perfgate.toml":            "perfgate.toml",
		"check-config --config perfgate.toml":   "perfgate.toml",
		"check-config":                          "",
		"check-config --config a perfgate.toml": "give the file once",
		"check-config a b":                      "accepts at most 1 arg",
	} {
		var errs bytes.Buffer
		fs := pflag.NewFlagSet("", pflag.ContinueOnError)
		fs.String("config", "", "")
		got := ""
		run := func(_ context.Context, fs *pflag.FlagSet, _ []string) error {
			if fs.Changed("config") {
				got, _ = fs.GetString("config")
			}
			return nil
		}
		code := Execute(t.Context(), Config{Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: &errs, CheckConfig: Command{Flags: fs, Run: run}}, strings.Fields(args))
		if code == 0 && got != want || code != 0 && !strings.Contains(errs.String(), want) || code != 0 && want == "" {
			t.Errorf("%s: exit code %d, %q, %s", args, code, got, &errs)
		}
	}
}

// The API's names of lists are accepted for the flags that add to them, and not shown.
func TestPluralFlags(t *testing.T) {
	s := start(t, map[string]answer{"POST /v1/keys": {status: 201, body: `{"id":"key_1","name":"n","state":"active","key":"k"}`}})
	got := s.run(t, "", "keys", "create", "n", "--type", "test", "--scopes", "read", "--routes", "/v1/chat")
	if got.code != 0 || len(s.calls) != 1 {
		t.Errorf("exit code %d, %s, %v", got.code, got.err, s.calls)
	}
	if got := s.run(t, "", "keys", "create", "--help"); strings.Contains(got.out, "--scopes") || !strings.Contains(got.out, "--scope ") {
		t.Errorf("%s", got.out)
	}
	if got := s.run(t, "", "accounts", "create", "--help"); strings.Contains(got.out, "(default )") {
		t.Errorf("%s", got.out)
	}
}
