package cli

import "testing"

const (
	anIncident = `"id":"inc_1","title":"Leak","state":"open","match":{},"action":"rotate","freeze":true,"matched":1,"revoked":0,"rotated":1,"opened_at":"2027-01-31T15:04:05Z","opened_by":{"type":"operator","id":"op"},"closed_at":null,"closed_by":null`
	showsLeak  = "id       inc_1\ntitle    Leak\nstate    open\naction   rotate\nfreeze   no keys are made until it is closed\nmatched  1\nrevoked  0\nrotated  1\nopened   2027-01-31 15:04"
)

func TestIncidents(t *testing.T) {
	s := start(t, map[string]answer{
		"POST /v1/incidents":             {status: 201, body: `{` + anIncident + `,"keys":["key_1"],"head":null,"new_keys":[{"id":"key_2","replaces":"key_1","key":"pk_live_x"}],"failed":[],"revocation":null}`},
		"GET /v1/incidents":              {body: `{"data":[{` + anIncident + `}],"next_cursor":null}`},
		"GET /v1/incidents/inc_1":        {body: `{` + anIncident + `}`},
		"POST /v1/incidents/inc_1/close": {body: `{` + anIncident + `}`},
	})
	testCommands(t, s, []commandTest{
		{args: "incident open Leak key_1 --action rotate --freeze --type live", calls: `POST /v1/incidents {"action":"rotate","freeze":true,"match":{"ids":["key_1"],"type":"live"},"title":"Leak"}`,
			out: showsLeak + "\nnew key  pk_live_x  key_2, replaces key_1"},
		{args: "incident open Drill", calls: `POST /v1/incidents {"action":"none","freeze":false,"title":"Drill"}`, out: showsLeak + "\nnew key  pk_live_x  key_2, replaces key_1"},
		{args: "incident list", calls: "GET /v1/incidents?limit=1000", out: "ID     TITLE  STATE  ACTION  KEYS  OPENED\ninc_1  Leak   open   rotate     1  2027-01-31 15:04"},
		{args: "incident get inc_1", calls: "GET /v1/incidents/inc_1", out: showsLeak},
		{args: "incident close inc_1", calls: "POST /v1/incidents/inc_1/close", out: showsLeak},
	})
	testFailures(t, s, []failure{
		{args: "incident open", code: 2, err: "requires at least 1 arg"},
		{args: "incident open Leak pk_live_0123456789ABCDEFGHIJKLMNOPQRSTUV1j90KZ", code: 2, err: "is a key and not the id of one"},
		{args: "incident report inc_9", code: 1, err: "No such route"},
	})
}
