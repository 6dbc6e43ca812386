package cli

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

const (
	aKey = `{"id":"key_1","name":"Production","type":"live","environment":null,"scopes":["read","write"],"state":"active",` +
		`"hint":"pk_live_0123…STUV","account":"default","created_at":"2027-01-01T00:00:00Z","created_by":"op_1","expires_at":null,` +
		`"rotation_due_at":"2027-04-01T00:00:00Z","last_used_at":null,"limits":{"requests_per_minute":5,"burst":null,"requests_per_month":7},` +
		`"max_cost_per_call":0.01,"allowlist":["10.0.0.0/8"],"routes":[],"metadata":{"team":"a"}}`
	issuedKey = `{"key":"pk_live_secret","id":"key_2","name":"Production","type":"live","environment":"eu","scopes":["read"],"state":"active",` +
		`"account":"default","created_at":"2027-01-01T00:00:00Z","created_by":"","expires_at":"2028-01-01T00:00:00Z","last_used_at":"2027-02-01T10:30:00Z",` +
		`"last_used_ip":"192.0.2.1","replaces":"key_1","monthly_budget":10.50,"routes":["/v1","/v2"],"metadata":{"b":"2","a":"1"}}`
	revokedKey = `{"id":"key_1","name":"Production","type":"live","state":"revoked","revoked_at":"2027-01-02T00:00:00Z","revoke_reason":"leaked",` +
		`"replaced_by":"key_2","created_at":"2027-01-01T00:00:00Z","created_by":"op_1",` +
		`"revocation":{"index":3,"effective":true,"took_ms":4,"nodes":[{"name":"n1","how":"applied"}]}}`

	aKeyTable = `id                 key_1
name               Production
type               live
state              active
hint               pk_live_0123…STUV
scopes             read write
account            default
created            2027-01-01 00:00 by op_1
rotation due       2027-04-01 00:00
limits             5 per minute, 7 per month
max cost per call  0.01
allowlist          10.0.0.0/8
metadata team      a`
	issuedTable = `id              key_2
key             pk_live_secret
name            Production
type            live
state           active
environment     eu
scopes          read
account         default
created         2027-01-01 00:00 by unknown
expires         2028-01-01 00:00
last used       2027-02-01 10:30 192.0.2.1
replaces        key_1
monthly budget  10.50
routes          /v1, /v2
metadata a      1
metadata b      2`
	revokedTable = `id           key_1
name         Production
type         live
state        revoked
created      2027-01-01 00:00 by op_1
revoked      2027-01-02 00:00 leaked
replaced by  key_2
revocation   effective on every node after 4 ms`

	copyNow = "Copy the key now: it is not shown again."
)

func keysServer(t *testing.T) *server {
	return start(t, map[string]answer{
		"POST /v1/keys":              {status: 201, body: issuedKey},
		"GET /v1/keys":               {body: `{"data":[` + aKey + `,` + revokedKey + `],"next_cursor":null}`},
		"GET /v1/keys/key_1":         {body: aKey, etag: `"9"`},
		"GET /v1/keys/key_3":         {body: `{"id":"key_3","name":"n","state":"active","limits":null}`, etag: `"3"`},
		"PATCH /v1/keys/key_1":       {body: revokedKey},
		"PATCH /v1/keys/key_3":       {body: aKey},
		"POST /v1/keys/key_1/rotate": {status: 201, body: issuedKey},
		"POST /v1/keys/key_1/revoke": {body: revokedKey},
		"POST /v1/keys/revoke":       {body: `{"matched":2,"revoked":2,"dry_run":false,"ids":["key_1","key_2"],"revocation":{"effective":false,"nodes":[{"name":"n1","how":"applied"},{"name":"n2","how":"unconfirmed"},{"name":"n3","how":"unconfirmed"}]}}`},
	})
}

func TestKeys(t *testing.T) {
	const listTable = `ID     NAME        TYPE  STATE    HINT               ENVIRONMENT  SCOPES      EXPIRES  OVERLAP ENDS  LAST USED
key_1  Production  live  active   pk_live_0123…STUV  -            read,write  -        -             -
key_1  Production  live  revoked  -                  -            -           -        -             -`
	testCommands(t, keysServer(t), []commandTest{
		{args: "keys create Production --type live", calls: `POST /v1/keys {"name":"Production","type":"live"}`, out: issuedTable, err: copyNow},
		{args: "keys create --name a,b --type test --environment none --scope read,x --scope y", out: issuedTable, err: copyNow,
			calls: `POST /v1/keys {"environment":"none","name":"a,b","scopes":["read","x","y"],"type":"test"}`},
		{args: "keys create a --type test --requests-per-minute 3 --burst none --requests-per-month 0", out: issuedTable, err: copyNow,
			calls: `POST /v1/keys {"limits":{"requests_per_minute":3,"burst":null,"requests_per_month":0},"name":"a","type":"test"}`},
		{args: "keys create a --type test --max-cost-per-call 0.010 --monthly-budget 1e3 --expires-at 2030-01-01T00:00:00Z", out: issuedTable, err: copyNow,
			calls: `POST /v1/keys {"expires_at":"2030-01-01T00:00:00Z","max_cost_per_call":0.010,"monthly_budget":1e3,"name":"a","type":"test"}`},
		{args: "keys create a --type test --allow 10.0.0.0/8,192.0.2.1 --route /v1 --route /v2 --metadata a=b,c=d=e", out: issuedTable, err: copyNow,
			calls: `POST /v1/keys {"allowlist":["10.0.0.0/8","192.0.2.1"],"metadata":{"a":"b","c":"d=e"},"name":"a","routes":["/v1","/v2"],"type":"test"}`},
		{args: "keys create a --type test --expires-at 2030-01-31", out: issuedTable, err: copyNow,
			calls: `POST /v1/keys {"expires_at":"2030-01-31T00:00:00Z","name":"a","type":"test"}`},
		{args: "keys list", calls: "GET /v1/keys?limit=1000", out: listTable},
		{args: "keys list --type live --state active --environment e --name n --created-by op_1 --cursor c --limit 2", out: listTable,
			calls: "GET /v1/keys?created_by=op_1&cursor=c&environment=e&limit=2&name=n&state=active&type=live"},
		{args: "keys list --q prod --due 14d --sort=-name", calls: "GET /v1/keys?due=14d&limit=1000&q=prod&sort=-name", out: listTable},
		{args: "keys get key_1", calls: "GET /v1/keys/key_1", out: aKeyTable},
		{args: "keys update key_1 --name n --state disabled", calls: `PATCH /v1/keys/key_1 {"name":"n","state":"disabled"}`, out: revokedTable},
		{args: "keys update key_1 --environment none --max-cost-per-call none --monthly-budget none --allow none --route none --expires-at none", out: revokedTable,
			calls: `PATCH /v1/keys/key_1 {"allowlist":[],"environment":null,"expires_at":null,"max_cost_per_call":null,"monthly_budget":null,"routes":[]}`},
		{args: "keys update key_1 --burst 9 --requests-per-month none", out: revokedTable,
			calls: "GET /v1/keys/key_1\n" + `PATCH /v1/keys/key_1 {"limits":{"requests_per_minute":5,"burst":9,"requests_per_month":null}} If-Match "9"`},
		{args: "keys update key_3 --requests-per-minute 1", out: aKeyTable,
			calls: "GET /v1/keys/key_3\n" + `PATCH /v1/keys/key_3 {"limits":{"requests_per_minute":1,"burst":null,"requests_per_month":null}} If-Match "3"`},
		{args: "keys rotate key_1", calls: `POST /v1/keys/key_1/rotate {}`, out: issuedTable, err: copyNow},
		{args: "keys rotate key_1 --overlap 1h", calls: `POST /v1/keys/key_1/rotate {"overlap":"1h"}`, out: issuedTable, err: copyNow},
	})
}

// A rotating key shows until when the old secret is accepted, in the list and by itself.
func TestRotatingKeys(t *testing.T) {
	rotating := `{"id":"key_1","name":"n","type":"live","state":"rotating","hint":"h","scopes":["read"],"account":"default",` +
		`"created_at":"2027-01-01T00:00:00Z","created_by":"op_1","replaced_by":"key_2","overlap_ends_at":"2027-01-08T12:00:00Z"}`
	s := start(t, map[string]answer{"GET /v1/keys": {body: `{"data":[` + rotating + `],"next_cursor":null}`}, "GET /v1/keys/key_1": {body: rotating}})
	testCommands(t, s, []commandTest{
		{args: "keys list", calls: "GET /v1/keys?limit=1000", out: `ID     NAME  TYPE  STATE     HINT  ENVIRONMENT  SCOPES  EXPIRES  OVERLAP ENDS      LAST USED
key_1  n     live  rotating  h     -            read    -        2027-01-08 12:00  -`},
		{args: "keys get key_1", calls: "GET /v1/keys/key_1", out: `id            key_1
name          n
type          live
state         rotating
hint          h
scopes        read
account       default
created       2027-01-01 00:00 by op_1
replaced by   key_2
overlap ends  2027-01-08 12:00`},
	})
}

// One key is revoked by its own call; several keys or filters by the bulk call.
func TestKeysRevoke(t *testing.T) {
	const bulk = `matched     2
revoked     2
keys        key_1 key_2
revocation  NOT yet effective on n2, n3`
	testCommands(t, keysServer(t), []commandTest{
		{args: "keys revoke key_1", calls: `POST /v1/keys/key_1/revoke {}`, out: revokedTable},
		{args: "keys revoke key_1 --reason leaked", calls: `POST /v1/keys/key_1/revoke {"reason":"leaked"}`, out: revokedTable},
		{args: "keys revoke key_1 --reason leaked --chain", calls: `POST /v1/keys/key_1/revoke {"chain":true,"reason":"leaked"}`, out: revokedTable},
		{args: "keys revoke key_1 key_2", calls: `POST /v1/keys/revoke {"dry_run":false,"ids":["key_1","key_2"]}`, out: bulk},
		{args: "keys revoke key_1 --dry-run", calls: `POST /v1/keys/revoke {"dry_run":true,"ids":["key_1"]}`, out: bulk},
		{args: "keys revoke key_1 --type live", calls: `POST /v1/keys/revoke {"dry_run":false,"ids":["key_1"],"type":"live"}`, out: bulk},
		{args: "keys revoke --environment e --reason r", calls: `POST /v1/keys/revoke {"dry_run":false,"environment":"e","reason":"r"}`, out: bulk},
		{args: "keys revoke --created-by u --created-before 2027-01-01T00:00:00Z --dry-run", out: bulk,
			calls: `POST /v1/keys/revoke {"created_before":"2027-01-01T00:00:00Z","created_by":"u","dry_run":true}`},
	})
}

// A dry run revokes nothing, and keys that were named but not found are a failure.
func TestKeysRevokeOutcome(t *testing.T) {
	for _, tt := range []struct {
		body, out, err string
		code           int
	}{
		{`{"matched":2,"revoked":0,"dry_run":true,"ids":["key_1"]}`, "matched  2\nrevoked  0 (dry run)\nkeys     key_1\n", "", 0},
		{`{"matched":2,"revoked":1,"ids":[]}`, "matched  2\nrevoked  1\n", "", 0},
		{`{"matched":1,"revoked":1,"ids":[]}`, "matched  1\nrevoked  1\n", "1 of 2 keys were not found", 1},
		{`{"matched":"one"}`, "", "read the answer", 1},
	} {
		s := start(t, map[string]answer{"POST /v1/keys/revoke": {body: tt.body}})
		got := s.run(t, "", "keys", "revoke", "key_1", "key_2")
		if got.code != tt.code || got.out != tt.out || !strings.Contains(got.err, tt.err) {
			t.Errorf("%s: %+v", tt.body, got)
		}
	}
}

// --expires-in counts from now, in whole seconds.
func TestKeysExpireIn(t *testing.T) {
	s := keysServer(t)
	before := time.Now().Truncate(time.Second)
	if got := s.run(t, "", "keys", "create", "a", "--type", "live", "--expires-in", "720h"); got.code != 0 {
		t.Fatalf("%+v", got)
	}
	var body struct {
		ExpiresAt time.Time `json:"expires_at"`
	}
	if err := json.Unmarshal([]byte(s.calls[0].body), &body); err != nil {
		t.Fatal(err)
	}
	at := body.ExpiresAt.Add(-720 * time.Hour)
	if at.Before(before) || at.After(time.Now()) || at.Nanosecond() != 0 || at.Location() != time.UTC {
		t.Errorf("expires at %s, 720 h after %s", body.ExpiresAt, at)
	}
}

// A repeated creation does not show the secret, and says so.
func TestKeysSecretWithheld(t *testing.T) {
	s := start(t, map[string]answer{"POST /v1/keys": {status: 201, body: `{"id":"key_1","name":"a","state":"active","secret_withheld":true}`}})
	got := s.run(t, "", "keys", "create", "a", "--type", "live")
	if got.code != 0 || !strings.Contains(got.err, "was shown when this call was first made") || strings.Contains(got.err, copyNow) {
		t.Errorf("%+v", got)
	}
}

// Warnings of the API are printed after the key, and change neither the exit code nor
// stdout. A terminal never sees what they hold beside text.
func TestKeysWarnings(t *testing.T) {
	const warned = `{"id":"key_1","name":"n","state":"active","warnings":["no route requires \u001b[2Jx","another"]}`
	s := start(t, map[string]answer{"POST /v1/keys": {status: 201, body: warned}, "PATCH /v1/keys/key_1": {body: warned}})
	for _, args := range []string{"keys create n --type live --scope x", "keys update key_1 --route /x"} {
		got := s.run(t, "", strings.Fields(args)...)
		if got.code != 0 || strings.Contains(got.out, "route") || strings.Count(got.err, "perfgate: warning: ") != 2 ||
			!strings.Contains(got.err, "perfgate: warning: another\n") || !strings.Contains(got.err, "no route requires") || strings.Contains(got.err, "\x1b") {
			t.Errorf("%s: %+v", args, got)
		}
		if got := s.run(t, "", append(strings.Fields(args), "--json")...); got.code != 0 || got.out != warned+"\n" || got.err != "" {
			t.Errorf("%s --json: %+v", args, got)
		}
	}
}

func TestKeysUsage(t *testing.T) {
	s := start(t, nil)
	testFailures(t, s, []failure{
		{args: "keys get a/../b?c", code: 2, err: "the id of a key begins with"},
		{args: "keys get ..", code: 2, err: "the id of a key begins with"},
		{args: "keys get", code: 2, err: "accepts 1 arg(s), received 0; see perfgate keys get --help"},
		{args: "keys create", code: 2, err: "a key needs a name: keys create NAME --type test|live"},
		{args: "keys create a", code: 2, err: `--type "": must be test or live`},
		{args: "keys create a --type prod", code: 2, err: `--type "prod": must be test or live`},
		{args: "keys create a --name b --type live", code: 2, err: `the name is given twice, as "a" and as --name`},
		{args: "keys create a --type live --expires-at tomorrow", code: 2, err: "must be a time such as 2027-01-31T00:00:00Z"},
		{args: "keys create a --type live --expires-at none", code: 2, err: "must be a time"},
		{args: "keys create a --type live --expires-in -5s", code: 2, err: "must be a duration above zero"},
		{args: "keys create a --type live --expires-in 5", code: 2, err: "expires-in"},
		{args: "keys create a --type live --expires-in 5s --expires-at 2030-01-01T00:00:00Z", code: 2, err: "exclude each other"},
		{args: "keys create a --type live --requests-per-minute many", code: 2, err: "must be a whole number, or none"},
		{args: "keys create a --type live --burst -1", code: 2, err: "must be a whole number, or none"},
		{args: "keys create a --type live --monthly-budget 1e", code: 2, err: "must be a number such as 0.01"},
		{args: "keys create a --type live --monthly-budget -1", code: 2, err: "must be a number such as 0.01"},
		{args: "keys create a --type live --monthly-budget none", code: 2, err: "must be a number such as 0.01"},
		{args: "keys create a --type live --max-cost-per-call \"1\"", code: 2, err: "must be a number such as 0.01"},
		{args: "keys create a --type live --metadata x", code: 2, err: "metadata"},
		{args: "keys update key_1", code: 2, err: "nothing to change: give at least one setting; see perfgate keys update --help"},
		{args: "keys update key_1 --burst many", code: 2, err: "must be a whole number"},
		{args: "keys rotate", code: 2, err: "accepts 1 arg"},
		{args: "keys revoke", code: 2, err: "give the ids of the keys to revoke, or filters; see perfgate keys revoke --help"},
		{args: "keys revoke --reason r", code: 2, err: "or filters"},
		{args: "keys list --limit -1", code: 2, err: "--limit -1: must be 0 or more"},
		{args: "keys list x", code: 2, err: `unknown command "x" for "perfgate keys list"`},
	})
	if s.received() != "" {
		t.Errorf("wrong usage makes calls: %s", s.received())
	}
}
