package lease

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Config is the same on every node of a cluster: a node that counts a longer
// Duration than its leader serves beyond what the leader waits for.
type Config struct {
	Duration time.Duration // D, how long a node serves after it sent a renewal
	Drift    float64       // ε, by which the rates of two clocks may differ
	JoinLag  time.Duration // how far behind a node may be and still hold a lease
}

// Default is what the contract promises.
var Default = Config{Duration: 5 * time.Second, Drift: 0.05, JoinLag: 250 * time.Millisecond}

// expiry is D(1+ε): what the leader counts where a node counts D.
func (c Config) expiry() int64 {
	return int64(math.Ceil(float64(c.Duration) * (1 + c.Drift)))
}

// Bounds of a [Table]. What they give up: a node beyond them is refused a lease.
const (
	MaxNodes   = 128
	MaxPending = 8 // renewals of one node under way
)

// GrantWithin is how long after x a renewal may be granted. A writer waits for
// pending ones too; it must not wait for one that nobody will answer.
const GrantWithin = time.Second

// Node is one incarnation of a server: Boot is a counter that was made durable
// under the lock of the data directory, so a higher one proves that the process
// with a lower one is dead, and its lease with it.
type Node struct {
	ID   string
	Boot uint64
}

// Ticket is a renewal under way.
type Ticket struct {
	Need uint64 // R_x: the index that the node must have reported to be granted

	node Node
	term uint64
	seq  uint64
}

var (
	ErrNotLeading = errors.New("this server grants no leases: it does not lead, or has not applied its term's barrier")
	ErrBehind     = errors.New("the node has not applied what others have")
	ErrOldBoot    = errors.New("a later start of this node is known")
	ErrBusy       = errors.New("too many renewals of this node are under way")
	ErrFull       = errors.New("too many nodes")
)

// Behind is the [ErrBehind] that says what to apply before asking again.
type Behind struct{ R uint64 }

func (b Behind) Error() string        { return fmt.Sprintf("%v: index %d", ErrBehind, b.R) }
func (b Behind) Is(target error) bool { return target == ErrBehind }

// State of a [Wait].
type State int

const (
	Waiting State = iota
	Done
	// Lost: leadership ended before the wait did. The write stands; whether it is
	// effective everywhere is not known here.
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
	Unconfirmed = "unconfirmed" // it may go on serving an older state without a lease
)

// Ack tells how one holder cleared a wait.
type Ack struct {
	ID  string
	How string
}

// Holding is what the table knows of one node.
type Holding struct {
	Node
	Rep      uint64 // newest index it reported in this term
	Until    int64  // when its granted lease ends by the leader's clock; 0: it has none
	Pending  bool   // a renewal is under way
	Stale    bool   // it serves on without a lease
	LastSeen int64  // 0: not in this term
}
