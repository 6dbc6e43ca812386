package pool

import (
	"encoding/binary"

	"github.com/perfgate/perfgate/limiter/share"
)

// Owner is the account that a bucket belongs to: a digest of its id. The lowest bit is set
// for identifiers that the account names itself, which have places of their own. 0 and 1:
// the account is not known, because a node of an earlier version has asked.
type Owner uint64

// OwnerOf is the owner with a digest.
func OwnerOf(digest [16]byte, identifiers bool) Owner {
	o := Owner(binary.LittleEndian.Uint64(digest[:])) | 3 // the second bit: it is known
	if !identifiers {
		o &^= 1
	}
	return o
}

func (o Owner) identifiers() bool { return o&1 != 0 }
func (o Owner) known() bool       { return o > 1 }

// Bounds is how many buckets a node has at most. A bucket in use takes some 160 bytes, and
// in a cluster of three some 75 more once it has been lent or borrowed.
type Bounds struct {
	// Traffic are the buckets of accounts, keys and rules. The last quarter is for accounts
	// that have less than an equal share.
	Traffic int
	// Identifiers are the buckets of POST /v1/ratelimit. When they are all taken, an account
	// with little gets a place of one that has more.
	Identifiers int
}

// DefaultBounds are those of [New].
var DefaultBounds = Bounds{Traffic: 1 << 20, Identifiers: 1 << 20}

// looks is how many buckets of its shard a newcomer looks at for one to drop.
const looks = 256

// tenant is what an owner has in a shard. The lock of the shard guards it.
//
// To make a bucket again that was dropped before it was whole would give its tokens twice.
// So an owner that has lost one begins all its new buckets of the shard as after a crash at
// that moment: without tokens, and with its base in quarantine. Other owners are not affected.
type tenant struct {
	owner Owner
	n     int   // buckets
	since int64 // when it lost one that was not whole; 0: never, or long ago
	until int64 // when all that it lost would be whole
}

// move counts b for its owner, if that was not known before.
func (s *Shard) move(b *Bucket, to Owner) {
	s.vacate(b)
	b.tenant = s.tenant(to)
	s.occupy(b)
}

// tenant finds an owner's, or makes it.
func (s *Shard) tenant(o Owner) *tenant {
	t := s.tenants[o]
	if t == nil {
		t = &tenant{owner: o}
		s.tenants[o] = t
	}
	if t.until <= s.now {
		t.since = 0
	}
	return t
}

// forget drops a tenant that has nothing and that nothing has to be remembered of.
func (s *Shard) forget(t *tenant) {
	if t.n == 0 && (t.since == 0 || t.until <= s.now) {
		delete(s.tenants, t.owner)
	}
}

// admit finds a place for one more bucket of o; nil: there is none. All of it is bounded by
// looks and by the number of accounts.
func (s *Shard) admit(o Owner) *tenant {
	t := s.tenant(o)
	fits := s.fits(t)
	if !fits && o.identifiers() {
		fits = s.evict(t)
	}
	if !fits {
		s.forget(t)
		return nil
	}
	return t
}

// fits reports whether there is a free place that t may take.
func (s *Shard) fits(t *tenant) bool {
	p := s.pool
	if t.owner.identifiers() {
		return s.identifiers < p.bounds.Identifiers/shards
	}
	free := int(p.places.Load())
	if free > p.bounds.Traffic/4 {
		return true
	}
	return free > 0 && t.n < p.bounds.Traffic/max(1, int(p.accounts.Load()))
}

// Roomy reports whether half of the places are free: then a bucket may be made only to know
// what other nodes have of it.
func (s *Shard) Roomy(t Terms) bool {
	if t.ownerOrNone().identifiers() {
		return s.identifiers < s.pool.bounds.Identifiers/shards/2
	}
	return int(s.pool.places.Load()) > s.pool.bounds.Traffic/2
}

// ownerOrNone tells the two kinds apart where the account is not known: identifiers have no
// entry of the log.
func (t *Terms) ownerOrNone() Owner {
	if t.Owner == 0 && t.Created == 0 {
		return 1
	}
	return t.Owner
}

// evict frees a place for t, which has less than its share of the identifiers: that of a
// bucket that is as if never used, or one of the owner that has most. Half of all buckets
// belong to owners that have more than half a share, so looks finds one of them, or the
// owner that fills the shard.
func (s *Shard) evict(t *tenant) bool {
	others := s.accounts
	if t.n == 0 {
		others++
	}
	fair := s.pool.bounds.Identifiers / shards / max(1, others)
	var worst *Bucket
	wait := int64(0)
	for range min(looks, s.buckets.n) {
		b := s.buckets.next(&s.hand)
		if !b.tenant.owner.identifiers() {
			continue
		}
		if b.Idle(s.now) {
			s.drop(b)
			return true
		}
		if n := b.tenant.n; n <= t.n+1 || n <= fair/2 || worst != nil && n < worst.tenant.n {
			continue
		}
		if w := share.Refills(&b.Bucket); worst == nil || b.tenant.n > worst.tenant.n || w < wait {
			worst, wait = b, w
		}
	}
	if worst == nil || t.n >= fair {
		return false
	}
	// Also the parts that it has lent must have come back: 2 TTL at most.
	loser := worst.tenant
	loser.since = s.now
	loser.until = max(loser.until, s.now+min(wait, share.Forever-2*share.TTL-s.now)+2*share.TTL)
	s.drop(worst)
	return true
}

// occupy counts b for its tenant, and vacate for it no longer.
func (s *Shard) occupy(b *Bucket) {
	s.tenants[b.tenant.owner] = b.tenant // it may have been forgotten when a place was freed for b
	b.tenant.n++
	first := b.tenant.n == 1
	if b.tenant.owner.identifiers() {
		if s.identifiers++; first {
			s.accounts++
		}
		return
	}
	if s.pool.places.Add(-1); first {
		s.pool.accounts.Add(1)
	}
}

func (s *Shard) vacate(b *Bucket) {
	t := b.tenant
	t.n--
	last := t.n == 0
	if t.owner.identifiers() {
		if s.identifiers--; last {
			s.accounts--
		}
	} else if s.pool.places.Add(1); last {
		s.pool.accounts.Add(-1)
	}
	s.forget(t)
}
