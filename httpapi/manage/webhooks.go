package manage

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/httpapi/span"
	"github.com/perfgate/perfgate/httpapi/webhook"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/ids"
)

// webhookStore is the part of the state that the calls about webhooks read.
type webhookStore interface {
	Webhooks(store.AccountID) []*store.Webhook
	Webhook(store.AccountID, store.WebhookID) *store.Webhook
	Queue(store.WebhookID) (store.Queue, error)
	Delivery(store.WebhookID, store.Place) (*store.Delivery, error)
	Deliveries(id store.WebhookID, before *store.Place, state store.DeliveryState, limit int) ([]*store.Delivery, bool, error)
}

// Webhooks serves the calls about webhooks.
type Webhooks struct {
	Store webhookStore
	// Wait is how long a test call waits for the outcome of its first attempt.
	Wait time.Duration
	// Private are the ranges that webhooks.allow_private lists.
	Private []netip.Prefix
}

// webhookView is an endpoint as the API shows it: without its secrets.
type webhookView struct {
	ID              store.WebhookID `json:"id"`
	URL             string          `json:"url"`
	Events          []string        `json:"events"` // empty: all
	Enabled         bool            `json:"enabled"`
	DisabledReason  *string         `json:"disabled_reason"`
	Pending         int64           `json:"pending"`
	Dropped         int64           `json:"dropped"`
	OldSecretEndsAt *time.Time      `json:"old_secret_ends_at"`
	CreatedAt       time.Time       `json:"created_at"`
	CreatedBy       string          `json:"created_by"`
}

// issuedWebhook is the answer that holds a secret, once.
type issuedWebhook struct {
	webhookView
	Secret   *string `json:"secret"`
	Withheld bool    `json:"secret_withheld,omitzero"`
}

func (h *Webhooks) view(c *rest.Call, w *store.Webhook) (webhookView, error) {
	q, err := h.Store.Queue(w.ID)
	v := webhookView{
		ID: w.ID, URL: w.URL, Events: w.Events, Enabled: w.Enabled, DisabledReason: some(w.Disabled), Pending: q.Pending, Dropped: q.Dropped,
		CreatedAt: w.CreatedAt.UTC(), CreatedBy: w.CreatedBy,
	}
	if v.Events == nil {
		v.Events = []string{}
	}
	if until := w.LastOldUntil(); until.After(c.Now) {
		v.OldSecretEndsAt = when(until)
	}
	return v, err
}

// shown is the answer of a call about one endpoint.
func (h *Webhooks) shown(c *rest.Call, w *store.Webhook) (*webhookView, error) {
	c.ETag = w.Modified
	v, err := h.view(c, w)
	return &v, err
}

func (h *Webhooks) issued(c *rest.Call, rc rest.Receipt, secret string) (*issuedWebhook, error) {
	c.ETag = rc.Webhook.Modified
	v, err := h.view(c, rc.Webhook)
	out := &issuedWebhook{webhookView: v, Secret: &secret}
	if rc.Repeat {
		out.Secret, out.Withheld = nil, true
	}
	return out, err
}

// newWebhook is the body of POST /v1/webhooks.
type newWebhook struct {
	URL     *string   `json:"url"`
	Events  *[]string `json:"events"`
	Enabled *bool     `json:"enabled"`
}

// Check implements [rest.Checker].
func (in *newWebhook) Check(*rest.Call) error {
	var faults fault.List
	if in.URL == nil {
		faults.Add(rest.Invalid("url", "is required"))
	}
	faults.Add(checkWebhook(in.URL, in.Events))
	return faults.Err()
}

// checkWebhook validates the members that are set.
func checkWebhook(url *string, events *[]string) error {
	var faults fault.List
	if url != nil {
		if err := webhook.CheckURL(*url); err != nil {
			faults.Add(rest.Invalid("url", "%v", err))
		} else if apikey.Holds(*url) {
			faults.Add(rest.Invalid("url", "must not hold an API key"))
		}
	}
	if events != nil {
		for _, kind := range *events {
			if !slices.Contains(store.Notices, kind) {
				faults.Add(rest.Invalid("events", "%s is no type; there are %s", rest.Quote(kind, 64), strings.Join(store.Notices, ", ")))
				break
			}
		}
	}
	return faults.Err()
}

// check adds to the faults of a body that its URL is an address that is never connected to.
func (h *Webhooks) check(of error, url *string) error {
	var faults fault.List
	faults.Add(of)
	if url != nil {
		if err := webhook.CheckTarget(*url, h.Private); err != nil {
			faults.Add(rest.Invalid("url", "%v", err))
		}
	}
	return faults.Err()
}

// Create makes an endpoint and shows its secret, once.
func (h *Webhooks) Create(c *rest.Call, in *newWebhook) (*issuedWebhook, error) {
	if err := h.check(in.Check(c), in.URL); err != nil {
		return nil, err
	}
	w := store.Webhook{ID: store.WebhookID(ids.New("whk_")), URL: *in.URL, Enabled: true, Signing: store.Signing{Secret: webhook.NewSecret()}}
	set(&w.Events, in.Events)
	set(&w.Enabled, in.Enabled)
	rc, err := c.Propose(&store.Command{Change: &store.WebhookCreate{Webhook: w}})
	if err != nil {
		return nil, err
	}
	c.Created(rc)
	return h.issued(c, rc, w.Secret)
}

// List shows the account's endpoints in the order of their creation.
func (h *Webhooks) List(c *rest.Call) (*rest.Page[webhookView], error) {
	q := c.Query()
	limit := q.Limit()
	after, err := q.Cursor()
	if err != nil {
		return nil, err
	}
	out := &rest.Page[webhookView]{Data: []webhookView{}}
	list := h.Store.Webhooks(c.Account)
	if after != "" {
		i := slices.IndexFunc(list, func(w *store.Webhook) bool { return string(w.ID) == after })
		if i < 0 {
			return nil, fault.New(fault.InvalidCursor)
		}
		list = list[i+1:]
	}
	for i, w := range list {
		if i == limit {
			out.Next = q.Seal(string(list[i-1].ID))
			break
		}
		v, err := h.view(c, w)
		if err != nil {
			return nil, err
		}
		out.Data = append(out.Data, v)
	}
	return out, nil
}

// named is the endpoint that the path names.
func (h *Webhooks) named(c *rest.Call) (*store.Webhook, error) {
	if w := h.Store.Webhook(c.Account, store.WebhookID(c.Param)); w != nil {
		return w, nil
	}
	return nil, fault.Newf(fault.NotFound, "There is no such webhook in this account.")
}

// Get shows one endpoint.
func (h *Webhooks) Get(c *rest.Call) (*webhookView, error) {
	w, err := h.named(c)
	if err != nil {
		return nil, err
	}
	return h.shown(c, w)
}

// webhookPatch is the body of PATCH /v1/webhooks/{id}.
type webhookPatch struct {
	URL     rest.Opt[string]   `json:"url"`
	Events  rest.Opt[[]string] `json:"events"`
	Enabled rest.Opt[bool]     `json:"enabled"`
}

// Check implements [rest.Checker].
func (in *webhookPatch) Check(*rest.Call) error {
	var faults fault.List
	if in.URL.Null {
		faults.Add(rest.Invalid("url", "must not be null"))
	}
	if in.Enabled.Null {
		faults.Add(rest.Invalid("enabled", "must not be null"))
	}
	faults.Add(checkWebhook(in.URL.Get(), in.Events.Get()))
	return faults.Err()
}

// match is the ETag that the endpoint must have, 0 for any.
func (h *Webhooks) match(c *rest.Call) (uint64, error) {
	return c.IfMatch(func() (uint64, error) {
		if err := c.Linearize(); err != nil {
			return 0, err
		}
		w, err := h.named(c)
		if err != nil {
			return 0, err
		}
		return w.Modified, nil
	})
}

// Update changes an endpoint.
func (h *Webhooks) Update(c *rest.Call, in *webhookPatch) (*webhookView, error) {
	if err := h.check(in.Check(c), in.URL.Get()); err != nil {
		return nil, err
	}
	match, err := h.match(c)
	if err != nil {
		return nil, err
	}
	rc, err := c.Propose(&store.Command{Match: match, Change: &store.WebhookUpdate{
		ID: store.WebhookID(c.Param), URL: in.URL.Get(), Events: in.Events.OrZero(), Enabled: in.Enabled.Get(),
	}})
	if err != nil {
		return nil, err
	}
	return h.shown(c, rc.Webhook)
}

// Delete removes an endpoint with its deliveries.
func (h *Webhooks) Delete(c *rest.Call) (*deletedWebhook, error) {
	match, err := h.match(c)
	if err != nil {
		return nil, err
	}
	if _, err := c.Propose(&store.Command{Match: match, Change: &store.WebhookDelete{ID: store.WebhookID(c.Param)}}); err != nil {
		return nil, err
	}
	return &deletedWebhook{c.Param, true}, nil
}

// deletedWebhook answers the removal of an endpoint, which takes no right away.
type deletedWebhook struct {
	ID      string `json:"id"`
	Deleted bool   `json:"deleted"`
}

// secretRotation is the body of POST /v1/webhooks/{id}/rotate-secret.
type secretRotation struct {
	Overlap *string `json:"overlap"`
}

// Check implements [rest.Checker].
func (in *secretRotation) Check(*rest.Call) error {
	_, err := in.overlap()
	return err
}

func (in *secretRotation) overlap() (time.Duration, error) {
	d, err := span.Parse(*cmp.Or(in.Overlap, new("24h")))
	if err != nil || d < 0 || d > maxOverlap {
		return 0, rest.Invalid("overlap", `must be a duration such as "24h", "7d" or "0s", at most %dd`, int(maxOverlap/span.Day))
	}
	return d, nil
}

// Rotate gives an endpoint a new secret and shows it, once. For the overlap, the old one
// signs too, and so do those that were replaced before while their overlaps go on.
func (h *Webhooks) Rotate(c *rest.Call, in *secretRotation) (*issuedWebhook, error) {
	overlap, err := in.overlap()
	if err != nil {
		return nil, err
	}
	match, err := h.match(c)
	if err != nil {
		return nil, err
	}
	change := &store.WebhookRotate{ID: store.WebhookID(c.Param), Secret: webhook.NewSecret()}
	if overlap > 0 {
		change.OldUntil = c.Stamp().Add(overlap)
		w, err := h.named(c)
		if err != nil {
			return nil, err
		}
		change.Keep = len(w.OldSecrets(c.Stamp())) > 0
	}
	rc, err := c.Propose(&store.Command{Match: match, Change: change})
	if err != nil {
		return nil, err
	}
	return h.issued(c, rc, change.Secret)
}
