package manage_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/manage"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
)

// leakRig is a gate with one key, whose sum is 1, and a cluster that takes a while for
// each write.
type leakRig struct {
	rec     *store.Record
	takes   time.Duration
	fail    error
	revoked atomic.Bool
}

func (g *leakRig) Find(sum [32]byte) (*store.Record, error) {
	if sum == [32]byte{1} {
		return g.rec, nil
	}
	return nil, nil
}
func (g *leakRig) Report(netip.Addr) *fault.Error  { return nil }
func (g *leakRig) Linearize(context.Context) error { return nil }
func (g *leakRig) Propose(ctx context.Context, _ *store.Command) (rest.Receipt, error) {
	select {
	case <-time.After(g.takes):
	case <-ctx.Done():
		return rest.Receipt{}, ctx.Err()
	}
	if g.fail != nil {
		return rest.Receipt{}, g.fail
	}
	g.revoked.Store(true)
	return rest.Receipt{}, nil
}

// newLeakRig needs a store, and so must be called outside of a bubble.
func newLeakRig(t *testing.T) *leakRig {
	r := apitest.New(t)
	_, secret := r.Key("live", "read")
	rec, err := r.Store.Lookup(apikey.Hash(r.Store.Pepper(), secret))
	if err != nil || rec == nil {
		t.Fatal("no key", err)
	}
	return &leakRig{rec: rec}
}

// A key is revoked before its report is answered, and the answers come at one moment,
// however long the revocation takes.
func TestReportsAreAnsweredAtOneMoment(t *testing.T) {
	for name, row := range map[string]struct {
		hash    store.Hash
		takes   time.Duration
		revoked bool
	}{
		"alive":             {store.Hash{1}, manage.LeakAnswer - time.Millisecond, true},
		"alive, slow write": {store.Hash{1}, 3 * manage.LeakAnswer, false},
		"unknown":           {store.Hash{2}, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			g := newLeakRig(t)
			synctest.Test(t, func(t *testing.T) {
				g.takes = row.takes
				h := manage.NewLeaks(g, g, slog.New(slog.DiscardHandler))
				began := time.Now()
				if f := h.Take(t.Context(), row.hash, ""); f != nil {
					t.Fatal(f)
				}
				if d := time.Since(began); d != manage.LeakAnswer {
					t.Errorf("answered after %v, want %v", d, manage.LeakAnswer)
				}
				if g.revoked.Load() != row.revoked {
					t.Errorf("revoked at the answer: %t", g.revoked.Load())
				}
				h.Settled()
				if want := row.hash == (store.Hash{1}); g.revoked.Load() != want {
					t.Errorf("revoked in the end: %t", g.revoked.Load())
				}
			})
		})
	}
}

// A stop waits for reports that can be carried out, and names those that it gives up.
func TestReportsAtTheStop(t *testing.T) {
	for name, fail := range map[string]error{"carried out": nil, "given up": errors.New("no leader")} {
		t.Run(name, func(t *testing.T) {
			g := newLeakRig(t)
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				g.takes, g.fail = 2*manage.LeakAnswer, fail
				h := manage.NewLeaks(g, g, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelError})))
				if f := h.Take(t.Context(), store.Hash{1}, "request-7"); f != nil {
					t.Fatal(f)
				}
				stop, cancel := context.WithCancel(t.Context())
				cancel()
				began := time.Now()
				h.Run(stop)
				if d := time.Since(began); d > manage.LeakFarewell {
					t.Errorf("the stop took %v", d)
				}
				if f := h.Take(t.Context(), store.Hash{1}, "request-8"); f == nil || f.Code != fault.Unavailable {
					t.Errorf("a report after the stop: %v", f)
				}
				if g.revoked.Load() != (fail == nil) {
					t.Errorf("revoked: %t", g.revoked.Load())
				}
				if said := strings.Contains(log.String(), "request-7"); said != (fail != nil) {
					t.Errorf("the log: %s", &log)
				}
			})
		})
	}
}

// The reports of a node that has no leader have a bound, and a call that waits for its
// answer counts.
func TestReportsAtATimeAreBounded(t *testing.T) {
	g := &leakRig{}
	synctest.Test(t, func(t *testing.T) {
		h := manage.NewLeaks(g, g, slog.New(slog.DiscardHandler))
		for range manage.MaxLeaks {
			go h.Take(t.Context(), store.Hash{2}, "")
		}
		synctest.Wait()
		if f := h.Take(t.Context(), store.Hash{2}, ""); f == nil || f.Code != fault.Unavailable {
			t.Fatalf("one too many: %v", f)
		}
		time.Sleep(manage.LeakAnswer)
		synctest.Wait()
		if n := h.Places(); n != 0 {
			t.Fatalf("%d places are taken after the answers", n)
		}
	})
}
