package limiter

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
)

func TestInFlight(t *testing.T) {
	var f InFlight
	for i, step := range []struct {
		key  string
		most int64
		ok   bool
		n    int64
	}{
		{"a", 2, true, 1}, {"a", 2, true, 2}, {"a", 2, false, 2}, {"a", 3, true, 3}, // a bound that was raised
		{"a", 1, false, 3}, {"b", 1, true, 4}, {"b", 1, false, 4}, {"c", 0, false, 4},
	} {
		if ok := f.Enter(step.key, step.most); ok != step.ok || f.Len() != step.n {
			t.Errorf("step %d: %v with %d in flight, want %v with %d", i, ok, f.Len(), step.ok, step.n)
		}
	}
	for range 3 {
		f.Leave("a")
	}
	f.Leave("b")
	if n := f.Len(); n != 0 {
		t.Errorf("%d in flight at the end", n)
	}
	for i := range f.shards {
		if n := len(f.shards[i].n); n != 0 {
			t.Errorf("%d keys without requests are kept", n)
		}
	}
}

// However many enter at once, no more than the bound are in.
func TestInFlightConcurrently(t *testing.T) {
	var f InFlight
	var in [8]atomic.Int64
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			for i := range 2000 {
				k := (i + g) % len(in)
				key := fmt.Sprint("key_", k)
				if !f.Enter(key, 3) {
					continue
				}
				if n := in[k].Add(1); n > 3 {
					t.Errorf("%d are in", n)
				}
				in[k].Add(-1)
				f.Leave(key)
			}
		})
	}
	wg.Wait()
	if n := f.Len(); n != 0 {
		t.Errorf("%d in flight at the end", n)
	}
}
