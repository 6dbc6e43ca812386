package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/perfgate/perfgate/e2e/harness"
)

// usageOf sums the account's usage of one key.
func usageOf(s *server, key string) (requests, billable float64) {
	s.t.Helper()
	for _, row := range s.manage(200, "GET", "/v1/usage?step=day&group_by=key", nil).At("data").([]any) {
		if row := row.(map[string]any); row["group"] == key {
			requests += row["requests"].(float64)
			billable += row["billable"].(float64)
		}
	}
	return requests, billable
}

// kill -9 loses the usage of the last second at most: what was answered a second before is there,
// and nothing is counted that was never sent.
func TestUsageAfterKill(t *testing.T) {
	up, _ := echo(t)
	s := start(t, options{upstream: up})
	secret, key := s.create(map[string]any{"scopes": []string{"read"}, "limits": map[string]any{"requests_per_minute": 1_000_000}})
	const busy = 2 * time.Second // that a machine under load may be late with the second's write
	var sent float64
	for range 3 {
		stop, ended := make(chan struct{}), make(chan struct{})
		var n atomic.Int64
		var mu sync.Mutex
		var times []time.Time // of answers
		go func() {
			defer close(ended)
			for {
				select {
				case <-stop:
					return
				default:
				}
				n.Add(1)
				r, err := harness.Call(t.Context(), http.DefaultClient, "GET", s.proxy+"/v1/x", as(secret), nil)
				if err == nil && r.StatusCode == 200 {
					mu.Lock()
					times = append(times, time.Now())
					mu.Unlock()
				}
			}
		}()
		harness.Await(t, time.Minute, "requests over six seconds", func() error {
			mu.Lock()
			defer mu.Unlock()
			if len(times) == 0 || time.Since(times[0]) < 6*time.Second {
				return errors.New("too few so far")
			}
			return nil
		})
		s.Kill()
		killed := time.Now()
		close(stop)
		<-ended
		s.run()
		got, billable := usageOf(s, key)
		old := 0
		for _, at := range times {
			if killed.Sub(at) > time.Second+busy {
				old++
			}
		}
		if got < sent+float64(old) || got > sent+float64(n.Load()) || billable > got {
			t.Errorf("%v requests are counted of %d, %d of them older than a second, and %v from before", got, n.Load(), old, sent)
		}
		sent = got
	}
}

// billing is a receiver of events of usage that fails as a test says, and counts each id once.
type billing struct {
	*httptest.Server
	away atomic.Bool // it answers 503
	deaf atomic.Bool // it takes events, and its answer is lost where one of them is new

	mu                 sync.Mutex
	requests, billable map[string]float64
	seen               map[string]string
	repeated           int
}

func newBilling(t *testing.T) *billing {
	b := &billing{requests: map[string]float64{}, billable: map[string]float64{}, seen: map[string]string{}}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, err := io.ReadAll(r.Body)
		if err != nil || b.away.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		var list []struct {
			ID, Source, Type, Subject, SpecVersion string
			Data                                   struct {
				Key                string `json:"key_id"`
				Requests, Billable float64
			}
		}
		if err := json.Unmarshal(raw, &list); err != nil || r.Header.Get("Content-Type") != "application/cloudevents-batch+json" || r.Header.Get("Authorization") != "Bearer bill-me" {
			t.Errorf("%v: %s", err, raw)
		}
		fresh := false
		b.mu.Lock()
		for _, e := range list {
			text := fmt.Sprint(e)
			if have, ok := b.seen[e.Source+e.ID]; ok {
				if b.repeated++; have != text {
					t.Errorf("one id, two events: %s and %s", have, text)
				}
				continue
			}
			fresh = true
			b.seen[e.Source+e.ID] = text
			b.requests[e.Data.Key] += e.Data.Requests
			b.billable[e.Data.Key] += e.Data.Billable
			if e.SpecVersion != "1.0" || e.Type != "perfgate.usage" || e.Subject != "default" {
				t.Errorf("%+v", e)
			}
		}
		b.mu.Unlock()
		if fresh && b.deaf.Load() {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(b.Close)
	return b
}

// The sum of the events that the receiver got, each once, equals usage after kills of the node and
// outages of the receiver. Minutes have to pass.
func TestMeteringFeed(t *testing.T) {
	if os.Getenv("PERFGATE_TORTURE") == "" {
		t.Skip("PERFGATE_TORTURE is not set; the test takes minutes")
	}
	b := newBilling(t)
	up, _ := echo(t)
	token := t.TempDir() + "/token"
	if err := os.WriteFile(token, []byte("bill-me\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, options{upstream: up, config: fmt.Sprintf("[metering]\nurl = %q\ntoken_file = %q\n", b.URL, token)})
	secret, key := s.create(map[string]any{"scopes": []string{"read"}, "limits": map[string]any{"requests_per_minute": 1_000_000}})
	b.deaf.Store(true)
	began := time.Now()
	for i := 0; time.Since(began) < 150*time.Second; i++ {
		do(t, "GET", s.proxy+"/v1/x", as(secret), nil)
		b.away.Store(time.Since(began)%(40*time.Second) < 15*time.Second)
		harness.Pause(nil, 10*time.Millisecond)
		if i%1500 == 1499 {
			s.Kill()
			s.run()
		}
	}
	b.away.Store(false)
	b.deaf.Store(false)
	harness.Await(t, 4*time.Minute, "the events of all minutes", func() error {
		requests, billable := usageOf(s, key)
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.requests[key] != requests || b.billable[key] != billable || requests == 0 {
			return fmt.Errorf("the receiver has %v and %v billable, usage is %v and %v", b.requests[key], b.billable[key], requests, billable)
		}
		return nil
	})
	if b.repeated == 0 {
		t.Error("no event came twice: the test tests nothing")
	}
	t.Logf("%v requests in %d events, %d repeated", b.requests[key], len(b.seen), b.repeated)
}
