package metering

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perfgate/perfgate/store/local"
)

// queue is one in memory.
type queue struct {
	mu   sync.Mutex
	list []local.MeterEvent
	made int
}

func (q *queue) Roll() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for range 250 {
		q.list = append(q.list, local.MeterEvent{ID: fmt.Sprintf("use_%04d", q.made), Time: time.Unix(60, 0), Account: "acct_a", Key: "key_a", Live: true, Requests: 3, Units: 2, Billable: 2, Cost: 1_500_000})
		q.made++
	}
	return nil
}

func (q *queue) Next(most int) ([]local.MeterEvent, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return append([]local.MeterEvent(nil), q.list[:min(most, len(q.list))]...), nil
}

func (q *queue) Taken(list []local.MeterEvent) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.list = q.list[len(list):]
	return nil
}

func (q *queue) Waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.list)
}

func (q *queue) Damaged() uint64 { return 0 }

// An outage delays events and loses none, in order; one event that is refused for ever is left out
// after ten tries, and no other with it.
func TestFeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &queue{}
		var taken []string
		var away atomic.Bool
		away.Store(true)
		f := New(Config{Queue: q, Form: CloudEvents, Node: "n1", Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
			Post: func(_ context.Context, _ string, body []byte) error {
				list, _ := q.Next(maxBatch)
				want, err := CloudEvents.encode("n1", list)
				for n := len(list); err == nil && string(want) != string(body); n-- {
					want, err = CloudEvents.encode("n1", list[:n])
					list = list[:n]
				}
				if away.Load() {
					return errors.New("no answer")
				}
				for _, e := range list {
					if e.ID == "use_0123" {
						return &Refused{422}
					}
				}
				for _, e := range list {
					taken = append(taken, e.ID)
				}
				return err
			}})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); f.Run(ctx) }()
		time.Sleep(5 * time.Minute)
		if sent, failed, _, waiting := f.Figures(); sent != 0 || failed < 5 || failed > 20 || waiting < 250*25 {
			t.Errorf("away: %d sent, %d failed, %d wait", sent, failed, waiting)
		}
		away.Store(false)
		time.Sleep(20*time.Minute + 5*time.Second)
		cancel()
		<-ended
		sent, _, dropped, waiting := f.Figures()
		if int(sent) != len(taken) || dropped != 1 || waiting != 0 || len(taken) != q.made-1 {
			t.Errorf("%d sent, %d taken of %d, %d dropped, %d wait", sent, len(taken), q.made, dropped, waiting)
		}
		for i, id := range taken {
			if i >= 123 {
				i++
			}
			if id != fmt.Sprintf("use_%04d", i) {
				t.Fatalf("event %d is %s", i, id)
			}
		}
	})
}

// What is sent, and what the answers say.
func TestForms(t *testing.T) {
	list := []local.MeterEvent{{ID: "use_1", Time: time.Unix(1_800_000_000, 0), Account: "acct_a", Key: "key_a", Requests: 3, Denied: 1, Units: 2, Cost: 1_500_000}}
	const data = `{"account":"acct_a","key_id":"key_a","key_type":"test","node":"n1","requests":3,"denied":1,"failed":0,"units":2,"billable":0,"cost":`
	for form, want := range map[Form]string{
		CloudEvents: `[{"specversion":"1.0","id":"use_1","source":"/perfgate/nodes/n1","type":"perfgate.usage","subject":"acct_a","time":"2027-01-15T08:00:00Z","datacontenttype":"application/json","data":` + data,
		Lago:        `{"events":[{"transaction_id":"use_1","external_subscription_id":"acct_a","code":"perfgate.usage","timestamp":"1800000000","properties":` + data,
	} {
		raw, err := form.encode("n1", list)
		if err != nil || len(raw) < len(want) || string(raw[:len(want)]) != want {
			t.Errorf("%s: %s, %v; want %s", form, raw, err, want)
		}
	}
	if _, err := Form("csv").encode("n1", list); err == nil {
		t.Error("an unknown form was written")
	}
	status, text := 200, ""
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer t" {
			t.Error("no token")
		}
		w.WriteHeader(status)
		io.WriteString(w, text)
	}))
	defer srv.Close()
	for _, c := range []struct {
		form    Form
		status  int
		text    string
		taken   bool
		refused bool
	}{
		{CloudEvents, 204, "", true, false}, {CloudEvents, 400, "", false, true}, {CloudEvents, 500, "", false, false}, {CloudEvents, 301, "", false, false}, {CloudEvents, 429, "", false, false},
		{Lago, 422, `{"error_details":{"transaction_id":["value_already_exist"]}}`, true, false}, {Lago, 422, "{}", false, true}, {CloudEvents, 422, "value_already_exist", false, true},
	} {
		status, text = c.status, c.text
		body, err := c.form.encode("n1", list)
		if err != nil {
			t.Fatal(err)
		}
		p := NewPoster(srv.URL, "t", c.form, nil)
		err = p.Post(t.Context(), c.form.contentType(), body)
		p.Close()
		var no *Refused
		if (err == nil) != c.taken || errors.As(err, &no) != c.refused {
			t.Errorf("%s, %d: %v", c.form, c.status, err)
		}
	}
}
