package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLimitRules(t *testing.T) {
	const ruled = `{"id":"acct_1","name":"Acme","tier":"pro","region":null,"limits":{"requests_per_minute":null,"burst":null,"requests_per_month":null,"max_concurrent":8},` +
		`"limit_rules":[{"name":"chat","match":{"type":"live","environment":null,"route":"POST /v1/chat"},"per":"key","requests":600,"window":"1h","burst":60,"shadow":true,"until":"2027-02-01T00:00:00Z"},` +
		`{"name":"day","match":{"type":null,"environment":null,"route":null},"per":"account","requests":5,"window":"1d","burst":null,"shadow":false,"until":null}],` +
		`"browser_keys":"alert","retention_days":30,"created_at":"2027-01-01T00:00:00Z"}`
	const shown = `id            acct_1
name          Acme
tier          pro
region        -
limits        8 in flight
rule chat     600 per 1h, burst 60, for each key, type "live", route "POST /v1/chat", shadow, until 2027-02-01 00:00
rule day      5 per 1d, for each account
browser keys  alert
retention     30 days
created       2027-01-01 00:00`
	const rules = `[{"name":"day","per":"account","requests":5,"window":"1d"}]`
	file := filepath.Join(t.TempDir(), "rules.json")
	if err := os.WriteFile(file, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, map[string]answer{
		"POST /v1/accounts":         {status: 201, body: ruled},
		"PATCH /v1/accounts/acct_1": {body: ruled},
		"PATCH /v1/tiers/team":      {body: changedTier},
		"GET /v1/tiers/team":        {body: aTier, etag: `"3"`},
		"GET /v1/limits": {body: `{"data":[{"policy":"minute","limit":60,"window":"1m","remaining":59,"reset":1798761600,"shadow":false,"key_id":"key_1"},` +
			`{"policy":"budget","limit":10.5,"window":"month","remaining":3.25,"reset":1798761600,"shadow":false},{"policy":"dry","limit":5,"window":"1d","remaining":0,"reset":1798761600,"shadow":true}]}`},
	})
	testCommands(t, s, []commandTest{
		{args: "accounts create Acme --limit-rules " + file, calls: `POST /v1/accounts {"limit_rules":` + rules + `,"name":"Acme"}`, out: shown},
		{args: "accounts update acct_1 --limit-rules -", stdin: rules, calls: `PATCH /v1/accounts/acct_1 {"limit_rules":` + rules + `}`, out: shown},
		{args: "accounts update acct_1 --limit-rules none", calls: `PATCH /v1/accounts/acct_1 {"limit_rules":[]}`, out: shown},
		{args: "keys limits key_1", calls: "GET /v1/limits?key=key_1", out: `POLICY        LIMIT  WINDOW  REMAINING  RESET
minute           60  1m             59  2027-01-01 00:00
budget         10.5  month        3.25  2027-01-01 00:00
dry (shadow)      5  1d              0  2027-01-01 00:00`},
		{args: "keys limits key_1 key_2", calls: "GET /v1/limits?key=key_1%2Ckey_2", out: `KEY    POLICY        LIMIT  WINDOW  REMAINING  RESET
key_1  minute           60  1m             59  2027-01-01 00:00
-      budget         10.5  month        3.25  2027-01-01 00:00
-      dry (shadow)      5  1d              0  2027-01-01 00:00`},
		{args: "keys limits --type test", calls: "GET /v1/limits?type=test", out: `POLICY        LIMIT  WINDOW  REMAINING  RESET
minute           60  1m             59  2027-01-01 00:00
budget         10.5  month        3.25  2027-01-01 00:00
dry (shadow)      5  1d              0  2027-01-01 00:00`},
	})
	for args, want := range map[string]int{"accounts update acct_1 --limit-rules -": 2, "accounts update acct_1 --limit-rules /none/such": 1} {
		if got := s.run(t, `{"name":"day"}`, strings.Fields(args)...); got.code != want || !strings.Contains(got.err, "limit") {
			t.Errorf("%s: %+v", args, got)
		}
	}
}

func TestSimulate(t *testing.T) {
	s := start(t, map[string]answer{
		"POST /v1/limits/simulate": {body: `{"from":"2027-01-01T00:00:00Z","to":"2027-01-02T00:00:00Z","resolution":"1m","limit":120,"window":"1m","requests":900,` +
			`"would_refuse":{"even":3,"at_once":40},"lowest_limit":{"even":123,"certain":200},"first_refusals":[{"time":"2027-01-01T10:00:00Z","key":null,"requests":123,"would_refuse":3}],"notes":["a note"]}`},
	})
	const out = `traffic       900 units from 2027-01-01 00:00 to 2027-01-02 00:00, in steps of 1m
limit         120 per 1m
would refuse  3 if spread over each step, 40 if all at once
lowest limit  123 if spread over each step, 200 in any case

TIME              UNITS  WOULD REFUSE  KEY
2027-01-01 10:00    123             3  -`
	testCommands(t, s, []commandTest{
		{args: "limits simulate --rpm 120 --type live", calls: `POST /v1/limits/simulate {"requests_per_minute":120,"type":"live"}`, out: out, err: "note: a note"},
		{args: "limits simulate --rule - --from 2027-01-01", stdin: `{"name":"r"}`, calls: `POST /v1/limits/simulate {"from":"2027-01-01T00:00:00Z","rule":{"name":"r"}}`, out: out, err: "note: a note"},
	})
	for _, args := range []string{"limits simulate", "limits simulate --rpm 5 --rule -", "limits simulate --rpm 5 --from yesterday", "limits simulate --rule -"} {
		if got := s.run(t, "no JSON", strings.Fields(args)...); got.code != 2 {
			t.Errorf("%s: %+v", args, got)
		}
	}
}
