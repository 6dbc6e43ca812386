package limiter

import (
	"hash/maphash"
	"sync"
)

// InFlight counts the requests of keys that are under way on this node. Only keys with a
// bound are counted, and one has an entry only while it has requests: some 100 bytes each,
// never more of them than requests. The zero value is empty and ready.
//
// It is safe for concurrent use; keys are spread over shards with a lock each.
type InFlight struct {
	shards [64]inFlight
}

type inFlight struct {
	mu sync.Mutex
	n  map[string]int64
}

var inFlightSeed = maphash.MakeSeed()

func (f *InFlight) shard(key string) *inFlight {
	return &f.shards[maphash.String(inFlightSeed, key)%uint64(len(f.shards))]
}

// Enter counts one more request of key, unless there are most of them or more already.
// Every success is answered by one Leave.
func (f *InFlight) Enter(key string, most int64) bool {
	s := f.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n[key] >= most {
		return false
	}
	if s.n == nil {
		s.n = make(map[string]int64)
	}
	s.n[key]++
	return true
}

// Leave ends a request that Enter has counted.
func (f *InFlight) Leave(key string) {
	s := f.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n[key] > 1 {
		s.n[key]--
	} else {
		delete(s.n, key)
	}
}

// Len is the number of all requests that are counted.
func (f *InFlight) Len() (n int64) {
	for i := range f.shards {
		s := &f.shards[i]
		s.mu.Lock()
		for _, k := range s.n {
			n += k
		}
		s.mu.Unlock()
	}
	return n
}
