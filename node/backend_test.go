package node

import (
	"errors"
	"fmt"
	"reflect"
	"testing"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/manage"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/node/replica/replicatest"
)

// Every reason has its code, with the sentence and the hint of the error.
func TestFaultOfEveryReason(t *testing.T) {
	cause := errors.New("cause")
	for reason, code := range map[error]fault.Code{
		replica.ErrNoLeader:       fault.NoLeader,
		replica.ErrUnknownOutcome: fault.UnknownOutcome,
		replica.ErrUnavailable:    fault.Unavailable,
		replica.ErrDiskFull:       fault.Unavailable,
		replica.ErrBusy:           fault.TooBusy,
		replica.ErrTooLarge:       fault.BodyTooLarge,
		replica.ErrNotFound:       fault.NotFound,
		replica.ErrConflict:       fault.Conflict,
		replica.ErrForbidden:      fault.Forbidden,
	} {
		for _, e := range []*replica.Error{replica.Refuse(reason, cause), replica.Refuse(reason, nil), replica.Decline(reason, "node %d", 7)} {
			want := &fault.Error{Code: code, Message: e.Message, RetryAfter: e.RetryAfter, Cause: e.Cause}
			if got := faultOf(fmt.Errorf("wrapped: %w", e)); !reflect.DeepEqual(got, want) {
				t.Errorf("%v became %+v, must be %+v", e, got, want)
			}
			if !errors.Is(e, reason) || e.Cause != nil && !errors.Is(e, cause) {
				t.Errorf("%v hides its reason or its cause", e)
			}
		}
	}
	if faultOf(nil) != nil {
		t.Error("success became a fault")
	}
	if f := fault.From(faultOf(cause)); f.Code != fault.Internal || !errors.Is(f, cause) {
		t.Errorf("an error without a reason became %+v", f)
	}
}

// The table has each reason once, and only codes that exist.
func TestFaultsAreDistinct(t *testing.T) {
	seen := map[error]bool{}
	for _, f := range faults {
		if seen[f.reason] || f.code.Status() == fault.Internal.Status() {
			t.Errorf("%v: %v", f.reason, f.code)
		}
		seen[f.reason] = true
	}
}

// The public status and the public revocation hold all that the node's own do.
func TestPublicTypesAreComplete(t *testing.T) {
	var s replica.Status
	replicatest.Fill(&s)
	var public manage.ClusterStatus
	replicatest.Fill(&public)
	public.FailureTolerance = 0 // counted from the nodes
	if got := statusOf(s); !reflect.DeepEqual(got, public) {
		t.Errorf("status: got %+v, must be %+v", got, public)
	}
	var r replica.Revocation
	replicatest.Fill(&r)
	var revocation rest.Revocation
	replicatest.Fill(&revocation)
	if got := revocationOf(r); !reflect.DeepEqual(got, revocation) {
		t.Errorf("revocation: got %+v, must be %+v", got, revocation)
	}
	if revocationOf(replica.Revocation{}).Nodes == nil || statusOf(replica.Status{}).Nodes == nil {
		t.Error("a list without elements would be written as null")
	}
}

// The API and the replica, which do not know each other, give a write the same time.
func TestOneTimeForWrites(t *testing.T) {
	if rest.ProposeTimeout != replica.ProposeTimeout {
		t.Errorf("%v and %v", rest.ProposeTimeout, replica.ProposeTimeout)
	}
}
