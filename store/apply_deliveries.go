package store

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

// WebhookTest queues a notice of type webhook.test for one endpoint, also for one that is
// told of other types only.
type WebhookTest struct {
	ID WebhookID `json:"id"`
}

func init() { register[WebhookTest]("webhook_test") }

var eventsOfWebhookTest = []Action{webhookTested}

// traits implements [Change].
func (*WebhookTest) traits() Traits {
	return Traits{Takes: No, Waits: Yes, Vital: No, Level: LevelOfWebhooks, Events: eventsOfWebhookTest}
}

func (in *WebhookTest) apply(t *txn) Result {
	w, no := t.webhook(in.ID)
	if no != nil {
		return Result{Refusal: no}
	}
	if !w.Enabled {
		return refuse(Conflict, "the webhook is disabled; enable it first")
	}
	place := (queues{t}).nextPlace()
	if !(queues{t}).queueFor(w, (queues{t}).notice(place, w.Account, NoticeTest, map[string]any{"webhook": w.ID, "actor": t.cmd.Actor})) {
		return refuse(LimitReached, "too many deliveries wait for the webhook")
	}
	t.event(webhookTested, "", string(w.ID), place.ID(), nil)
	return Result{Webhook: w.shown(), Delivery: place.ID()}
}

// WebhookRedeliver queues finished deliveries of an endpoint again: those at Places, or
// without any all that were caused at Since or later, the oldest [MaxRedeliveries] after
// the delivery After. [Result.Delivery] is the last of them where there are more.
type WebhookRedeliver struct {
	ID     WebhookID `json:"id"`
	Places []Place   `json:"places,omitzero"`
	Since  time.Time `json:"since,omitzero"`
	After  Place     `json:"after,omitzero"`
}

func init() { register[WebhookRedeliver]("webhook_redeliver") }

var eventsOfWebhookRedeliver = []Action{webhookRequeued}

// traits implements [Change].
func (*WebhookRedeliver) traits() Traits {
	return Traits{Takes: No, Waits: Yes, Vital: No, Level: LevelOfWebhooks, Events: eventsOfWebhookRedeliver}
}

func (in *WebhookRedeliver) apply(t *txn) Result {
	w, no := t.webhook(in.ID)
	switch {
	case no != nil:
		return Result{Refusal: no}
	case !w.Enabled:
		return refuse(Conflict, "the webhook is disabled; enable it first")
	case len(in.Places) > MaxRedeliveries:
		return invalid("places", "there may be %d", MaxRedeliveries)
	case len(in.Places) == 0 && in.Since.IsZero():
		return invalid("since", "name deliveries or a time")
	}
	t.settle() // a scan and a look-up see committed rows
	places, more := in.Places, false
	if len(places) == 0 {
		places, more = in.since(t, w)
	}
	r := Result{Webhook: w.shown()}
	for _, p := range slices.Compact(slices.SortedFunc(slices.Values(places), Place.Compare)) {
		if (queues{t}).requeue(w, p) {
			r.Matched++
		}
	}
	if len(in.Places) > 0 && r.Matched == 0 {
		return refuse(NotFound, "the webhook has no such delivery that is finished")
	}
	if more {
		r.Delivery = places[len(places)-1].ID()
	}
	t.event(webhookRequeued, "", string(w.ID), fmt.Sprintf("%d deliveries", r.Matched), nil)
	return r
}

// since lists the deliveries to queue, up to the bound.
func (in *WebhookRedeliver) since(t *txn, w *Webhook) (places []Place, more bool) {
	from := append(deliveryRow(rowFinished, w.ID, in.After), 0)
	t.rows.scan(from, prefixEnd(deliveryRows(rowFinished, w.ID)), func(row, value []byte) error {
		d, err := unpackDelivery(row, value)
		if err != nil {
			return err
		}
		if d.At.Before(in.Since) {
			return nil
		}
		if len(places) == MaxRedeliveries {
			more = true
			return errEnough
		}
		places = append(places, d.Place)
		return nil
	})
	return places, more
}

// requeue makes a finished delivery a pending one.
func (t queues) requeue(w *Webhook, p Place) bool {
	row := deliveryRow(rowFinished, w.ID, p)
	d := t.rows.delivery(row)
	if d == nil {
		return false
	}
	again := *d
	again.State, again.Queued, again.Next, again.Ended = Pending, t.when.wall(), time.Time{}, time.Time{}
	q := t.rows.queue(w.ID)
	q.Finished--
	q.Pending++
	t.rows.addPending(1)
	t.rows.putQueue(w.ID, q)
	t.rows.delete(row)
	t.rows.put(deliveryRow(rowPending, w.ID, p), t.rows.json(&again))
	t.queued = true
	return true
}

// DeliveryResult is the outcome of an attempt at a delivery, or of none: a delivery that
// has grown too old is given up without one.
type DeliveryResult struct {
	Account AccountID     `json:"account"`
	Webhook WebhookID     `json:"webhook"`
	Place   Place         `json:"place"`
	Try     *Try          `json:"try,omitzero"`
	State   DeliveryState `json:"state"`
	Next    time.Time     `json:"next,omitzero"` // of a pending one: tried again no earlier
	Gone    bool          `json:"gone,omitzero"` // the endpoint wants no more: it is disabled
	// URL is the one that is gone, since the endpoint may have another one by now; "" in entries
	// of earlier levels.
	URL string `json:"url,omitzero"`
}

// DeliveriesDone notes the outcome of attempts, which the leader made.
type DeliveriesDone struct {
	Results []DeliveryResult `json:"results"`
}

func init() { register[DeliveriesDone]("deliveries_done") }

var eventsOfDeliveriesDone = []Action{webhookDisabled, webhookOverflowed}

// LevelOfGoneURLs is the level of nodes that know [DeliveryResult.URL].
const LevelOfGoneURLs = 8

// traits: nobody but the sender waits for it.
func (in *DeliveriesDone) traits() Traits {
	t := Traits{Takes: No, Waits: No, Vital: No, Level: LevelOfWebhooks, Events: eventsOfDeliveriesDone}
	if slices.ContainsFunc(in.Results, func(r DeliveryResult) bool { return r.URL != "" }) {
		t.Level = LevelOfGoneURLs
	}
	return t
}

func (in *DeliveriesDone) apply(t *txn) Result {
	if len(in.Results) > MaxDone {
		return refuse(LimitReached, "there may be %d results", MaxDone)
	}
	t.settle() // deliveries are appended, and looked up here
	for i := range in.Results {
		in.Results[i].apply(t)
	}
	return Result{}
}

// apply notes one outcome. A delivery that another leader finished meanwhile, or whose
// endpoint was deleted, is left alone.
func (in *DeliveryResult) apply(t *txn) {
	w := t.state.webhook(in.Account, in.Webhook)
	if w == nil {
		return
	}
	moved := in.Gone && in.URL != "" && in.URL != w.URL
	if in.Gone && w.Enabled && !moved {
		off := *w
		off.Enabled, off.Disabled, off.Modified = false, DisabledGone, t.index
		t.state.putWebhook(&off)
		t.eventOf(w.Account, webhookDisabled, "", string(w.ID), "the endpoint answered 410", diffWebhooks(w, &off, false))
	}
	if q := t.rows.queue(w.ID); q.Lost {
		q.Lost = false
		t.rows.putQueue(w.ID, q)
		t.eventOf(w.Account, webhookOverflowed, "", string(w.ID), fmt.Sprintf("%d notices were not queued so far, since too many deliveries wait", q.Dropped), nil)
	}
	row := deliveryRow(rowPending, w.ID, in.Place)
	old := t.rows.delivery(row)
	if old == nil {
		return
	}
	d := *old
	if in.Try != nil {
		try := *in.Try
		try.Error = strings.ToValidUTF8(try.Error[:min(len(try.Error), MaxTryError)], "")
		d.Attempts++
		d.Tries = append(slices.Clone(d.Tries[max(0, len(d.Tries)+1-MaxTries):]), try)
	}
	if in.State == Pending || moved { // the present URL has not answered yet
		d.Next = in.Next.UTC()
		t.rows.put(row, t.rows.json(&d))
		return
	}
	d.State, d.Next, d.Ended = in.State, time.Time{}, t.when.at
	q := t.rows.queue(w.ID)
	q.Pending--
	q.Finished++
	t.rows.addPending(-1)
	t.rows.putQueue(w.ID, q)
	t.rows.delete(row)
	t.rows.put(deliveryRow(rowFinished, w.ID, in.Place), t.rows.json(&d))
}

// delivery reads a row; nil if there is none.
func (p *pending) delivery(row []byte) *Delivery {
	value := p.get(row)
	if value == nil {
		return nil
	}
	d, err := unpackDelivery(row, value)
	if err != nil {
		p.fault(err)
		return nil
	}
	return d
}

func unpackDelivery(row, value []byte) (*Delivery, error) {
	d := new(Delivery)
	if err := json.Unmarshal(value, d); err != nil {
		return nil, fmt.Errorf("read a delivery: %w", err)
	}
	d.Place = placeIn(row)
	return d, nil
}
