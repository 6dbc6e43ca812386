package limiter

import (
	"slices"

	"github.com/perfgate/perfgate/limiter/pool"
	"github.com/perfgate/perfgate/limiter/share"
)

// open is Meter.open for the buckets of rules.
func (r *Ruled) open(m *Meter, a *Ask, s *pool.Shard) bool {
	if r == nil {
		return true
	}
	for i := range r.States {
		rule, c := r.States[i].Rule, r.States[i].count
		if rule.Window.Calendar() {
			continue
		}
		if !c.pooled.named {
			key := ""
			if rule.PerKey {
				key = a.Key
			}
			c.pooled.name, c.pooled.named = pool.Name(NameOf("rule", a.Scope, string(a.Kind), rule.Name, rule.Window.String(), key)), true
			c.pooled.name[0] = m.pooled.name[0] // the group
		}
		p := rule.pace()
		tick, weight := measure(p.Window)
		t := pool.Terms{Pace: share.Pace{Burst: p.Burst, Rate: p.Limit, Weight: int64(weight), Tick: tick}, Created: a.Rules[i].Created, Owner: m.owner}
		if c.pooled.bucket == nil && a.Pool.Grown() {
			if c.bucket.limit == 0 {
				c.begin(m, a, p)
			}
			c.bucket.adopt(p, m.now)
			t.Alone, t.Used = true, int64(c.bucket.used)
		}
		if !c.pooled.openAt(a, s, t) {
			return false
		}
	}
	return true
}

// askPooled asks a rule's bucket of the pool. A shadow rule makes no request wait: it would
// refuse what all nodes, as far as this one knows, have no units for.
func (v *verdict) askPooled(in *pool.Bucket, p Pace, shadow bool, units int64) {
	switch {
	case units > p.Burst:
		v.refuse(RuleBucket, in.Reset(), true)
	case units == 0:
	case shadow:
		left, _ := in.Known()
		v.rule.would = left < units
	case !in.Has(units):
		hard := v.hard
		v.refuse(RuleBucket, in.Wait(units), false)
		v.hard = hard
		v.d.Rules.short = append(v.d.Rules.short, in)
	}
}

// Lacking lists the buckets of the pool that lack tokens here, beside a refusal that has no
// other reason.
func (d *Decision) Lacking() []*pool.Bucket {
	out := slices.Clone(d.Short[:d.NShort])
	if d.Rules != nil {
		out = append(out, d.Rules.short...)
	}
	return out
}

// RunLow lists the buckets of the pool to ask other nodes for more of, ahead of use.
func (d *Decision) RunLow() []*pool.Bucket {
	out := slices.Clone(d.Low[:d.NLow])
	if d.Rules != nil {
		out = append(out, d.Rules.low...)
	}
	return out
}
