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

// manyRotten is how many damaged snapshots show that the state is damaged, too, whose tables
// they share: more than are kept, so that one of them was made in the place of another.
const manyRotten = 3

// HealRotten tells what to do about a node whose state is rotten.
const HealRotten = "once the other nodes are healthy, stop it, empty its data directory and start it again"

// RottenState is nil unless so many snapshots of r in a row have been found damaged that the
// next one will be: a file of the state itself is. Its node can send its state to no other one.
func RottenState(r *Replica) error {
	if n := r.engine.rotten.Load(); n >= manyRotten {
		return fmt.Errorf("its last %d snapshots were damaged, and so is the state that they are made of; %s", n, HealRotten)
	}
	return nil
}
