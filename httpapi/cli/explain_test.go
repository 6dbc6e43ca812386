package cli

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/client"
)

func eventAt(id, sec int) *client.Event {
	return &client.Event{ID: fmt.Sprintf("evt_%d", id), Time: time.Date(2027, 1, 1, 0, 0, sec, 0, time.UTC)}
}

const (
	deniedEvent = `{"id":"evt_1","time":"2027-01-01T00:00:00.5Z","action":"request","outcome":"denied","reason":"insufficient_scope",` +
		`"actor":{"type":"key","id":"key_1","name":"CI"},"account":"acct_2","key_id":"key_1","ip":"192.0.2.1","user_agent":"curl/8",` +
		`"request":{"id":"req_1","method":"POST","path":"/v1/x","route":"/v1/","upstream":null,"attempts":0,"status":403,"duration_ms":1.23456}}`
	strangeEvent = `{"id":"evt_2","time":"2027-01-01T00:00:00Z","action":"request","outcome":"denied","reason":"unheard_of","request":{"id":"req_2"}}`
	changeEvent  = `{"id":"evt_3","time":"2027-01-01T00:00:00Z","action":"key.update","outcome":"success","actor":{"type":"operator","name":"ann"},` +
		`"account":"acct_1","request":{"id":"req_3","method":"PATCH","route":"/v1/keys/{id}"},"changes":{"state":["active","disabled"]}}`
	failedEvent = `{"id":"evt_4","time":"2027-01-01T00:00:00Z","action":"request","outcome":"error","reason":"upstream_unreachable",` +
		`"actor":{"type":"key","id":"key_1"},"account":"default","key_id":"key_1","request":{"id":"req_5","method":"GET","path":"/v1/it's",` +
		`"route":"/v1/","upstream":"http://10.0.0.5:9000","attempts":2,"status":502,"duration_ms":3}}`
)

func TestExplain(t *testing.T) {
	s := start(t, map[string]answer{"GET /v1/audit-logs": {body: `{"id":"evt_0","time":"2027-01-01T00:00:00Z","action":"backup","changes":null}` + "\n" +
		deniedEvent + "\n" + strangeEvent + "\n" + changeEvent + "\n" + failedEvent + "\n"}})
	for _, tt := range []struct{ id, event, out string }{
		{"req_1", deniedEvent, `time      2027-01-01T00:00:00.5Z
request   POST /v1/x
route     /v1/
caller    key key_1
account   acct_2
from      192.0.2.1 curl/8
upstream  none; the request was not sent on
outcome   denied, status 403 after 1.23 ms
reason    insufficient_scope: The key lacks the scope that this request needs.
next      perfgate keys get key_1 --account acct_2`},
		{"req_2", strangeEvent, `time      2027-01-01T00:00:00Z
route     none
caller    not recognized
account   unknown
upstream  none; the request was not sent on
outcome   denied
reason    unheard_of`},
		{"req_3", changeEvent, `time     2027-01-01T00:00:00Z
request  PATCH /v1/keys/{id}
action   key.update
caller   operator ann
account  acct_1
outcome  success
changes  {"state":["active","disabled"]}`},
		{"req_5", failedEvent, `time      2027-01-01T00:00:00Z
request   GET /v1/it's
route     /v1/
caller    key key_1
account   default
upstream  http://10.0.0.5:9000, the last of 2 attempts
outcome   error, status 502 after 3 ms
reason    upstream_unreachable: The service behind the gateway could not be reached.
next      curl -v 'http://10.0.0.5:9000/v1/it'\''s'`},
	} {
		if got := s.run(t, "", "explain", tt.id); got.code != 0 || got.err != "" || trimLines(got.out) != tt.out {
			t.Errorf("%s: exit code %d, %s\n%s\nwant\n%s", tt.id, got.code, got.err, got.out, tt.out)
		}
		if got := s.run(t, "", "explain", tt.id, "--json"); got.code != 0 || got.out != tt.event+"\n" {
			t.Errorf("%s --json: %+v", tt.id, got)
		}
	}
	got := s.run(t, "", "explain", "req_4", "--since", "2h")
	if got.code != 1 || !strings.Contains(got.err, `no event of the last 2h has the request id "req_4"; try a longer --since`) {
		t.Errorf("%+v", got)
	}
	u, err := url.Parse(strings.TrimPrefix(s.received(), "GET "))
	if err != nil {
		t.Fatal(err)
	}
	from, err := time.Parse(time.RFC3339, u.Query().Get("start_date"))
	if err != nil || time.Since(from) < 2*time.Hour || time.Since(from) > 2*time.Hour+time.Minute || u.Query().Get("format") != "ndjson" {
		t.Errorf("query %s: %v", u, err)
	}
}

func TestSecurityReports(t *testing.T) {
	s := start(t, map[string]answer{
		"GET /v1/security/events": {body: `{"from":"2027-01-01T00:00:00Z","to":"2027-01-31T00:00:00Z","failed_authentications":{"requests":9,"reasons":[{"reason":"invalid_key","requests":9}],` +
			`"keys":[{"key_id":"key_1","requests":1}],"addresses":[{"ip":"203.0.113.7","country":"DE","requests":8}],"countries":[{"country":"DE","requests":8}],"hints":[{"hint":"pk_live_a…b","requests":7}]},` +
			`"anomalies":[{"id":"fnd_1","kind":"new_country","time":"2027-01-30T10:00:00Z","key_id":"key_1","subject":"BR","usual":"uses from DE","seen":"a use from BR","window_seconds":60}],"missing":[]}`},
		"GET /v1/security/hygiene": {body: `{"checked":2,"data":[{"key_id":"key_1","name":"n","type":"live","finding":"idle","detail":"last used 100 days ago","command":"perfgate keys revoke key_1 --reason unused"}],"truncated":false,"missing":[]}`},
	})
	testCommands(t, s, []commandTest{
		{args: "security events --key key_1 --from 2027-01-01", calls: "GET /v1/security/events?from=2027-01-01&key=key_1", out: `FAILED AUTHENTICATIONS    REQUESTS
all                              9
reason invalid_key               9
key key_1                        1
address 203.0.113.7 (DE)         8
country DE                       8
credential pk_live_a…b           7
TIME              UNUSUAL      KEY    USUAL         SEEN
2027-01-30 10:00  new_country  key_1  uses from DE  a use from BR`},
		{args: "security hygiene", calls: "GET /v1/security/hygiene", out: `KEY    NAME  FINDING  DETAIL                  COMMAND
key_1  n     idle     last used 100 days ago  perfgate keys revoke key_1 --reason unused`},
	})
}

func TestUsageReport(t *testing.T) {
	s := start(t, map[string]answer{"GET /v1/usage": {body: `{"data":[{"time":"2027-01-01T00:00:00Z","group":"key_1","requests":5,"denied":1,"units":4,"cost":0.30,"billable":4},` +
		`{"time":"2027-01-02T00:00:00Z","group":null,"requests":12000,"denied":0,"units":0,"cost":12.000001,"billable":0}],"missing":[{"node":"n2","reason":"it does not answer"}]}`},
		"GET /v1/usage/keys/key_1": {body: `{"id":"key_1","from":"2027-01-01T00:00:00Z","to":"2027-01-31T00:00:00Z","requests":7,"denied":2,"failed":1,"units":4,"cost":0.5,"billable":3,` +
			`"failures":[{"reason":"key_expired","requests":2}],"statuses":[{"status":"200","requests":4}],"countries":[{"country":"DE","requests":6},{"country":null,"requests":1}],` +
			`"failing_addresses":[{"ip":"203.0.113.7","country":"DE","requests":2}],"last_use":{"at":"2027-01-30T10:00:00Z","ip":"203.0.113.9","country":"DE"},"missing":[]}`}})
	testCommands(t, s, []commandTest{
		{args: "usage", calls: "GET /v1/usage", out: `TIME              REQUESTS  DENIED  FAILED  UNITS       COST  BILLABLE
2027-01-01 00:00         5       1       0      4       0.30         4
2027-01-02 00:00     12000       0       0      0  12.000001         0`, err: "perfgate: node n2 is missing in this answer: it does not answer"},
		{args: "keys usage key_1 --from 2027-01-01", calls: "GET /v1/usage/keys/key_1?from=2027-01-01", out: `key                      key_1
from                     2027-01-01 00:00
to                       2027-01-31 00:00
requests                 7
denied                   2
failed                   1
units                    4
cost                     0.5
billable                 3
last use                 2027-01-30 10:00 203.0.113.9 DE
status 200               4
country DE               6
country unknown          1
failed: key_expired      2
failed from 203.0.113.7  2`},
		{args: "usage --from 2027-01-01 --to 2027-01-31 --step day --key key_1 --type live --environment e --group-by key",
			calls: "GET /v1/usage?environment=e&from=2027-01-01&group_by=key&key=key_1&step=day&to=2027-01-31&type=live", out: `TIME              REQUESTS  DENIED  FAILED  UNITS       COST  BILLABLE  GROUP
2027-01-01 00:00         5       1       0      4       0.30         4  key_1
2027-01-02 00:00     12000       0       0      0  12.000001         0  -`, err: "perfgate: node n2 is missing in this answer: it does not answer"},
	})
}
