package store

import (
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
)

// fakeEntry is an entry of version v under a uniform hash made of n.
func fakeEntry(n, v uint64) *entry {
	e := &entry{hash: fakeHash(n)}
	e.record.Account = new(Cell)
	e.record.Created = v
	return e
}

func fakeHash(n uint64) (h Hash) {
	r := rand.New(rand.NewPCG(n, 1))
	for i := 0; i < len(h); i += 8 {
		binary.LittleEndian.PutUint64(h[i:], r.Uint64())
	}
	return h
}

func TestCacheIsBounded(t *testing.T) {
	const keep = 4 * cacheShards
	c := newCache(keep * entryBytes)
	for n := range uint64(20 * keep) {
		e := fakeEntry(n, 0)
		c.put(e, c.generation(&e.hash))
	}
	if n := c.len(); n > keep || n < keep/2 {
		t.Errorf("%d entries, the bound is %d", n, keep)
	}
	for i := range c.shards {
		if s := &c.shards[i]; len(s.table.Load().slots) > 32 {
			t.Errorf("shard %d has %d slots for %d entries", i, len(s.table.Load().slots), s.live)
		}
	}
	heavy := fakeEntry(0, 0)
	heavy.extra = 3 * entryBytes
	before := c.shard(&heavy.hash).live
	c.put(heavy, c.generation(&heavy.hash))
	if s := c.shard(&heavy.hash); c.get(&heavy.hash) == nil || s.live > before-2 || s.bytes > s.max {
		t.Errorf("a heavy entry left %d of %d entries, %d bytes of %d", s.live, before, s.bytes, s.max)
	}
}

// A sweep over many cold keys must not push out those that are hit again and again.
func TestCacheKeepsWhatIsHit(t *testing.T) {
	const hot, keep = 500, 20 * cacheShards
	c := newCache(keep * entryBytes)
	for n := range uint64(100 * keep) {
		e := fakeEntry(1_000_000+n, 0)
		c.put(e, c.generation(&e.hash))
		h := fakeHash(n % hot)
		if c.get(&h) == nil {
			c.put(fakeEntry(n%hot, 0), c.generation(&h))
		}
	}
	kept := 0
	for n := range uint64(hot) {
		if h := fakeHash(n); c.get(&h) != nil {
			kept++
		}
	}
	if kept < hot*9/10 {
		t.Errorf("%d of %d hot keys survived the sweep", kept, hot)
	}
}

// The reader missed and read the database before a change was committed, and
// comes to put its value after the change's invalidation.
func TestCacheRefusesStalePut(t *testing.T) {
	c := newCache(1 << 20)
	h := fakeHash(1)
	generation := c.generation(&h)
	old := fakeEntry(1, 1)
	c.invalidate(&h) // the change, committed before
	c.put(old, generation)
	if c.get(&h) != nil {
		t.Fatal("the old record was put back: a revoked key lives on")
	}
	c.put(fakeEntry(1, 2), c.generation(&h))
	if r := c.get(&h); r == nil || r.Created != 2 {
		t.Fatalf("the new record is not kept: %+v", r)
	}
	generation = c.generation(&h)
	c.drop() // a restore
	c.put(old, generation)
	if c.get(&h) != nil {
		t.Fatal("a record from before the restore was put back")
	}
}

// Readers fill the cache from a "database" of versions that a writer moves on.
// Once an invalidation has returned, no look-up may get an older version.
func TestCacheUnderRace(t *testing.T) {
	const keys = 64
	c := newCache(40 * entryBytes * cacheShards / 64) // too small for all
	var committed, published [keys]atomic.Uint64
	var hashes [keys]Hash
	for i := range hashes {
		hashes[i] = fakeHash(uint64(i))
		hashes[i][0] = 0 // all in one shard
	}
	var stop atomic.Bool
	var wg sync.WaitGroup
	for reader := range 4 {
		wg.Go(func() {
			pick := rand.New(rand.NewPCG(uint64(reader), 5))
			for !stop.Load() {
				i := pick.IntN(keys)
				least := published[i].Load()
				r := c.get(&hashes[i])
				if r == nil {
					generation := c.generation(&hashes[i])
					e := &entry{hash: hashes[i]}
					e.record.Account = new(Cell)
					e.record.Created = committed[i].Load()
					c.put(e, generation)
					r = &e.record
				}
				if r.Created < least {
					t.Errorf("key %d: got version %d after %d was published", i, r.Created, least)
					stop.Store(true)
				}
			}
		})
	}
	pick := rand.New(rand.NewPCG(9, 9))
	for n := range 100_000 {
		i := pick.IntN(keys)
		v := committed[i].Add(1)
		c.invalidate(&hashes[i])
		published[i].Store(v)
		if n%1000 == 0 {
			c.drop()
		}
		if stop.Load() {
			break
		}
	}
	stop.Store(true)
	wg.Wait()
}

func TestLookupHitAllocatesNothing(t *testing.T) {
	h := begun(t)
	k := h.must(create("a")).Key
	if n := testing.AllocsPerRun(100, func() {
		if r, err := h.Lookup(k.Hash); r == nil || err != nil {
			t.Fatal(r, err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestUnknownKeysAreNotCached(t *testing.T) {
	h := begun(t)
	for n := range uint64(1000) {
		if r, err := h.Lookup(fakeHash(n)); r != nil || err != nil {
			t.Fatal(r, err)
		}
	}
	if n := h.cache.len(); n != 0 {
		t.Errorf("%d unknown keys are cached", n)
	}
}

// Every look-up finds a change from the time of its answer on,
// however many readers fill the cache at that moment.
func TestLookupAfterApplyIsNew(t *testing.T) {
	h := begun(t)
	k := h.must(create("a")).Key
	var stop atomic.Bool
	var wg sync.WaitGroup
	defer func() { stop.Store(true); wg.Wait() }()
	for range 3 {
		wg.Go(func() {
			for !stop.Load() {
				if r, err := h.Lookup(k.Hash); r == nil || err != nil {
					t.Errorf("%v %v", r, err)
					return
				}
			}
		})
	}
	for i := range 1500 {
		disabled := i%2 == 0
		h.must(&Command{Change: &KeyUpdate{ID: k.ID, Disabled: &disabled}})
		for range 3 {
			if r, _ := h.Lookup(k.Hash); r.Disabled != disabled {
				t.Fatalf("entry %d is applied, and a look-up finds the record before it", h.index)
			}
		}
	}
}
