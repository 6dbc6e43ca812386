package replica_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/perfgate/perfgate/node/replica"
)

// An error tells its reason, its sentence and its cause, as far as it has them; callers
// find the reason and the cause in it. Only one that may pass has a hint to try again.
func TestErrors(t *testing.T) {
	cause := errors.New("broken pipe")
	for _, tt := range []struct {
		err  *replica.Error
		text string
		hint int64
	}{
		{replica.Refuse(replica.ErrBusy, nil), "too many writes are waiting", replica.RetryAfter},
		{replica.Refuse(replica.ErrNoLeader, cause), "no leader: broken pipe", replica.RetryAfter},
		{replica.Decline(replica.ErrTooLarge, "It takes %d bytes, 100%% of them.", 7), "the command is too large: It takes 7 bytes, 100% of them.", 0},
		{&replica.Error{Reason: replica.ErrUnavailable, Message: "Repeat it.", Cause: cause}, "unavailable: Repeat it.: broken pipe", 0},
	} {
		wrapped := fmt.Errorf("write: %w", tt.err)
		if tt.err.Error() != tt.text || tt.err.RetryAfter != tt.hint {
			t.Errorf("%q with hint %d, want %q with %d", tt.err, tt.err.RetryAfter, tt.text, tt.hint)
		}
		if !errors.Is(wrapped, tt.err.Reason) || errors.Is(wrapped, cause) != (tt.err.Cause != nil) || errors.Is(wrapped, replica.ErrNotTaken) {
			t.Errorf("%v: its reason or cause is not found", wrapped)
		}
	}
}
