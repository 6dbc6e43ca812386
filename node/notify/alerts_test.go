package notify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/store"
)

// ledger is a real state without a log, on which alerts are raised.
type ledger struct {
	*store.Store
	mu    sync.Mutex
	index uint64
	fail  error         // of proposals; guarded by mu
	ahead time.Duration // of the clock of do; guarded by mu
}

func newLedger(t *testing.T) *ledger {
	s, err := store.Open(store.Config{FS: vfs.NewMem(), Dir: "state"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	l := &ledger{Store: s}
	l.do(t, &store.Init{ClusterID: "c", DefaultTier: "enterprise"})
	l.do(t, &store.WebhookCreate{Webhook: store.Webhook{ID: "whk_a", URL: "https://a.example/", Enabled: true, Signing: store.Signing{Secret: "whsec_YQ=="}}})
	return l
}

func (l *ledger) do(t *testing.T, change store.Change) {
	t.Helper()
	l.mu.Lock()
	at := time.Now().Add(l.ahead)
	l.mu.Unlock()
	c := &store.Command{At: at, Account: store.DefaultAccount, Actor: store.Actor{Type: store.ActorOperator, ID: "op"}, Change: change}
	if _, first := change.(*store.Init); first {
		c.Account = ""
	}
	if r, err := l.propose(t.Context(), c); err != nil || r.Refusal != nil {
		t.Fatal(err, r.Refusal)
	}
}

func (l *ledger) propose(_ context.Context, c *store.Command) (store.Result, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		return store.Result{}, l.fail
	}
	l.index++
	r, ok := l.ApplyBatch([]*raft.Log{{Index: l.index, Type: raft.LogCommand, Data: c.Encode()}})[0].(store.Result)
	if !ok {
		return r, errors.New("not applied")
	}
	return r, nil
}

// key creates a key and returns its record.
func (l *ledger) key(t *testing.T, name string, change func(*store.Key)) *store.Record {
	t.Helper()
	k := store.Key{ID: store.KeyID("key_" + name), Hash: store.Hash{1, byte(len(name)), name[0]}, Type: store.Live, Name: name, Scopes: []string{"read"}}
	if change != nil {
		change(&k)
	}
	l.do(t, &store.KeyCreate{Key: k})
	rec, err := l.Lookup(k.Hash)
	if err != nil || rec == nil {
		t.Fatal(rec, err)
	}
	return rec
}

// notices lists the types and bodies of what waits for the endpoint, creations aside.
func (l *ledger) notices(t *testing.T) (types []string, bodies []string) {
	t.Helper()
	if err := l.PendingDeliveries("whk_a", func(d *store.Delivery) bool {
		if d.Type != store.NoticeCreated {
			types, bodies = append(types, d.Type), append(bodies, string(d.Body))
		}
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return types, bodies
}

func (l *ledger) alerts(now func() time.Time) *Alerts {
	return NewAlerts(AlertConfig{State: l, Node: "n1", Propose: l.propose, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), Now: now})
}

// run starts alerts in a synctest bubble and returns what stops them.
func run(a *Alerts) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); a.Run(ctx) }()
	return func() { cancel(); <-ended }
}

var client = netip.MustParseAddr("192.0.2.7")

// Each cause makes one notice, however many requests show it and on however many nodes.
func TestOnceForEachCause(t *testing.T) {
	l := newLedger(t)
	key, other := l.key(t, "a", nil), l.key(t, "b", nil)
	synctest.Test(t, func(t *testing.T) {
		spent := admit.Spent{Account: key.Account.Load(), Policy: "month", Limit: 1000, Used: 850, Period: store.Month(time.Now())}
		all := spent
		all.Used = 1000
		budget := admit.Spent{Account: key.Account.Load(), Policy: "budget", Key: "key_a", Limit: int64(5 * store.MoneyUnit), Used: int64(4 * store.MoneyUnit), Period: store.Month(time.Now())}
		var stops []func()
		for range 3 { // nodes
			a := l.alerts(time.Now)
			stops = append(stops, run(a))
			for range 50 {
				a.Exposed(key, client, false)
				a.Exposed(other, client, true)
				a.Refused(key, "minute", 60)
				a.Refused(key, "month", 1000)
				a.Spent(key, spent)
				a.Spent(key, all)
				a.Spent(key, budget)
				a.Failed("", fault.InvalidKey, "pk_live_0123…STUV", client)
				a.Failed(store.DefaultAccount, fault.KeyRevoked, "", client)
			}
			synctest.Wait()
		}
		types, bodies := l.notices(t)
		slices.Sort(types)
		want := "auth.failures key.exposed key.exposed rate_limit.exceeded usage.threshold usage.threshold usage.threshold"
		if got := strings.Join(types, " "); got != want {
			t.Errorf("notices %s, want %s", got, want)
		}
		text := strings.Join(bodies, "\n")
		for _, part := range []string{
			`"policy":"month","type":"live","used":850`, `"percent":80,"period":"2000-01"`, `"percent":100`, `"limit":5,"percent":80,"period":"2000-01","policy":"budget","type":"live","used":4`,
			`"ip":"192.0.2.7"`, `"refused":true`, `"hints":["pk_live_0123…STUV"]`, `"reasons":{"invalid_key":`, `"key_revoked":`, `"addresses":{"192.0.2.7":`,
		} {
			if !strings.Contains(text, part) {
				t.Errorf("no notice holds %s:\n%s", part, text)
			}
		}
		// An hour or a day later the causes are new ones.
		time.Sleep(24 * time.Hour)
		a := l.alerts(time.Now)
		stops = append(stops, run(a))
		a.Exposed(key, client, false)
		a.Refused(key, "minute", 60)
		a.Spent(key, spent)
		synctest.Wait()
		if types, _ = l.notices(t); len(types) != 9 {
			t.Errorf("%d notices on the next day, want 9: %v", len(types), types)
		}
		for _, stop := range stops {
			stop()
		}
	})
}

// A cause that is found while there is no leader is raised when there is one again.
func TestAlertWithoutALeader(t *testing.T) {
	l := newLedger(t)
	key := l.key(t, "a", nil)
	synctest.Test(t, func(t *testing.T) {
		a := l.alerts(time.Now)
		stop := run(a)
		fail := func(err error) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.fail = err
		}
		fail(errors.New("no leader"))
		a.Exposed(key, client, false)
		time.Sleep(10 * time.Second)
		if types, _ := l.notices(t); len(types) != 0 {
			t.Errorf("notices %v", types)
		}
		fail(nil)
		time.Sleep(2 * time.Second)
		if types, _ := l.notices(t); len(types) != 1 {
			t.Errorf("notices %v, want one", types)
		}
		// One that cannot be raised for long comes again with its next occurrence.
		fail(errors.New("no leader"))
		a.Refused(key, "minute", 60)
		time.Sleep(5 * time.Minute)
		fail(nil)
		a.Refused(key, "minute", 60)
		time.Sleep(2 * time.Second)
		if types, _ := l.notices(t); len(types) != 2 {
			t.Errorf("notices %v, want two", types)
		}
		stop()
	})
}

// Thresholds are the account's; without any, nothing is told.
func TestThresholds(t *testing.T) {
	l := newLedger(t)
	key := l.key(t, "a", nil)
	for i, c := range []struct {
		thresholds []int
		used       int64
		want       int
	}{{nil, 799, 0}, {nil, 800, 1}, {nil, 1000, 2}, {[]int{}, 1000, 0}, {[]int{50, 90}, 899, 1}, {[]int{50, 90}, 900, 2}, {[]int{1}, 10, 1}} {
		synctest.Test(t, func(t *testing.T) {
			account := *key.Account.Load()
			account.Alerts = c.thresholds
			s := admit.Spent{Account: &account, Policy: fmt.Sprint("rule", i), Limit: 1000, Used: c.used, Period: store.Day(time.Now()), Daily: true}
			before, _ := l.notices(t)
			a := l.alerts(time.Now)
			stop := run(a)
			lowest := account.LowestAlert()
			if told := lowest != 0 && s.Percent() >= lowest; told {
				a.Spent(key, s)
			}
			synctest.Wait()
			stop()
			if types, _ := l.notices(t); len(types)-len(before) != c.want {
				t.Errorf("%v at %d: %d notices, want %d", c.thresholds, c.used, len(types)-len(before), c.want)
			}
		})
	}
}

// Keys that expire within seven days and within one, and keys that are 90 days old, are
// told of once each.
func TestDueKeys(t *testing.T) {
	l := newLedger(t)
	now := time.Now()
	l.key(t, "never", nil)
	l.key(t, "soon", func(k *store.Key) { k.ExpiresAt = now.Add(6 * 24 * time.Hour) })
	l.key(t, "later", func(k *store.Key) { k.ExpiresAt = now.Add(60 * 24 * time.Hour) })
	l.key(t, "off", func(k *store.Key) { k.ExpiresAt, k.Disabled = now.Add(time.Hour), true })
	d := Due{State: l, Alerts: l.alerts(func() time.Time { return now }), Now: func() time.Time { return now }}
	look := func(want ...string) {
		t.Helper()
		for range 2 {
			if err := d.Look(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		types, _ := l.notices(t)
		if !slices.Equal(types, want) {
			t.Errorf("notices %v, want %v", types, want)
		}
	}
	look(store.NoticeExpiring)
	now = now.Add(5*24*time.Hour + time.Minute)
	look(store.NoticeExpiring, store.NoticeExpiring)
	now = now.Add(85 * 24 * time.Hour)
	look(store.NoticeExpiring, store.NoticeExpiring, store.NoticeRotation)
}
