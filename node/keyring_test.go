package node

import (
	"errors"
	"fmt"
	"testing"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/node/custody"
)

// A rotation that is refused for a reason that the caller can act on says so; other
// errors, which name files, stay in the log.
func TestRotationFault(t *testing.T) {
	for err, want := range map[error]fault.Code{
		custody.ErrBusy: fault.Conflict,
		fmt.Errorf("%w: repeat it", custody.ErrSameKey):                  fault.Conflict,
		errors.New("write the key file \"/data/encryption.key\": EROFS"): fault.Internal,
	} {
		var f *fault.Error
		if got := rotationFault(err); !errors.As(got, &f) || f.Code != want {
			t.Errorf("%v: %v", err, got)
		}
	}
	if err := rotationFault(nil); err != nil {
		t.Error(err)
	}
}
