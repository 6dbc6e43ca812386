package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTokens(t *testing.T) {
	const created = `{"id":"op_1","token":"pgop_secret","name":"ci","state":"active","created_at":"2027-01-01T00:00:00Z","created_by":"op_0","expires_at":"2027-02-01T00:00:00Z","last_used_at":null,"last_used_ip":null}`
	const first = `{"id":"op_0","name":null,"state":"active","created_at":null,"created_by":null,"expires_at":null,"last_used_at":"2027-01-02T03:04:05Z","last_used_ip":"192.0.2.1"}`
	s := start(t, map[string]answer{
		"POST /v1/operator-tokens":        {status: 201, body: created},
		"GET /v1/operator-tokens":         {body: `{"data":[` + first + `],"next_cursor":null}`},
		"DELETE /v1/operator-tokens/op_0": {body: `{"id":"op_0","deleted":true,"revocation":{"effective":true,"took_ms":3}}`},
	})
	testCommands(t, s, []commandTest{
		{args: "tokens create ci --expires-at 2027-02-01", calls: `POST /v1/operator-tokens {"expires_at":"2027-02-01T00:00:00Z","name":"ci"}`,
			out: "id       op_1\ntoken    pgop_secret\nname     ci\ncreated  2027-01-01 00:00\nexpires  2027-02-01 00:00", err: "Copy the token now: it is not shown again."},
		{args: "tokens list", calls: "GET /v1/operator-tokens?limit=1000",
			out: "ID    NAME  STATE   CREATED  EXPIRES  LAST USED\nop_0  -     active  -        -        2027-01-02 03:04 192.0.2.1"},
		{args: "tokens delete op_0 --force", calls: "DELETE /v1/operator-tokens/op_0?force=true", out: "deleted     op_0\nrevocation  effective on every node after 3 ms"},
	})
}

// perfgate token prints the path and never the token.
func TestTokenPath(t *testing.T) {
	s := start(t, nil)
	dir := t.TempDir()
	if got := s.run(t, "", "token", "--data-dir", dir); got.code != 1 || !strings.Contains(got.err, "--data-dir") {
		t.Errorf("without a file: %+v", got)
	}
	path := filepath.Join(dir, tokenFile)
	if err := os.WriteFile(path, []byte("pgop_x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := s.run(t, "", "token", "--data-dir", dir); got.code != 0 || got.out != path+"\n" || got.err != "" {
		t.Errorf("got %+v", got)
	}
}
