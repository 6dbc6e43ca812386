package notify

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perfgate/perfgate/store"
)

// A leader that is new waits with the endpoint for a delivery that failed under the one
// before, and does not send what is behind it first.
func TestOrderUnderANewLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("a")
		w.answers(func(*store.Webhook, string) int { return 503 })
		_, stop := w.run()
		w.queue("a", "0")
		pass(500 * time.Millisecond)
		stop()
		before := len(w.bodies("a"))
		if before == 0 {
			t.Fatal("nothing was sent")
		}
		w.answers(func(*store.Webhook, string) int { return 200 })
		w.queue("a", "1")
		_, stop = w.run()
		pass(time.Minute)
		stop()
		if got := w.bodies("a")[before:]; !slices.Equal(got, []string{"0", "1"}) {
			t.Errorf("the new leader sends %v", got)
		}
	})
}
