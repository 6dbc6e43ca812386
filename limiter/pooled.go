package limiter

import (
	"github.com/perfgate/perfgate/limiter/pool"
	"github.com/perfgate/perfgate/limiter/share"
)

// pooled is the place of a minute in the pool. Its bucket is guarded by the pool's
// shard, which a meter locks after its own lock.
type pooled struct {
	name   pool.Name
	named  bool
	bucket *pool.Bucket
}

// OwnerOf is the owner of an account's buckets in the pool.
func OwnerOf(account string, identifiers bool) pool.Owner {
	return pool.OwnerOf(NameOf("owner", account), identifiers)
}

// in is the bucket where the pool counts; nil where this node counts alone.
func (p *pooled) in(a *Ask) *pool.Bucket {
	if a.Pool == nil {
		return nil
	}
	return p.bucket
}

// enter locks the shard of m's buckets in the pool. All of them are in one.
func (m *Meter) enter(a *Ask) *pool.Shard {
	if !m.pooled.named {
		m.pooled.name, m.pooled.named = pool.Name(NameOf("minute", a.Scope, string(a.Kind))), true
		m.owner = OwnerOf(a.Scope, false)
	}
	s := a.Pool.Shard(m.pooled.name)
	s.Lock()
	return s
}

// open brings the buckets of a request to now, and counts its demand. false: the pool has
// no place for one of them.
func (m *Meter) open(a *Ask, k *own, s *pool.Shard) bool {
	if a.Account.PerMinute > 0 && !m.pooled.open(m, a, s, &m.minute, &a.Account, a.AccountCreated, a.AccountFresh) {
		return false
	}
	if k == nil || a.Own.PerMinute <= 0 {
		return true
	}
	if !k.pooled.named {
		k.pooled.name, k.pooled.named = pool.Name(NameOf("key", a.Key)), true
		k.pooled.name[0] = m.pooled.name[0] // the group
	}
	return k.pooled.open(m, a, s, &k.minute, &a.Own, a.KeyCreated, a.KeyFresh)
}

// open finds the bucket in the pool, or makes it. Where this node was alone before, it goes
// on with the level of its own bucket, alone.
func (p *pooled) open(m *Meter, a *Ask, s *pool.Shard, alone *bucket, l *Limit, created uint64, fresh bool) bool {
	t := pool.Terms{Pace: share.Minute(min(l.PerMinute, MaxBurst), l.burst()), Created: created, Owner: m.owner}
	if p.bucket == nil && a.Pool.Grown() {
		if alone.rate == 0 {
			*alone = m.begin(l, a, fresh)
		}
		alone.drain(m.now, l.PerMinute)
		t.Alone, t.Used = true, int64(alone.used)
	}
	return p.openAt(a, s, t)
}

func (p *pooled) openAt(a *Ask, s *pool.Shard, t pool.Terms) bool {
	p.bucket = s.Open(p.bucket, p.name, t, a.Now)
	if p.bucket == nil {
		return false
	}
	if !a.Again && !a.Look && a.Units > 0 {
		p.bucket.Count(a.Units, a.Now)
	}
	return true
}

// tokens asks a minute, in the pool if that counts it.
func (v *verdict) tokens(p Policy, in *pool.Bucket, b *bucket, l *Limit, units int64) {
	switch {
	case in == nil:
		v.minute(p, b, l, units)
	case units > l.burst():
		v.refuse(p, in.Reset(), true)
	case units > 0 && !in.Has(units):
		hard := v.hard
		v.refuse(p, in.Wait(units), false)
		v.hard = hard
		v.d.Short[v.d.NShort] = in
		v.d.NShort++
	}
}

// spend takes what tokens has found.
func (b *bucket) spend(in *pool.Bucket, units, now int64, d *Decision) {
	if in == nil {
		b.used += level(units) * minute
		return
	}
	in.Spend(units)
	if in.Low(now) {
		d.Low[d.NLow] = in
		d.NLow++
	}
}

// tokens shows a minute: in the pool, as far as the nodes know of each other.
func (d *Decision) tokens(p Policy, in *pool.Bucket, b *bucket, l *Limit) {
	if in == nil {
		d.minute(p, b, l)
		return
	}
	left, reset := in.Known()
	d.show(State{Policy: p, Limit: l.PerMinute, Remaining: left, Reset: reset, Shared: true, Here: in.Left()})
}

// TakePooled is [Buckets.Take] for a bucket of the pool. It also returns the bucket, and
// whether it is time to ask other nodes for more ahead of use. again says that the request
// was counted as demand before.
func TakePooled(in *pool.Pool, name pool.Name, owner pool.Owner, p Pace, units, now int64, again bool) (v Verdict, b *pool.Bucket, low bool) {
	burst := p.Burst
	if burst <= 0 {
		burst = p.Limit
	}
	burst, units = min(burst, MaxBurst), max(units, 0)
	if p.Limit <= 0 || p.Window <= 0 || p.Window > MaxWindow {
		return Verdict{Never: true, RetryAfter: 1}, nil, false
	}
	tick, weight := measure(p.Window)
	s := in.Shard(name)
	s.Lock()
	defer s.Unlock()
	b = s.Open(nil, name, pool.Terms{Pace: share.Pace{Burst: burst, Rate: p.Limit, Weight: int64(weight), Tick: tick}, Owner: owner}, now)
	if b == nil {
		return Verdict{Full: true, RetryAfter: 1}, nil, false
	}
	if !again && units > 0 {
		b.Count(units, now)
	}
	switch v.Never = units > burst; {
	case units == 0 || !v.Never && b.Has(units):
		v.Allowed = true
		b.Spend(units)
		low = units > 0 && b.Low(now)
	case v.Never:
		v.RetryAfter = seconds(b.Reset())
	default:
		v.RetryAfter = seconds(b.Wait(units))
	}
	v.Remaining, v.Reset = b.Known()
	return v, b, low
}
