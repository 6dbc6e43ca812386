package replica

import (
	"sync"

	"github.com/perfgate/perfgate/store"
)

// Bounds of the changes that are made on a full disk. They take rights away: a leaked key
// can be revoked even then. The space for them is that of the ballast, 4 MiB at least, of
// which a change takes a few times its own size in the log and in the state.
const (
	reservedChange = 4 << 10   // bytes of one command; a revocation of a key has about 300
	reserveBytes   = 256 << 10 // that a leader takes while the disk is full
)

// Reserved reports whether a command of n bytes is made on a full disk although the
// cluster could serve without it: it takes a right away, and is small.
func Reserved(c *store.Command, n int) bool { return n <= reservedChange && c.Takes() }

// reserve counts what is taken on a full disk.
type reserve struct {
	mu   sync.Mutex
	used int // bytes since the disk is full
}

// admits reports whether p may be made now. Grants are: they are small, few, and without
// them the node would stop proxying.
func (r *reserve) admits(full bool, p *Proposal) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !full {
		r.used = 0
		return true
	}
	if p.Vital {
		return true
	}
	n := len(p.Raw)
	if !p.Takes || n > reservedChange || r.used+n > reserveBytes {
		return false
	}
	r.used += n
	return true
}
