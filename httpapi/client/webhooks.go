package client

import (
	"context"
	"encoding/json"
	"net/url"
	"time"
)

// Webhook is an endpoint that is told of events. Secret is set by its creation and by the
// rotation of its secret; a repeat of such a call sets SecretWithheld instead.
type Webhook struct {
	ID              string     `json:"id"`
	URL             string     `json:"url"`
	Events          []string   `json:"events"` // empty: all
	Enabled         bool       `json:"enabled"`
	DisabledReason  *string    `json:"disabled_reason"`
	Pending         int64      `json:"pending"`
	Dropped         int64      `json:"dropped"`
	OldSecretEndsAt *time.Time `json:"old_secret_ends_at"`
	CreatedAt       time.Time  `json:"created_at"`
	CreatedBy       string     `json:"created_by"`

	Secret         *string `json:"secret,omitempty"`
	SecretWithheld bool    `json:"secret_withheld,omitempty"`
}

// NewWebhook describes an endpoint to create. A nil Enabled is true.
type NewWebhook struct {
	URL     string   `json:"url"`
	Events  []string `json:"events,omitempty"`
	Enabled *bool    `json:"enabled,omitempty"`
}

// Delivery is one notice on its way to one endpoint.
type Delivery struct {
	ID            string          `json:"id"`
	WebhookID     string          `json:"webhook_id"` // of the header
	Type          string          `json:"type"`
	CreatedAt     time.Time       `json:"created_at"`
	State         string          `json:"state"` // pending, delivered, failed
	Attempts      int             `json:"attempts"`
	NextAttemptAt *time.Time      `json:"next_attempt_at"`
	EndedAt       *time.Time      `json:"ended_at"`
	Log           []Try           `json:"log"`
	Body          json.RawMessage `json:"body"`
}

// Try is one attempt at a delivery.
type Try struct {
	At         time.Time `json:"at"`
	Status     *int      `json:"status"`
	Error      *string   `json:"error"`
	DurationMS int64     `json:"duration_ms"`
}

// Requeued says how many deliveries are sent again.
type Requeued struct {
	Queued int `json:"queued"`
}

// Webhooks are the calls about endpoints of webhooks.
type Webhooks struct{ Client *Client }

func webhookPath(id, call string) string { return "/v1/webhooks/" + url.PathEscape(id) + call }

// Create creates an endpoint. Its secret is in this answer only.
func (w Webhooks) Create(ctx context.Context, n NewWebhook, opts ...Option) (*Webhook, error) {
	return call[Webhook](ctx, w.Client, "POST", "/v1/webhooks", nil, n, opts)
}

// List returns one page of endpoints in order of creation.
func (w Webhooks) List(ctx context.Context, p Page) (*List[Webhook], error) {
	return call[List[Webhook]](ctx, w.Client, "GET", "/v1/webhooks", p.query(), nil, nil)
}

// Get returns an endpoint.
func (w Webhooks) Get(ctx context.Context, id string) (*Webhook, error) {
	return call[Webhook](ctx, w.Client, "GET", webhookPath(id, ""), nil, nil, nil)
}

// Update changes the members in p of an endpoint.
func (w Webhooks) Update(ctx context.Context, id string, p Patch, opts ...Option) (*Webhook, error) {
	return call[Webhook](ctx, w.Client, "PATCH", webhookPath(id, ""), nil, p, opts)
}

// Delete deletes an endpoint with its deliveries.
func (w Webhooks) Delete(ctx context.Context, id string, opts ...Option) (*Deleted, error) {
	return call[Deleted](ctx, w.Client, "DELETE", webhookPath(id, ""), nil, nil, opts)
}

// RotateSecret gives an endpoint a new secret. The old one signs too for the overlap; ""
// is the server's default.
func (w Webhooks) RotateSecret(ctx context.Context, id, overlap string, opts ...Option) (*Webhook, error) {
	body := map[string]string{}
	if overlap != "" {
		body["overlap"] = overlap
	}
	return call[Webhook](ctx, w.Client, "POST", webhookPath(id, "/rotate-secret"), nil, body, opts)
}

// Test sends a notice of type webhook.test and returns how its first attempt went.
func (w Webhooks) Test(ctx context.Context, id string, opts ...Option) (*Delivery, error) {
	return call[Delivery](ctx, w.Client, "POST", webhookPath(id, "/test"), nil, nil, opts)
}

// Deliveries returns one page of an endpoint's deliveries, the newest first; an empty
// state is any.
func (w Webhooks) Deliveries(ctx context.Context, id, state string, p Page) (*List[Delivery], error) {
	q := p.query()
	add(q, "state", state)
	return call[List[Delivery]](ctx, w.Client, "GET", webhookPath(id, "/deliveries"), q, nil, nil)
}

// Redeliver sends a finished delivery again.
func (w Webhooks) Redeliver(ctx context.Context, id, delivery string, opts ...Option) (*Delivery, error) {
	return call[Delivery](ctx, w.Client, "POST", webhookPath(id, "/deliveries/"+url.PathEscape(delivery)+"/redeliver"), nil, nil, opts)
}

// RedeliverSince sends all finished deliveries again that were caused at a time or later.
func (w Webhooks) RedeliverSince(ctx context.Context, id string, since time.Time, opts ...Option) (*Requeued, error) {
	return call[Requeued](ctx, w.Client, "POST", webhookPath(id, "/redeliver"), nil, map[string]time.Time{"since": since}, opts)
}
