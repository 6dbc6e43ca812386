package admit

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/limiter"
	"github.com/perfgate/perfgate/store"
)

// told writes down what a watcher is told.
type told struct{ lines []string }

func (w *told) Exposed(_ *store.Record, client netip.Addr, refused bool) {
	w.lines = append(w.lines, fmt.Sprintf("exposed %v %v", client, refused))
}

func (w *told) Refused(_ *store.Record, policy string, limit int64) {
	w.lines = append(w.lines, fmt.Sprintf("refused %s %d", policy, limit))
}

func (w *told) Spent(_ *store.Record, s Spent) {
	w.lines = append(w.lines, fmt.Sprintf("spent %s %d/%d %d%% by key %v, daily %v", s.Policy, s.Used, s.Limit, s.Percent(), s.Key != "", s.Daily))
}

func (w *told) Failed(account store.AccountID, code fault.Code, hint string, client netip.Addr) {
	w.lines = append(w.lines, fmt.Sprintf("failed %q %s hint %v %v", account, code, hint != "", client))
}

func (w *told) take() string {
	out := strings.Join(w.lines, "; ")
	w.lines = nil
	return out
}

// The watcher is told of every step that an owner may want to know of, and of nothing else.
func TestWatcher(t *testing.T) {
	h := newHarness(t)
	w := new(told)
	h.cfg.Watcher = w
	h.apply(&store.Command{Change: &store.AccountUpdate{
		Limits: &store.Limits{PerMonth: ptr(int64(5))}, Alerts: &[]int{40, 100},
		Rules: &[]store.LimitRule{{Name: "daily", Per: store.PerKey, Requests: 4, Window: limiter.EachDay}, {Name: "trial", Per: store.PerAccount, Requests: 1, Window: limiter.EachDay, Shadow: true}},
	}})
	key := h.key(nil)
	gone := h.key(func(k *store.Key) { k.ID = "key_gone" })
	h.apply(&store.Command{Change: &store.KeyRevoke{ID: "key_gone"}})
	send := func(key string, set func(*http.Request), want string) {
		t.Helper()
		p, f := h.Check(post(key, set), here, chat, noon)
		if f == nil {
			_ = h.Charge(t.Context(), &p, 1, 0, noon)
		}
		if got := w.take(); got != want {
			t.Errorf("told %q, want %q", got, want)
		}
	}
	browser := func(r *http.Request) { r.Header.Set("Origin", "https://shop.example") }
	send(key, nil, "")
	send(key, browser, "exposed 203.0.113.7 false; spent month 2/5 40% by key false, daily false; spent daily 2/4 50% by key true, daily true")
	send(key, nil, "spent month 3/5 60% by key false, daily false; spent daily 3/4 75% by key true, daily true")
	send(key, nil, "spent month 4/5 80% by key false, daily false; spent daily 4/4 100% by key true, daily true")
	send(key, nil, "refused daily 4; spent month 4/5 80% by key false, daily false; spent daily 4/4 100% by key true, daily true")
	send(gone, nil, `failed "default" key_revoked hint true 203.0.113.7`)
	send("pk_live_short", nil, `failed "" malformed_key hint false 203.0.113.7`)
	send("", nil, "")
	h.apply(&store.Command{Change: &store.AccountUpdate{BrowserKeys: ptr(store.BrowserBlock), Alerts: &[]int{}}})
	send(key, browser, "exposed 203.0.113.7 true")
	send(key, nil, "refused daily 4")
}
