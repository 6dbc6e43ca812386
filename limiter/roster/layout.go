package roster

import (
	"encoding/binary"
	"slices"

	"github.com/perfgate/perfgate/limiter/share"
)

// Name is the name of a bucket: a digest, the same on every node.
type Name [16]byte

// Roster is the nodes that share limits, by id, sorted. Index is that of the log entry
// that announced it. First says that there was none before it, in the whole life of the
// cluster, and Whole that also no node has admitted anything before it, or that each counted
// for itself.
type Roster struct {
	Index uint64
	Nodes []string
	First bool
	Whole bool
}

// Same reports whether r names the given nodes.
func (r Roster) Same(nodes []string) bool { return slices.Equal(r.Nodes, nodes) }

// tinyBelow is the number of units a node below which a bucket has one home.
const tinyBelow = 4

// Tiny reports whether a bucket of that burst has one home among n nodes.
func Tiny(burst int64, n int) bool { return burst < int64(tinyBelow*n) }

// Home is the node of r that charges a tiny bucket, by rendezvous; "" where r is empty.
func (r Roster) Home(name Name) (home string) {
	best := uint64(0)
	for _, id := range r.Nodes {
		if s := score(id, name); home == "" || s > best {
			home, best = id, s
		}
	}
	return home
}

// score is a hash of both: FNV-1a with the finalizer of SplitMix64.
func score(id string, name Name) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range []byte(id) {
		h = (h ^ uint64(c)) * 1099511628211
	}
	h ^= binary.LittleEndian.Uint64(name[:8]) ^ binary.LittleEndian.Uint64(name[8:])
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

// Base is the part of a bucket that r gives the node self: the same to each, and to the
// home what is left. Those of all its nodes add up to the whole. It does not depend on
// the limit, which may change.
func (r Roster) Base(self string, name Name) share.Part {
	if !slices.Contains(r.Nodes, self) {
		return 0
	}
	n := share.Part(len(r.Nodes))
	if r.Home(name) == self {
		return share.One - share.One/n*(n-1)
	}
	return share.One / n
}
