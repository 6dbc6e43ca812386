package cli

import (
	"strings"
	"testing"

	"github.com/perfgate/perfgate/httpapi/client"
)

// A revocation that leaves other keys of the rotation valid says so, with the way to
// revoke them; with --chain the call asks for all of them.
func TestRevokeNamesTheKeysOfTheRotation(t *testing.T) {
	body := strings.TrimSuffix(revokedKey, "}") + `,"also_revoked":["key_3"],"still_valid":["key_2","key_4"]}`
	s := start(t, map[string]answer{"POST /v1/keys/key_1/revoke": {body: body}})
	for args, call := range map[string]string{
		"keys revoke key_1":         `POST /v1/keys/key_1/revoke`,
		"keys revoke key_1 --chain": `POST /v1/keys/key_1/revoke {"chain":true}`,
	} {
		got := s.run(t, "", strings.Fields(args)...)
		if got.code != 0 || len(s.calls) != 1 || !strings.HasPrefix(s.calls[0].String(), call) || strings.Contains(s.calls[0].String(), "chain") != strings.Contains(args, "chain") {
			t.Errorf("%s: exit code %d, calls %v: %s", args, got.code, s.calls, got.err)
		}
		if !strings.Contains(got.out, "also revoked  key_3\n") || !strings.Contains(got.out, "still valid   key_2 key_4\n") {
			t.Errorf("%s prints\n%s", args, got.out)
		}
		if !strings.Contains(got.err, "key_2 key_4 of the same rotation is still valid; to revoke it too, repeat with --chain") {
			t.Errorf("%s warns %q", args, got.err)
		}
	}
}

// The same holds for a revocation of several keys, and for its dry run.
func TestRevokeManyNamesTheKeysOfTheRotations(t *testing.T) {
	for body, word := range map[string]string{
		`{"matched":2,"revoked":2,"dry_run":false,"ids":["key_1","key_2"],"still_valid":["key_3","key_4"]}`: "revoked      2\n",
		`{"matched":2,"revoked":0,"dry_run":true,"ids":["key_1","key_2"],"still_valid":["key_3","key_4"]}`:  "revoked      0 (dry run)\n",
	} {
		s := start(t, map[string]answer{"POST /v1/keys/revoke": {body: body}})
		got := s.run(t, "", "keys", "revoke", "key_1", "key_2")
		if got.code != 0 || !strings.Contains(got.out, word) || !strings.Contains(got.out, "still valid  key_3 key_4\n") ||
			!strings.Contains(got.err, "same rotations that stay valid: 2; to revoke a rotation whole: perfgate keys revoke key_3 --chain") {
			t.Errorf("%s: %+v", body, got)
		}
	}
}

// The question before a revocation names the number of keys that it leaves valid.
func TestAskRevoke(t *testing.T) {
	if got := askRevoke(&client.RevokedKeys{Matched: 2}); got != "Revoke 2 keys for good?" {
		t.Error(got)
	}
	if got := askRevoke(&client.RevokedKeys{Matched: 2, StillValid: []string{"key_3"}}); !strings.Contains(got, "stay valid: 1") {
		t.Error(got)
	}
}
