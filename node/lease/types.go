package lease

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Config must be the same on every node of a cluster: a node that counts a longer
// Duration than its leader serves for longer than the leader waits.
type Config struct {
	Duration time.Duration // D, for which a node serves after it sent a renewal
	Drift    float64       // ε, the maximum difference between the rates of two clocks
	JoinLag  time.Duration // maximum lag of a node that is granted a lease
}

// Default is the configuration that perfgate documents.
var Default = Config{Duration: 5 * time.Second, Drift: 0.05, JoinLag: 250 * time.Millisecond}

// expiry is D(1+ε), which the leader counts where a node counts D.
func (c Config) expiry() int64 {
	return int64(math.Ceil(float64(c.Duration) * (1 + c.Drift)))
}

// Bounds of a [Table]. A node beyond them is refused a lease.
const (
	MaxNodes   = 128
	MaxPending = 8 // renewals of one node in progress
)

// GrantWithin is how long after x a renewal may be granted. A writer waits for
// pending ones too; it must not wait for one that will never be answered.
const GrantWithin = time.Second

// Node is one incarnation of a server. Boot is a counter that is made durable
// while the data directory is locked, so that a higher one proves that the process
// with a lower one is dead, and its lease with it.
type Node struct {
	ID   string
	Boot uint64
}

// Ticket is a renewal in progress.
type Ticket struct {
	Need uint64 // R_x: the index that the node must have reported to be granted

	node Node
	term uint64
	seq  uint64
}

// The reasons to refuse a renewal.
var (
	ErrNotLeading = errors.New("this server grants no leases: it is not the leader, or has not applied the barrier of its term")
	ErrBehind     = errors.New("the node has not applied an index that others have")
	ErrOldBoot    = errors.New("this node has been started again since")
	ErrBusy       = errors.New("too many renewals of this node are in progress")
	ErrFull       = errors.New("too many nodes")
)

// Behind is an [ErrBehind] with the index to apply before asking again.
type Behind struct{ R uint64 }

func (b Behind) Error() string { return fmt.Sprintf("%v: index %d", ErrBehind, b.R) }

// Is makes errors.Is find [ErrBehind].
func (b Behind) Is(target error) bool { return target == ErrBehind }

// State of a [Wait].
type State int

// The states of a [Wait].
const (
	Waiting State = iota
	Done
	// Lost means that leadership ended before the wait did. The write stands, but this server
	// does not know whether it is effective everywhere.
	Lost
)

func (s State) String() string {
	switch s {
	case Waiting:
		return "waiting"
	case Done:
		return "done"
	case Lost:
		return "lost"
	}
	return fmt.Sprintf("State(%d)", int(s))
}

// How a holder cleared a wait.
const (
	Applied     = "applied"
	LeaseEnded  = "lease_ended" // by time, or by a later start of that node
	Unconfirmed = "unconfirmed" // it may still serve an older state, without a lease
)

// Ack describes how one holder cleared a wait.
type Ack struct {
	ID  string
	How string
}

// Holding is the table's state of one node.
type Holding struct {
	Node
	Rep      uint64 // newest index it reported in this term
	Until    int64  // end of its granted lease by the leader's clock; 0: none
	Ended    int64  // when the last one ended; 0: it holds one, or was granted none in this term
	Pending  bool   // a renewal is in progress
	Stale    bool   // it may serve without a lease
	LastSeen int64  // time of its last message in this term; 0: none
}
