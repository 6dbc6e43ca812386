package manage

import (
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
)

// testPoll is how often a test call looks for its outcome.
const testPoll = 50 * time.Millisecond

// deliveryView is a delivery as the API shows it.
type deliveryView struct {
	ID            string              `json:"id"`
	WebhookID     string              `json:"webhook_id"` // of the header, and of the body
	Type          string              `json:"type"`
	CreatedAt     time.Time           `json:"created_at"`
	State         store.DeliveryState `json:"state"`
	Attempts      int                 `json:"attempts"`
	NextAttemptAt *time.Time          `json:"next_attempt_at"`
	EndedAt       *time.Time          `json:"ended_at"`
	Log           []tryView           `json:"log"`
	Body          jsontext.Value      `json:"body"`
}

// tryView is one attempt.
type tryView struct {
	At         time.Time `json:"at"`
	Status     *int      `json:"status"`
	Error      *string   `json:"error"`
	DurationMS int64     `json:"duration_ms"`
}

func viewDelivery(d *store.Delivery) deliveryView {
	v := deliveryView{
		ID: d.Place.ID(), WebhookID: d.Notice, Type: d.Type, CreatedAt: d.At.UTC(), State: d.State, Attempts: d.Attempts,
		NextAttemptAt: when(d.Next), EndedAt: when(d.Ended), Log: []tryView{}, Body: d.Body,
	}
	for _, t := range d.Tries {
		v.Log = append(v.Log, tryView{t.At.UTC(), some(t.Status), some(t.Error), t.DurationMS})
	}
	return v
}

// Deliveries lists an endpoint's deliveries, the newest first.
func (h *Webhooks) Deliveries(c *rest.Call) (*rest.Page[deliveryView], error) {
	q := c.Query()
	limit := q.Limit()
	state := store.DeliveryState(q.OneOf("state", string(store.Pending), string(store.Delivered), string(store.Undelivered)))
	after, err := q.Cursor()
	if err != nil {
		return nil, err
	}
	w, err := h.named(c)
	if err != nil {
		return nil, err
	}
	var before *store.Place
	if after != "" {
		p, ok := store.PlaceOf(after)
		if !ok {
			return nil, fault.New(fault.InvalidCursor)
		}
		before = &p
	}
	list, more, err := h.Store.Deliveries(w.ID, before, state, limit)
	if err != nil {
		return nil, err
	}
	out := &rest.Page[deliveryView]{Data: make([]deliveryView, 0, len(list))}
	for _, d := range list {
		out.Data = append(out.Data, viewDelivery(d))
	}
	if more {
		out.Next = q.Seal(out.Data[len(list)-1].ID)
	}
	return out, nil
}

// delivery shows the delivery id of the endpoint that the path names.
func (h *Webhooks) delivery(c *rest.Call, id string) (*deliveryView, error) {
	d, err := h.find(c, id)
	if err != nil {
		return nil, err
	}
	v := viewDelivery(d)
	return &v, nil
}

func (h *Webhooks) find(c *rest.Call, id string) (*store.Delivery, error) {
	p, ok := store.PlaceOf(id)
	if !ok {
		return nil, fault.Newf(fault.NotFound, "There is no such delivery.")
	}
	d, err := h.Store.Delivery(store.WebhookID(c.Param), p)
	if err != nil {
		return nil, err
	}
	if d == nil {
		return nil, fault.Newf(fault.NotFound, "There is no such delivery.")
	}
	return d, nil
}

// nothing is the body of a call that needs none.
type nothing struct{}

// Test sends a notice of type webhook.test to one endpoint and shows how its first
// attempt went, or that it is still pending.
func (h *Webhooks) Test(c *rest.Call, _ *nothing) (*deliveryView, error) {
	rc, err := c.Propose(&store.Command{Change: &store.WebhookTest{ID: store.WebhookID(c.Param)}})
	if err != nil {
		return nil, err
	}
	late := time.NewTimer(h.Wait)
	defer late.Stop()
	poll := time.NewTicker(testPoll)
	defer poll.Stop()
	for waiting := h.Wait > 0; waiting; {
		d, err := h.find(c, rc.Delivery)
		if err != nil {
			return nil, err
		}
		if d.Attempts > 0 {
			break
		}
		select {
		case <-poll.C:
		case <-late.C:
			waiting = false
		case <-c.Request.Context().Done():
			return nil, c.Request.Context().Err()
		}
	}
	return h.delivery(c, rc.Delivery)
}

// Redeliver queues one finished delivery again.
func (h *Webhooks) Redeliver(c *rest.Call, _ *nothing) (*deliveryView, error) {
	p, ok := store.PlaceOf(c.Second())
	if !ok {
		return nil, fault.Newf(fault.NotFound, "There is no such delivery.")
	}
	if _, err := c.Propose(&store.Command{Change: &store.WebhookRedeliver{ID: store.WebhookID(c.Param), Places: []store.Place{p}}}); err != nil {
		return nil, err
	}
	return h.delivery(c, c.Second())
}

// redelivery is the body of POST /v1/webhooks/{id}/redeliver.
type redelivery struct {
	Since *time.Time `json:"since"`
}

// Check implements [rest.Checker].
func (in *redelivery) Check(*rest.Call) error {
	if in.Since == nil || in.Since.IsZero() {
		return rest.Invalid("since", "is required: the time from which deliveries are queued again")
	}
	return nil
}

// requeued answers how many deliveries were queued again.
type requeued struct {
	Queued int `json:"queued"`
}

// RedeliverSince queues all finished deliveries again that were caused since a time.
func (h *Webhooks) RedeliverSince(c *rest.Call, in *redelivery) (*requeued, error) {
	if err := in.Check(c); err != nil {
		return nil, err
	}
	out := new(requeued)
	var after store.Place
	for {
		rc, err := c.Propose(&store.Command{Change: &store.WebhookRedeliver{ID: store.WebhookID(c.Param), Since: in.Since.UTC(), After: after}})
		if err != nil {
			return nil, err
		}
		out.Queued += rc.Matched
		next, ok := store.PlaceOf(rc.Delivery)
		if !ok || next.Compare(after) <= 0 {
			return out, nil
		}
		after = next
		c.Continue(rc.Delivery)
	}
}
