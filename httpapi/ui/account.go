package ui

import (
	"encoding/json"
	"net/http"
	"slices"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/httpapi/fault"
)

// accountSettings is the account that the visitor works in.
type accountSettings struct {
	Account     *client.Account
	Limits      []typeLimits
	WouldRefuse int64 // requests of this month that shadow rules would have refused
	HasUsage    bool
	Browser     []roleInfo
	May         bool
	MayShorten  bool // the retention
	Tried       *trial
}

// typeLimits are the policies that the account's keys of a type share.
type typeLimits struct {
	Type     string
	Policies []client.Policy
}

// trial is what a rule would have refused lately.
type trial struct {
	Rule string
	*client.Simulation
}

var browserChoices = []roleInfo{
	{"allow", "accept them"}, {"alert", "accept them, and raise an alert"}, {"block", "refuse them with 403 key_exposed"},
}

func accountPage(v *visit) error { return v.showAccount(nil, nil) }

func (v *visit) showAccount(tried *trial, problem *fault.Error) error {
	a, err := v.api.GetAccount(v.context())
	if err != nil {
		return err
	}
	b := accountSettings{
		Account: a, Browser: browserChoices, May: v.me.may(manage), Tried: tried,
		MayShorten: v.me.may(people), // owners and operators
	}
	for _, t := range keyTypes {
		var out client.List[client.Policy]
		if err := v.api.Do(v.context(), "GET", "/v1/limits", map[string][]string{"type": {t}}, nil, &out); err != nil {
			return err
		}
		b.Limits = append(b.Limits, typeLimits{t, out.Data})
	}
	rows, err := v.rows(monthOf(v.ui.cfg.Clock()))
	if b.HasUsage, err = allowed(err); err != nil {
		return err
	}
	for _, r := range rows {
		b.WouldRefuse += r.WouldRefuse
	}
	p := &page{Title: "Account", Body: b, Problem: problem}
	if v.query("saved") != "" {
		p.Notice = "Saved."
	}
	status := http.StatusOK
	if problem != nil {
		status = problem.Code.Status()
	}
	return v.render(status, "account", p)
}

// changeAccount saves the settings, or tries a rule on recorded traffic.
func changeAccount(v *visit) error {
	a, err := v.api.GetAccount(v.context())
	if err != nil {
		return err
	}
	if v.form("do") == "try" {
		tried, err := v.tryRule(a, v.form("rule"))
		if err == nil {
			return v.showAccount(tried, nil)
		}
		f, err := asked(err)
		if f == nil {
			return err
		}
		return v.showAccount(nil, f)
	}
	p, err := v.entered().accountPatch(a)
	if err == nil && len(p) > 0 {
		_, err = v.api.UpdateAccount(v.context(), p)
	}
	if err != nil {
		f, err := asked(err)
		if f == nil {
			return err
		}
		return v.showAccount(nil, f)
	}
	return v.see("/account?saved=1")
}

// tryRule runs a rule of the account over the traffic of the last days.
func (v *visit) tryRule(a *client.Account, name string) (*trial, error) {
	for _, r := range a.LimitRules {
		if r.Name != name {
			continue
		}
		raw, err := json.Marshal(r)
		if err != nil {
			return nil, err
		}
		out, err := v.api.SimulateLimits(v.context(), client.Proposal{Rule: raw})
		if err != nil {
			return nil, err
		}
		return &trial{name, out}, nil
	}
	return nil, fault.Newf(fault.NotFound, "The account has no rule with this name any more.")
}

// manageAccountForm is an operator's form for an account.
type manageAccountForm struct {
	Account *client.Account // nil: a new one
	Tiers   []client.Tier
	Browser []roleInfo
	Rules   []ruleRow
}

func newAccountPage(v *visit) error { return v.askAccount(nil, nil) }

func manageAccountPage(v *visit) error {
	a, err := v.api.Accounts().Get(v.context(), v.r.PathValue("id"))
	if err != nil {
		return err
	}
	return v.askAccount(a, nil)
}

// askAccount shows the form for the account a, or for a new one.
func (v *visit) askAccount(a *client.Account, problem *fault.Error) error {
	tiers, err := v.api.Tiers().List(v.context(), client.Page{Limit: 1000})
	if err != nil {
		return err
	}
	b := manageAccountForm{Account: a, Tiers: tiers.Data, Browser: browserChoices}
	title := "New account"
	if a != nil {
		title, b.Rules = a.Name, ruleRows(a.LimitRules)
	}
	if problem != nil {
		b.Rules = v.entered().ruleRows()
	}
	return v.ask("manageaccount", title, b, problem)
}

func newAccount(v *visit) error {
	e := v.entered()
	in := client.NewAccount{Name: e.text("name"), Tier: e.text("tier"), Region: e.text("region")}
	var err error
	if in.Limits, err = e.limits("limits_"); err == nil {
		var a *client.Account
		if a, err = v.api.Accounts().Create(v.context(), in, v.once()); err == nil {
			return v.see("/accounts/" + a.ID)
		}
	}
	f, err := asked(err)
	if f == nil {
		return err
	}
	return v.askAccount(nil, f)
}

// manageAccount does what a form of the account's page asks for.
func manageAccount(v *visit) error {
	id := v.r.PathValue("id")
	a, err := v.api.Accounts().Get(v.context(), id)
	if err != nil {
		return err
	}
	switch v.form("do") {
	case "suspend":
		_, err = v.api.Accounts().Update(v.context(), id, client.Patch{"state": "suspended"})
	case "resume":
		_, err = v.api.Accounts().Update(v.context(), id, client.Patch{"state": "active"})
	case "delete":
		if v.form("confirm") != a.Name {
			err = fault.Invalid("confirm", "type the name of the account to confirm")
		} else if _, err = v.api.Accounts().Delete(v.context(), id); err == nil {
			return v.see("/accounts")
		}
	default:
		var p client.Patch
		if p, err = v.entered().managedPatch(a); err == nil && len(p) > 0 {
			_, err = v.api.Accounts().Update(v.context(), id, p)
		}
	}
	if err != nil {
		f, err := asked(err)
		if f == nil {
			return err
		}
		return v.askAccount(a, f)
	}
	return v.see("/accounts/" + id)
}

// differs reports whether two values are other ones in JSON.
func differs(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX != nil || errY != nil || string(x) != string(y)
}

// accountPatch is what the form changes of an account's own settings.
func (e entered) accountPatch(a *client.Account) (client.Patch, error) {
	var faults fault.List
	p := client.Patch{}
	if name := e.text("name"); name != a.Name {
		p["name"] = name
	}
	if b := e.text("browser_keys"); b != "" && b != a.BrowserKeys {
		p["browser_keys"] = b
	}
	if _, ok := e.values["alert_thresholds"]; ok {
		alerts, err := e.numbers("alert_thresholds")
		faults.Add(err)
		if !slices.Equal(alerts, a.Alerts) {
			p["alert_thresholds"] = alerts
		}
	}
	days, err := e.whole("retention_days")
	faults.Add(err)
	if days != nil && int(*days) != a.RetentionDays {
		p["retention_days"] = *days
	}
	return p, faults.Err()
}

// managedPatch is what an operator's form changes.
func (e entered) managedPatch(a *client.Account) (client.Patch, error) {
	var faults fault.List
	p, err := e.accountPatch(a)
	faults.Add(err)
	if t := e.text("tier"); t != "" && t != a.Tier {
		p["tier"] = t
	}
	limits, err := e.limits("limits_")
	faults.Add(err)
	if limits != nil && a.Limits != nil {
		limits.MaxConcurrent = a.Limits.MaxConcurrent // has no field
	}
	if differs(limits, a.Limits) {
		p["limits"] = limits
	}
	policy, err := e.keyPolicy()
	faults.Add(err)
	if differs(policy, a.KeyPolicy) {
		p["key_policy"] = policy
	}
	rules, err := e.rules()
	faults.Add(err)
	if differs(rules, append([]client.LimitRule{}, a.LimitRules...)) {
		p["limit_rules"] = rules
	}
	return p, faults.Err()
}

// keyPolicy binds the keys of the account; nil if nothing was entered.
func (e entered) keyPolicy() (*client.KeyPolicy, error) {
	p := client.KeyPolicy{MustExpire: e.text("must_expire") != ""}
	if s := e.text("max_ttl"); s != "" {
		p.MaxTTL = &s
	}
	n, err := e.whole("max_keys")
	if n != nil {
		p.MaxKeys = new(int(*n))
	}
	if p == (client.KeyPolicy{}) {
		return nil, err
	}
	return &p, err
}
