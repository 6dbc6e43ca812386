package cli

import "testing"

const aKeyring = `{"node":"n1","kek":"0011","source":"file","key_beside_data":true,"data_keys":[` +
	`{"id":"aa","created_at":"2026-03-01T12:00:00Z","current":false,"files":1,"bytes":700},` +
	`{"id":"bb","created_at":"2026-03-02T12:00:00Z","current":true,"files":9,"bytes":5000}],` +
	`"rotation":{"running":false,"done_bytes":5000,"total_bytes":5000,"error":null,"ended_at":null},` +
	`"pepper":{"generation":2,"retired_generation":1,"keys_remaining":7,"started_at":"2026-03-02T12:00:00Z"}}`

func TestKeyring(t *testing.T) {
	const table = `node    n1
key     0011
source  file, beside the data: protects little
pepper  generation 2, 7 keys not moved yet
DATA KEY  CREATED               CURRENT  FILES  BYTES
aa        2026-03-01T12:00:00Z  false        1    700
bb        2026-03-02T12:00:00Z  true         9   5000`
	s := start(t, map[string]answer{
		"GET /v1/keyring": {body: aKeyring}, "POST /v1/keyring/rotate-kek": {body: aKeyring}, "POST /v1/keyring/rotate-data": {body: aKeyring},
		"POST /v1/keyring/rotate-pepper": {body: aKeyring}, "POST /v1/keyring/finish-pepper": {body: aKeyring},
	})
	testCommands(t, s, []commandTest{
		{args: "keyring status", calls: "GET /v1/keyring", out: table},
		{args: "keyring rotate-kek", calls: "POST /v1/keyring/rotate-kek", out: table},
		{args: "keyring rotate-pepper", calls: "POST /v1/keyring/rotate-pepper", out: table},
		{args: "keyring finish-pepper", calls: "POST /v1/keyring/finish-pepper", out: table},
		{args: "keyring finish-pepper --force", calls: "POST /v1/keyring/finish-pepper?force=true", out: table},
		{args: "keyring rotate-data", calls: "POST /v1/keyring/rotate-data", out: table},
	})
	testFailures(t, s, []failure{
		{args: "keyring", code: 2, err: "perfgate keyring needs a subcommand"},
		{args: "keyring status x", code: 2, err: "unknown command"},
	})
}
