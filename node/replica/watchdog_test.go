package replica

import (
	"errors"
	"log/slog"
	"testing"
	"time"
)

// The disk is watched from before the engine is open. Until then nobody waits for the node,
// and it is patient.
func TestSlowDiskAtTheStart(t *testing.T) {
	var fatal error
	w := watchdog{&Replica{cfg: Config{Logger: slog.New(slog.DiscardHandler), Fatal: func(err error) { fatal = err }}}}
	if again := w.stuck(errors.New("slow"), 2*storeLimit); !again || fatal != nil {
		t.Errorf("asked again: %t, ended by %v", again, fatal)
	}
	if again := w.stuck(errors.New("slow"), patienceFactor*storeLimit+time.Second); again || fatal == nil {
		t.Errorf("after the patience: asked again: %t, ended by %v", again, fatal)
	}
}
