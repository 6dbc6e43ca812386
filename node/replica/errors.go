package replica

import (
	"errors"
	"fmt"
)

// The reasons for which the replicated state refuses a call. An [Error] wraps one
// of them; test for it with [errors.Is].
var (
	ErrNoLeader       = errors.New("no leader")
	ErrUnknownOutcome = errors.New("unknown outcome")
	ErrUnavailable    = errors.New("unavailable")
	ErrBusy           = errors.New("too many writes are waiting")
	ErrDiskFull       = errors.New("the disk is full")
	ErrTooLarge       = errors.New("the command is too large")
	ErrNotFound       = errors.New("not found")
	ErrConflict       = errors.New("conflict")
	ErrForbidden      = errors.New("forbidden")
	// ErrWouldLoseQuorum refuses an operator's change after which no majority of the
	// voters would be in contact.
	ErrWouldLoseQuorum = errors.New("the change would leave no majority")
	ErrUnknownCommand  = errors.New("unknown command")
	// ErrContested refuses a node whose state differs from the leader's, while nothing shows
	// which of them is right.
	ErrContested = errors.New("the state may not be the cluster's")
	// ErrDiverged refuses a node that has applied other changes than its cluster.
	ErrDiverged = errors.New("the state is not the cluster's")
)

// ErrNotTaken reports that no node holds anything of a proposal: it may be offered
// again, to the same leader or to another one.
var ErrNotTaken = errors.New("there is no leader, or it is changing")

// RetryAfter is the hint, in seconds, for a call that may succeed later.
const RetryAfter = 1

// Error is a call that was refused.
type Error struct {
	Reason     error  // one of the Err variables above
	Message    string // a sentence for people; "" if the reason says it all
	RetryAfter int64  // seconds after which to try again; 0 if trying again does not help
	Cause      error  // for the log; nil if there is none
}

// Error implements error.
func (e *Error) Error() string {
	s := e.Reason.Error()
	if e.Message != "" {
		s += ": " + e.Message
	}
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

// Unwrap gives [errors.Is] the reason and the cause.
func (e *Error) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Reason}
	}
	return []error{e.Reason, e.Cause}
}

// Refuse returns the error of a call that may succeed when it is made again.
func Refuse(reason, cause error) *Error {
	return &Error{Reason: reason, RetryAfter: RetryAfter, Cause: cause}
}

// Passing reports whether the call that failed with err may succeed when it is made again.
func Passing(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.RetryAfter > 0
}

// Decline returns the error of a call that fails for as long as its sentence holds.
func Decline(reason error, format string, args ...any) *Error {
	return &Error{Reason: reason, Message: fmt.Sprintf(format, args...)}
}
