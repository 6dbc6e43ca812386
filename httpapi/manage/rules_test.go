package manage_test

import (
	"strings"
	"testing"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/fault"
)

const fullRule = `{"name":"chat","match":{"type":"live","environment":"production","route":"POST /v1/chat"},"per":"key","requests":600,"window":"1h","burst":60,"shadow":true,"until":"2030-01-01T00:00:00Z"}`

// Rules are shown as they were set, on accounts and tiers, and a change of them waits for
// the nodes.
func TestRulesAreShown(t *testing.T) {
	g := apitest.New(t)
	a := g.Op("POST", "/v1/accounts", `{"name":"Acme","limit_rules":[`+fullRule+`]}`).Want(t, 201)
	if !strings.Contains(a.Body, `"limit_rules":[`+fullRule+`]`) {
		t.Errorf("created: %s", a.Body)
	}
	path := "/v1/accounts/" + a.Text("id")
	a = g.Op("PATCH", path, `{"limit_rules":[{"name":"day","per":"account","requests":5,"window":"1d"}]}`).Want(t, 200)
	const day = `{"name":"day","match":{"type":null,"environment":null,"route":null},"per":"account","requests":5,"window":"1d","burst":null,"shadow":false,"until":null}`
	if !strings.Contains(a.Body, `"limit_rules":[`+day+`]`) || !strings.Contains(a.Body, `"revocation":{`) {
		t.Errorf("changed: %s", a.Body)
	}
	if a = g.Op("PATCH", path, `{"limit_rules":null}`).Want(t, 200); !strings.Contains(a.Body, `"limit_rules":[]`) {
		t.Errorf("removed: %s", a.Body)
	}
	if a = g.Op("POST", "/v1/tiers", `{"name":"team","live":{},"test":{},"limit_rules":[`+fullRule+`]}`).Want(t, 201); !strings.Contains(a.Body, fullRule) {
		t.Errorf("tier: %s", a.Body)
	}
	if a = g.Op("PATCH", "/v1/tiers/team", `{"limit_rules":[`+strings.ReplaceAll(fullRule, "600", "700")+`]}`).Want(t, 200); !strings.Contains(a.Body, `"requests":700`) {
		t.Errorf("changed tier: %s", a.Body)
	}
	if a = g.Op("PATCH", "/v1/tiers/team", `{"live":{"max_concurrent":4}}`).Want(t, 200); !strings.Contains(a.Body, `"requests":700`) || !strings.Contains(a.Body, `"max_concurrent":4`) {
		t.Errorf("a change of the tier's limits: %s", a.Body)
	}
}

// Every fault of every rule is named, by its pointer.
func TestFaultyRules(t *testing.T) {
	g := apitest.New(t)
	rule := func(members string) string {
		return `{"name":"r","per":"key","requests":5,"window":"1m"` + members + `}`
	}
	for rules, want := range map[string]string{
		`{}`: "/limit_rules/0/name /limit_rules/0/per /limit_rules/0/window /limit_rules/0/requests",
		`{"name":"month","per":"both","requests":0,"window":"2m","match":{"type":"prod","route":"chat"}}`: "/limit_rules/0/name /limit_rules/0/per /limit_rules/0/window /limit_rules/0/requests /limit_rules/0/match/type /limit_rules/0/match/route",
		rule("") + "," + rule(""):                                                       "/limit_rules/1/name",
		rule(`,"burst":0`):                                                              "/limit_rules/0/burst",
		rule(`,"requests_per_minute":5`):                                                "",
		rule(`,"match":{"country":"de"}`):                                               "",
		rule(`,"until":"tomorrow"`):                                                     "",
		`{"name":"a b","per":"key","requests":5,"window":"1d","burst":5}`:               "/limit_rules/0/name /limit_rules/0/burst",
		`{"name":"r","per":"key","requests":100000001,"window":"1h"}`:                   "/limit_rules/0/requests",
		strings.TrimSuffix(strings.Repeat(rule("")+",", 17), ","):                       "/limit_rules",
		`{"name":"r","per":"key","requests":5,"window":"1m","match":{"route":"/a//b"}}`: "/limit_rules/0/match/route",
	} {
		for _, c := range [][3]string{
			{"POST", "/v1/accounts", `{"name":"a","limit_rules":[` + rules + `]}`}, {"PATCH", "/v1/accounts/default", `{"limit_rules":[` + rules + `]}`},
			{"POST", "/v1/tiers", `{"name":"t","live":{},"test":{},"limit_rules":[` + rules + `]}`}, {"PATCH", "/v1/tiers/free", `{"limit_rules":[` + rules + `]}`},
		} {
			a := g.Op(c[0], c[1], c[2])
			if a.Status != 422 {
				t.Errorf("%s %s: %d %s", c[0], c[2], a.Status, a.Body)
				continue
			}
			for _, param := range strings.Fields(want) {
				if !strings.Contains(a.Body, `"`+param+`"`) {
					t.Errorf("%s: %s is not named in %s", rules, param, a.Body)
				}
			}
		}
	}
}

// Every policy of the caller is shown to it, whatever its scopes; those of another key
// only to operators and keys with the scope admin.
func TestLimitsOfTheCaller(t *testing.T) {
	g := apitest.New(t)
	g.Op("PATCH", "/v1/accounts/default", `{"limit_rules":[{"name":"chat","per":"key","requests":600,"window":"1h","match":{"route":"/v1/chat"}},{"name":"dry","per":"account","requests":7,"window":"1d","shadow":true}]}`).Want(t, 200)
	made := g.Op("POST", "/v1/keys", `{"name":"k","type":"live","scopes":["custom"],"limits":{"requests_per_minute":9},"monthly_budget":2.5}`).Want(t, 201)
	key, id := made.Text("key"), made.Text("id")
	_, plain := g.Key("live", "read")
	adminID, admin := g.Key("live", "admin")
	rows := func(a apitest.Answer) string { return a.Want(t, 200).Body }
	for _, url := range []string{g.Admin.URL, g.Proxy.URL} {
		own := rows(g.Do(url, "GET", "/v1/limits", key, ""))
		for _, want := range []string{
			`{"policy":"minute",`, `{"policy":"month",`, `{"policy":"key-minute","limit":9,"window":"1m","remaining":9,`, `{"policy":"budget","limit":2.5,"window":"month","remaining":2.5,`,
			`{"policy":"chat","limit":600,"window":"1h","remaining":600,`, `{"policy":"dry","limit":7,"window":"1d","remaining":7,`, `"shadow":true}`,
		} {
			if !strings.Contains(own, want) {
				t.Errorf("the key sees no %s in %s", want, own)
			}
		}
		if other := rows(g.Do(url, "GET", "/v1/limits?key="+id, admin, "")); other != own {
			t.Errorf("an admin sees %s, the key %s", other, own)
		}
		g.Do(url, "GET", "/v1/limits?key="+adminID, plain, "").Want(t, 403, fault.InsufficientScope)
	}
	if a := rows(g.Op("GET", "/v1/limits?key="+id, "")); !strings.Contains(a, `"key-minute"`) {
		t.Errorf("an operator sees %s of the key", a)
	}
	if a := rows(g.Op("GET", "/v1/limits", "")); strings.Contains(a, `"chat"`) || !strings.Contains(a, `"dry"`) || !strings.Contains(a, `"minute"`) {
		t.Errorf("an operator sees %s of the account", a)
	}
	// Those of several keys each name theirs, in the order of the question.
	several := rows(g.Op("GET", "/v1/limits?key="+adminID+","+id, ""))
	if first, rest, ok := strings.Cut(several, `"key_id":"`+id); !ok || strings.Contains(rest, adminID) || !strings.Contains(first, adminID) ||
		strings.Count(several, `"key_id"`) != strings.Count(several, `"policy"`) || !strings.Contains(several, `"policy":"budget","limit":2.5`) {
		t.Errorf("an operator sees %s of two keys", several)
	}
	g.Do(g.Admin.URL, "GET", "/v1/limits?key="+id+","+adminID, key, "").Want(t, 403, fault.InsufficientScope)
	g.Op("GET", "/v1/limits?key="+id+",key_none", "").Want(t, 404, fault.NotFound)
	g.Op("GET", "/v1/limits?key="+strings.Repeat(id+",", 99)+id, "").Want(t, 200)
	for _, list := range []string{"," + id, id + ",", strings.Repeat(id+",", 100) + id, id + "," + strings.Repeat("k", 257)} {
		g.Op("GET", "/v1/limits?key="+list, "").Want(t, 422, fault.InvalidValue)
	}
	g.Op("GET", "/v1/limits?key=key_none", "").Want(t, 404, fault.NotFound)
	g.Op("GET", "/v1/limits?type=prod", "").Want(t, 422)
}
