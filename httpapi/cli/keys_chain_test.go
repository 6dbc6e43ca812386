package cli

import (
	"strings"
	"testing"
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
