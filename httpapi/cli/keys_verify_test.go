package cli

import (
	"strings"
	"testing"
)

// The key comes from stdin and is printed nowhere; the exit code tells the
// verdict, with --json too.
func TestKeysVerify(t *testing.T) {
	const (
		valid   = `{"valid":true,"code":null,"key_id":"key_1","account":"default","scopes":["read","x"],"limits":{},"retry_after":null}`
		limited = `{"valid":false,"code":"rate_limited","key_id":"key_1","account":"default","scopes":[],"retry_after":7}`
		unknown = `{"valid":false,"code":"invalid_key","scopes":[],"retry_after":0}`
	)
	for _, tt := range []struct {
		args, stdin, answer string
		body, out           string
		code                int
	}{
		{"", "pk_live_x\n", valid, `{"consume":false,"key":"pk_live_x"}`, "valid    true\nkey      key_1\naccount  default\nscopes   read x", 0},
		{"--consume --units 0 --ip 192.0.2.1 --method POST --path /x", "  pk_live_x  ", valid,
			`{"consume":true,"ip":"192.0.2.1","key":"pk_live_x","method":"POST","path":"/x","units":0}`, "valid    true\nkey      key_1\naccount  default\nscopes   read x", 0},
		{"--units 2", "pk_live_x\r\n \n", limited, `{"consume":false,"key":"pk_live_x","units":2}`, "valid        false\ncode         rate_limited\nkey          key_1\naccount      default\nretry after  7 s", 1},
		{"", "pk_live_x", unknown, `{"consume":false,"key":"pk_live_x"}`, "valid  false\ncode   invalid_key", 1},
	} {
		s := start(t, map[string]answer{"POST /v1/keys/verify": {body: tt.answer}})
		args := append([]string{"keys", "verify"}, strings.Fields(tt.args)...)
		got := s.run(t, tt.stdin, args...)
		if got.code != tt.code || got.err != "" || trimLines(got.out) != tt.out || s.received() != "POST /v1/keys/verify "+tt.body {
			t.Errorf("%v: %+v after %s", args, got, s.received())
		}
		if strings.Contains(got.out+got.err, "pk_live_x") {
			t.Errorf("%v prints the key", args)
		}
		if got := s.run(t, tt.stdin, append(args, "--json")...); got.code != tt.code || got.out != tt.answer+"\n" {
			t.Errorf("%v --json: %+v", args, got)
		}
	}
}

func TestKeysVerifyFails(t *testing.T) {
	s := start(t, map[string]answer{"POST /v1/keys/verify": {body: `[]`}})
	testFailures(t, s, []failure{
		{args: "keys verify", code: 1, err: "no key on stdin: pipe the key in"},
		{args: "keys verify", stdin: " \npk_live_x", code: 1, err: "no key on stdin"},
		{args: "keys verify pk_live_x", code: 2, err: "unknown command"},
		{args: "keys verify --units x", code: 2, err: "--units"},
		{args: "keys verify", stdin: "pk_live_x", code: 1, err: "read the answer"},
	})
	for stdin, want := range map[string]string{
		"pk_live_x\npk_live_y\n":                              "more than one line on stdin: give one key at a time; nothing was sent",
		"pk_live_x\n\n\npk_live_y":                            "more than one line",
		strings.Repeat("x", 2*maxSecret):                      "longer than 4096 bytes; nothing was sent",
		"pk_live_x\n" + strings.Repeat(" ", maxSecret) + "yy": "longer than",
	} {
		for _, args := range [][]string{{"keys", "verify"}, {"keys", "revoke", "--stdin"}} {
			if got := s.run(t, stdin, args...); got.code != 1 || !strings.Contains(got.err, want) || len(s.calls) > 0 || strings.Contains(got.err, "pk_live_y") {
				t.Errorf("%v of %.30q: %+v after %d calls, want %q", args, stdin, got, len(s.calls), want)
			}
		}
	}
}
