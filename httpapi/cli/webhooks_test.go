package cli

import "testing"

const (
	aWebhook   = `{"id":"whk_1","url":"https://a.example/","events":["key.revoked"],"enabled":true,"disabled_reason":null,"pending":2,"dropped":0,"old_secret_ends_at":null,"created_at":"2027-01-31T15:04:05Z","created_by":"op"}`
	goneHook   = `{"id":"whk_2","url":"https://b.example/","events":[],"enabled":false,"disabled_reason":"gone","pending":0,"dropped":3,"old_secret_ends_at":"2027-02-01T15:04:05Z","created_at":"2027-01-31T15:04:05Z","created_by":"op"}`
	newHook    = `{"id":"whk_1","url":"https://a.example/","events":["key.revoked"],"enabled":true,"disabled_reason":null,"pending":0,"dropped":0,"old_secret_ends_at":null,"created_at":"2027-01-31T15:04:05Z","created_by":"op","secret":"whsec_YQ=="}`
	aDelivery  = `{"id":"dlv_1","webhook_id":"msg_1","type":"webhook.test","created_at":"2027-01-31T15:04:05Z","state":"pending","attempts":1,"next_attempt_at":"2027-01-31T15:04:10Z","ended_at":null,"log":[{"at":"2027-01-31T15:04:05Z","status":503,"error":"answered 503","duration_ms":5}],"body":{}}`
	showsHook  = "id       whk_1\nurl      https://a.example/\nevents   key.revoked\nstate    enabled\npending  2"
	showsTry   = "id            dlv_1\nwebhook-id    msg_1\ntype          webhook.test\nstate         pending\nattempts      1\nlast          answered 503\nnext attempt  2027-01-31 15:04"
	showsNew   = "id       whk_1\nurl      https://a.example/\nevents   key.revoked\nstate    enabled\nsecret   whsec_YQ==\npending  0"
	hookDelete = `{"id":"whk_1","deleted":true}`
)

func TestWebhooks(t *testing.T) {
	s := start(t, map[string]answer{
		"POST /v1/webhooks":                                  {status: 201, body: newHook},
		"GET /v1/webhooks":                                   {body: `{"data":[` + aWebhook + `,` + goneHook + `],"next_cursor":null}`},
		"GET /v1/webhooks/whk_1":                             {body: aWebhook},
		"PATCH /v1/webhooks/whk_1":                           {body: aWebhook},
		"DELETE /v1/webhooks/whk_1":                          {body: hookDelete},
		"POST /v1/webhooks/whk_1/rotate-secret":              {body: newHook},
		"POST /v1/webhooks/whk_1/test":                       {body: aDelivery},
		"GET /v1/webhooks/whk_1/deliveries":                  {body: `{"data":[` + aDelivery + `],"next_cursor":null}`},
		"POST /v1/webhooks/whk_1/deliveries/dlv_1/redeliver": {body: aDelivery},
		"POST /v1/webhooks/whk_1/redeliver":                  {body: `{"queued":7}`},
	})
	testCommands(t, s, []commandTest{
		{args: "webhooks create https://a.example/ --event key.revoked", out: showsNew, err: "Copy the secret now: it is not shown again.", calls: `POST /v1/webhooks {"events":["key.revoked"],"url":"https://a.example/"}`},
		{args: "webhooks list", calls: "GET /v1/webhooks?limit=1000", out: `ID     URL                 EVENTS       STATE           PENDING
whk_1  https://a.example/  key.revoked  enabled               2
whk_2  https://b.example/  all          disabled: gone        0`},
		{args: "webhooks get whk_1", calls: "GET /v1/webhooks/whk_1", out: showsHook},
		{args: "webhooks update whk_1 --enabled=false --url https://c.example/", out: showsHook, calls: `PATCH /v1/webhooks/whk_1 {"enabled":false,"url":"https://c.example/"}`},
		{args: "webhooks delete whk_1", calls: "DELETE /v1/webhooks/whk_1", out: "deleted  whk_1"},
		{args: "webhooks rotate-secret whk_1 --overlap 7d", out: showsNew, err: "Copy the secret now: it is not shown again.", calls: `POST /v1/webhooks/whk_1/rotate-secret {"overlap":"7d"}`},
		{args: "webhooks rotate-secret whk_1 --overlap 0s", out: showsNew, err: "Copy the secret now: it is not shown again.", calls: `POST /v1/webhooks/whk_1/rotate-secret {"overlap":"0s"}`},
		{args: "webhooks test whk_1", calls: "POST /v1/webhooks/whk_1/test", out: showsTry},
		{args: "webhooks deliveries whk_1 --state pending", calls: "GET /v1/webhooks/whk_1/deliveries?limit=100&state=pending", out: `ID     TYPE          CREATED           STATE    ATTEMPTS  LAST
dlv_1  webhook.test  2027-01-31 15:04  pending         1  answered 503`},
		{args: "webhooks redeliver whk_1 dlv_1", calls: "POST /v1/webhooks/whk_1/deliveries/dlv_1/redeliver", out: showsTry},
		{args: "webhooks redeliver whk_1 --since 2027-01-31T15:00:00Z", calls: `POST /v1/webhooks/whk_1/redeliver {"since":"2027-01-31T15:00:00Z"}`, out: "queued  7"},
	})
	testFailures(t, s, []failure{
		{args: "webhooks create", code: 2, err: "accepts 1 arg"},
		{args: "webhooks update whk_1", code: 2, err: "nothing to change"},
		{args: "webhooks redeliver whk_1", code: 2, err: "--since"},
		{args: "webhooks redeliver whk_1 dlv_1 --since 2027-01-31T15:00:00Z", code: 2, err: "not both"},
		{args: "webhooks get whk_9", code: 1, err: "No such route"},
	})
}
