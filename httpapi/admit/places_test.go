package admit

import (
	"fmt"
	"testing"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/limiter"
	"github.com/perfgate/perfgate/store"
)

// An account that fills the table with identifiers is refused itself; other accounts go on.
func TestRateLimitPlacesOfAccounts(t *testing.T) {
	h := newHarness(t)
	const places = 64 * 64
	h.cfg.Buckets = limiter.NewBuckets(places)
	ask := func(account, who string, i int) fault.Code {
		_, f := h.RateLimit(&RateRequest{Identifier: fmt.Sprint(who, i), Limit: 10, Window: "24h", Caller: store.AccountID(account)}, h.now)
		return code(f)
	}
	refused := 0
	for i := range places + 2000 {
		if ask("acct_heavy", "random", i) == fault.Unavailable {
			refused++
		}
	}
	if refused < 1000 {
		t.Fatalf("the table is not full: %d are refused", refused)
	}
	for i := range places / 8 {
		if c := ask("acct_other", "user", i); c != "" {
			t.Fatalf("identifier %d of another account: %s", i, c)
		}
	}
}
