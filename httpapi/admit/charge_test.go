package admit

import (
	"context"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/limiter"
	"github.com/perfgate/perfgate/store"
)

// limits sets the account's own.
func (h *harness) limits(minute, month int64) {
	h.Helper()
	h.apply(&store.Command{Change: &store.AccountUpdate{Limits: &store.Limits{PerMinute: &minute, PerMonth: &month}}})
}

// send checks and charges one request at the harness's now.
func (h *harness) send(key string, units int64) (Pass, *fault.Error) {
	h.Helper()
	p, f := h.Check(post(key, nil), here, chat, h.now)
	if f != nil {
		h.Fatalf("check: %v", f)
	}
	return p, h.Charge(h.Context(), &p, units, 0, h.now)
}

func TestCharge(t *testing.T) {
	h := newHarness(t)
	h.limits(60, 1000)
	key := h.key(nil)
	for i := range int64(60) {
		p, f := h.send(key, 1)
		if f != nil {
			t.Fatalf("request %d: %v", i+1, f)
		}
		if st := p.Limits.States[p.Limits.Binding]; st.Policy != limiter.Minute || st.Limit != 60 || st.Remaining != 59-i {
			t.Fatalf("request %d: %+v", i+1, st)
		}
	}
	p, f := h.send(key, 1)
	if code(f) != fault.RequestsPerMinute || f.RetryAfter != 1 || f.Sentence() != "You have exceeded your rate limit" {
		t.Fatalf("the 61st: %+v", f)
	}
	if p.Limits.N != 2 {
		t.Error("a refusal does not tell the limits")
	}
	h.pass(time.Duration(f.RetryAfter) * time.Second)
	if _, f := h.send(key, 1); f != nil {
		t.Fatalf("after exactly Retry-After: %v", f)
	}
	if _, f := h.send(key, 61); code(f) != fault.RequestsPerMinute || !strings.Contains(f.Sentence(), "never holds more than 60") || f.RetryAfter != 0 {
		t.Fatalf("a request that never fits: %+v", f)
	}
	if f := h.Charge(t.Context(), &Pass{}, 1, 0, h.now); f != nil {
		t.Errorf("a public route was charged: %v", f)
	}
}

// own are a key's own limits; 0 sets none.
func own(minute, month int64) *store.Limits {
	l := &store.Limits{}
	if minute > 0 {
		l.PerMinute = &minute
	}
	if month > 0 {
		l.PerMonth = &month
	}
	return l
}

// refusalCases bind one limit each, which the third request exceeds.
var refusalCases = []struct {
	name           string
	minute, month  int64
	own            *store.Limits
	budget         store.Money
	reserve        store.Money
	want           fault.Code
	policy, begins string
}{
	{"account's minute", 2, 100, nil, 0, 0, fault.RequestsPerMinute, "minute", "You have exceeded your rate limit"},
	{"account's month", 60, 2, nil, 0, 0, fault.RequestsPerMonth, "month", "You have exceeded your rate limit: the month"},
	{"key's minute", 60, 100, own(2, 0), 0, 0, fault.RequestsPerMinute, "key-minute", "You have exceeded your rate limit: the key's own"},
	{"key's month", 60, 100, own(0, 2), 0, 0, fault.RequestsPerMonth, "key-month", "You have exceeded your rate limit: the key's own"},
	{"budget", 60, 100, nil, 10, 5, fault.BudgetExceeded, "", ""},
	{"budget, nothing reserved", 60, 100, nil, 10, 5, fault.BudgetExceeded, "", ""},
}

func TestRefusals(t *testing.T) {
	for _, c := range refusalCases {
		h := newHarness(t)
		h.limits(c.minute, c.month)
		key := h.key(func(k *store.Key) {
			k.Limits = c.own
			if c.budget > 0 {
				k.MonthlyBudget = &c.budget
			}
		})
		try := func(reserve store.Money) (Pass, *fault.Error) {
			p, f := h.Check(post(key, nil), here, chat, h.now)
			if f != nil {
				t.Fatal(f)
			}
			return p, h.Charge(t.Context(), &p, 1, reserve, h.now)
		}
		for i := range 2 {
			if _, f := try(c.reserve); f != nil {
				t.Fatalf("%s: request %d: %v", c.name, i+1, f)
			}
		}
		reserve := c.reserve
		if strings.HasSuffix(c.name, "nothing reserved") {
			reserve = 0
		}
		p, f := try(reserve)
		if code(f) != c.want || !strings.HasPrefix(f.Sentence(), c.begins) {
			t.Errorf("%s: %v", c.name, f)
			continue
		}
		if c.want == fault.BudgetExceeded {
			if f.RetryAfter != 0 {
				t.Errorf("%s: retry after %d", c.name, f.RetryAfter)
			}
			continue
		}
		bind := p.Limits.States[p.Limits.Binding]
		if bind.Policy.String() != c.policy || bind.Remaining != 0 || f.RetryAfter != p.Limits.RetryAfter || f.RetryAfter < 1 {
			t.Errorf("%s: %+v, retry after %d", c.name, bind, f.RetryAfter)
		}
		h.pass(time.Duration(f.RetryAfter) * time.Second)
		if _, f := try(0); f != nil {
			t.Errorf("%s: after exactly Retry-After: %v", c.name, f)
		}
	}
}

// With no leader a month that is not known cannot be charged: 503, not a guess,
// and nothing is taken from the minute. A look just shows no limits.
func TestPending(t *testing.T) {
	h := newHarness(t)
	h.limits(60, 1000)
	key := h.key(nil)
	h.dead = true
	p, f := h.send(key, 1)
	if code(f) != fault.Unavailable || f.RetryAfter != 1 {
		t.Fatalf("%+v", f)
	}
	if h.Look(t.Context(), &p, h.now); p.Limits.N != 0 {
		t.Errorf("%d limits out of nothing", p.Limits.N)
	}
	h.dead = false
	if p, f = h.send(key, 1); f != nil || p.Limits.States[0].Remaining != 59 {
		t.Fatalf("once there is a leader: %v, %+v", f, p.Limits.States[0])
	}
}

// A month's last units are contended: all of them are admitted, and no more.
func TestMonthIsExact(t *testing.T) {
	h := newHarness(t)
	h.limits(100000, 50)
	key := h.key(nil)
	var wg sync.WaitGroup
	var mu sync.Mutex
	admitted := 0
	for range 8 {
		wg.Go(func() {
			for range 10 {
				p, _ := h.Check(post(key, nil), here, chat, noon)
				f := h.Charge(context.Background(), &p, 1, 0, noon)
				mu.Lock()
				switch code(f) {
				case "":
					admitted++
				case fault.RequestsPerMonth:
				default:
					t.Errorf("%v", f)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if admitted != 50 {
		t.Errorf("%d of 80 were admitted, 50 are the month's", admitted)
	}
}

func TestLookSpendsNothing(t *testing.T) {
	h := newHarness(t)
	h.limits(60, 1000)
	key := h.key(nil)
	for range 100 {
		p, _ := h.Check(post(key, nil), here, chat, h.now)
		if h.Look(t.Context(), &p, h.now); p.Limits.States[0].Remaining != 60 {
			t.Fatalf("%+v", p.Limits.States[0])
		}
	}
	denied := post(key, nil)
	denied.Method = "GET"
	for range 100 {
		p, f := h.Check(denied, here, Rule{Require: []string{"other"}}, h.now)
		if code(f) != fault.InsufficientScope || p.Limits.States[0].Remaining != 60 {
			t.Fatalf("%v, %+v", f, p.Limits.States[0])
		}
	}
}

// After a crash a bucket with an unknown history begins empty and fills from the
// moment that this process started; keys and accounts created since begin full.
func TestAfterACrash(t *testing.T) {
	h := newHarness(t)
	h.limits(60, 1000)
	before := h.key(nil)
	c := h.config()
	c.BootIndex, c.Since = h.index, int64(10*time.Second)
	h.pass(30 * time.Second)
	h.Gate = NewGate(c)
	h.apply(&store.Command{Account: "acct_1", Change: &store.AccountCreate{Account: store.Account{ID: "acct_1", Name: "one", Tier: "free"}}})
	after := h.key(func(k *store.Key) { k.Account = "acct_1" })

	if p, f := h.send(after, 1); f != nil || p.Limits.States[0].Remaining != 59 {
		t.Errorf("an account made since: %v, %+v", f, p.Limits.States[0])
	}
	// 20 s at one a second; or the bound of the month, which is younger than a
	// refill.
	p, f := h.send(before, 1)
	if f != nil || p.Limits.States[0].Remaining < 19 {
		t.Errorf("an older account: %v, %+v", f, p.Limits.States[0])
	}
	p, _ = h.Check(post(before, nil), here, chat, h.now)
	if a := h.ask(&p); a.AccountFresh || a.KeyFresh {
		t.Error("what was made before the crash is called fresh")
	}
	p, _ = h.Check(post(after, nil), here, chat, h.now)
	if a := h.ask(&p); !a.AccountFresh || !a.KeyFresh {
		t.Error("what was made since is not called fresh")
	}
	if got := h.refilled(int64(30 * time.Second)); got != int64(20*time.Second) {
		t.Errorf("refilled %v", time.Duration(got))
	}
	if got := (&Gate{}).refilled(1); got != limiter.Forever {
		t.Errorf("the first process ever: %v", got)
	}
}

// admitting is a gate with limits that never bind, on the system's clock.
func admitting(b *testing.B) *harness {
	h := newHarness(b)
	h.limits(limiter.MaxBurst, store.MaxRequests)
	c := h.config()
	c.Store = h.store
	start := time.Now()
	c.Clock = func() (time.Time, int64) { now := time.Now(); return now, int64(now.Sub(start)) }
	h.Gate = NewGate(c)
	return h
}

// admitAll admits requests with keys in turn. One request object carries every
// key, so that only the key is cold and not the harness.
func admitAll(b *testing.B, h *harness, keys ...string) {
	now, ctx := time.Now(), b.Context()
	r := post("none", func(r *http.Request) { r.URL.RawQuery = "model=gpt-4o&stream=true" })
	once := func(key string) {
		r.Header["Authorization"][0] = key
		p, f := h.Check(r, here, chat, now)
		if f == nil {
			f = h.Charge(ctx, &p, 1, 0, now)
		}
		if f != nil {
			b.Fatal(f)
		}
	}
	for _, k := range keys {
		once(k) // into the cache
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; b.Loop(); i++ {
		once(keys[(i*7919)%len(keys)])
	}
}

// BenchmarkAdmit is a whole admission, charges included: of one hot key, of the
// same behind 100,000 allowlist entries, and random over many keys that are
// cached (KEYS, 20,000 unless set; the goal speaks of a million).
func BenchmarkAdmit(b *testing.B) {
	b.Run("hot", func(b *testing.B) {
		h := admitting(b)
		admitAll(b, h, "Bearer "+h.key(nil))
	})
	b.Run("allowlist", func(b *testing.B) {
		h := admitting(b)
		h.apply(&store.Command{Change: &store.AccountUpdate{Tier: new("enterprise")}})
		entries := []store.AllowEntry{{CIDR: netip.PrefixFrom(here, here.BitLen())}}
		for i := len(entries); i < 100_000; i++ {
			entries = append(entries, store.AllowEntry{CIDR: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32)})
		}
		h.apply(&store.Command{Change: &store.AllowlistSet{Entries: entries}})
		admitAll(b, h, "Bearer "+h.key(nil))
	})
	b.Run("random", func(b *testing.B) {
		h := admitting(b)
		n, err := strconv.Atoi(os.Getenv("KEYS"))
		if err != nil {
			n = 20_000
		}
		keys := make([]string, n)
		for i := range keys {
			keys[i] = "Bearer " + h.key(nil)
		}
		admitAll(b, h, keys...)
	})
}

func BenchmarkAdmitUnknown(b *testing.B) {
	h := newHarness(b)
	c := h.config()
	c.Store = h.store
	h.Gate = NewGate(c)
	r := post(vector, nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, f := h.Check(r, here, chat, noon); f == nil {
			b.Fatal("admitted")
		}
	}
}

// After clean stops only, the largest bucket begins full.
func TestLargestBurstBeginsFull(t *testing.T) {
	h := newHarness(t)
	secret := h.key(func(k *store.Key) {
		k.Limits = &store.Limits{PerMinute: ptr(int64(1)), Burst: ptr(int64(limiter.MaxBurst))}
	})
	c := h.config()
	c.BootIndex, c.Since = h.index, -1<<62
	h.Gate = NewGate(c)
	p, f := h.Check(post(secret, nil), here, chat, h.now)
	if f != nil {
		t.Fatal(f)
	}
	if f := h.Charge(t.Context(), &p, 1, 0, h.now); f != nil {
		t.Fatal(f)
	}
	if st := p.Limits.States[2]; st.Policy != limiter.KeyMinute || st.Remaining != limiter.MaxBurst-1 {
		t.Errorf("%+v", p.Limits)
	}
}
