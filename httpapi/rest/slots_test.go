package rest

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perfgate/perfgate/httpapi/fault"
)

// One account cannot keep all others out.
func TestSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := largeBodies()
		ctx := context.Background()
		for i := range s.each {
			if f := s.Take(ctx, "acct_a"); f != nil {
				t.Fatalf("body %d: %v", i+1, f)
			}
		}
		began := time.Now()
		if f := s.Take(ctx, "acct_a"); f == nil || f.Code != fault.TooBusy || f.RetryAfter < 1 || time.Since(began) != slotWait {
			t.Fatalf("one body more than an account may hold: %v after %v", f, time.Since(began))
		}
		for i := s.each; i < s.all; i++ {
			if f := s.Take(ctx, "acct_b"); f != nil {
				t.Fatalf("another account is kept out: %v", f)
			}
		}
		if f := s.Take(ctx, "acct_c"); f == nil || f.Code != fault.TooBusy {
			t.Fatalf("more bodies than there are places: %v", f)
		}
		// The call that waits gets the first free place that its account may hold.
		waits := make(chan *fault.Error, 1)
		go func() { waits <- s.Take(ctx, "acct_b") }()
		synctest.Wait()
		s.Release("acct_a")
		synctest.Wait()
		select {
		case f := <-waits:
			t.Fatalf("an account holds more than its half: %v", f)
		default:
		}
		s.Release("acct_b")
		if f := <-waits; f != nil {
			t.Fatalf("a place got free: %v", f)
		}
		gone, cancel := context.WithCancel(ctx)
		cancel()
		if f := s.Take(gone, "acct_b"); f == nil || f.Code != fault.Unavailable {
			t.Errorf("a client that has gone: %v", f)
		}
		for _, account := range []string{"acct_a", "acct_b", "acct_b"} {
			s.Release(account)
		}
		if s.taken != 0 || len(s.by) != 0 {
			t.Errorf("%d places are taken by %v after all were given back", s.taken, s.by)
		}
	})
}
