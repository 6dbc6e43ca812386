package client_test

import (
	"testing"

	"github.com/perfgate/perfgate/httpapi/client"
)

// Amounts of money keep their digits, and a missing value differs from zero.
func TestDecodeKey(t *testing.T) {
	c, _ := serve(t, answering(200, `{"id":"key_1","name":"n","state":"active","max_cost_per_call":0.10,"monthly_budget":1000000000000.000001,"limits":{"requests_per_minute":0,"burst":null},`+
		`"expires_at":null,"last_used_at":"2027-01-31T00:00:00Z","environment":"","key":"pk_live_x","of_a_later_version":{},"warnings":["w"],`+
		`"revocation":{"index":3,"effective":false,"took_ms":9,"nodes":[{"name":"n1","how":"unconfirmed"}]}}`))
	k, err := c.GetKey(t.Context(), "key_1")
	if err != nil {
		t.Fatal(err)
	}
	if k.MaxCostPerCall.String() != "0.10" || k.MonthlyBudget.String() != "1000000000000.000001" {
		t.Errorf("amounts %s, %s", k.MaxCostPerCall, k.MonthlyBudget)
	}
	if k.Limits.PerMinute == nil || *k.Limits.PerMinute != 0 || k.Limits.Burst != nil || k.Limits.PerMonth != nil {
		t.Errorf("limits %+v", k.Limits)
	}
	if k.ExpiresAt != nil || !k.LastUsedAt.Equal(someTime) || k.Environment == nil || k.RevokedBy != nil || *k.Secret != "pk_live_x" || k.SecretWithheld || len(k.Warnings) != 1 || k.Warnings[0] != "w" {
		t.Errorf("%+v", k)
	}
	if r := k.Revocation; r.Index != 3 || r.Effective || r.TookMS != 9 || len(r.Nodes) != 1 || r.Nodes[0].How != "unconfirmed" {
		t.Errorf("revocation %+v", r)
	}
}

// The allowlist carries its ETag, for the If-Match of a change.
func TestDecodeAllowlist(t *testing.T) {
	c, rec := serve(t, answering(200, `{"entries":[{"cidr":"10.0.0.0/8","note":"n"}]}`))
	list, err := c.GetAllowlist(t.Context())
	if err != nil || list.ETag != `"7"` || len(list.Entries) != 1 || list.Entries[0] != (client.AllowEntry{CIDR: "10.0.0.0/8", Note: "n"}) {
		t.Fatalf("%+v, %v", list, err)
	}
	if list, err = c.SetAllowlist(t.Context(), list.Entries, client.IfMatch(list.ETag)); err != nil || list.ETag != `"7"` {
		t.Errorf("%+v, %v", list, err)
	}
	if got := rec.take()[1]; got.header.Get("If-Match") != `"7"` {
		t.Errorf("%+v", got)
	}
}

func TestDecodeVerdict(t *testing.T) {
	c, _ := serve(t, answering(200, `{"valid":false,"code":"rate_limited","key_id":null,"limits":{"minute":{"limit":5,"remaining":0,"reset":1800000000}},"retry_after":7}`))
	v, err := c.VerifyKey(t.Context(), client.VerifyRequest{})
	if err != nil || v.Valid || *v.Code != "rate_limited" || v.KeyID != nil || v.Limits["minute"].Limit != 5 || v.Limits["minute"].Reset != 1_800_000_000 || *v.RetryAfter != 7 {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestDecodeUsage(t *testing.T) {
	c, _ := serve(t, answering(200, `{"data":[{"time":"2027-01-31T00:00:00Z","group":"g","requests":3,"denied":2,"units":1,"cost":0.30,"failed":6,"billable":4},{"time":"2027-01-31T00:00:00Z","group":null,"requests":0,"denied":0}],"missing":[{"node":"n2","reason":"it is down"}]}`))
	all, err := c.Insight().Usage(t.Context(), client.UsageQuery{})
	if err != nil {
		t.Fatal(err)
	}
	rows := all.Data
	if len(rows) != 2 || rows[0].Failed != 6 || len(all.Missing) != 1 || all.Missing[0].Node != "n2" || rows[0].Cost.String() != "0.30" || *rows[0].Group != "g" || rows[0].Billable != 4 || rows[1].Group != nil {
		t.Errorf("%+v, %v", rows, err)
	}
}
