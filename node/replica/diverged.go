package replica

import (
	"errors"
	"fmt"

	"github.com/perfgate/perfgate/store/disk"
)

// DamagedPart is the error of a part of the data directory, found damaged by who reads it
// while the node of r starts. Where there are other nodes, the next start sets everything
// aside and joins them.
func DamagedPart(r *Replica, part string, err error) error {
	h := &healer{r: r, fs: r.space, dir: r.cfg.Dir, log: r.cfg.Logger}
	if !disk.Damaged(err) {
		return err
	}
	if others, fault := h.others(); fault != nil || !others {
		return errors.Join(err, fault)
	}
	h.note(part, err)
	return fmt.Errorf("%w; started again, this node joins its cluster as a new node", err)
}

// Diverged ends the node of r because of err: its state is not its cluster's. The next
// start sets the state aside with all that it was made of, and joins as a new node. Where
// there is no node that this one could join, or nobody knows, it does nothing and returns false.
func Diverged(r *Replica, err error) bool {
	h := &healer{r: r, fs: r.space, dir: r.cfg.Dir, log: r.cfg.Logger}
	if others, err := h.others(); err != nil || !others {
		return false
	}
	r.engine.damaged(fmt.Errorf("%w: %w", err, disk.ErrDamaged))
	return true
}
