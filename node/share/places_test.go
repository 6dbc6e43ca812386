package share

import (
	"encoding/binary"
	"testing"
	"testing/synctest"

	"github.com/perfgate/perfgate/limiter/pool"
	"github.com/perfgate/perfgate/limiter/roster"
	"github.com/perfgate/perfgate/limiter/share"
)

// An account that fills all nodes with identifiers, of which most have their home elsewhere,
// keeps no identifier of another account from being counted, on any node.
func TestIdentifiersOfOneAccountLeaveRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleetOf(t, pool.Bounds{Traffic: 64, Identifiers: 64 * 8})
		defer f.close()
		digest := func(n byte) [16]byte { return [16]byte{1: n} }
		terms := func(account byte, limit int64) pool.Terms {
			p := share.Minute(limit, limit)
			p.Tick = 1000 // a thousandth of the rate
			return pool.Terms{Pace: p, Owner: pool.OwnerOf(digest(account), true)}
		}
		name := func(account byte, i int) (n pool.Name) {
			n[0], n[1] = byte(i), account
			binary.LittleEndian.PutUint32(n[2:], uint32(i))
			return n
		}
		for i := range 64 * 16 { // tiny ones, and such as all nodes have a part of
			f.nodes[f.ids[i%3]].tryTake(name(1, i), terms(1, []int64{1, 12}[i%2]))
		}
		for i := range 64 {
			for round := range 3 {
				at := f.nodes[f.ids[(i+round)%3]]
				if ok, full := at.tryTake(name(2, i), terms(2, 12)); full || !ok {
					t.Fatalf("identifier %d of another account, on %s: passes %v, no place %v", i, at.id, ok, full)
				}
			}
		}
		for _, s := range f.nodes {
			if s.pool.Len() > 64*8 {
				t.Errorf("%s has %d buckets", s.id, s.pool.Len())
			}
		}
	})
}

// newFleetOf is a fleet of three with other bounds, whose buckets begin full.
func newFleetOf(t *testing.T, most pool.Bounds) *fleet {
	f := &fleet{t: t, nodes: map[string]*station{}, ids: []string{"a", "b", "c"}, most: most}
	return f.begin([]roster.Roster{{Index: 11, Nodes: f.ids, First: true, Whole: true}})
}

// tryTake is take for a bucket that may find no place.
func (s *station) tryTake(n pool.Name, t pool.Terms) (ok, full bool) {
	sh := s.pool.Shard(n)
	sh.Lock()
	b := sh.Open(nil, n, t, s.conf.Now())
	sh.Unlock()
	if b == nil {
		return false, true
	}
	return s.take(n, t), false
}
