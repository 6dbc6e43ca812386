package cli

import "testing"

const (
	anAccount = `{"id":"acct_1","name":"Acme","tier":"enterprise","region":null,"limits":{"requests_per_minute":6000,"burst":null,"requests_per_month":null},` +
		`"browser_keys":"alert","retention_days":30,"created_at":"2027-01-01T00:00:00Z"}`
	plainAccount = `{"id":"acct_2","name":"Beta","tier":"pro","region":"eu","limits":null,"browser_keys":"block","retention_days":7,` +
		`"created_at":"2027-01-01T00:00:00Z","revocation":{"effective":true,"took_ms":12}}`
	aTier = `{"name":"team","live":{"requests_per_minute":600,"burst":20,"requests_per_month":null},` +
		`"test":{"requests_per_minute":null,"burst":null,"requests_per_month":null},"features":{"ip_allowlist":true}}`
	changedTier = `{"name":"team","live":{"requests_per_minute":1},"test":{"requests_per_month":2},"features":{"ip_allowlist":false},` +
		`"revocation":{"effective":false,"nodes":[{"name":"n1","how":"unconfirmed"}]}}`
)

func TestAccounts(t *testing.T) {
	const table, plainTable = `id            acct_1
name          Acme
tier          enterprise
region        -
limits        6000 per minute
browser keys  alert
retention     30 days
created       2027-01-01 00:00`, `id            acct_2
name          Beta
tier          pro
region        eu
limits        those of the tier
browser keys  block
retention     7 days
created       2027-01-01 00:00
revocation    effective on every node after 12 ms`
	s := start(t, map[string]answer{
		"POST /v1/accounts":          {status: 201, body: anAccount},
		"GET /v1/accounts":           {body: `{"data":[` + anAccount + `,` + plainAccount + `],"next_cursor":null}`},
		"GET /v1/accounts/acct_1":    {body: anAccount, etag: `"2"`},
		"GET /v1/accounts/acct_2":    {body: plainAccount, etag: `"7"`},
		"PATCH /v1/accounts/acct_1":  {body: anAccount},
		"PATCH /v1/accounts/acct_2":  {body: plainAccount},
		"DELETE /v1/accounts/acct_1": {body: `{"id":"acct_1","deleted":true,"revocation":null}`},
		"DELETE /v1/accounts/a%2Fb":  {body: `{"id":"a/b","deleted":true,"revocation":{"effective":true,"took_ms":3}}`},
	})
	testCommands(t, s, []commandTest{
		{args: "accounts create Acme", calls: `POST /v1/accounts {"name":"Acme"}`, out: table},
		{args: "accounts create --name Acme --tier enterprise --region eu --browser-keys alert --retention-days 30 --requests-per-minute 6000", out: table,
			calls: `POST /v1/accounts {"browser_keys":"alert","limits":{"requests_per_minute":6000,"burst":null,"requests_per_month":null},"name":"Acme","region":"eu","retention_days":30,"tier":"enterprise"}`},
		{args: "accounts list", calls: "GET /v1/accounts?limit=1000", out: `ID      NAME  TIER        LIMITS           CREATED
acct_1  Acme  enterprise  6000 per minute  2027-01-01 00:00
acct_2  Beta  pro         -                2027-01-01 00:00`},
		{args: "accounts get acct_2", calls: "GET /v1/accounts/acct_2", out: plainTable},
		{args: "accounts update acct_1 --retention-days 7", calls: `PATCH /v1/accounts/acct_1 {"retention_days":7}`, out: table},
		{args: "accounts update acct_1 --alert-at 50,90", calls: `PATCH /v1/accounts/acct_1 {"alert_thresholds":[50,90]}`, out: table},
		{args: "accounts update acct_1 --alert-at none", calls: `PATCH /v1/accounts/acct_1 {"alert_thresholds":[]}`, out: table},
		{args: "accounts update acct_1 --burst 1 --tier pro", out: table,
			calls: "GET /v1/accounts/acct_1\n" + `PATCH /v1/accounts/acct_1 {"limits":{"requests_per_minute":6000,"burst":1,"requests_per_month":null},"tier":"pro"} If-Match "2"`},
		{args: "accounts update acct_2 --requests-per-month 5", out: plainTable,
			calls: "GET /v1/accounts/acct_2\n" + `PATCH /v1/accounts/acct_2 {"limits":{"requests_per_minute":null,"burst":null,"requests_per_month":5}} If-Match "7"`},
		{args: "accounts delete acct_1", calls: "DELETE /v1/accounts/acct_1", out: "deleted  acct_1"},
		{args: "accounts delete a/b", calls: "DELETE /v1/accounts/a%2Fb", out: "deleted     a/b\nrevocation  effective on every node after 3 ms"},
	})
}

func TestTiers(t *testing.T) {
	const table, changedTable = `name          team
live keys     600 per minute, burst 20
test keys     no limit
ip allowlist  true`, `name          team
live keys     1 per minute
test keys     2 per month
ip allowlist  false
revocation    NOT yet effective on n1`
	s := start(t, map[string]answer{
		"POST /v1/tiers":        {status: 201, body: aTier},
		"GET /v1/tiers":         {body: `{"data":[` + aTier + `,` + changedTier + `],"next_cursor":null}`},
		"GET /v1/tiers/team":    {body: aTier, etag: `"6"`},
		"PATCH /v1/tiers/team":  {body: changedTier},
		"DELETE /v1/tiers/team": {body: `{"id":"team","deleted":true}`},
	})
	testCommands(t, s, []commandTest{
		{args: "tiers create team --live-requests-per-minute 600 --ip-allowlist", out: table,
			calls: `POST /v1/tiers {"features":{"ip_allowlist":true},"live":{"requests_per_minute":600,"burst":null,"requests_per_month":null},"name":"team","test":{"requests_per_minute":null,"burst":null,"requests_per_month":null}}`},
		{args: "tiers list --limit 2", calls: "GET /v1/tiers?limit=2", out: `NAME  LIVE                      TEST         IP ALLOWLIST
team  600 per minute, burst 20  no limit     true
team  1 per minute              2 per month  false`},
		{args: "tiers get team", calls: "GET /v1/tiers/team", out: table},
		{args: "tiers update team --test-burst 2", out: changedTable,
			calls: "GET /v1/tiers/team\n" + `PATCH /v1/tiers/team {"test":{"requests_per_minute":null,"burst":2,"requests_per_month":null}} If-Match "6"`},
		{args: "tiers update team --live-requests-per-minute none --ip-allowlist=false", out: changedTable,
			calls: "GET /v1/tiers/team\n" + `PATCH /v1/tiers/team {"features":{"ip_allowlist":false},"live":{"requests_per_minute":null,"burst":20,"requests_per_month":null}} If-Match "6"`},
		{args: "tiers delete team", calls: "DELETE /v1/tiers/team", out: "deleted  team"},
	})
}

func TestAccountsAndTiersFail(t *testing.T) {
	s := start(t, map[string]answer{
		"GET /v1/tiers/team":      {body: aTier, etag: `"6"`},
		"PATCH /v1/tiers/team":    {status: 412, body: `{"error":{"code":"precondition_failed","message":"It has changed."}}`},
		"DELETE /v1/tiers/team":   {status: 409, body: `{"error":{"code":"conflict","message":"Accounts use the tier."}}`},
		"GET /v1/accounts/acct_1": {body: `{"id":`},
	})
	testFailures(t, s, []failure{
		{args: "accounts create", code: 2, err: "an account needs a name: accounts create NAME"},
		{args: "accounts create a --retention-days week", code: 2, err: "retention-days"},
		{args: "accounts create a --burst x", code: 2, err: `--burst "x": must be a whole number, or none`},
		{args: "accounts update acct_1", code: 2, err: "nothing to change: give at least one setting; see perfgate accounts update --help"},
		{args: "accounts update acct_1 --alert-at many", code: 2, err: `--alert-at: "many" is not a whole number`},
		{args: "accounts update acct_1 --burst 1", code: 1, err: "read the answer"},
		{args: "accounts update acct_2 --burst 1", code: 1, err: "not_found"},
		{args: "accounts get acct_1", code: 1, err: "answer"},
		{args: "accounts list --limit x", code: 2, err: "--limit"},
		{args: "tiers create", code: 2, err: "accepts 1 arg"},
		{args: "tiers create a --live-burst x", code: 2, err: `--live-burst "x"`},
		{args: "tiers update team", code: 2, err: "nothing to change"},
		{args: "tiers update team --live-burst 1", code: 1, err: "It has changed. (precondition_failed)"},
		{args: "tiers update none --live-burst 1", code: 1, err: "not_found"},
		{args: "tiers delete team", code: 1, err: "Accounts use the tier. (conflict)"},
	})
}
