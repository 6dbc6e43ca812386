package share

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/perfgate/perfgate/limiter/pool"
)

func (s *station) known(n pool.Name, t pool.Terms) int64 {
	sh := s.pool.Shard(n)
	sh.Lock()
	defer sh.Unlock()
	left, _ := sh.Open(nil, n, t, s.conf.Now()).Known()
	return left
}

// What one node admits is in what the others show within a second, also where a bucket was
// never used, and long after the last word about it; a bucket that stands still costs no
// messages.
func TestOthersKnowWhatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, three, "a", "b", "c")
		defer f.close()
		n, hourly := pool.Name{11}, minute(60)
		hourly.Pace.Weight *= 60 // 60 an hour
		for i, id := range []string{"a", "a", "b", "a", "b", "b"} {
			for range 3 {
				if !f.nodes[id].take(n, hourly) {
					t.Fatal("refused")
				}
			}
			time.Sleep(time.Second)
			for _, id := range f.ids {
				if got, want := f.nodes[id].known(n, hourly), int64(60-3*(i+1)); got < want-1 || got > want+1 {
					t.Errorf("after %d requests %s shows %d", 3*(i+1), id, got)
				}
			}
		}
		time.Sleep(time.Minute) // loans end
		calls := f.calls.Load()
		time.Sleep(3 * time.Minute)
		for _, id := range f.ids {
			if got := f.nodes[id].known(n, hourly); got < 45 || got > 47 {
				t.Errorf("four minutes later %s shows %d", id, got)
			}
		}
		if sent := f.calls.Load() - calls; sent > 20 {
			t.Errorf("%d messages in three minutes about a bucket that nobody uses", sent)
		}
	})
}
