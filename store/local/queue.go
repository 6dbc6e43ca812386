package local

import (
	"encoding/binary"
	"hash/maphash"
	"math/rand/v2"
	"sync"

	"github.com/perfgate/perfgate/store/pack"
)

// The queue between the request path and the writer: shards of packed records,
// each behind a mutex that is held for one copy. Nothing of the caller's memory
// is kept, so the queue is bounded in bytes for any input: queueShards
// buffers and one spare, 9 MiB, of which a quarter of each is kept for denials.
// How much of the room one account may take is decided in fair.go. At about 170
// bytes a record, an account alone has room for some 32,000 requests, and 11,000
// denials in addition, between two turns of the writer.
const (
	queueShards = 8
	shardBytes  = 1 << 20
)

type queue struct {
	shards [queueShards]shard
	size   int           // bytes of a shard
	wake   chan struct{} // capacity 1: a shard is half full
}

type shard struct {
	seed   maphash.Seed // of accounts; it differs between shards, and does not change
	mu     sync.Mutex
	buf    []byte
	held   shares // of buf
	closed bool
	_      [64]byte // shards do not share a cache line
}

func newQueue(size int) *queue {
	q := &queue{size: size, wake: make(chan struct{}, 1)}
	for i := range q.shards {
		q.shards[i].buf, q.shards[i].seed = make([]byte, 0, size), maphash.MakeSeed()
	}
	return q
}

// recordHead is the fixed part of a record: length of the rest, flags, time.
//
//	length:4 flags:1 time:8 account units cost environment value
const recordHead = 4 + 1 + 8

const (
	recEvent   = 1 << iota // an event is kept of it
	recCounted             // it counts in usage
	recUsed                // the key was used
	recDenied
)

// recordBound is at least the size of o's record.
func recordBound(o *Observation) int {
	limits := 0
	if o.Limits != nil {
		limits = maxPolicy + maxWould + 5*10 + 4
	}
	return limits + recordHead + 3*10 + 32 + 10*2 + min(len(o.Account), maxName) + min(len(o.Environment), maxEnviron) + min(len(o.Method), maxMethod) +
		min(len(o.Key), maxName) + min(len(o.Route), maxRoute) + min(len(o.RequestID), maxID) + min(len(o.Action), maxAction) +
		min(max(len(o.Code), len(o.Failure)), maxReason) + min(max(len(o.Hint), len(o.Actor.Name)), maxHint) + min(len(o.UserAgent), maxAgent) +
		min(len(o.Actor.ID), maxName) + min(len(o.Path), maxPath) + min(len(o.Upstream), maxUp) + min(len(o.Errors), maxErrors) + len(Country{}) + 4 + 16
}

func appendRecord(dst []byte, o *Observation, ns uint64, flags byte) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0, flags)
	dst = binary.BigEndian.AppendUint64(dst, ns)
	dst = appendName(dst, o.Account)
	dst = binary.AppendUvarint(dst, uint64(max(o.Units, 0)))
	dst = binary.AppendUvarint(dst, uint64(max(o.Cost, 0)))
	dst = appendText(dst, o.Environment, maxEnviron)
	dst = appendRequest(dst, o, flags&recEvent != 0)
	binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start-4))
	return dst
}

// push queues o's record, or answers false when there is no room for its account: a
// denial is tried in all shards, another request in two.
func (q *queue) push(o *Observation, ns uint64, flags byte) bool {
	need, tries := recordBound(o), 2
	if flags&recDenied != 0 {
		tries = queueShards
	}
	first := rand.Uint32() // per-thread generator: no shared cache line
	for i := range tries {
		s := &q.shards[(first+uint32(i))%queueShards]
		before, after := s.push(o, ns, flags, need, q.size)
		if after == 0 {
			continue
		}
		if before < q.size/2 && after >= q.size/2 {
			select {
			case q.wake <- struct{}{}:
			default:
			}
		}
		return true
	}
	return false
}

// push appends o's record, of at most need bytes, and returns the length of the
// buffer before and after it; zeros if there is no room in a shard of size bytes.
func (s *shard) push(o *Observation, ns uint64, flags byte, need, size int) (before, after int) {
	account, denied := maphash.String(s.seed, string(o.Account)), flags&recDenied != 0
	s.mu.Lock()
	defer s.mu.Unlock()
	before = len(s.buf)
	if s.closed || !s.held.room(account, denied, before, need, size) {
		return 0, 0
	}
	s.buf = appendRecord(s.buf, o, ns, flags)
	after = len(s.buf)
	s.held.add(account, denied, after-before)
	return before, after
}

// swap takes the content of shard i and leaves it the empty buffer spare.
func (q *queue) swap(i int, spare []byte) []byte {
	s := &q.shards[i]
	s.mu.Lock()
	defer s.mu.Unlock()
	full := s.buf
	s.buf = spare[:0]
	s.held = shares{}
	return full
}

func (q *queue) close() {
	for i := range q.shards {
		q.shards[i].mu.Lock()
		q.shards[i].closed = true
		q.shards[i].mu.Unlock()
	}
}

// record is one parsed record; it aliases the shard's buffer.
type record struct {
	flags   byte
	ns      uint64
	account []byte
	units   uint64
	cost    uint64
	env     []byte
	value   []byte
}

// nextRecord splits the first record off buf.
func nextRecord(buf []byte) (r record, rest []byte, ok bool) {
	if len(buf) < recordHead {
		return r, nil, false
	}
	n := int(binary.BigEndian.Uint32(buf))
	if n > len(buf)-4 || n < recordHead-4 {
		return r, nil, false
	}
	r.flags = buf[4]
	r.ns = binary.BigEndian.Uint64(buf[5:])
	p := pack.NewReader(buf[recordHead : 4+n])
	r.account = p.Take(uint64(p.Byte()))
	r.units, r.cost, r.env = p.Uvarint(), p.Uvarint(), p.Text()
	r.value = p.Rest()
	return r, buf[4+n:], !p.Bad()
}
