package admit

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/h1"
	"github.com/perfgate/perfgate/limiter"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/ids"
)

// harness is a gate over a real store, with a clock that tests turn.
type harness struct {
	testing.TB
	*Gate
	store *store.Store

	granting sync.Mutex // a grant and its credit are one step

	mu    sync.Mutex // guards the log and the clock
	index uint64
	now   time.Time
	start time.Time
	looks atomic.Int64 // at the store, for a key
	dead  bool         // no leader: nothing is granted
	shut  bool         // this node may not serve
}

// newHarness begins at noon with the account default on tier enterprise.
func newHarness(tb testing.TB) *harness {
	tb.Helper()
	s, err := store.Open(store.Config{FS: vfs.NewMem(), Dir: "state", Routes: CompileRoutes, Fatal: func(err error) { tb.Errorf("fatal: %v", err) }})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	h := &harness{TB: tb, store: s, now: noon, start: noon}
	h.apply(&store.Command{Change: &store.Init{ClusterID: "c", Pepper: store.Hash{7}, OperatorToken: store.Hash{2}, DefaultTier: "enterprise"}})
	h.Gate = NewGate(h.config())
	return h
}

func (h *harness) config() Config {
	return Config{
		Store: watched{h.store, h}, Grants: h, KeyHeader: "x-api-key",
		Clock: func() (time.Time, int64) {
			h.mu.Lock()
			defer h.mu.Unlock()
			return h.now, int64(h.now.Sub(h.start))
		},
		Serving: func() bool { return !h.shut },
	}
}

// watched counts lookups.
type watched struct {
	*store.Store
	h *harness
}

func (w watched) Lookup(hash store.Hash) (*store.Record, error) {
	w.h.looks.Add(1)
	return w.Store.Lookup(hash)
}

func (h *harness) pass(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = h.now.Add(d)
}

func (h *harness) apply(c *store.Command) store.Result {
	h.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.index++
	if c.At.IsZero() {
		c.At = h.now
	}
	c.Actor = store.Actor{Type: store.ActorOperator, ID: "op"}
	_, first := c.Change.(*store.Init)
	_, grant := c.Change.(*store.Grant)
	if c.Account == "" && !first && !grant {
		c.Account = store.DefaultAccount
	}
	r, ok := h.store.Apply(&raft.Log{Index: h.index, Term: 1, Type: raft.LogCommand, Data: c.Encode()}).(store.Result)
	if !ok || r.Refusal != nil {
		h.Fatalf("entry %d: %+v", h.index, r.Refusal)
	}
	return r
}

// key creates a live key and returns it; set may change the stored key.
func (h *harness) key(set func(*store.Key)) string {
	h.Helper()
	secret := apikey.New(apikey.LivePrefix)
	k := store.Key{
		ID: store.KeyID(ids.New("key_")), Hash: apikey.Hash(h.store.Pepper(), secret), Type: store.Live,
		Name: "test", Scopes: []string{"read", "write"}, Hint: apikey.Hint(secret),
	}
	if set != nil {
		set(&k)
	}
	h.apply(&store.Command{Account: k.Account, Change: &store.KeyCreate{Key: k}})
	return secret
}

// Await grants every want at once, as the node's driver does after a round of
// Raft: one command is under way at a time, so that grants reach the meter in the
// order in which they were made.
func (h *harness) Await(_ context.Context, account store.AccountID, rec *store.Record, wants []limiter.Want) {
	if h.dead {
		return
	}
	h.granting.Lock()
	defer h.granting.Unlock()
	m, t, key := rec.Account.Meters[rec.Type], rec.Type, rec.Counted().ID
	for _, w := range wants {
		ask := store.GrantAsk{Account: account, Type: t, Key: key, Budget: w.Policy == limiter.Budget, Month: w.Month, Rule: w.Rule}
		asker := rec.ID
		if w.Rule != "" {
			ask.Key = store.KeyID(w.Key)
		}
		if w.Policy == limiter.RuleDay {
			ask.Month, ask.Day = 0, w.Month
		}
		if w.Policy == limiter.MonthQuota || w.Rule != "" && w.Key == "" {
			ask.Key, asker = "", ""
		}
		if w.Seed {
			total, err := h.store.GrantedOf(ask)
			if err != nil {
				h.Fatal(err)
			}
			m.Seed(w.Of(string(key)), w.Policy, w.Month, total)
		}
		if w.Units == 0 {
			continue
		}
		ask.Key, ask.Want = asker, w.Units
		got := h.apply(&store.Command{Change: &store.Grant{Node: "n", Asks: []store.GrantAsk{ask}}}).Granted[0]
		if got.N > 0 {
			m.Credit(w.Of(string(key)), w.Policy, w.Month, got.N, got.Total)
		} else {
			m.Refused(w.Of(string(key)), w.Policy, w.Month, got.Total)
		}
	}
}

func (h *harness) Ask(account store.AccountID, rec *store.Record, wants []limiter.Want) {
	h.Await(context.Background(), account, rec, wants)
}

var here = netip.MustParseAddr("203.0.113.7")

// post is a request to POST /v1/chat with key, changed by set.
func post(key string, set func(*http.Request)) *http.Request {
	r := httptest.NewRequest("POST", "/v1/chat", nil)
	r.RemoteAddr = here.String() + ":4711"
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	if set != nil {
		set(r)
	}
	return r
}

var chat = Rule{Route: "/v1/"}

func ptr[T any](v T) *T { return &v }

// Client, Check, Still and Lost are the gate's, for requests of net/http.
func (h *harness) Client(r *http.Request) netip.Addr { return h.Gate.Client(h1.RequestOf(r)) }

func (h *harness) Check(r *http.Request, client netip.Addr, rule Rule, now time.Time) (Pass, *fault.Error) {
	return h.Gate.Check(r.Context(), h1.RequestOf(r), client, rule, now)
}

func (h *harness) Still(r *http.Request, p *Pass, rule Rule, now time.Time) *fault.Error {
	return h.Gate.Still(h1.RequestOf(r), p, rule, now)
}

func (h *harness) Lost(r *http.Request, p *Pass, rule Rule, now time.Time) *fault.Error {
	return h.Gate.Lost(h1.RequestOf(r), p, rule, now)
}

// fields are h in a list.
func fields(h http.Header) *h1.Fields {
	f := h1.FieldsOf(h)
	return &f
}
