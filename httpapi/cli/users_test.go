package cli

import "testing"

func TestUsers(t *testing.T) {
	const ada = `"id":"usr_1","email":"ada@example.com","name":"Ada","role":"developer","account":"default","state":"invited","second_factor":false,` +
		`"created_at":"2027-01-01T00:00:00Z","created_by":"op_1","last_sign_in_at":null`
	const table = `id             usr_1
email          ada@example.com
name           Ada
role           developer
account        default
state          invited
second factor  false
created        2027-01-01 00:00`
	const session = `{"id":"ses_1","kind":"user","owner":"usr_1","account":"default","created_at":"2027-01-01T00:00:00Z","last_seen_at":"2027-01-01T00:01:00Z",` +
		`"expires_at":"2027-01-01T00:31:00Z","scopes":null,"ip":"192.0.2.1","user_agent":null,"current":false}`
	s := start(t, map[string]answer{
		"POST /v1/users":               {status: 201, body: `{"setup_url":"http://h/signin/setup?token=x",` + ada + `,"setup_expires_at":"2027-01-02T00:00:00Z"}`},
		"GET /v1/users":                {body: `{"data":[{` + ada + `}],"next_cursor":null}`},
		"GET /v1/users/usr_1":          {body: `{` + ada + `}`},
		"PATCH /v1/users/usr_1":        {body: `{` + ada + `,"revocation":{"effective":true,"took_ms":3}}`},
		"POST /v1/users/usr_1/disable": {body: `{` + ada + `,"revoked_keys":2,"ids":["key_1","key_2"],"revocation":{"effective":true,"took_ms":3}}`},
		"POST /v1/users/usr_1/reset":   {body: `{"setup_url":"http://h/signin/setup?token=y",` + ada + `,"setup_expires_at":"2027-01-02T00:00:00Z"}`},
		"DELETE /v1/users/usr_1":       {body: `{"id":"usr_1","deleted":true,"revocation":{"effective":true,"took_ms":3}}`},
		"POST /v1/session-links":       {status: 201, body: `{"id":"lnk_1","url":"http://h/signin/link?token=z","account":"acct_1","scopes":["admin"],"expires_at":"2027-01-01T00:15:00Z"}`},
		"GET /v1/sessions":             {body: `{"data":[` + session + `],"next_cursor":null}`},
		"DELETE /v1/sessions/ses_1":    {body: `{"id":"ses_1","deleted":true,"revocation":{"effective":true,"took_ms":3}}`},
	})
	testCommands(t, s, []commandTest{
		{args: "users create ada@example.com --role developer --name Ada", calls: `POST /v1/users {"email":"ada@example.com","name":"Ada","role":"developer"}`,
			out: table + "\nset-up link    http://h/signin/setup?token=x\nlink expires   2027-01-02 00:00", err: "Copy the set-up link now: it is not shown again."},
		{args: "users list", calls: "GET /v1/users?limit=1000", out: `ID     EMAIL            NAME  ROLE       ACCOUNT  STATE    SECOND FACTOR  LAST SIGN-IN
usr_1  ada@example.com  Ada   developer  default  invited  false          -`},
		{args: "users get usr_1", calls: "GET /v1/users/usr_1", out: table},
		{args: "users update usr_1 --role viewer --force", calls: `PATCH /v1/users/usr_1?force=true {"role":"viewer"}`, out: table + "\nrevocation     effective on every node after 3 ms"},
		{args: "users disable usr_1 --revoke-keys", calls: `POST /v1/users/usr_1/disable {"revoke_keys":true}`, out: table + "\nrevoked keys   2\nrevocation     effective on every node after 3 ms"},
		{args: "users reset usr_1", calls: `POST /v1/users/usr_1/reset {"second_factor":false}`,
			out: table + "\nset-up link    http://h/signin/setup?token=y\nlink expires   2027-01-02 00:00", err: "Copy the set-up link now: it is not shown again."},
		{args: "users delete usr_1", calls: "DELETE /v1/users/usr_1", out: "deleted     usr_1\nrevocation  effective on every node after 3 ms"},
		{args: "users link acct_1 --ttl 5m", calls: `POST /v1/session-links {"account":"acct_1","ttl":"5m"}`, out: "account  acct_1\nurl      http://h/signin/link?token=z\nexpires  2027-01-01 00:15", err: "Copy the link now: it is not shown again."},
		{args: "users sessions list --user usr_1", calls: "GET /v1/sessions?limit=1000&user=usr_1", out: `ID     KIND  OWNER  ACCOUNT  SIGNED IN         LAST SEEN         ENDS              IP
ses_1  user  usr_1  default  2027-01-01 00:00  2027-01-01 00:01  2027-01-01 00:31  192.0.2.1`},
		{args: "users sessions end ses_1", calls: "DELETE /v1/sessions/ses_1", out: "deleted     ses_1\nrevocation  effective on every node after 3 ms"},
	})
}
