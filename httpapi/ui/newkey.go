package ui

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/httpapi/fault"
)

// scope is a scope of a key, with its meaning.
type scope struct{ Name, Means string }

// builtInScopes are the scopes that perfgate itself gives a meaning, with it.
var builtInScopes = []scope{
	{"read", "GET, HEAD and OPTIONS on proxied routes, and reading usage"},
	{"write", "all other methods on proxied routes"},
	{"verify", "ask whether a key is valid"},
	{"limit", "use the rate limiter for own identifiers"},
	{"admin", "everything, keys and the audit log included"},
}

// preset is an entry of a list of durations.
type preset struct{ Value, Label string }

var expiries = []preset{
	{"", "Never"}, {"7d", "7 days"}, {"30d", "30 days"}, {"90d", "90 days"}, {"365d", "1 year"}, {"date", "On a date"},
}

// keyForm is the data of the form for a key's settings.
type keyForm struct {
	Key      *client.Key // that is changed; nil for a new one
	Scopes   []scope     // that have a box
	Expiries []preset
}

// newKeyForm is the form for a new key.
type newKeyForm struct {
	keyForm
	Preview *preview
}

func newKeyPage(v *visit) error { return showNewKey(v, nil) }

func showNewKey(v *visit, problem *fault.Error) error {
	status := http.StatusOK
	if problem != nil {
		status = problem.Code.Status()
	}
	p, err := previewOf(v)
	if err != nil {
		return err
	}
	return v.render(status, "newkey", &page{Title: "Generate a key", Problem: problem, Body: newKeyForm{keyForm{nil, v.ui.scopeChoices(), expiries}, p}})
}

// secret is a key that was just made or rotated: the one page that shows it.
type secret struct {
	Key      *client.Key
	Secret   string // "" if the form was sent twice, and the first answer had it
	Replaced string // id of the key that it replaces
	URL      string // of the proxy
}

// newKey makes the key that the form describes, and shows its secret; or it shows the form
// again, with what the key would open.
func newKey(v *visit) error {
	if v.form("preview") != "" {
		return showNewKey(v, nil)
	}
	k, problem := v.entered().newKey()
	if problem != nil {
		return showNewKey(v, problem)
	}
	made, err := v.api.CreateKey(v.context(), *k, v.once())
	if err != nil {
		if f := fault.From(err); f.Code.Status() < 500 && !signedOut(f) {
			return showNewKey(v, f)
		}
		return err
	}
	return showSecret(v, made, "")
}

// showSecret shows the secret of a key. The frame has forbidden to store the answer.
func showSecret(v *visit, k *client.Key, replaced string) error {
	return v.show("secret", "Store the key now", secret{k, text(k.Secret), replaced, v.proxyURL()})
}

// proxyURL is the origin of the proxy, under the name that the browser knows this node by.
func (v *visit) proxyURL() string {
	u, err := url.Parse(v.ui.cfg.Proxy)
	if err != nil || u.Scheme == "" {
		return "http://127.0.0.1:8080"
	}
	host := (&url.URL{Host: v.r.Host}).Hostname()
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	u.Host = host + ":" + u.Port()
	return u.String()
}
