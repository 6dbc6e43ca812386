package ui

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/perfgate/perfgate/httpapi/fault"
)

// maker makes the commands for a form, or for the link to a download. It may read what is
// stored, and changes nothing.
type maker func(*visit) ([]*command, error)

// commandsOf are the makers by the pattern of the page that takes the form.
var commandsOf map[string]maker

func init() { // the table and the pages refer to each other
	commandsOf = map[string]maker{
		"POST /keys/bulk": bulkCommands, "POST /keys/new": newKeyCommand, "POST /keys/{id}/edit": editKeyCommand,
		"POST /keys/{id}/state":  one(func(v *visit) *command { return onKey(v, "update").flag("state", v.form("state")) }),
		"POST /keys/{id}/rotate": one(func(v *visit) *command { return onKey(v, "rotate").flag("overlap", v.form("overlap")) }),
		"POST /keys/{id}/revoke": one(func(v *visit) *command {
			return onKey(v, "revoke").flag("reason", v.form("reason")).when(v.form("chain") != "", "chain")
		}),
		"POST /security/incidents/new": incidentCommand,
		"POST /security/incidents/{id}/close": one(func(v *visit) *command {
			return perfgate("incident", "close").args(v.r.PathValue("id"))
		}),
		"GET /security/incidents/{id}/report": one(func(v *visit) *command {
			html := v.query("format") == "html"
			name := "incident.json"
			if html {
				name = "incident.html"
			}
			return perfgate("incident", "report").when(html, "html").flag("output", name).args(v.r.PathValue("id"))
		}),
		"POST /security/allowlist": one(func(v *visit) *command {
			if v.form("do") == "check" {
				return perfgate("allowlist", "check").args(v.form("probe"))
			}
			c := perfgate("allowlist", "set").when(v.form("force") != "", "force")
			if v.form("trial") != "" {
				c.flag("confirm-within", trialTime.String())
			}
			c.stdin = append([]string{}, lines(v.r.PostFormValue("entries"))...)
			return c
		}),
		"POST /security/allowlist/trial": one(trialCommand), "POST /account/erasures": one(erasureCommand), "POST /keyring": one(keyringCommand),
		"POST /account/erasures/{id}/cancel": one(func(v *visit) *command { return perfgate("erasures", "cancel").args(v.r.PathValue("id")) }),
		"GET /account/erasures/{id}/receipt": one(func(v *visit) *command { return perfgate("erasures", "get", "--json").args(v.r.PathValue("id")) }),
		"GET /account/data":                  one(func(*visit) *command { return perfgate("accounts", "export").flag("output", "account.ndjson") }),
		"GET /audit/export":                  one(auditCommand),
		"GET /usage/export":                  usageCommand,
		"GET /compliance/report": one(func(v *visit) *command {
			if v.query("format") == "html" {
				return perfgate("compliance", "--html").flag("output", "compliance.html")
			}
			return perfgate("compliance", "--json")
		}),
		"POST /webhooks/new": one(func(v *visit) *command {
			return perfgate("webhooks", "create").list("event", v.r.PostForm["events"]).args(v.form("url"))
		}),
		"POST /webhooks/{id}": webhookCommand, "POST /account": accountCommand,
		"POST /users/new": one(func(v *visit) *command {
			return perfgate("users", "create").flag("name", v.form("name")).flag("role", v.form("role")).args(v.form("email"))
		}),
		"POST /users/{id}":        userCommand,
		"POST /sessions/{id}/end": one(func(v *visit) *command { return perfgate("users", "sessions", "end").args(v.r.PathValue("id")) }),
		"POST /link": one(func(v *visit) *command {
			return perfgate("users", "link").flag("scope", v.form("scope")).args(v.account)
		}),
		"POST /cluster": clusterCommand, "POST /tokens": tokenCommand,
		"POST /accounts/new": newAccountCommand, "POST /accounts/{id}": manageAccountCommand,
		"POST /tiers/new": newTierCommand, "POST /tiers/{name}": tierCommand,
	}
}

// noCommand are the forms that no command does, with the reason.
var noCommand = map[string]string{
	"POST /signin":        "begins the session of a browser",
	"POST /signout":       "ends the session of a browser",
	"POST /password":      "a password is entered where nobody reads it later",
	"POST /second-factor": "belongs to the person who is signed in",
	"POST /command":       "shows commands",
}

// one makes a single command that cannot fail.
func one(f func(*visit) *command) maker {
	return func(v *visit) ([]*command, error) { return []*command{f(v)}, nil }
}

// nothing is the error of a form that asks for nothing that can be done.
func nothing() ([]*command, error) {
	return nil, fault.Newf(fault.InvalidValue, "The form asks for nothing that can be done.")
}

func onKey(v *visit, do string) *command { return perfgate("keys", do).args(v.r.PathValue("id")) }

func bulkCommands(v *visit) (out []*command, _ error) {
	ids := v.r.PostForm["ids"]
	switch do := v.form("do"); {
	case len(ids) == 0:
		return nil, fault.Invalid("ids", "tick the keys that are meant")
	case do == "revoke":
		return []*command{perfgate("keys", "revoke").flag("reason", v.form("reason")).args(ids...)}, nil
	case do == "disable":
		for _, id := range ids {
			out = append(out, perfgate("keys", "update").flag("state", "disabled").args(id))
		}
		return out, nil
	}
	return nothing()
}

// limitNames are the flags of limits by the fields of forms.
var limitNames = []string{"requests_per_minute", "burst", "requests_per_month", "max_concurrent"}

// expires adds the time at which a form lets something expire. With remove, never is said.
func (e entered) expires(c *command, remove bool) {
	switch chosen := e.text("expires"); {
	case chosen == "keep" || chosen == "" && !remove:
	case chosen == "":
		c.flag("expires-at", "none")
	case chosen == "date":
		c.flag("expires-at", e.text("expires_on"))
	default:
		c.flag("expires-in", chosen)
	}
}

func newKeyCommand(v *visit) ([]*command, error) {
	e := v.entered()
	k, problem := e.newKey()
	if problem != nil {
		return nil, problem
	}
	c := perfgate("keys", "create").flag("type", k.Type).flag("environment", k.Environment).list("scope", k.Scopes)
	e.expires(c, false)
	for _, name := range limitNames {
		c.flag(dashed(name), strings.ReplaceAll(e.text(name), ",", ""))
	}
	c.flag("max-cost-per-call", e.text("max_cost_per_call")).flag("monthly-budget", e.text("monthly_budget"))
	c.list("route", k.Routes).list("allow", k.Allowlist)
	return []*command{c.args(k.Name)}, nil
}

// editKeyCommand sets every setting of the form, as the form does.
func editKeyCommand(v *visit) ([]*command, error) {
	e := v.entered()
	k, problem := e.newKey()
	if problem != nil {
		return nil, problem
	}
	if k.Environment == "none" {
		return nil, fault.Newf(fault.InvalidValue, `A command takes the environment "none" for no environment.`)
	}
	c := onKey(v, "update").flag("name", k.Name).set("environment", k.Environment)
	e.expires(c, true)
	for _, name := range limitNames {
		c.set(dashed(name), strings.ReplaceAll(e.text(name), ",", ""))
	}
	c.set("max-cost-per-call", e.text("max_cost_per_call")).set("monthly-budget", e.text("monthly_budget"))
	for _, l := range []struct {
		flag   string
		values []string
	}{{"scope", k.Scopes}, {"route", k.Routes}, {"allow", k.Allowlist}} {
		if len(l.values) == 0 {
			l.values = []string{"none"}
		}
		c.list(l.flag, l.values)
	}
	return []*command{c}, nil
}

func dashed(name string) string { return strings.ReplaceAll(name, "_", "-") }

func incidentCommand(v *visit) ([]*command, error) {
	m, err := v.entered().incidentMatch()
	if err != nil {
		return nil, err
	}
	find := v.form("do") == "find"
	if m == nil && (find || v.form("action") != "none") {
		return nil, fault.Invalid("match", "choose by what the affected keys are found")
	}
	c := perfgate("incident", "open").flag("action", v.form("action")).when(v.form("freeze") != "", "freeze")
	if find {
		c = perfgate("keys", "revoke", "--dry-run")
	}
	for _, name := range []string{"created_by", "type", "environment", "created_before"} {
		c.flag(dashed(name), v.form(name))
	}
	var args []string
	if !find {
		args = append(args, v.form("title"))
	}
	if m != nil {
		args = append(args, m.IDs...)
	}
	return []*command{c.args(args...)}, nil
}

func auditCommand(v *visit) *command { return auditExport(v, v.query("format")) }

// auditExport writes the events that match the filters of the page to a file.
func auditExport(v *visit, format string) *command {
	c, q := perfgate("audit", "export").flag("format", format), v.auditQuery()
	for _, name := range slices.Sorted(maps.Keys(q)) {
		switch name {
		case "format", "limit", "cursor":
		default:
			c.flag(dashed(name), q.Get(name))
		}
	}
	return c.flag("output", "audit-logs."+format)
}

func usageCommand(v *visit) ([]*command, error) {
	q, _, _, err := v.usageQuery()
	if err != nil {
		return nil, err
	}
	c := perfgate("usage", "--csv").flag("from", q.From).flag("to", q.To).flag("step", q.Step)
	c.flag("key", q.Key).flag("type", q.Type).flag("environment", q.Environment).flag("route", q.Route)
	by := v.query("group_by")
	if by == "" {
		by = "key"
	}
	return []*command{c.flag("group-by", by).flag("output", "usage.csv")}, nil
}

func webhookCommand(v *visit) ([]*command, error) {
	id, do := v.r.PathValue("id"), v.form("do")
	switch do {
	case "enable", "disable":
		return one(func(*visit) *command {
			return perfgate("webhooks", "update", "--enabled="+strconv.FormatBool(do == "enable")).args(id)
		})(v)
	case "rotate":
		return []*command{perfgate("webhooks", "rotate-secret").flag("overlap", v.form("overlap")).args(id)}, nil
	case "test", "delete":
		return []*command{perfgate("webhooks", do).args(id)}, nil
	case "replay":
		since, err := sinceOf(v.form("since"))
		if err != nil {
			return nil, err
		}
		return []*command{perfgate("webhooks", "redeliver").flag("since", since.Format(time.RFC3339)).args(id)}, nil
	case "redeliver":
		return []*command{perfgate("webhooks", "redeliver").args(id, v.form("delivery"))}, nil
	}
	return nothing()
}

func userCommand(v *visit) ([]*command, error) {
	on := func(do string) *command { return perfgate("users", do) }
	var c *command
	switch v.form("do") {
	case "role":
		c = on("update").flag("role", v.form("role"))
	case "enable":
		c = on("update").flag("state", "active")
	case "disable":
		c = on("disable").when(v.form("revoke_keys") != "", "revoke-keys")
	case "reset":
		return []*command{on("reset").when(v.form("second_factor") != "", "second-factor").args(v.r.PathValue("id"))}, nil
	default:
		return nothing()
	}
	return []*command{c.when(v.form("force") != "", "force").args(v.r.PathValue("id"))}, nil
}

func clusterCommand(v *visit) ([]*command, error) {
	do := v.form("do")
	if do != "transfer" && do != "remove" {
		return nothing()
	}
	c := perfgate("cluster", do).when(v.form("force") != "", "force")
	if node := v.form("node"); node != "" {
		c.args(node)
	}
	return []*command{c}, nil
}

func tokenCommand(v *visit) ([]*command, error) {
	if id := v.form("id"); id != "" {
		return []*command{perfgate("tokens", "delete").when(v.form("force") != "", "force").args(id)}, nil
	}
	c := perfgate("tokens", "create")
	v.entered().expires(c, false)
	return []*command{c.args(v.form("name"))}, nil
}

func trialCommand(v *visit) *command {
	if v.form("do") == "revert" {
		return perfgate("allowlist", "revert")
	}
	return perfgate("allowlist", "confirm")
}

func erasureCommand(v *visit) *command {
	return perfgate("erasures", "create").when(v.form("everything") != "", "everything").when(v.form("now") != "", "now").args(v.form("confirm"))
}

func keyringCommand(v *visit) *command {
	if v.form("do") == "data" {
		return perfgate("keyring", "rotate-data")
	}
	return perfgate("keyring", "rotate-kek")
}
