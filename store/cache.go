package store

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
)

// cache keeps the records of keys in use, bounded in bytes. Unknown keys are not
// remembered, so made-up ones cannot fill it.
//
// A hit takes no lock. The danger in such a cache is the reader that missed
// before a change was committed and puts the old record back after it: a revoked
// key would live on. So a reader notes its shard's generation before it reads
// the database, an invalidation (which comes after the commit) moves the
// generation, and put takes nothing from an older one. A refused put costs one
// more miss.
//
// Eviction is second chance over the slots. A record that was never hit again
// goes first, so that one sweep over many cold keys does not empty the cache of
// the hot ones.
type cache struct {
	shards [cacheShards]shard
	extras extras
}

const cacheShards = 256

// entryBytes is the cost of a key without extra settings: its entry (112), its
// id (32), and a slot at the mean load of a table (16).
const entryBytes = 160

// entry is immutable but for used.
type entry struct {
	hash   Hash
	record Record
	extra  uint32      // bytes that it costs in addition to entryBytes
	used   atomic.Bool // hit since the hand last passed
}

func (e *entry) bytes() int { return entryBytes + int(e.extra) }

type shard struct {
	table      atomic.Pointer[table]
	generation atomic.Uint64

	mu    sync.Mutex // held by every writer
	max   int        // bytes
	bytes int        // of the live ones
	live  int
	taken int // slots that are not nil: live and gone ones
	hand  int
	gone  *entry // stands where an entry was, so that probing goes on after it
}

// table is an open-addressing table with linear probing; its length is a power
// of two and at least a quarter of it is nil.
type table struct{ slots []atomic.Pointer[entry] }

func newCache(bytes int64) *cache {
	c := new(cache)
	for i := range c.shards {
		s := &c.shards[i]
		s.max = int(bytes / cacheShards)
		s.gone = new(entry)
		s.table.Store(newTable(8))
	}
	return c
}

func newTable(n int) *table { return &table{make([]atomic.Pointer[entry], n)} }

// Hashes are keyed with a secret and uniform, so their own bits choose shard and slot.
func (c *cache) shard(h *Hash) *shard { return &c.shards[h[0]] }

func slot(h *Hash) int { return int(binary.LittleEndian.Uint64(h[8:]) >> 1) }

// get returns the record of h, nil if it is not here.
func (c *cache) get(h *Hash) *Record {
	t := c.shard(h).table.Load()
	mask := len(t.slots) - 1
	for i := slot(h) & mask; ; i = (i + 1) & mask {
		e := t.slots[i].Load()
		if e == nil {
			return nil
		}
		if e.hash == *h && e.record.Account != nil { // a gone entry has no account
			if !e.used.Load() {
				e.used.Store(true)
			}
			return &e.record
		}
	}
}

// generation is to be read before the database is.
func (c *cache) generation(h *Hash) uint64 { return c.shard(h).generation.Load() }

// put keeps e, which was read from the database since generation was.
func (c *cache) put(e *entry, generation uint64) {
	s := c.shard(&e.hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.generation.Load() != generation {
		return
	}
	if i := s.find(&e.hash); i >= 0 {
		return // two readers missed at once, and read the same
	}
	for s.live > 0 && s.bytes+e.bytes() > s.max {
		s.evict()
	}
	if t := s.table.Load(); (s.taken+1)*4 > len(t.slots)*3 {
		s.rebuild()
	}
	t := s.table.Load()
	mask := len(t.slots) - 1
	for i := slot(&e.hash) & mask; ; i = (i + 1) & mask {
		old := t.slots[i].Load()
		if old != nil && old != s.gone {
			continue
		}
		if old == nil {
			s.taken++
		}
		s.live++
		s.bytes += e.bytes()
		t.slots[i].Store(e)
		return
	}
}

// invalidate forgets h, and any read of it that is under way.
func (c *cache) invalidate(h *Hash) {
	s := c.shard(h)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.generation.Add(1)
	if i := s.find(h); i >= 0 {
		s.remove(i)
	}
}

// drop forgets everything.
func (c *cache) drop() {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.generation.Add(1)
		s.live, s.taken, s.hand, s.bytes = 0, 0, 0, 0
		s.table.Store(newTable(8))
		s.mu.Unlock()
	}
}

// len counts the records that are kept.
func (c *cache) len() (n int) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		n += s.live
		s.mu.Unlock()
	}
	return n
}

// find returns h's slot, -1 if there is none.
func (s *shard) find(h *Hash) int {
	t := s.table.Load()
	mask := len(t.slots) - 1
	for i := slot(h) & mask; ; i = (i + 1) & mask {
		e := t.slots[i].Load()
		if e == nil {
			return -1
		}
		if e != s.gone && e.hash == *h {
			return i
		}
	}
}

func (s *shard) remove(i int) {
	e := s.table.Load().slots[i].Swap(s.gone)
	s.live--
	s.bytes -= e.bytes()
}

// evict drops the first entry at the hand that was not hit since it last passed.
func (s *shard) evict() {
	t := s.table.Load()
	for {
		i := s.hand & (len(t.slots) - 1)
		s.hand++
		e := t.slots[i].Load()
		if e == nil || e == s.gone {
			continue
		}
		if e.used.Load() {
			e.used.Store(false)
			continue
		}
		s.remove(i)
		return
	}
}

// rebuild moves the entries to a fresh table that is at most half full, without
// the slots of gone ones.
func (s *shard) rebuild() {
	n := 8
	for n < (s.live+1)*2 {
		n *= 2
	}
	old, t := s.table.Load(), newTable(n)
	for i := range old.slots {
		e := old.slots[i].Load()
		if e == nil || e == s.gone {
			continue
		}
		j := slot(&e.hash) & (n - 1)
		for t.slots[j].Load() != nil {
			j = (j + 1) & (n - 1)
		}
		t.slots[j].Store(e)
	}
	s.taken = s.live
	s.table.Store(t)
}
