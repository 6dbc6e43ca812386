package limiter

import (
	"slices"
	"testing"

	"github.com/perfgate/perfgate/limiter/pool"
	"github.com/perfgate/perfgate/limiter/roster"
	"github.com/perfgate/perfgate/limiter/share"
)

// pooledAsk is a request in a cluster of two, at 60 a minute, of a key with 12.
func pooledAsk(boot uint64) (*Meter, *Ask) {
	p := pool.New("a")
	p.Begin([]roster.Roster{{Index: 1, Nodes: []string{"a", "b"}}}, boot, bootTime)
	p.SetReach(&pool.Reach{Nodes: []string{"b"}, Peers: []share.Peer{1}})
	return NewMeter(), &Ask{
		Now: bootTime, Wall: wallTime, Units: 1, Pooled: Pooled{Pool: p, Scope: "acct_a", AccountCreated: 5, KeyCreated: 6},
		Account: Limit{PerMinute: 60}, Key: "key_a", Own: Limit{PerMinute: 12},
	}
}

// A request is charged to both buckets of the pool, or to none; a refusal names those
// that lack tokens here.
func TestPooledMinutes(t *testing.T) {
	m, a := pooledAsk(0)
	for i := range 6 {
		d := m.Take(a)
		if !d.Allowed || d.NShort != 0 || d.States[0].Remaining != int64(59-i) || d.States[1].Remaining != int64(11-i) {
			t.Fatalf("request %d: %+v", i, d)
		}
	}
	d := m.Take(a)
	if s := d.Refused(); s == nil || !s.Shared || s.Here != 0 || s.Remaining != 6 {
		t.Errorf("%+v", s)
	}
	if d.Allowed || d.Denied != KeyMinute || d.NShort != 1 || d.Short[0] != m.keys["key_a"].pooled.bucket || d.RetryAfter < 1 {
		t.Fatalf("%+v", d)
	}
	if left := m.pooled.bucket.Left(); left != 24 {
		t.Errorf("the account has %d of its half, want 24: a refused request was charged", left)
	}
	if m.pooled.name[0] != m.keys["key_a"].pooled.name[0] {
		t.Error("the buckets of one account are in two shards")
	}
	a.Own = Limit{}
	for range 24 {
		if d = m.Take(a); !d.Allowed {
			t.Fatalf("%+v", d)
		}
	}
	if d = m.Take(a); d.Allowed || d.Denied != Minute || d.NShort != 1 || d.Short[0] != m.pooled.bucket {
		t.Errorf("%+v", d)
	}
	// What asks for more than the burst, or only looks, sends nobody to other nodes.
	a.Units = 61
	if d = m.Take(a); !d.Never || d.NShort != 0 {
		t.Errorf("%+v", d)
	}
	a.Units, a.Look = 1, true
	if d = m.Take(a); d.Allowed || d.NShort != 0 {
		t.Errorf("%+v", d)
	}
	if len(m.Export(a.Now, nil)) != 0 {
		t.Error("buckets of the pool are exported")
	}
}

// A month that is used up refuses whatever the pool has, and charges it nothing.
func TestAMonthRefusesPooledMinutes(t *testing.T) {
	m, a := pooledAsk(0)
	a.Own, a.Account.PerMonth = Limit{}, 3
	m.Take(a)
	m.Seed("", MonthQuota, thisMonth, 0)
	m.Credit("", MonthQuota, thisMonth, 3, 3)
	for range 3 {
		if d := m.Take(a); !d.Allowed {
			t.Fatalf("%+v", d)
		}
	}
	left := m.pooled.bucket.Left()
	if d := m.Take(a); d.Allowed || d.Denied != MonthQuota || d.NShort != 0 || m.pooled.bucket.Left() != left {
		t.Errorf("%+v, %d left of %d", d, m.pooled.bucket.Left(), left)
	}
}

// The demand of a request is counted once, however often it is tried.
func TestDemandIsCountedOnce(t *testing.T) {
	m, a := pooledAsk(0)
	m.Take(a)
	once := m.pooled.bucket.State(a.Now).Demand
	a.Again = true
	m.Take(a)
	if again := m.pooled.bucket.State(a.Now).Demand; again != once {
		t.Errorf("demand %v, then %v", once, again)
	}
}

// A node that started a moment ago has nothing of what it had before; and without a
// place or a roster nothing is decided.
func TestPooledBeginnings(t *testing.T) {
	m, a := pooledAsk(9)
	if d := m.Take(a); d.Allowed || d.NShort != 2 {
		t.Errorf("after a start: %+v", d)
	}
	m, a = pooledAsk(0)
	a.Pool.Begin(nil, 0, bootTime)
	if d := m.Take(a); d.Allowed || !d.Pending {
		t.Errorf("without a roster: %+v", d)
	}
}

// Entries of keys in the pool are dropped like others.
func TestPooledKeysArePruned(t *testing.T) {
	m, a := pooledAsk(0)
	m.Take(a)
	m.Prune(a.Now+pruneAfter+1, 0, nil)
	if len(m.keys) != 0 {
		t.Error("the entry of a key is kept")
	}
}

func BenchmarkTakePooled(b *testing.B) {
	m, a := pooledAsk(0)
	a.Account, a.Own = Limit{PerMinute: MaxBurst}, Limit{PerMinute: MaxBurst}
	b.ReportAllocs()
	for b.Loop() {
		a.Now += 1000
		if d := m.Take(a); !d.Allowed {
			b.Fatal(d)
		}
	}
}

// A bucket that comes with the call, in the pool.
func TestTakePooled(t *testing.T) {
	_, a := pooledAsk(0)
	a.Pool.Begin([]roster.Roster{{Index: 1, Nodes: []string{"a", "b"}}}, 0, bootTime-1000e9)
	p, name := Pace{Limit: 24, Burst: 24, Window: 120e9}, pool.Name{7}
	for i := range 12 {
		v, b, _ := TakePooled(a.Pool, name, 0, p, 1, bootTime, false)
		if !v.Allowed || v.Remaining != int64(23-i) || b == nil {
			t.Fatalf("request %d: %+v", i, v)
		}
	}
	for _, c := range []struct {
		units int64
		want  Verdict
	}{
		{1, Verdict{RetryAfter: 11, Remaining: 12}},
		{0, Verdict{Allowed: true, Remaining: 12}},
		{25, Verdict{Never: true, RetryAfter: 121, Remaining: 12}},
	} {
		v, _, _ := TakePooled(a.Pool, name, 0, p, c.units, bootTime, true)
		v.Reset = 0
		if v != c.want {
			t.Errorf("%d units: %+v, want %+v", c.units, v, c.want)
		}
	}
	if v, _, _ := TakePooled(a.Pool, name, 0, Pace{}, 1, bootTime, true); !v.Never {
		t.Errorf("no limit: %+v", v)
	}
	a.Pool.Begin(nil, 0, bootTime)
	if v, _, _ := TakePooled(a.Pool, name, 0, p, 1, bootTime, true); !v.Full {
		t.Errorf("without a place: %+v", v)
	}
}

// A rule by the minute or the hour is shared as minutes are: charged with them or not at
// all, of a lineage of its own per key; a shadow rule refuses nothing, and counts by what
// all nodes have.
func TestPooledRules(t *testing.T) {
	m, a := pooledAsk(0)
	a.Own = Limit{}
	a.Rules = []RuleAsk{
		{Rule: &Rule{Name: "hour", Window: EachHour, Limit: 20}, Created: 5},
		{Rule: &Rule{Name: "key", Window: EachMinute, PerKey: true, Limit: 16}, Created: 6},
		{Rule: &Rule{Name: "shadow", Window: EachMinute, Shadow: true, Limit: 10}, Created: 5},
	}
	for i := range 8 {
		d := m.Take(a)
		if !d.Allowed || d.Rules.States[0].Remaining != int64(19-i) || d.Rules.States[1].Remaining != int64(15-i) {
			t.Fatalf("request %d: %+v, %+v", i, d, d.Rules)
		}
	}
	if left := m.rules.find("shadow", EachMinute).pooled.bucket; left.Has(0) {
		t.Error("a shadow rule is charged no more than this node has")
	}
	d := m.Take(a) // the key's half is spent
	if name, _, _ := d.Refusal(); d.Allowed || name != "key" || len(d.Lacking()) != 1 || d.RetryAfter < 1 {
		t.Fatalf("%+v, %+v", d, d.Rules)
	}
	a.Key = "key_b"
	for range 2 {
		if d = m.Take(a); !d.Allowed || d.Rules.States[2].Would {
			t.Fatalf("%+v, %+v", d, d.Rules)
		}
	}
	d = m.Take(a)
	if name, _, _ := d.Refusal(); d.Allowed || name != "hour" || d.Rules.States[2].Would == false {
		t.Fatalf("%+v, %+v", d, d.Rules)
	}
	names := map[string]bool{}
	for _, c := range append(slices.Clone(m.rules), append(m.keys["key_a"].rules, m.keys["key_b"].rules...)...) {
		names[string(c.pooled.name[:])] = true
		if c.pooled.name[0] != m.pooled.name[0] {
			t.Error("the buckets of one account are in two shards")
		}
	}
	if len(names) != 4 || len(m.Export(a.Now, nil)) != 0 {
		t.Errorf("%d different buckets of 4; %d bytes are exported", len(names), len(m.Export(a.Now, nil)))
	}
	a.Rules[0].Rule.Limit = 10 // lowered: what was charged stays charged
	if d = m.Take(a); d.Allowed {
		t.Errorf("%+v", d)
	}
}
