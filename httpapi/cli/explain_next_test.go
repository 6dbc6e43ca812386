package cli

import (
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/httpapi/fault"
)

func requestEvent(code fault.Code, status int) *client.Event {
	e := &client.Event{Action: requestAction, Reason: string(code), Account: "acct_7", KeyID: "key_1", IP: "192.0.2.1"}
	e.Request = &client.EventRequest{ID: "req_1", Method: "GET", Path: "/v1/x", Route: "/v1/", Status: status, Upstream: "h2c://10.0.0.5:9000/", Attempts: 1}
	return e
}

// Each command is one that the program takes. A code of a key's state, a limit, an
// upstream or the cluster has one; for others, the sentence of the code alone may
// give the next step.
func TestNextSteps(t *testing.T) {
	for _, code := range fault.Codes() {
		step := nextStep(requestEvent(code, code.Status()))
		needed := slices.Contains([]int{401, 402, 404, 429, 502, 503, 504}, code.Status())
		if step == "" && needed {
			t.Errorf("%s: no next step", code)
		}
		args, ours := strings.CutPrefix(step, "perfgate ")
		if !ours {
			if step != "" && step != "curl -v http://10.0.0.5:9000/v1/x" {
				t.Errorf("%s: %q", code, step)
			}
			continue
		}
		cmd, rest, err := New(Config{Stdout: io.Discard, Stderr: io.Discard}).Find(strings.Fields(args))
		if err == nil {
			err = cmd.ParseFlags(rest)
		}
		if err == nil {
			err = cmd.ValidateArgs(cmd.Flags().Args())
		}
		if about := strings.HasSuffix(args, " --account acct_7"); err != nil || about == (strings.HasPrefix(args, "cluster") || args == "check-config") {
			t.Errorf("%s: %s: %v", code, step, err)
		}
	}
	e := requestEvent(fault.MissingKey, 401)
	e.Request.Path, e.Account = "/v1/it's", ""
	if step := nextStep(e); step != `perfgate keys verify --method GET --path '/v1/it'\''s'` {
		t.Errorf("without a key: %s", step)
	}
	if step := nextStep(requestEvent(fault.NotFound, 404)); step != "perfgate check-config" {
		t.Errorf("without a route: %s", step)
	}
	missing := requestEvent(fault.NotFound, 404)
	if missing.Action = "key.read"; nextStep(missing) != "" {
		t.Errorf("an unknown key leads to %s", nextStep(missing))
	}
	if step := nextStep(&client.Event{Action: requestAction, Reason: "key_revoked", Request: &client.EventRequest{}}); step != "" {
		t.Errorf("without the id of a key: %q", step)
	}
}

// A request that the upstream itself answered with an error is told from one that
// perfgate refused, and one whose client left from both.
func TestReasonWithoutCode(t *testing.T) {
	for status, want := range map[int]string{
		200: "", 404: "the upstream answered 404; perfgate passed it on", 503: "the upstream answered 503; perfgate passed it on",
		499: "the client closed the connection before it had an answer",
	} {
		if got := reasonOf(requestEvent("", status)); got != want {
			t.Errorf("%d: %q", status, got)
		}
		if got := nextStep(requestEvent("", status)); (got == "") != (status == 200) {
			t.Errorf("%d: next %q", status, got)
		}
	}
}

func TestShellWord(t *testing.T) {
	for in, want := range map[string]string{
		"key_1": "key_1", "http://[::1]:80/a%20b": "http://[::1]:80/a%20b", "": "''", "a b": "'a b'", "$(id)": "'$(id)'", "a'b": `'a'\''b'`,
		"x;y": "'x;y'", "a&b": "'a&b'", "-v": "'-v'", "~": "'~'", "é": "'é'",
	} {
		if got := shellWord(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}
