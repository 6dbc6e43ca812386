package cli

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// No command takes an empty text for an argument or the value of a flag: it is the
// variable of a script that is not set, and a filter of it would match everything.
func TestEmptyInputIsRefused(t *testing.T) {
	s := start(t, nil)
	refused := func(args []string, want string) {
		t.Helper()
		got := s.run(t, pasted, args...)
		if got.code != 2 || got.out != "" || !strings.Contains(got.err, want) || s.received() != "" {
			t.Errorf("%q: %+v after %q, want %s", args, got, s.received(), want)
		}
	}
	flags := 0
	var visit func(cmd *cobra.Command, path []string)
	visit = func(cmd *cobra.Command, path []string) {
		for _, sub := range cmd.Commands() {
			visit(sub, append(append([]string{}, path...), sub.Name()))
		}
		if cmd.Annotations["group"] != "" || cmd.Annotations[runsHere] != "" || !cmd.HasParent() {
			return
		}
		var args []string
		for _, n := range []int{1, 0, 2} {
			if args = strings.Fields(strings.Repeat("key_1 ", n)); cmd.ValidateArgs(args) == nil {
				break
			}
		}
		cmd.InheritedFlags() // adds them to the others
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if typ := f.Value.Type(); f.Name == "cursor" || typ != "string" && typ != "stringSlice" {
				return
			}
			flags++
			refused(append(append(append([]string{}, path...), args...), "--"+f.Name, ""), `--`+f.Name+` "": the value is empty; give one, or leave the flag out`)
		})
	}
	visit(New(Config{}), nil)
	if flags < 200 {
		t.Errorf("%d flags were tried", flags)
	}
	refused([]string{"keys", "list", "--name", " \t"}, `--name "": the value is empty`)
	refused([]string{"keys", "create", "n", "--type", "live", "--scope", "read,,write"}, `--scope "": the value is empty`)
	for _, args := range [][]string{{"keys", "create", "", "--type", "live"}, {"explain", ""}, {"cluster", "transfer", " "}, {"keys", "revoke", "key_1", ""}, {"backup", ""}, {"scan", ""}, {"accounts", "get", ""}} {
		refused(args, "an argument is empty; see perfgate "+args[0])
	}
	// The first page is the one of no cursor.
	s.answers = map[string]answer{"GET /v1/keys": {body: `{"data":[],"next_cursor":null}`}}
	if got := s.run(t, "", "keys", "list", "--cursor", ""); got.code != 0 {
		t.Errorf("%+v", got)
	}
}

// Whatever a message repeats of what was typed, a key in it is masked.
func TestMessagesMaskKeys(t *testing.T) {
	s := start(t, map[string]answer{"GET /v1/audit-logs": {}, "GET /v1/cluster": {status: 503, body: `{"error":{"code":"no_leader","message":"About ` + pasted + `"}}`}})
	for _, args := range []string{
		"KEY", "keys KEY", "keys list KEY", "keys list --limit KEY", "keys list --KEY", "keys create n --type KEY", "keys create n --type live --burst KEY",
		"keys create n --type live --expires-at KEY", "keys create n --type live --monthly-budget KEY", "keys create n --name KEY m --type live",
		"accounts create n --requests-per-month KEY", "keys list --server KEY", "keys list --server http://user@KEY", "keys list --ca-file KEY --server https://127.0.0.1:1", "backup verify KEY", "backup verify xKEYx",
		"explain KEY", "scan /nonexistent/KEY", "audit tail --interval KEY", "tiers create --live-burst KEY t", "cluster status", "keys import KEY", "allowlist set KEY",
	} {
		for _, format := range []string{"--json=false", "--json"} {
			got := s.run(t, "", append([]string{format}, strings.Fields(strings.ReplaceAll(args, "KEY", pasted))...)...)
			if got.code == 0 || strings.Contains(got.out+got.err, pasted[:20]) {
				t.Errorf("%s %s: %+v", format, args, got)
			}
		}
	}
	if got := s.run(t, "", "keys", "list", "--limit", pasted); !strings.Contains(got.err, "pk_live_0123…STUV") {
		t.Errorf("the hint is gone, too: %+v", got)
	}
}
