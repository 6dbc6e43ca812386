package manage_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/store"
)

// Limits of an earlier version that exceed what a bucket enforces are shown as they are
// enforced, and can be sent back as they are shown.
func TestLimitsOfAnEarlierVersion(t *testing.T) {
	g := apitest.New(t)
	id, _ := g.Key("live")
	large, month := int64(store.MaxPerMinute)*5, int64(store.MaxRequests)
	limits := store.Limits{PerMinute: &large, Burst: &large, PerMonth: &month}
	for _, cmd := range []*store.Command{
		{Account: store.DefaultAccount, Change: &store.KeyUpdate{ID: store.KeyID(id), Limits: &limits}},
		{Account: store.DefaultAccount, Change: &store.AccountUpdate{Limits: &limits}},
		{Account: store.DefaultAccount, Change: &store.TierPut{Tier: store.Tier{Name: "huge", Live: limits, Test: limits}}},
	} {
		if r, err := g.Backend.Apply(cmd); err != nil || r.Refusal != nil {
			t.Fatalf("%T: %v, %v", cmd.Change, err, r.Refusal)
		}
	}
	for _, c := range []struct{ path, member string }{
		{"/v1/keys/" + id, "limits"}, {"/v1/accounts/" + string(store.DefaultAccount), "limits"},
		{"/v1/tiers/huge", "live"}, {"/v1/tiers/huge", "test"},
	} {
		shown := g.Op("GET", c.path, "").Want(t, 200)
		var all map[string]json.RawMessage
		apitest.Must(t, json.Unmarshal([]byte(shown.Body), &all))
		const want = `{"requests_per_minute":100000000,"burst":100000000,"requests_per_month":`
		if got := string(all[c.member]); !strings.HasPrefix(strings.ReplaceAll(got, " ", ""), want) {
			t.Errorf("%s: %s is %s", c.path, c.member, got)
		}
		g.Op("PATCH", c.path, `{"`+c.member+`":`+string(all[c.member])+`}`).Want(t, 200)
	}
}
