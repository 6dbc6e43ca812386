package cli

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
)

// onTerminal runs a command with what a person types, and returns the calls that change
// something and what the terminal shows.
func onTerminal(t *testing.T, typed, args string) (code int, changes, screen string) {
	t.Helper()
	s := start(t, nil)
	s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Method != http.MethodGet && !strings.Contains(string(body), `"dry_run":true`) {
			changes += r.Method + " " + r.URL.Path + "\n"
		}
		setType(w, r)
		io.WriteString(w, whatever)
	})
	keyboard, tty := openTerminal(t)
	if _, err := io.WriteString(keyboard, typed); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	env := map[string]string{serverEnv: s.URL, tokenEnv: "pgop_token"}
	code = Execute(t.Context(), Config{Stdin: tty, Stdout: &out, Stderr: tty, Env: func(n string) (string, bool) { v, ok := env[n]; return v, ok }}, strings.Fields(args))
	return code, changes, shown(t, keyboard, tty)
}

// On a terminal, what cannot be undone is asked first; in a script it is done.
func TestFinalCommandsAsk(t *testing.T) {
	commands := map[string]string{
		"keys revoke key_1":                         "Revoke key_1 for good?",
		"keys revoke key_1 --chain":                 "Revoke key_1 and the keys of its rotation for good?",
		"keys revoke key_1 key_2":                   "Revoke 1 keys for good?",
		"keys rotate key_1 --overlap 0s":            "The old key ends at once.",
		"accounts delete acct_1":                    "Delete the account acct_1 and all its keys for good?",
		"users disable usr_1 --revoke-keys":         "revoke every key that they made for good?",
		"webhooks rotate-secret whk_1 --overlap 0s": "The old one ends at once.",
		"incident open theft --action revoke":       `Open "theft"`,
		"erasures create acct_1":                    "Erase the data of the account acct_1?",
		"tiers delete t":                            "", "users delete usr_1": "", "tokens delete op_1": "", "webhooks delete whk_1": "", "cluster remove n2": "",
	}
	for name := range finals {
		found := false
		for args := range commands {
			found = found || strings.HasPrefix(args, name+" ")
		}
		if !found {
			t.Errorf("%s is not tried", name)
		}
	}
	for args, question := range commands {
		code, changes, screen := onTerminal(t, "n\n", args)
		if code != 1 || changes != "" || !strings.Contains(screen, "[y/N]") || !strings.Contains(screen, question) || !strings.Contains(screen, "nothing was changed") {
			t.Errorf("%s, n: exit code %d after %q: %s", args, code, changes, screen)
		}
		if _, changes, _ := onTerminal(t, "y\n", args); changes == "" {
			t.Errorf("%s, y: changes nothing", args)
		}
		if _, changes, screen := onTerminal(t, "", args+" --yes"); changes == "" || strings.Contains(screen, "[y/N]") {
			t.Errorf("%s --yes: %q, %s", args, changes, screen)
		}
		if got := fixedAnswer(t).run(t, "", strings.Fields(args)...); strings.Contains(got.err, "[y/N]") {
			t.Errorf("%s asks without a terminal: %s", args, got.err)
		}
	}
	for _, args := range []string{"keys rotate key_1", "users disable usr_1", "incident open t", "webhooks rotate-secret whk_1", "users sessions end ses_1", "keys revoke key_1 key_2 --dry-run"} {
		if _, _, screen := onTerminal(t, "", args); strings.Contains(screen, "[y/N]") {
			t.Errorf("%s asks: %s", args, screen)
		}
	}
}

func fixedAnswer(t *testing.T) *server {
	s, _ := fixed(t, http.StatusOK, whatever)
	return s
}

// Every command that deletes asks, but the one after which people sign in again.
func TestEveryDeletionAsks(t *testing.T) {
	deletions := 0
	for args, stdin := range everyCommand {
		if args == "audit tail" {
			continue
		}
		s := start(t, nil)
		deleted := false
		s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			deleted = deleted || r.Method == http.MethodDelete
			setType(w, r)
			io.WriteString(w, whatever)
		})
		s.run(t, stdin, strings.Fields(args)...)
		words := strings.Fields(args)
		if _, asks := finals[strings.Join(words[:len(words)-1], " ")]; deleted && !asks && args != "users sessions end ses_1" {
			t.Errorf("%s deletes and does not ask; add it to finals", args)
		}
		if deleted {
			deletions++
		}
	}
	if deletions < 6 {
		t.Errorf("%d commands delete", deletions)
	}
}
