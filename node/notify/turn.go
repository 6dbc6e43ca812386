package notify

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/perfgate/perfgate/httpapi/webhook"
	"github.com/perfgate/perfgate/store"
)

// backoff is how long a delivery waits after its n-th attempt has failed; the last one
// holds for all further ones.
var backoff = []time.Duration{
	5 * time.Second, 30 * time.Second, 2 * time.Minute, 5 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour,
}

const (
	inOrder = 3                // attempts for which an endpoint waits with its delivery
	maxGate = 15 * time.Minute // that an endpoint waits at most: it may be back
	jitter  = 0.2              // part by which a wait is longer or shorter
)

// waitAfter is the wait after n failures.
func (s *Sender) waitAfter(n int) time.Duration {
	if n <= 0 {
		return 0
	}
	d := float64(backoff[min(n, len(backoff))-1])
	return time.Duration(d * (1 - jitter + 2*jitter*s.cfg.Random()))
}

// turn sends a page of an endpoint's deliveries, up to the first failure, and notes the
// outcomes.
func (s *Sender) turn(ctx context.Context, w *store.Webhook, failures int) outcome {
	out := outcome{id: w.ID, failures: failures}
	page, wake, err := s.page(w, failures)
	if err != nil {
		s.cfg.Logger.Error("read the deliveries of a webhook", "webhook", w.ID, "error", err)
		out.due = time.Now().Add(noteAgain)
		return out
	}
	out.due = wake
	var results []store.DeliveryResult
	began := time.Now()
	for _, d := range page {
		if ctx.Err() != nil || time.Since(began) > pageTime {
			break
		}
		r := store.DeliveryResult{Account: w.Account, Webhook: w.ID, Place: d.Place, State: store.Undelivered}
		if time.Since(d.Queued) > store.DeliveryTime {
			s.cfg.Counts.Failed.Add(1)
			results = append(results, r)
			continue
		}
		o := s.cfg.Post(ctx, noticeOf(w, d))
		if errors.Is(o.Err, context.Canceled) {
			break // by this node's stop or another leader: no failure of the endpoint
		}
		s.judge(&r, &out, w, d, o)
		results = append(results, r)
		if o.Err != nil {
			break
		}
	}
	if err := s.note(ctx, results); err != nil {
		if ctx.Err() == nil {
			s.cfg.Logger.Warn("outcomes of webhooks are not noted, so they are sent again", "webhook", w.ID, "deliveries", len(results), "error", err)
		}
		out.due = time.Now().Add(noteAgain)
	}
	return out
}

// page lists the deliveries to try now, the oldest first. Without any, wake is when the
// first one is due. An endpoint that fails is tried with one. Of a disabled endpoint the
// page has those that are given up.
func (s *Sender) page(w *store.Webhook, failures int) (page []*store.Delivery, wake time.Time, err error) {
	size := pageSize
	if failures > 0 {
		size = 1
	}
	now := time.Now()
	err = s.cfg.State.PendingDeliveries(w.ID, func(d *store.Delivery) bool {
		old := now.Sub(d.Queued) > store.DeliveryTime
		switch {
		case !old && !w.Enabled:
			return true
		case !old && d.Next.After(now):
			if wake.IsZero() || d.Next.Before(wake) {
				wake = d.Next
			}
			// A leader that is new does not know that the endpoint waits with this one.
			return d.Attempts > inOrder
		}
		page = append(page, d)
		return len(page) < size
	})
	switch {
	case len(page) > 0:
		return page, time.Time{}, err
	case !w.Enabled:
		return nil, now.Add(idlePass), err
	}
	// A delivery that is queued meanwhile is due at once.
	return nil, earliest(wake, now.Add(look)), err
}

func earliest(a, b time.Time) time.Time {
	if !a.IsZero() && a.Before(b) {
		return a
	}
	return b
}

func noticeOf(w *store.Webhook, d *store.Delivery) *webhook.Notice {
	return &webhook.Notice{URL: w.URL, ID: d.Notice, Body: d.Body, Secrets: webhook.Secrets{Current: w.Secret, Old: w.OldSecrets(time.Now())}}
}

// judge turns the outcome of an attempt into its result, and says when the endpoint is
// tried next.
func (s *Sender) judge(r *store.DeliveryResult, out *outcome, w *store.Webhook, d *store.Delivery, o webhook.Outcome) {
	now := time.Now()
	r.Try = &store.Try{At: now.Add(-o.Took).UTC().Truncate(time.Millisecond), Status: o.Status, DurationMS: o.Took.Milliseconds()}
	if o.Err == nil {
		if out.failures > 0 {
			s.cfg.Logger.Info("the endpoint of a webhook accepts deliveries again", "webhook", w.ID, "account", w.Account, "failures", out.failures)
		}
		out.failures = 0
		r.State = store.Delivered
		s.cfg.Counts.Delivered.Add(1)
		return
	}
	// The endpoint chooses the text, and how long it is.
	r.Try.Error = strings.ToValidUTF8(o.Err.Error(), "")
	r.Try.Error = r.Try.Error[:min(len(r.Try.Error), store.MaxTryError)]
	if out.failures++; out.failures == 1 {
		s.cfg.Logger.Warn("the endpoint of a webhook does not accept a delivery", "webhook", w.ID, "account", w.Account, "error", o.Err)
	}
	attempts := d.Attempts + 1
	next := now.Add(s.waitAfter(attempts))
	out.due = now.Add(min(s.waitAfter(out.failures-1), maxGate))
	if attempts <= inOrder && next.After(out.due) {
		out.due = next
	}
	switch {
	case o.Status == http.StatusGone:
		r.Gone = true
		if s.cfg.State.ClusterLevel() >= store.LevelOfGoneURLs {
			r.URL = w.URL
		}
		s.cfg.Counts.Failed.Add(1)
	case next.Sub(d.Queued) > store.DeliveryTime:
		s.cfg.Counts.Failed.Add(1)
	default:
		r.State, r.Next = store.Pending, next.UTC().Truncate(time.Millisecond)
		s.cfg.Counts.Retried.Add(1)
	}
}

// note puts the outcomes into the state. A node that stops still notes what it has sent.
func (s *Sender) note(ctx context.Context, results []store.DeliveryResult) error {
	if len(results) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteAgain)
	defer cancel()
	r, err := s.cfg.Propose(ctx, &store.Command{
		At: time.Now().UTC(), Account: store.DefaultAccount, Actor: store.Actor{Type: store.ActorSystem, ID: "system", Name: s.cfg.Node},
		Change: &store.DeliveriesDone{Results: results},
	})
	if err == nil && r.Refusal != nil {
		err = r.Refusal
	}
	return err
}
