package ui

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/httpapi/fault"
)

// noticeTypes are the events that an endpoint can be told of.
var noticeTypes = []string{
	"key.created", "key.rotated", "key.revoked", "key.expiring", "key.rotation_due", "key.exposed", "key.anomaly",
	"usage.threshold", "rate_limit.exceeded", "auth.failures", "allowlist.updated", "incident.opened",
}

// webhookList is a page of the account's endpoints.
type webhookList struct {
	Webhooks []client.Webhook
	Next     string
	May      bool
}

func webhooksPage(v *visit) error {
	list, err := client.Webhooks{Client: v.api}.List(v.context(), client.Page{Limit: rowsOfPeople, Cursor: v.query("cursor")})
	if err != nil {
		return err
	}
	return v.show("webhooks", "Webhooks", webhookList{list.Data, text(list.Next), v.me.may(manage)})
}

// webhookForm is the form for an endpoint.
type webhookForm struct {
	Webhook *client.Webhook // that is changed; nil for a new one
	Types   []string
}

func newWebhookPage(v *visit) error {
	return v.ask("newwebhook", "Add an endpoint", webhookForm{Types: noticeTypes}, nil)
}

func newWebhook(v *visit) error {
	made, err := client.Webhooks{Client: v.api}.Create(v.context(), client.NewWebhook{URL: v.form("url"), Events: v.r.PostForm["events"]}, v.once())
	if err != nil {
		f, err := asked(err)
		if f == nil {
			return err
		}
		return v.ask("newwebhook", "Add an endpoint", webhookForm{Types: noticeTypes}, f)
	}
	return v.webhookSecret(made)
}

func (v *visit) webhookSecret(w *client.Webhook) error {
	return v.handOut(handout{
		Title: "Store the secret now", Value: text(w.Secret), Back: "/webhooks/" + url.PathEscape(w.ID),
		Sentence: "With it, your program verifies the signature of each notice. It is not shown again.",
	})
}

// webhookDetail is one endpoint with its deliveries.
type webhookDetail struct {
	Webhook    *client.Webhook
	Deliveries []client.Delivery
	Next       string
	States     []string
	Test       *client.Delivery // that was just made
	May        bool
}

func webhookPage(v *visit) error { return v.showWebhook(nil, nil) }

func (v *visit) showWebhook(test *client.Delivery, problem *fault.Error) error {
	hooks, id := client.Webhooks{Client: v.api}, v.r.PathValue("id")
	w, err := hooks.Get(v.context(), id)
	if err != nil {
		return err
	}
	list, err := hooks.Deliveries(v.context(), id, v.query("state"), client.Page{Limit: 50, Cursor: v.query("cursor")})
	if err != nil {
		return err
	}
	p := &page{Title: "Webhook", Problem: problem}
	if n, err := strconv.Atoi(v.query("queued")); err == nil && problem == nil {
		p.Notice = "Deliveries that are sent again: " + strconv.Itoa(n) + "."
	}
	p.Body = webhookDetail{Webhook: w, Deliveries: list.Data, Next: text(list.Next), States: []string{"pending", "delivered", "failed"}, Test: test, May: v.me.may(manage)}
	status := http.StatusOK
	if problem != nil {
		status = problem.Code.Status()
	}
	return v.render(status, "webhook", p)
}

// changeWebhook does what a form of the endpoint's page asks for.
func changeWebhook(v *visit) error {
	hooks, id := client.Webhooks{Client: v.api}, v.r.PathValue("id")
	var err error
	switch v.form("do") {
	case "enable", "disable":
		_, err = hooks.Update(v.context(), id, client.Patch{"enabled": v.form("do") == "enable"})
	case "rotate":
		var w *client.Webhook
		if w, err = hooks.RotateSecret(v.context(), id, v.form("overlap"), v.once()); err == nil {
			return v.webhookSecret(w)
		}
	case "test":
		var d *client.Delivery
		if d, err = hooks.Test(v.context(), id, v.once()); err == nil {
			return v.showWebhook(d, nil)
		}
	case "replay":
		var since time.Time
		if since, err = sinceOf(v.form("since")); err != nil {
			break
		}
		var n *client.Requeued
		if n, err = hooks.RedeliverSince(v.context(), id, since, v.once()); err == nil {
			return v.see("/webhooks/" + url.PathEscape(id) + "?queued=" + strconv.Itoa(n.Queued))
		}
	case "redeliver":
		_, err = hooks.Redeliver(v.context(), id, v.form("delivery"), v.once())
	case "delete":
		if _, err = hooks.Delete(v.context(), id); err == nil {
			return v.see("/webhooks")
		}
	default:
		return fault.Newf(fault.InvalidValue, "The form asks for nothing that can be done.")
	}
	if err != nil {
		f, err := asked(err)
		if f == nil {
			return err
		}
		return v.showWebhook(nil, f)
	}
	return v.see("/webhooks/" + url.PathEscape(id))
}

// sinceOf reads a date and time of a form, which are UTC.
func sinceOf(entered string) (time.Time, error) {
	for _, layout := range []string{"2006-01-02T15:04", "2006-01-02T15:04:05"} { // without seconds that are 0
		if t, err := time.Parse(layout, entered); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fault.Invalid("since", "choose a date and a time (UTC)")
}

// outcome is how the last attempt of a delivery went.
func outcome(d client.Delivery) string {
	if len(d.Log) == 0 {
		return "no attempt yet"
	}
	last := d.Log[len(d.Log)-1]
	var parts []string
	if last.Status != nil {
		parts = append(parts, "status "+number(*last.Status))
	}
	if last.Error != nil {
		parts = append(parts, *last.Error)
	}
	return strings.Join(append(parts, number(last.DurationMS)+" ms"), ", ")
}
