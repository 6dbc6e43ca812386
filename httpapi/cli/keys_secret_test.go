package cli

import (
	"strings"
	"testing"
)

const pasted = "pk_live_0123456789ABCDEFGHIJKLMNOPQRSTUV1j90KZ"

// A key that is pasted where an id, a name or a filter belongs is sent nowhere: the
// command says that it is a key, without repeating it, and how to revoke it.
func TestPastedKeyIsNotSent(t *testing.T) {
	s := keysServer(t)
	for args, code := range map[string]int{
		"keys revoke KEY":                 2,
		"keys revoke KEY0":                2,
		"keys revoke key_1 KEY":           2,
		"keys revoke pk_live_short":       2,
		"keys get KEY":                    2,
		"keys update KEY --name n":        2,
		"keys rotate KEY":                 2,
		"keys list --name KEY":            1,
		"keys list --created-by KEY":      1,
		"accounts get KEY":                1,
		"accounts delete KEY":             1,
		"tiers get KEY":                   1,
		"cluster remove KEY":              1,
		"audit list --key KEY":            1,
		"audit list --user xKEY":          1,
		"audit export --action KEY":       1,
		"keys revoke --stdin key_1":       2,
		"keys revoke --stdin --type=live": 2,
	} {
		got := s.run(t, pasted, strings.Fields(strings.ReplaceAll(args, "KEY", pasted))...)
		if got.code != code || got.err == "" {
			t.Errorf("%s: exit code %d, stderr %q; want %d", args, got.code, got.err, code)
		}
		if strings.Contains(got.err+got.out, pasted[:20]) {
			t.Errorf("%s repeats the key: %s", args, got.err)
		}
		if len(s.calls) > 0 {
			t.Errorf("%s calls %v", args, s.calls)
		}
		if strings.HasPrefix(args, "keys revoke KEY") && !strings.Contains(got.err, "keys revoke --stdin") {
			t.Errorf("%s does not name --stdin: %s", args, got.err)
		}
	}
}

// keys revoke --stdin finds the key without charging it and revokes it by its id, in
// its own account.
func TestRevokeByStdin(t *testing.T) {
	verify := `POST /v1/keys/verify {"key":"` + pasted + `","consume":false}`
	known := start(t, map[string]answer{
		"POST /v1/keys/verify":       {body: `{"valid":false,"code":"ip_not_allowed","key_id":"key_1","account":"acct_1"}`},
		"POST /v1/keys/key_1/revoke": {body: revokedKey},
	})
	got := known.run(t, "\uFEFF"+pasted+"\r\n", "keys", "revoke", "--stdin", "--reason", "leaked")
	if got.code != 0 || !strings.Contains(got.out, "revocation   effective") || strings.Contains(got.out+got.err, pasted) {
		t.Errorf("exit code %d: %s%s", got.code, got.out, got.err)
	}
	for i, want := range []string{verify, `POST /v1/keys/key_1/revoke {"reason":"leaked"}`} {
		if len(known.calls) != 2 || known.calls[i].String() != want {
			t.Fatalf("the calls are %v, want call %d to be %s", known.calls, i, want)
		}
	}
	if got := known.calls[1].header.Get("X-Perf-Account"); got != "acct_1" {
		t.Errorf("the account is %q", got)
	}
	unknown := start(t, map[string]answer{"POST /v1/keys/verify": {body: `{"valid":false,"code":"invalid_key","key_id":null,"account":null}`}})
	testFailures(t, unknown, []failure{
		{args: "keys revoke --stdin", stdin: pasted, code: 1, err: "no account has this key (invalid_key)"},
		{args: "keys revoke --stdin", stdin: "Bearer " + pasted, code: 1, err: "more than the key"},
		{args: "keys revoke --stdin", stdin: `"` + pasted + `"`, code: 1, err: "more than the key"},
		{args: "keys revoke --stdin", code: 1, err: "no key on stdin"},
	})
}
