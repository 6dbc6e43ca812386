package cli

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// everyCommand holds one use of each command that calls the server, with stdin.
var everyCommand = map[string]string{
	"accounts create Acme":              "",
	"accounts delete acct_1":            "",
	"accounts export":                   "",
	"accounts get acct_1":               "",
	"accounts get":                      "",
	"accounts list":                     "",
	"accounts resume acct_1":            "",
	"accounts suspend acct_1":           "",
	"accounts update acct_1 --burst 1":  "",
	"accounts update acct_1 --name a":   "",
	"accounts update --name a":          "",
	"allowlist add 192.0.2.1":           "",
	"allowlist check 192.0.2.1":         "",
	"allowlist confirm":                 "",
	"allowlist get":                     "",
	"allowlist revert":                  "",
	"allowlist remove 192.0.2.1":        "",
	"allowlist set":                     "192.0.2.1",
	"audit export":                      "",
	"audit head":                        "",
	"audit list":                        "",
	"audit tail":                        "",
	"backup":                            "",
	"cluster remove n2":                 "",
	"cluster status":                    "",
	"cluster transfer":                  "",
	"explain req_1":                     "",
	"compliance":                        "",
	"incident close inc_1":              "",
	"incident get inc_1":                "",
	"incident list":                     "",
	"incident open t":                   "",
	"incident report inc_1":             "",
	"keyring rotate-data":               "",
	"keyring rotate-pepper":             "",
	"keyring finish-pepper":             "",
	"keyring rotate-kek":                "",
	"keyring status":                    "",
	"keys create a --type live":         "",
	"keys get key_1":                    "",
	"keys import":                       "{}",
	"keys limits":                       "",
	"limits simulate --rpm 5":           "",
	"keys list":                         "",
	"keys revoke key_1":                 "",
	"keys rotate key_1":                 "",
	"keys usage key_1":                  "",
	"keys update key_1 --burst 1":       "",
	"keys update key_1 --name a":        "",
	"keys revoke key_1 key_2":           "",
	"ratelimit u1 --limit 5":            "",
	"keys verify":                       "pk_live_x",
	"security events":                   "",
	"security hygiene":                  "",
	"tiers create t":                    "",
	"tiers delete t":                    "",
	"tiers get t":                       "",
	"tiers list":                        "",
	"tiers update t --live-burst 1":     "",
	"tiers update t --limit-rules none": "",
	"tokens create ci":                  "",
	"tokens delete op_1":                "",
	"tokens list":                       "",
	"users create a@b --role viewer":    "",
	"users delete usr_1":                "",
	"users disable usr_1":               "",
	"users get usr_1":                   "",
	"users link":                        "",
	"users list":                        "",
	"users reset usr_1":                 "",
	"users sessions end ses_1":          "",
	"users sessions list":               "",
	"users update usr_1 --name a":       "",
	"usage":                             "",
	"webhooks create https://a.b/":      "",
	"webhooks delete whk_1":             "",
	"webhooks deliveries whk_1":         "",
	"webhooks get whk_1":                "",
	"webhooks list":                     "",
	"webhooks redeliver whk_1 dlv_1":    "",
	"webhooks redeliver whk_1 --since 2027-01-31T15:00:00Z": "",
	"webhooks rotate-secret whk_1":                          "",
	"webhooks test whk_1":                                   "",
	"webhooks update whk_1 --enabled":                       "",
	"audit rotate-key":                                      "",
	"erasures cancel ers_1":                                 "",
	"erasures create acct_1":                                "",
	"erasures get ers_1":                                    "",
	"erasures list":                                         "",
}

// noServer are the commands that work without a server or without a token.
var noServer = []string{"audit verify", "backup verify", "check-config", "cluster secret", "completion", "erasures verify", "health", "keys revoke-leaked", "man", "recover", "restore", "scan", "serve", "token", "version"}

// leaves returns the paths of all commands that run, without the program's name.
func leaves(cmd *cobra.Command) []string {
	var out []string
	if cmd.Runnable() && cmd.Annotations["group"] == "" {
		out = append(out, strings.TrimPrefix(cmd.CommandPath(), "perfgate "))
	}
	for _, sub := range cmd.Commands() {
		out = append(out, leaves(sub)...)
	}
	return out
}

func TestEveryCommandIsListed(t *testing.T) {
	for _, path := range leaves(New(Config{})) {
		listed := slices.Contains(noServer, path)
		for args := range everyCommand {
			listed = listed || args == path || strings.HasPrefix(args, path+" ")
		}
		if !listed {
			t.Errorf("%s: add it to everyCommand or noServer", path)
		}
	}
}

// fixed returns a server that answers every call alike.
func fixed(t *testing.T, status int, body string) (*server, *[]http.Header) {
	t.Helper()
	var headers []http.Header
	s := start(t, nil)
	s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		headers = append(headers, r.Header)
		setType(w, r)
		w.WriteHeader(status)
		io.WriteString(w, body)
	})
	return s, &headers
}

// Every command identifies itself, names the account, and reports a refusal with
// its sentence, code and delay, and exit code 1.
func TestEveryCommandReportsRefusals(t *testing.T) {
	s, headers := fixed(t, http.StatusServiceUnavailable, `{"error":{"code":"no_leader","message":"There is no leader.","retry_after":2}}`)
	for args, stdin := range everyCommand {
		for _, format := range []string{"--json=false", "--json"} {
			*headers = nil
			got := s.run(t, stdin, append([]string{format, "--account", "acct_9"}, strings.Fields(args)...)...)
			want := "There is no leader. (no_leader); try again in 2 s\n"
			if format == "--json" {
				want = `{"error":{"type":"unavailable","code":"no_leader","message":"There is no leader.","retry_after":2}}` + "\n"
			}
			if got.code != 1 || got.out != "" || !strings.HasSuffix(got.err, want) {
				t.Errorf("%s %s: %+v", args, format, got)
			}
			if len(*headers) != 1 {
				t.Errorf("%s %s makes %d calls, want 1: a refused call is not repeated", args, format, len(*headers))
				continue
			}
			h := (*headers)[0]
			if h.Get("Authorization") != "Bearer pgop_token" || h.Get("X-Perf-Account") != "acct_9" || h.Get("User-Agent") != "perfgate-cli/1.2.3" {
				t.Errorf("%s %s sends %v", args, format, h)
			}
		}
	}
}

// An answer that is not the API's is an error, in JSON too, whether it is shown as a
// table or as it came.
func TestEveryCommandReportsForeignAnswers(t *testing.T) {
	for _, body := range []string{"<html>Welcome", `{}`, `{"message":"Welcome"}`, `{"data":[{"message":"Welcome"}],"next_cursor":null}`} {
		s := start(t, nil)
		s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, body)
		})
		for args, stdin := range everyCommand {
			if args == "audit export" && strings.HasPrefix(body, `{"data":[`) {
				continue // its JSON is streamed to stdout as it comes
			}
			for _, format := range []string{"--json=false", "--json"} {
				got := s.run(t, stdin, append([]string{format}, strings.Fields(args)...)...)
				if got.code != 1 || got.out != "" || !strings.Contains(got.err, "is not a perfgate management API; check --server") {
					t.Errorf("%s %s: %s: %+v", body, args, format, got)
				}
			}
		}
	}
}

// No command asks the server before it has a token.
func TestEveryCommandNeedsToken(t *testing.T) {
	s, headers := fixed(t, http.StatusOK, "{}")
	for args, stdin := range everyCommand {
		got := perfgate(t, stdin, map[string]string{serverEnv: s.URL, dataDirEnv: "/nonexistent"}, strings.Fields(args)...)
		if got.code != 1 || !strings.Contains(got.err, "no token: set PERFGATE_TOKEN, or name the node's data directory with --data-dir") {
			t.Errorf("%s: %+v", args, got)
		}
	}
	if len(*headers) > 0 {
		t.Errorf("%d calls were made", len(*headers))
	}
}

// documented returns the command lines of perfgate in text that contain no shell
// syntax, each split into arguments.
func documented(text string) [][]string {
	var out [][]string
	for line := range strings.Lines(text) {
		_, line, found := strings.Cut(strings.ReplaceAll(line, "$(date +%F)", "DATE"), "perfgate ")
		if line, _, _ = strings.Cut(line, " #"); !found {
			continue
		}
		line, _, _ = strings.Cut(line, " > ")
		var args []string
		for i, part := range strings.Split(strings.TrimSpace(line), `"`) {
			if i%2 == 1 {
				args = append(args, part)
			} else {
				args = append(args, strings.Fields(part)...)
			}
		}
		out = append(out, args)
	}
	return out
}

// parses reports whether a command line names a command, and only flags and
// arguments that it has. Commands that main passes in are not known here.
func parses(args []string) error {
	root := New(Config{Stdout: io.Discard, Stderr: io.Discard})
	cmd, rest, err := root.Find(args)
	if err != nil || cmd.Hidden {
		return err
	}
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	return cmd.ValidateArgs(cmd.Flags().Args())
}

// Every command has an example of itself in its help, and each example is a command line
// that the program takes: run without a server, it fails for want of one and not for its
// flags, arguments or values. The pages are parsed by a test beside them.
func TestExamples(t *testing.T) {
	t.Chdir(t.TempDir()) // of --out
	for _, cmd := range leavesOf(New(Config{})) {
		path, own := strings.TrimPrefix(cmd.CommandPath(), "perfgate "), false
		for _, args := range documented(cmd.Example) {
			line := strings.Join(args, " ")
			own = own || line == path || strings.HasPrefix(line, path+" ")
			if err := parses(args); err != nil {
				t.Errorf("help of %s: perfgate %s: %v", path, line, err)
			} else if !slices.Contains(noServer, path) {
				if err := unreachable(t, args); err != "" {
					t.Errorf("help of %s: perfgate %s: %s", path, line, err)
				}
			}
		}
		if !own {
			t.Errorf("%s: its help has no example of it", path)
		}
	}
	for _, args := range []string{"keys create --bogus", "keys get", "frobnicate"} {
		if parses(strings.Fields(args)) == nil {
			t.Errorf("%q is taken for a command line", args)
		}
	}
	if unreachable(t, strings.Fields("keys create a --type prod")) == "" {
		t.Error("a wrong value is taken")
	}
}

// unreachable runs a command line whose server cannot be reached and returns how it fails,
// "" if it is for that or for a file that is not there.
func unreachable(t *testing.T, args []string) string {
	t.Helper()
	got := perfgate(t, "192.0.2.1", map[string]string{serverEnv: "http://127.0.0.1:1", tokenEnv: "pgop_token"}, args...)
	if got.code == exitFailure && (strings.Contains(got.err, "127.0.0.1:1") || strings.Contains(got.err, "no such file")) {
		return ""
	}
	return got.err
}
