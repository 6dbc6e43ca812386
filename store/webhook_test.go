package store

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/cockroachdb/pebble/v2"
	"github.com/go-json-experiment/json/jsontext"
)

func newHook(name string, events ...string) Webhook {
	return Webhook{ID: WebhookID("whk_" + name), URL: "https://" + name + ".example/", Enabled: true, Events: events, Signing: Signing{Secret: "whsec_YQ=="}}
}

// fillQueue has an endpoint's queue count as full.
func (h *harness) fillQueue(id WebhookID) {
	h.Helper()
	q, err := h.Queue(id)
	if err != nil {
		h.Fatal(err)
	}
	q.Pending = MaxPending
	if err := h.db.Set(queueRow(id), packQueue(q), pebble.NoSync); err != nil {
		h.Fatal(err)
	}
}

// waiting lists the types of the deliveries that wait for an endpoint.
func (h *harness) waiting(id WebhookID) (types []string) {
	h.Helper()
	err := h.PendingDeliveries(id, func(d *Delivery) bool {
		types = append(types, d.Type)
		return true
	})
	if err != nil {
		h.Fatal(err)
	}
	q, err := h.Queue(id)
	if err != nil || q.Pending != int64(len(types)) {
		h.Errorf("%s counts %d deliveries and has %d (%v)", id, q.Pending, len(types), err)
	}
	return types
}

// Every cause queues its notice with the same command, in order, and for the endpoints of
// its account alone that want its type.
func TestNoticesOfChanges(t *testing.T) {
	h := begun(t)
	h.must(&Command{Change: &AccountCreate{Account: Account{ID: "acct_b"}}, Account: "acct_b"})
	h.must(&Command{Change: &WebhookCreate{Webhook: newHook("all")}})
	h.must(&Command{Change: &WebhookCreate{Webhook: newHook("some", NoticeRevoked)}})
	h.must(&Command{Account: "acct_b", Change: &WebhookCreate{Webhook: newHook("other")}})
	h.must(create("a"))
	h.must(create("b"))
	h.must(create("c"))
	h.must(&Command{Change: &KeyRotate{ID: "key_a", New: "key_d", Hash: hashOf("d")}})
	h.must(&Command{Change: &KeyRevoke{ID: "key_b"}})
	h.must(&Command{Change: &KeyRevokeBulk{IDs: []KeyID{"key_c", "key_d"}}})
	h.must(&Command{Change: &KeyImport{Keys: []Key{newKey("e"), newKey("f")}}})
	h.must(&Command{Change: &AllowlistSet{}})
	h.refused(NotFound, &Command{Change: &KeyRevoke{ID: "key_none"}})
	got := strings.Join(h.waiting("whk_all"), " ")
	if want := "key.created key.created key.created key.rotated key.revoked key.revoked key.revoked key.created key.created allowlist.updated"; got != want {
		t.Errorf("queued %s, want %s", got, want)
	}
	if got := h.waiting("whk_some"); len(got) != 3 || slices.ContainsFunc(got, func(s string) bool { return s != NoticeRevoked }) {
		t.Errorf("queued %v for the endpoint of one type", got)
	}
	if got := h.waiting("whk_other"); len(got) != 0 {
		t.Errorf("queued %v for another account", got)
	}
	h.must(&Command{Account: "acct_b", Change: &AccountDelete{}})
	if h.Webhook("acct_b", "whk_other") != nil {
		t.Error("the endpoint of a deleted account is left")
	}
	if n, err := h.AllPending(); err != nil || n != 13 {
		t.Errorf("%d deliveries wait in all (%v), want 13", n, err)
	}
}

// The ids of notices are those of no other cluster, although the places may be.
func TestNoticeIDs(t *testing.T) {
	seen := map[string]bool{}
	for _, cluster := range []string{"c8", "c9"} {
		h := empty(t)
		h.must(&Command{Change: &Init{ClusterID: cluster, DefaultTier: "free"}})
		h.must(&Command{Change: &WebhookCreate{Webhook: newHook("a")}})
		h.must(create("a"))
		h.must(create("b"))
		if err := h.PendingDeliveries("whk_a", func(d *Delivery) bool {
			if seen[d.Notice] || !strings.Contains(string(d.Body), `"id":"`+d.Notice+`"`) {
				t.Errorf("the id %s is not new, or not in the body %s", d.Notice, d.Body)
			}
			seen[d.Notice] = true
			return true
		}); err != nil {
			t.Fatal(err)
		}
	}
	if len(seen) != 4 {
		t.Errorf("%d ids, want 4", len(seen))
	}
}

// Beyond the bound nothing is queued; it is counted, and audited with the next outcome.
func TestFullQueue(t *testing.T) {
	h := begun(t)
	h.must(&Command{Change: &WebhookCreate{Webhook: newHook("a")}})
	h.must(create("a"))
	place := Place{Index: h.index}
	h.fillQueue("whk_a")
	h.must(create("b"))
	h.must(create("c"))
	h.refused(LimitReached, &Command{Change: &WebhookTest{ID: "whk_a"}})
	q, err := h.Queue("whk_a")
	if err != nil || q.Dropped != 3 || q.Pending != MaxPending || !q.Lost {
		t.Errorf("%+v (%v), want 3 dropped", q, err)
	}
	h.must(&Command{Change: &DeliveriesDone{Results: []DeliveryResult{{Account: DefaultAccount, Webhook: "whk_a", Place: place, State: Delivered}}}})
	h.must(create("d"))
	if q, err = h.Queue("whk_a"); err != nil || q.Dropped != 3 || q.Pending != MaxPending || q.Lost {
		t.Errorf("%+v (%v), want one delivered and another queued", q, err)
	}
	n := 0
	for e, err := range h.Events(EventQuery{Account: DefaultAccount, Action: "webhook.overflow"}) {
		if n++; err != nil || e.Target != "whk_a" || !strings.HasPrefix(e.Reason, "3 notices") {
			t.Errorf("%+v %v", e, err)
		}
	}
	if n != 1 {
		t.Errorf("%d events of the overflow, want 1", n)
	}
	for i := range MaxWebhooks - 1 {
		h.must(&Command{Change: &WebhookCreate{Webhook: newHook(fmt.Sprint("n", i))}})
	}
	h.refused(LimitReached, &Command{Change: &WebhookCreate{Webhook: newHook("more")}})
}

// The texts of strangers end no node: those of endpoints, which are cut, and of browsers.
func TestTextsOfStrangers(t *testing.T) {
	h := begun(t)
	h.must(&Command{Change: &WebhookCreate{Webhook: newHook("a")}})
	for pad := range 4 {
		h.must(create(fmt.Sprint("k", pad)))
		place := Place{Index: h.index}
		h.must(&Command{Change: &DeliveriesDone{Results: []DeliveryResult{{
			Account: DefaultAccount, Webhook: "whk_a", Place: place, State: Pending,
			Try: &Try{At: h.at, Error: strings.Repeat("x", pad) + strings.Repeat("é", MaxTryError) + "\xff"},
		}}}})
		d, err := h.Delivery("whk_a", place)
		if err != nil || d == nil || len(d.Tries) != 1 || !utf8.ValidString(d.Tries[0].Error) || len(d.Tries[0].Error) < MaxTryError-1 {
			t.Fatalf("%+v, %v", d, err)
		}
	}
	hook := newHook("b")
	hook.CreatedBy = "\xff\xfe"
	h.must(&Command{Change: &WebhookCreate{Webhook: hook}})
}

// Finished deliveries leave after their time, or when there are too many.
func TestSweepDeliveries(t *testing.T) {
	h := begun(t)
	h.must(&Command{Change: &WebhookCreate{Webhook: newHook("a")}})
	finish := func() {
		h.must(&Command{Change: &Alert{Type: NoticeExposed, Cause: fmt.Sprint(h.index), Data: jsontext.Value("{}"), Until: h.at}})
		h.must(&Command{Change: &DeliveriesDone{Results: []DeliveryResult{{Account: DefaultAccount, Webhook: "whk_a", Place: Place{Index: h.index}, State: Delivered}}}})
	}
	for range 5 {
		finish()
	}
	left := func() int64 {
		t.Helper()
		list, _, err := h.Deliveries("whk_a", nil, "", 100)
		q, fault := h.Queue("whk_a")
		if err != nil || fault != nil || q.Finished != int64(len(list)) {
			t.Fatalf("%d finished, %+v: %v, %v", len(list), q, err, fault)
		}
		return q.Finished
	}
	h.pass(FinishedKept - time.Minute)
	finish()
	if n := left(); n != 6 {
		t.Fatalf("%d finished deliveries before their time, want 6", n)
	}
	h.pass(2 * time.Minute)
	finish()
	if n := left(); n != 2 {
		t.Fatalf("%d finished deliveries after the time of five, want 2", n)
	}
	q, _ := h.Queue("whk_a")
	q.Finished = MaxFinished + 1
	if err := h.db.Set(queueRow("whk_a"), packQueue(q), pebble.NoSync); err != nil {
		t.Fatal(err)
	}
	h.pass(time.Minute)
	h.must(create("a"))
	if q, err := h.Queue("whk_a"); err != nil || q.Finished != MaxFinished {
		t.Errorf("%+v %v, want the oldest removed", q, err)
	}
}

func TestPages(t *testing.T) {
	h := begun(t)
	h.must(&Command{Change: &WebhookCreate{Webhook: newHook("a")}})
	var all []string
	for i := range 7 {
		h.must(create(fmt.Sprint(i)))
		p := Place{Index: h.index}
		if back, ok := PlaceOf(p.ID()); !ok || back != p {
			t.Errorf("%s is read as %v", p.ID(), back)
		}
		all = append(all, p.ID())
		if i%2 == 0 {
			h.must(&Command{Change: &DeliveriesDone{Results: []DeliveryResult{{Account: DefaultAccount, Webhook: "whk_a", Place: p, State: Delivered}}}})
		}
	}
	slices.Reverse(all)
	for _, state := range []DeliveryState{"", Pending, Delivered, Undelivered} {
		var got []string
		var before *Place
		for more := true; more; {
			page, next, err := h.Deliveries("whk_a", before, state, 2)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range page {
				got = append(got, d.Place.ID())
				before = &d.Place
			}
			more = next
		}
		want := map[DeliveryState]int{"": 7, Pending: 3, Delivered: 4, Undelivered: 0}[state]
		if len(got) != want || state == "" && !slices.Equal(got, all) {
			t.Errorf("%q: %v", state, got)
		}
	}
	for _, id := range []string{"", "dlv_", "dlv_000000000000000x", "dlv_zzzzzzzzzzz0000", "dlv_0000000000!0000", "evt_000000000010000"} {
		if p, ok := PlaceOf(id); ok {
			t.Errorf("%q is read as %v", id, p)
		}
	}
}
