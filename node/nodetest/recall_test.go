package nodetest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/node/nodetest"
)

func ptr[T any](v T) *T { return &v }

// shared is a cluster of three nodes whose clients spend the same months.
type shared struct {
	t *testing.T
	c *nodetest.Cluster
}

// sharing starts the cluster. Its upstream states a cost of 0.01 on /cost/; a request
// to /seven/ costs 7 units.
func sharing(t *testing.T) *shared {
	c := nodetest.New(t, 3)
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Cost", "0.01") }))
	t.Cleanup(func() { up.CloseClientConnections(); up.Close() })
	for _, n := range c.Nodes {
		n.Setup.File = fmt.Sprintf("[[proxy.routes]]\npath = \"/cost/\"\nupstreams = [%q]\ncost = \"header:X-Cost\"\n"+
			"[[proxy.routes]]\npath = \"/seven/\"\nupstreams = [%q]\nunits = 7\n", up.URL, up.URL)
		n.Start()
	}
	c.WaitHealthy()
	return &shared{t, c}
}

// key makes a key on the first node, in an account of its own.
func (s *shared) key(a client.NewAccount, k client.NewKey) string {
	s.t.Helper()
	api := s.c.API(0)
	a.Name, a.Tier, k.Name, k.Type = "Acme", "enterprise", "key", "live"
	account, err := api.Accounts().Create(s.t.Context(), a)
	if err != nil {
		s.t.Fatal(err)
	}
	api.Account = account.ID
	made, err := api.CreateKey(s.t.Context(), k)
	if err != nil {
		s.t.Fatal(err)
	}
	return *made.Secret
}

// admitted counts the requests that pass, through node of i for request i, until one
// does not; it must be refused with code.
func (s *shared) admitted(method, path, key, code string, most int, of func(i int) int) (n int) {
	s.t.Helper()
	for ; n < most; n++ {
		if a := s.c.Nodes[of(n)].Request(method, path, key); a.Status != 200 {
			if a.Code != code {
				s.t.Fatalf("request %d: %v", n, a)
			}
			return n
		}
	}
	return n
}

func inTurn(i int) int { return i % 3 }

// Through several nodes a client spends exactly its limit: they give back the units that
// they hold and do not need before one of them refuses.
func TestNodesSpendMonthsTogether(t *testing.T) {
	t.Parallel()
	s := sharing(t)
	month := &client.Limits{PerMinute: ptr(int64(1_000_000)), PerMonth: ptr(int64(1000))}
	byTurns := func(i int) int { return min(i/300, 2) } // 300 by the first, 300 by the second, then the third
	for _, c := range []struct {
		name, method, path, code string
		account                  client.NewAccount
		key                      client.NewKey
		want                     int
		of                       func(int) int
	}{
		{name: "budget", method: "POST", path: "/cost/", code: "budget_exceeded", want: 101, of: inTurn,
			key: client.NewKey{MonthlyBudget: ptr(json.Number("2")), MaxCostPerCall: ptr(json.Number("1"))}},
		{name: "key's month", method: "GET", path: "/", code: "requests_per_month", want: 1000, of: byTurns, key: client.NewKey{Limits: month}},
		{name: "account's month", method: "GET", path: "/", code: "requests_per_month", want: 1000, of: byTurns, account: client.NewAccount{Limits: month}},
		{name: "seven units", method: "GET", path: "/seven/", code: "requests_per_month", want: 14, of: inTurn,
			key: client.NewKey{Limits: &client.Limits{PerMonth: ptr(int64(98))}}},
	} {
		key := s.key(c.account, c.key)
		if n := s.admitted(c.method, c.path, key, c.code, c.want+1, c.of); n != c.want {
			t.Errorf("%s: %d requests passed, want %d", c.name, n, c.want)
		}
		for i := range s.c.Nodes {
			if n := s.admitted(c.method, c.path, key, c.code, 1, func(int) int { return i }); n != 0 {
				t.Errorf("%s: node %d goes on", c.name, i)
			}
		}
	}
}
