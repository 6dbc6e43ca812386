package replica

import (
	"errors"
	"fmt"

	"github.com/perfgate/perfgate/store/raftlog"
)

// Marks are facts of this node alone that are kept beside its log, under names that
// Raft does not use: they are there as long as the log is.
type Marks struct{ log *raftlog.Log }

// Marks returns the marks of this node.
func (r *Replica) Marks() Marks { return Marks{r.engine.log} }

var localNameKey = []byte("perfgate.local")

// LocalName is the name of the database of the node's own data, as it was last set; ""
// if it never was.
func (m Marks) LocalName() (string, error) {
	v, err := m.log.Get(localNameKey)
	if errors.Is(err, raftlog.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the name of the node's own data: %w", err)
	}
	return string(v), nil
}

// SetLocalName sets the name, durably.
func (m Marks) SetLocalName(name string) error {
	if err := m.log.Set(localNameKey, []byte(name)); err != nil {
		return fmt.Errorf("keep the name of the node's own data: %w", err)
	}
	return nil
}

// The identity as the node had it at its last start. It is there before the log has an entry or
// the node a snapshot: whoever has either can be told from a node that has neither.
var (
	nodeIDKey = []byte("perfgate.node")
	bootKey   = []byte("perfgate.boot")
)

// identity is the one that was marked, zero if none was.
func (m Marks) identity() (id Identity, err error) {
	v, err := m.log.Get(nodeIDKey)
	if errors.Is(err, raftlog.ErrNotFound) {
		return id, nil
	}
	if err != nil {
		return id, fmt.Errorf("read the identity in the log: %w", err)
	}
	id.ID = string(v)
	if id.Boot, err = m.log.GetUint64(bootKey); err != nil && !errors.Is(err, raftlog.ErrNotFound) {
		return id, fmt.Errorf("read the identity in the log: %w", err)
	}
	return id, nil
}

// setIdentity marks id, durably.
func (m Marks) setIdentity(id Identity) error {
	if err := errors.Join(m.log.SetUint64(bootKey, id.Boot), m.log.Set(nodeIDKey, []byte(id.ID))); err != nil {
		return fmt.Errorf("note the identity in the log: %w", err)
	}
	return nil
}
