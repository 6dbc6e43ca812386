package limiter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sort"
)

// exportVersion begins every export; one of a meter that has buckets of rules begins with
// exportRules, which earlier versions refuse.
const (
	exportVersion = 1
	exportRules   = 2
	exportOwners  = 3 // of a table: with the owners of buckets, and what they have lost
)

// errExport says that bytes are not an export.
var errExport = errors.New("not an export of the limiter")

// Export appends the buckets of m that are not whole at now to out and returns
// it; unchanged if there are none. The form: version, then for each bucket the
// key ("" for the account's own) as length and bytes, its level and its rate,
// all numbers as unsigned varints. Times are not in it: levels are as of now. Buckets of
// rules come before the others, as a length in bytes and for each the name, the window,
// the key, the level and the limit.
//
// Export is for a clean stop. Later requests to m stay pending, since a charge
// would be forgotten. A bucket that is not in the export is whole, so the process
// that imports it may pass Forever as Ask.Refilled; the export must be gone
// before that process's first Take, or a crash would bring old levels back.
func (m *Meter) Export(now int64, out []byte) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now, m.exported = max(m.now, now), true
	keys := make([]string, 0, len(m.keys))
	for key := range m.keys {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	begin := len(out)
	if rules := m.exportRules(keys); len(rules) > 0 {
		out = append(out, exportRules)
		out = binary.AppendUvarint(out, uint64(len(rules)))
		out = append(out, rules...)
	} else {
		out = append(out, exportVersion)
	}
	body := len(out)
	out = m.minute.export(out, "", m.now)
	for _, key := range keys {
		out = m.keys[key].minute.export(out, key, m.now)
	}
	if len(out) == body && out[begin] == exportVersion {
		return out[:begin]
	}
	return out
}

func (b bucket) export(out []byte, key string, now int64) []byte {
	b.drain(now, b.rate)
	if b.used == 0 {
		return out
	}
	out = binary.AppendUvarint(out, uint64(len(key)))
	out = append(out, key...)
	out = binary.AppendUvarint(out, uint64(b.used))
	return binary.AppendUvarint(out, uint64(b.rate))
}

// Import restores the export that a former process made gap nanoseconds before
// now; a gap of 0 is always safe. Buckets that were already touched keep their
// own level. Bytes that are not an export change nothing.
func (m *Meter) Import(p []byte, now, gap int64) error {
	type item struct {
		key string
		b   bucket
	}
	var items []item
	r := reader{p: p}
	v := r.uvarint()
	if r.bad || v != exportVersion && v != exportRules {
		return fmt.Errorf("%w: version %d, must be %d or %d", errExport, v, exportVersion, exportRules)
	}
	gap = max(gap, 0)
	var rules []ruleItem
	if v == exportRules {
		var err error
		if rules, err = readRules(r.bytes(), now, gap); r.bad || err != nil {
			return fmt.Errorf("%w: the buckets of rules are cut short or out of range", errExport)
		}
	}
	for !r.done() {
		key := string(r.bytes())
		used, rate := r.uvarint(), r.uvarint()
		if r.bad || used > MaxBurst*minute || rate == 0 || rate > Forever {
			return fmt.Errorf("%w: bucket %d is cut short or out of range", errExport, len(items))
		}
		items = append(items, item{key, bucket{
			used: level(used).drained(uint64(gap), rate),
			at:   now,
			rate: int64(rate),
		}})
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = max(m.now, now)
	for _, it := range items {
		b := &m.minute
		if it.key != "" {
			k := m.keys[it.key]
			if k == nil {
				k = m.addKey(it.key)
			}
			b = &k.minute
		}
		if b.rate == 0 {
			*b = it.b
		}
	}
	for _, it := range rules {
		name, list := m.ruleList(RuleOf(it.name, it.key), true)
		if c := list.get(name, it.window, m.now); c.bucket.limit == 0 {
			c.bucket = it.bucket
		}
	}
	return nil
}

// reader reads an export; after the first mistake bad stays set.
type reader struct {
	p   []byte
	bad bool
}

func (r *reader) done() bool { return r.bad || len(r.p) == 0 }

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.p)
	if n <= 0 {
		r.bad, r.p = true, nil
		return 0
	}
	r.p = r.p[n:]
	return v
}

func (r *reader) take(n uint64) []byte {
	if n > uint64(len(r.p)) {
		r.bad, r.p = true, nil
		return nil
	}
	b := r.p[:n]
	r.p = r.p[n:]
	return b
}

func (r *reader) bytes() []byte { return r.take(r.uvarint()) }
