package store

import (
	"slices"
	"strings"
	"time"
)

// The events that the changes in this file write.
var (
	webhookCreated    = Action{EventCreate, "webhook.create"}
	webhookUpdated    = Action{EventUpdate, "webhook.update"}
	webhookRotated    = Action{EventUpdate, "webhook.rotate"}
	webhookDeleted    = Action{EventDelete, "webhook.delete"}
	webhookTested     = Action{EventCreate, "webhook.test"}
	webhookRequeued   = Action{EventCreate, "webhook.redeliver"}
	webhookDisabled   = Action{EventUpdate, "webhook.disable"}
	webhookOverflowed = Action{EventUpdate, "webhook.overflow"}
)

// DisabledGone is the reason of an endpoint that answered 410.
const DisabledGone = "gone"

// webhook returns the endpoint that the command changes, or the refusal. Another account's
// does not exist for the caller.
func (t *txn) webhook(id WebhookID) (*Webhook, *Refusal) {
	if _, no := t.owner(); no != nil {
		return nil, no
	}
	w := t.state.webhook(t.cmd.Account, id)
	if w == nil {
		return nil, refuse(NotFound, "there is no webhook %q", id).Refusal
	}
	if !t.matches(w.Modified) {
		return nil, changedMeanwhile().Refusal
	}
	return w, nil
}

// checkWebhook checks w and brings its events into their one form.
func checkWebhook(w *Webhook) *Refusal {
	switch {
	case !validID(w.ID):
		return invalid("id", "it must have 1 to %d letters, digits, \"_\" or \"-\"", maxID).Refusal
	case w.URL == "" || len(w.URL) > MaxURL:
		return invalid("url", "it must have 1 to %d bytes", MaxURL).Refusal
	case !strings.HasPrefix(w.Secret, "whsec_") || len(w.Secret) > maxSecret:
		return invalid("secret", "it must begin with whsec_ and have at most %d bytes", maxSecret).Refusal
	}
	w.Events = slices.Compact(slices.Sorted(slices.Values(w.Events)))
	for _, kind := range w.Events {
		if !slices.Contains(Notices, kind) {
			return invalid("events", "there is no type %q", kind).Refusal
		}
	}
	if len(w.Events) == 0 {
		w.Events = nil
	}
	return nil
}

// WebhookCreate adds an endpoint. Apply sets what it alone knows.
type WebhookCreate struct {
	Webhook Webhook `json:"webhook"`
}

func init() { register[WebhookCreate]("webhook_create") }

var eventsOfWebhookCreate = []Action{webhookCreated}

// traits implements [Change].
func (*WebhookCreate) traits() Traits {
	return Traits{Takes: No, Waits: Yes, Vital: No, Level: LevelOfWebhooks, Events: eventsOfWebhookCreate}
}

func (in *WebhookCreate) apply(t *txn) Result {
	if _, no := t.owner(); no != nil {
		return Result{Refusal: no}
	}
	w := in.Webhook
	w.Account, w.CreatedAt, w.CreatedBy = t.cmd.Account, t.when.at, t.cmd.Actor.ID
	w.Signing, w.Disabled = Signing{Secret: w.Secret}, ""
	if no := checkWebhook(&w); no != nil {
		return Result{Refusal: no}
	}
	all := t.state.hooks()
	switch n := len(all[w.Account]); {
	case t.state.webhook(w.Account, w.ID) != nil:
		return refuse(Conflict, "there is a webhook %q already", w.ID)
	case n >= MaxWebhooks:
		return refuse(LimitReached, "the account has %d webhooks, which is the most there can be", n)
	case all.count() >= allWebhooks:
		return refuse(LimitReached, "there are %d webhooks, which is the most there can be", allWebhooks)
	}
	w.Created, w.Modified = t.index, t.index
	t.state.putWebhook(&w)
	t.event(webhookCreated, "", string(w.ID), "", diffWebhooks(&Webhook{}, &w, true))
	return Result{Webhook: w.shown()}
}

// WebhookUpdate changes the members of an endpoint that are set.
type WebhookUpdate struct {
	ID      WebhookID `json:"id"`
	URL     *string   `json:"url,omitzero"`
	Events  *[]string `json:"events,omitzero"`
	Enabled *bool     `json:"enabled,omitzero"`
}

func init() { register[WebhookUpdate]("webhook_update") }

var eventsOfWebhookUpdate = []Action{webhookUpdated}

// traits implements [Change].
func (*WebhookUpdate) traits() Traits {
	return Traits{Takes: No, Waits: Yes, Vital: No, Level: LevelOfWebhooks, Events: eventsOfWebhookUpdate}
}

func (in *WebhookUpdate) apply(t *txn) Result {
	old, no := t.webhook(in.ID)
	if no != nil {
		return Result{Refusal: no}
	}
	w := *old
	assign(&w.URL, in.URL)
	assign(&w.Events, in.Events)
	assign(&w.Enabled, in.Enabled)
	if w.Enabled {
		w.Disabled = ""
	}
	if no := checkWebhook(&w); no != nil {
		return Result{Refusal: no}
	}
	w.Modified = t.index
	t.state.putWebhook(&w)
	t.event(webhookUpdated, "", string(w.ID), "", diffWebhooks(old, &w, false))
	return Result{Webhook: w.shown()}
}

// WebhookRotate gives an endpoint a new secret. The old one signs beside it until
// OldUntil, or is gone at once with all others.
type WebhookRotate struct {
	ID       WebhookID `json:"id"`
	Secret   string    `json:"secret"`
	OldUntil time.Time `json:"old_until,omitzero"`
	// Keep the secrets of rotations before, whose overlaps go on. Without it the second rotation
	// ends them.
	Keep bool `json:"keep,omitzero"`
}

// LevelOfOlderSecrets is the level of nodes that know [WebhookRotate.Keep].
const LevelOfOlderSecrets = 8

func init() { register[WebhookRotate]("webhook_rotate") }

var eventsOfWebhookRotate = []Action{webhookRotated}

// traits implements [Change].
func (in *WebhookRotate) traits() Traits {
	t := Traits{Takes: No, Waits: Yes, Vital: No, Level: LevelOfWebhooks, Events: eventsOfWebhookRotate}
	if in.Keep {
		t.Level = LevelOfOlderSecrets
	}
	return t
}

func (in *WebhookRotate) apply(t *txn) Result {
	old, no := t.webhook(in.ID)
	if no != nil {
		return Result{Refusal: no}
	}
	w := *old
	w.Signing = Signing{Secret: in.Secret}
	if until := in.OldUntil.UTC(); until.After(t.when.at) {
		w.OldSecret, w.OldUntil = old.Secret, until
		if in.Keep {
			w.Older = old.older(t.when.at)
		}
		if len(w.Older) > maxOlder {
			return refuse(LimitReached, "%d replaced secrets still sign, which is the most there can be; wait for the end of an overlap, or rotate without one", len(w.Older))
		}
	}
	if no := checkWebhook(&w); no != nil {
		return Result{Refusal: no}
	}
	w.Modified = t.index
	t.state.putWebhook(&w)
	var d diff
	d.time("old_secret_ends_at", old.LastOldUntil(), w.LastOldUntil())
	t.event(webhookRotated, "", string(w.ID), "", d.changes(false))
	return Result{Webhook: w.shown()}
}

// older are the replaced secrets that still sign at now, as older ones of the next rotation.
func (s *Signing) older(now time.Time) []OlderSecret {
	list := slices.DeleteFunc(slices.Clone(s.Older), func(o OlderSecret) bool { return !now.Before(o.Until) })
	if s.OldSecret != "" && now.Before(s.OldUntil) {
		list = append(list, OlderSecret{s.OldSecret, s.OldUntil})
	}
	return list
}

// WebhookDelete removes an endpoint and all of its deliveries.
type WebhookDelete struct {
	ID WebhookID `json:"id"`
}

func init() { register[WebhookDelete]("webhook_delete") }

var eventsOfWebhookDelete = []Action{webhookDeleted}

// traits implements [Change].
func (*WebhookDelete) traits() Traits {
	return Traits{Takes: No, Waits: Yes, Vital: No, Level: LevelOfWebhooks, Events: eventsOfWebhookDelete}
}

func (in *WebhookDelete) apply(t *txn) Result {
	old, no := t.webhook(in.ID)
	if no != nil {
		return Result{Refusal: no}
	}
	(queues{t}).dropWebhook(old)
	t.event(webhookDeleted, "", string(old.ID), "", diffWebhooks(old, &Webhook{}, false))
	return Result{Webhook: old.shown()}
}

// dropWebhook removes w with its deliveries.
func (t queues) dropWebhook(w *Webhook) {
	t.rows.addPending(-t.rows.queue(w.ID).Pending)
	t.rows.delete(queueRow(w.ID))
	for _, table := range []byte{rowPending, rowFinished} {
		from := deliveryRows(table, w.ID)
		t.rows.deleteRange(from, prefixEnd(from))
	}
	t.state.removeWebhook(w)
}

func diffWebhooks(old, w *Webhook, created bool) []byte {
	var d diff
	d.text("url", old.URL, w.URL)
	d.list("events", old.Events, w.Events)
	d.flag("enabled", old.Enabled, w.Enabled)
	d.text("disabled", old.Disabled, w.Disabled)
	return d.changes(created)
}

// count is the number of endpoints.
func (h hookTable) count() (n int) {
	for _, list := range h {
		n += len(list)
	}
	return n
}

// hooks returns the endpoints.
func (d *draft) hooks() hookTable {
	if d.webhooks != nil {
		return d.webhooks
	}
	return *d.outbox.table.Load()
}

// webhook returns an endpoint of an account; nil if there is none.
func (d *draft) webhook(account AccountID, id WebhookID) *Webhook {
	for _, w := range d.hooks()[account] {
		if w.ID == id {
			return w
		}
	}
	return nil
}

// changeHooks sets the endpoints of an account in a copy of the table.
func (d *draft) changeHooks(account AccountID, list []*Webhook) {
	next := make(hookTable, len(d.hooks())+1)
	for id, l := range d.hooks() {
		next[id] = l
	}
	if next[account] = list; len(list) == 0 {
		delete(next, account)
	}
	d.webhooks = next
}

func (d *draft) putWebhook(w *Webhook) {
	list := slices.Clone(d.hooks()[w.Account])
	if i := slices.IndexFunc(list, func(o *Webhook) bool { return o.ID == w.ID }); i >= 0 {
		list[i] = w
	} else {
		list = append(list, w)
	}
	d.changeHooks(w.Account, list)
	d.rows.put(webhookRow(w.Account, w.ID), d.rows.json(w))
}

func (d *draft) removeWebhook(w *Webhook) {
	d.changeHooks(w.Account, slices.DeleteFunc(slices.Clone(d.hooks()[w.Account]), func(o *Webhook) bool { return o.ID == w.ID }))
	d.rows.delete(webhookRow(w.Account, w.ID))
}
