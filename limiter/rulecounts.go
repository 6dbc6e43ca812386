package limiter

import (
	"encoding/binary"
	"errors"
	"strings"
)

// ruleCount is the consumption of one rule by the account or by one key: some 300 bytes.
type ruleCount struct {
	name   string
	window Window
	seen   int64 // monotonic, of the last ask, as fresh and burst are
	fresh  bool
	burst  int64
	bucket entry  // of a minute or an hour, without a name; limit 0: not begun
	pooled pooled // stands in for bucket where Ask.Pool is set
	quota  quota  // of a day or a month
}

// ruleCounts are the counts of an account or a key: those of its rules, MaxRules at
// most, and of rules that were removed within pruneAfter.
type ruleCounts []*ruleCount

func (l ruleCounts) find(name string, w Window) *ruleCount {
	for _, c := range l {
		if c.window == w && c.name == name {
			return c
		}
	}
	return nil
}

// get finds a count, or makes one.
func (l *ruleCounts) get(name string, w Window, now int64) *ruleCount {
	c := l.find(name, w)
	if c == nil {
		c = &ruleCount{name: strings.Clone(name), window: w, seen: now}
		*l = append(*l, c)
	}
	return c
}

// ruleList finds the list that the count of the name of belongs to; make adds an entry for
// a key that has none.
func (m *Meter) ruleList(of string, make bool) (rule string, list *ruleCounts) {
	rule, key, _ := strings.Cut(of, "/")
	if key == "" {
		return rule, &m.rules
	}
	k := m.keys[key]
	if k == nil {
		if !make {
			return rule, nil
		}
		k = m.addKey(key)
	}
	return rule, &k.rules
}

// window is the calendar window of a rule's policy.
func (p Policy) window() Window {
	if p == RuleDay {
		return EachDay
	}
	return EachMonth
}

// surrender takes the chunks of the counts in l out, as quota.surrender does.
func (l ruleCounts) surrender(m *Meter, out []Unused, key string) []Unused {
	for _, c := range l {
		if c.window.Calendar() {
			p := c.window.policy()
			out = c.quota.surrender(out, RuleOf(c.name, key), p, m.period(p))
		}
	}
	return out
}

// prune drops the counts of l that were not used for ten minutes and would begin as they
// are; see Meter.Prune.
func (l *ruleCounts) prune(m *Meter, refilled int64, key string, out []Unused) []Unused {
	kept := (*l)[:0]
	for _, c := range *l {
		p := c.window.policy()
		idle := m.now-c.seen >= pruneAfter && !c.quota.owes(m.period(p))
		if idle && !c.window.Calendar() && c.bucket.limit > 0 {
			tick, weight := measure(c.bucket.window)
			idle = c.bucket.whole(m.now) &&
				(c.fresh || begun(c.burst, weight, uint64(max(refilled, 0)/tick), uint64(c.bucket.limit)) == 0)
		}
		if !idle {
			kept = append(kept, c)
			continue
		}
		if c.window.Calendar() {
			out = c.quota.surrender(out, RuleOf(c.name, key), p, m.period(p))
		}
	}
	clear((*l)[len(kept):])
	*l = kept
	return out
}

// forget makes the totals of all counts unknown; see Meter.Forget.
func (l ruleCounts) forget() {
	for _, c := range l {
		c.quota.known, c.quota.index = false, 0
	}
}

// exportRules is the part of an export that holds the buckets of rules, of the account and
// of the keys; nil if all are whole.
func (m *Meter) exportRules(keys []string) (out []byte) {
	out = m.rules.export(nil, "", m.now)
	for _, key := range keys {
		out = m.keys[key].rules.export(out, key, m.now)
	}
	return out
}

func (l ruleCounts) export(out []byte, key string, now int64) []byte {
	for _, c := range l {
		b := c.bucket
		if c.window.Calendar() || b.limit == 0 {
			continue
		}
		if b.drain(now, b.limit); b.used == 0 {
			continue
		}
		out = appendString(out, c.name)
		out = append(out, byte(c.window))
		out = appendString(out, key)
		out = binary.AppendUvarint(out, uint64(b.used))
		out = binary.AppendUvarint(out, uint64(b.limit))
	}
	return out
}

func appendString(out []byte, s string) []byte {
	return append(binary.AppendUvarint(out, uint64(len(s))), s...)
}

// ruleItem is one bucket of an export.
type ruleItem struct {
	name, key string
	window    Window
	bucket    entry
}

// readRules reads what exportRules wrote gap nanoseconds before now.
func readRules(p []byte, now, gap int64) (items []ruleItem, err error) {
	r := reader{p: p}
	for !r.done() {
		it := ruleItem{name: string(r.bytes())}
		w := r.take(1)
		it.key = string(r.bytes())
		used, limit := r.uvarint(), r.uvarint()
		if r.bad || w[0] > byte(EachHour) || used > MaxBurst*minute || limit == 0 || limit > MaxBurst || it.name == "" || strings.Contains(it.name, "/") {
			return nil, errors.New("a bucket is cut short or out of range")
		}
		it.window = Window(w[0])
		it.bucket = entry{used: level(used), at: now - gap, limit: int64(limit), window: it.window.Nanoseconds()}
		it.bucket.drain(now, it.bucket.limit)
		it.bucket.at = now
		items = append(items, it)
	}
	return items, nil
}
