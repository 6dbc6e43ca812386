package ui

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/span"
)

// builtInScopes are the scopes that perfgate itself gives a meaning, with it.
var builtInScopes = []struct{ Name, Means string }{
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
	Scopes   []struct{ Name, Means string }
	Expiries []preset
}

func newKeyPage(v *visit) error { return showNewKey(v, nil) }

func showNewKey(v *visit, problem *fault.Error) error {
	status := http.StatusOK
	if problem != nil {
		status = problem.Code.Status()
	}
	return v.render(status, "newkey", &page{Title: "Generate a key", Problem: problem, Body: keyForm{nil, builtInScopes, expiries}})
}

// secret is a key that was just made or rotated: the one page that shows it.
type secret struct {
	Key      *client.Key
	Secret   string // "" if the form was sent twice, and the first answer had it
	Replaced string // id of the key that it replaces
	URL      string // of the proxy
}

// newKey makes the key that the form describes, and shows its secret.
func newKey(v *visit) error {
	k, problem := v.newKey()
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

// newKey reads the form.
func (v *visit) newKey() (*client.NewKey, *fault.Error) {
	k := &client.NewKey{Name: v.form("name"), Type: v.form("type"), Environment: v.form("environment"), Scopes: v.scopes()}
	var faults fault.List
	expires, err := v.expiry()
	faults.Add(err)
	k.ExpiresAt = expires
	k.Limits, err = v.limits()
	faults.Add(err)
	k.MaxCostPerCall, err = v.amount("max_cost_per_call")
	faults.Add(err)
	k.MonthlyBudget, err = v.amount("monthly_budget")
	faults.Add(err)
	k.Routes, k.Allowlist = lines(v.form("routes")), lines(v.form("allowlist"))
	if err := faults.Err(); err != nil {
		return nil, fault.From(err)
	}
	return k, nil
}

// scopes are the boxes that were ticked, and the names in the field for others.
func (v *visit) scopes() []string {
	return append(slices.Clone(v.r.PostForm["scopes"]), strings.FieldsFunc(v.form("other_scopes"), func(r rune) bool { return r == ' ' || r == ',' })...)
}

// expiry is the time that was chosen, nil for never.
func (v *visit) expiry() (*time.Time, error) {
	switch chosen := v.form("expires"); chosen {
	case "", "keep":
		return nil, nil
	case "date":
		t, err := time.Parse(time.DateOnly, v.form("expires_on"))
		if err != nil {
			return nil, fault.Invalid("expires_at", "choose the date on which the key expires")
		}
		return &t, nil
	default:
		d, err := span.Parse(chosen)
		if err != nil {
			return nil, fault.Invalid("expires_at", "choose one of the durations")
		}
		return new(v.ui.cfg.Clock().Add(d).UTC().Truncate(time.Second)), nil
	}
}

// limits are the key's own limits, nil if none was entered.
func (v *visit) limits() (*client.Limits, error) {
	var l client.Limits
	var faults fault.List
	for name, into := range map[string]**int64{
		"requests_per_minute": &l.PerMinute, "burst": &l.Burst, "requests_per_month": &l.PerMonth, "max_concurrent": &l.MaxConcurrent,
	} {
		if s := v.form(name); s != "" {
			n, err := strconv.ParseInt(strings.ReplaceAll(s, ",", ""), 10, 64)
			if err != nil {
				faults.Add(fault.Invalid("limits", "%s must be a whole number", name))
				continue
			}
			*into = &n
		}
	}
	if l == (client.Limits{}) {
		return nil, faults.Err()
	}
	return &l, faults.Err()
}

// amount is a sum of money, nil if none was entered.
func (v *visit) amount(name string) (*json.Number, error) {
	s := v.form(name)
	if s == "" {
		return nil, nil
	}
	if _, err := strconv.ParseFloat(s, 64); err != nil || strings.Trim(s, "0123456789.") != "" {
		return nil, fault.Invalid(name, "must be a decimal number such as 0.01")
	}
	return new(json.Number(s)), nil
}

// lines are the lines of a text that are not blank.
func lines(s string) (out []string) {
	for line := range strings.Lines(s) {
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, line)
		}
	}
	return out
}
