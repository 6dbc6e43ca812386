package limiter

import (
	"encoding/binary"
	"fmt"
)

// Export is [Meter.Export] for a table. The form: version, the number of losses, for each its
// shard, owner, age and the nanoseconds in which it is made good; then for each bucket its name,
// owner, level, limit and window. Version 1 has neither losses nor owners.
func (b *Buckets) Export(now int64, out []byte) []byte {
	begin := len(out)
	out = b.exportLosses(append(out, exportOwners), now)
	body := len(out)
	for i := range b.shards {
		s := &b.shards[i]
		s.mu.Lock()
		s.now = max(s.now, now)
		for _, e := range s.entries {
			e.drain(s.now, e.limit)
			if e.used == 0 {
				continue
			}
			out = append(out, e.name[:]...)
			out = binary.AppendUvarint(out, uint64(e.owner))
			out = binary.AppendUvarint(out, uint64(e.used))
			out = binary.AppendUvarint(out, uint64(e.limit))
			out = binary.AppendUvarint(out, uint64(e.window))
		}
		s.mu.Unlock()
	}
	if len(out) == body && out[body-1] == 0 && body-begin == 2 {
		return out[:begin]
	}
	return out
}

// Import is [Meter.Import] for a table. Buckets beyond its bound are an error,
// since forgetting them would hand out their bursts again; the caller then goes
// on as after a crash.
func (b *Buckets) Import(p []byte, now, gap int64) error {
	r := reader{p: p}
	v := r.uvarint()
	if r.bad || v != exportVersion && v != exportOwners {
		return fmt.Errorf("%w: version %d, must be %d or %d", errExport, v, exportVersion, exportOwners)
	}
	gap = max(gap, 0)
	if v == exportOwners && !b.importLosses(&r, now, gap) {
		return fmt.Errorf("%w: a loss is cut short or out of range", errExport)
	}
	for !r.done() {
		var e entry
		copy(e.name[:], r.take(uint64(len(e.name))))
		if v == exportOwners {
			e.owner = Owner(r.uvarint())
		}
		used, limit, window := r.uvarint(), r.uvarint(), r.uvarint()
		if r.bad || used > MaxBurst*minute || limit == 0 || limit > Forever || window == 0 || window > MaxWindow {
			return fmt.Errorf("%w: a bucket is cut short or out of range", errExport)
		}
		e.limit, e.window = int64(limit), int64(window)
		e.used, e.at = level(used), now-gap
		e.drain(now, e.limit)
		e.at = now
		if e.used == 0 {
			continue
		}
		s := b.shard(e.name)
		s.mu.Lock()
		s.now = max(s.now, now)
		_, found := s.index[e.name]
		ok := found || s.insert(e)
		s.mu.Unlock()
		if !ok {
			return fmt.Errorf("import buckets: the table holds %d at most", shards*s.max)
		}
	}
	return nil
}

// exportLosses appends what owners have lost and would not be whole yet.
func (b *Buckets) exportLosses(out []byte, now int64) []byte {
	n, list := uint64(0), []byte(nil)
	for i := range b.shards {
		s := &b.shards[i]
		s.mu.Lock()
		for o, t := range s.tenants {
			if t.since > 0 && t.until > now {
				n++
				list = binary.AppendUvarint(list, uint64(i))
				list = binary.AppendUvarint(list, uint64(o))
				list = binary.AppendUvarint(list, uint64(max(now-t.since, 0)))
				list = binary.AppendUvarint(list, uint64(t.until-now))
			}
		}
		s.mu.Unlock()
	}
	return append(binary.AppendUvarint(out, n), list...)
}

// importLosses takes them back: at now, gap nanoseconds later.
func (b *Buckets) importLosses(r *reader, now, gap int64) bool {
	for n := r.uvarint(); n > 0 && !r.bad; n-- {
		i, o, age, rest := r.uvarint(), Owner(r.uvarint()), r.uvarint(), r.uvarint()
		if r.bad || i >= shards || o == 0 || age > Forever || rest > Forever {
			return false
		}
		if int64(rest) <= gap {
			continue
		}
		s := &b.shards[i]
		s.mu.Lock()
		t := s.tenants[o]
		if t == nil {
			t = new(tenant)
			s.tenants[o] = t
		}
		// The clock may be younger than the loss: then the buckets begin emptier than they must.
		t.since = max(now-gap-int64(age), 1)
		t.until = now + min(int64(rest)-gap, Forever-now)
		s.mu.Unlock()
	}
	return !r.bad
}
