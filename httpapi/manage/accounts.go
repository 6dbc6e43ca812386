package manage

import (
	"slices"
	"time"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/ids"
)

// maxRegion bounds the name of a region, in characters.
const maxRegion = 64

// accountStore is the part of the state that the calls about accounts read.
type accountStore interface {
	Accounts(after store.AccountID, limit int) ([]*store.Account, store.AccountID)
	Cell(store.AccountID) *store.Cell
	DefaultTier() string
}

// Accounts serves the calls about accounts.
type Accounts struct {
	Store     accountStore
	Residency Residency
}

// accountView is an account as the API shows it.
type accountView struct {
	ID            store.AccountID   `json:"id"`
	Name          string            `json:"name"`
	Tier          string            `json:"tier"`
	Region        *string           `json:"region"`
	Limits        *limitsView       `json:"limits"`
	LimitRules    []ruleView        `json:"limit_rules"`
	BrowserKeys   store.BrowserKeys `json:"browser_keys"`
	Alerts        []int             `json:"alert_thresholds"`
	RetentionDays int               `json:"retention_days"`
	State         string            `json:"state"`
	KeyPolicy     *keyPolicyView    `json:"key_policy"`
	CreatedAt     time.Time         `json:"created_at"`
}

type changedAccount struct {
	accountView
	Revocation *rest.Revocation `json:"revocation"`
}

// deleted answers the removal of a thing.
type deleted struct {
	ID         string           `json:"id"`
	Deleted    bool             `json:"deleted"`
	Revocation *rest.Revocation `json:"revocation"`
}

func viewAccount(a *store.Account) accountView {
	return accountView{
		ID: a.ID, Name: a.Name, Tier: a.Tier, Region: some(a.Region), Limits: viewLimits(a.Limits), LimitRules: viewRules(a.Rules),
		BrowserKeys: a.BrowserKeys, Alerts: a.AlertThresholds(), RetentionDays: a.RetentionDays, CreatedAt: a.CreatedAt.UTC(),
		State: accountState(a), KeyPolicy: viewKeyPolicy(a.KeyPolicy),
	}
}

// newAccount is the body of POST /v1/accounts.
type newAccount struct {
	Name          *string            `json:"name"`
	Tier          *string            `json:"tier"`
	Region        *string            `json:"region"`
	Limits        *store.Limits      `json:"limits"`
	LimitRules    *[]ruleBody        `json:"limit_rules"`
	BrowserKeys   *store.BrowserKeys `json:"browser_keys"`
	Alerts        *[]int             `json:"alert_thresholds"`
	RetentionDays *int               `json:"retention_days"`
	KeyPolicy     *keyPolicyBody     `json:"key_policy"`
}

// Check implements [rest.Checker].
func (in *newAccount) Check(c *rest.Call) error {
	var faults fault.List
	if in.Name == nil {
		faults.Add(rest.Invalid("name", "is required"))
	}
	faults.Add(checkAccount(c, &store.AccountUpdate{
		Name: in.Name, Tier: in.Tier, Region: in.Region, Limits: in.Limits,
		BrowserKeys: in.BrowserKeys, Alerts: in.Alerts, RetentionDays: in.RetentionDays,
	}))
	_, err := in.rules()
	faults.Add(err)
	_, err = in.KeyPolicy.policy()
	faults.Add(err)
	return faults.Err()
}

// rules are the valid limit rules of in; nil if there are none.
func (in *newAccount) rules() ([]store.LimitRule, error) {
	if in.LimitRules == nil || len(*in.LimitRules) == 0 {
		return nil, nil
	}
	return rulesOf("limit_rules", *in.LimitRules)
}

// Create makes an account.
func (h *Accounts) Create(c *rest.Call, in *newAccount) (*accountView, error) {
	if err := in.Check(c); err != nil {
		return nil, err
	}
	a := store.Account{
		ID: store.AccountID(ids.New("acct_")), Name: *in.Name, Tier: h.Store.DefaultTier(), Limits: in.Limits,
		BrowserKeys: store.BrowserAlert, RetentionDays: store.DefaultRetention, CreatedAt: c.Stamp(),
	}
	var err error
	if a.Rules, err = in.rules(); err != nil {
		return nil, err
	}
	if err := h.Residency.check(in.Region); err != nil {
		return nil, err
	}
	if a.KeyPolicy, err = in.KeyPolicy.policy(); err != nil {
		return nil, err
	}
	set(&a.Tier, in.Tier)
	a.Region = h.Residency.Region
	set(&a.Region, in.Region)
	set(&a.BrowserKeys, in.BrowserKeys)
	set(&a.Alerts, in.Alerts)
	set(&a.RetentionDays, in.RetentionDays)
	rc, err := c.Propose(&store.Command{Account: a.ID, Change: &store.AccountCreate{Account: a}})
	if err != nil {
		return nil, err
	}
	c.Created(rc)
	c.ETag = rc.Account.Modified
	v := viewAccount(rc.Account)
	return &v, nil
}

func set[T any](dst *T, v *T) {
	if v != nil {
		*dst = *v
	}
}

// checkAccount validates the members that u sets, and sorts its thresholds.
func checkAccount(c *rest.Call, u *store.AccountUpdate) error {
	var faults fault.List
	if u.Name != nil {
		faults.Add(checkText("name", *u.Name, 1, maxName))
	}
	if u.Tier != nil {
		faults.Add(checkTierOf(c, *u.Tier))
	}
	if u.Region != nil {
		faults.Add(checkText("region", *u.Region, 0, maxRegion))
	}
	if u.Limits != nil {
		faults.Add(checkLimits("limits", u.Limits))
	}
	if b := u.BrowserKeys; b != nil && *b != store.BrowserAllow && *b != store.BrowserAlert && *b != store.BrowserBlock {
		faults.Add(rest.Invalid("browser_keys", `must be "allow", "alert" or "block"`))
	}
	if d := u.RetentionDays; d != nil && (*d < store.MinRetention || *d > store.MaxRetention) {
		faults.Add(rest.Invalid("retention_days", "must be a whole number from %d to %d", store.MinRetention, store.MaxRetention))
	}
	if u.Alerts != nil {
		if len(*u.Alerts) > store.MaxAlerts {
			faults.Add(rest.Invalid("alert_thresholds", "has more than %d entries", store.MaxAlerts))
		} else if slices.ContainsFunc(*u.Alerts, func(n int) bool { return n < 1 || n > 100 }) {
			faults.Add(rest.Invalid("alert_thresholds", "must be percentages from 1 to 100"))
		}
		slices.Sort(*u.Alerts)
		*u.Alerts = slices.Compact(*u.Alerts)
	}
	return faults.Err()
}

// checkTierOf refuses a tier that is not there.
func checkTierOf(c *rest.Call, name string) error {
	if !isTierName(name) {
		return rest.Invalid("tier", "is not the name of a tier")
	}
	there, err := rest.Present(c, func(s *store.Store) bool { return s.Tier(name) != nil })
	if err == nil && !there {
		err = rest.Invalid("tier", "there is no tier %q", name)
	}
	return err
}

// checkAccountNamed refuses an account that is not there.
func checkAccountNamed(c *rest.Call, id store.AccountID) error {
	there, err := rest.Present(c, func(s *store.Store) bool { return s.Cell(id) != nil })
	if err == nil && !there {
		err = rest.Invalid("account", "there is no such account")
	}
	return err
}

// List shows all accounts in the order of their ids.
func (h *Accounts) List(c *rest.Call) (*rest.Page[accountView], error) {
	q := c.Query()
	limit := q.Limit()
	after, err := q.Cursor()
	if err != nil {
		return nil, err
	}
	accounts, next := h.Store.Accounts(store.AccountID(after), limit)
	out := &rest.Page[accountView]{Data: make([]accountView, 0, len(accounts))}
	for _, a := range accounts {
		out.Data = append(out.Data, viewAccount(a))
	}
	if next != "" {
		out.Next = q.Seal(string(next))
	}
	return out, nil
}

// read returns the account id, linearized by the caller.
func (h *Accounts) read(id store.AccountID) (*store.Account, error) {
	if cell := h.Store.Cell(id); cell != nil {
		if s := cell.Load(); s != nil {
			return &s.Account, nil
		}
	}
	return nil, fault.Newf(fault.NotFound, "There is no such account.")
}

func (h *Accounts) show(c *rest.Call, id store.AccountID) (*accountView, error) {
	a, err := h.read(id)
	if err != nil {
		return nil, err
	}
	c.ETag = a.Modified
	v := viewAccount(a)
	return &v, nil
}

// Get shows the account that the path names.
func (h *Accounts) Get(c *rest.Call) (*accountView, error) {
	return h.show(c, store.AccountID(c.Param))
}

// GetOwn shows the caller's account.
func (h *Accounts) GetOwn(c *rest.Call) (*accountView, error) { return h.show(c, c.Account) }

// accountPatch is the body of PATCH /v1/account: an account's own settings.
type accountPatch struct {
	Name          rest.Opt[string]            `json:"name"`
	BrowserKeys   rest.Opt[store.BrowserKeys] `json:"browser_keys"`
	Alerts        rest.Opt[[]int]             `json:"alert_thresholds"`
	RetentionDays rest.Opt[int]               `json:"retention_days"`
}

func (p *accountPatch) update(c *rest.Call) (*store.AccountUpdate, error) {
	var faults fault.List
	if p.Name.Null {
		faults.Add(rest.Invalid("name", "must not be null"))
	}
	if p.BrowserKeys.Null {
		faults.Add(rest.Invalid("browser_keys", "must not be null"))
	}
	if p.RetentionDays.Null {
		faults.Add(rest.Invalid("retention_days", "must not be null"))
	}
	u := &store.AccountUpdate{
		Name: p.Name.Get(), BrowserKeys: p.BrowserKeys.Get(),
		Alerts: p.Alerts.Get(), RetentionDays: p.RetentionDays.Get(),
	}
	if p.Alerts.Null {
		u.Clear = append(u.Clear, "alert_thresholds")
	}
	faults.Add(checkAccount(c, u))
	return u, faults.Err()
}

// Check implements [rest.Checker].
func (p *accountPatch) Check(c *rest.Call) error {
	_, err := p.update(c)
	return err
}

// UpdateOwn changes the settings that the caller's account may change itself.
func (h *Accounts) UpdateOwn(c *rest.Call, in *accountPatch) (*changedAccount, error) {
	u, err := in.update(c)
	if err != nil {
		return nil, err
	}
	if u.RetentionDays != nil {
		if !c.Admin {
			return nil, fault.Newf(fault.Forbidden, "retention_days can be changed on the admin listener only.")
		}
		if link := c.Caller.Session != nil && c.Caller.Session.Kind == store.OfLink; link || c.Caller.Role == store.RoleAdmin {
			return nil, fault.Newf(fault.Forbidden, "retention_days: only an owner of the account may change it.")
		}
		if err := c.Linearize(); err != nil {
			return nil, err
		}
		a, err := h.read(c.Account)
		if err != nil {
			return nil, err
		}
		if *u.RetentionDays > a.RetentionDays {
			return nil, rest.Invalid("retention_days", "can only be shortened here, and is %d; an operator can lengthen it", a.RetentionDays)
		}
	}
	return h.change(c, c.Account, u)
}

// managedPatch is the body of PATCH /v1/accounts/{id}, for operators.
type managedPatch struct {
	accountPatch
	Tier   rest.Opt[string]        `json:"tier"`
	Region rest.Opt[string]        `json:"region"`
	Limits rest.Opt[store.Limits]  `json:"limits"`
	Rules  rest.Opt[[]ruleBody]    `json:"limit_rules"`
	State  rest.Opt[string]        `json:"state"`
	Policy rest.Opt[keyPolicyBody] `json:"key_policy"`
}

// Update changes the account that the path names.
func (h *Accounts) Update(c *rest.Call, in *managedPatch) (*changedAccount, error) {
	u, err := in.update(c)
	if err != nil {
		return nil, err
	}
	return h.change(c, store.AccountID(c.Param), u)
}

func (p *managedPatch) update(c *rest.Call) (*store.AccountUpdate, error) {
	var faults fault.List
	u, err := p.accountPatch.update(c)
	faults.Add(err)
	if p.Tier.Null {
		faults.Add(rest.Invalid("tier", "must not be null"))
	}
	more := &store.AccountUpdate{Tier: p.Tier.Get(), Region: p.Region.OrZero(), Limits: p.Limits.Get()}
	faults.Add(checkAccount(c, more))
	u.Tier, u.Region, u.Limits = more.Tier, more.Region, more.Limits
	if p.Rules.Set {
		rules, err := rulesOf("limit_rules", p.Rules.Value)
		faults.Add(err)
		u.Rules = &rules
	}
	faults.Add(p.access(u))
	if p.Limits.Null {
		u.Clear = append(u.Clear, "limits")
	}
	return u, faults.Err()
}

// Check implements [rest.Checker].
func (p *managedPatch) Check(c *rest.Call) error {
	_, err := p.update(c)
	return err
}

func (h *Accounts) change(c *rest.Call, id store.AccountID, u *store.AccountUpdate) (*changedAccount, error) {
	if err := h.Residency.check(u.Region); err != nil {
		return nil, err
	}
	match, err := h.match(c, id)
	if err != nil {
		return nil, err
	}
	rc, err := c.Propose(&store.Command{Account: id, Match: match, Change: u})
	if err != nil {
		return nil, err
	}
	c.ETag = rc.Account.Modified
	return &changedAccount{viewAccount(rc.Account), c.Revoked(rc)}, nil
}

func (h *Accounts) match(c *rest.Call, id store.AccountID) (uint64, error) {
	return c.IfMatch(func() (uint64, error) {
		if err := c.Linearize(); err != nil {
			return 0, err
		}
		a, err := h.read(id)
		if err != nil {
			return 0, err
		}
		return a.Modified, nil
	})
}

// Delete removes the account that the path names, its keys with it.
func (h *Accounts) Delete(c *rest.Call) (*deleted, error) {
	id := store.AccountID(c.Param)
	match, err := h.match(c, id)
	if err != nil {
		return nil, err
	}
	rc, err := c.Propose(&store.Command{Account: id, Match: match, Change: &store.AccountDelete{}})
	if err != nil {
		return nil, err
	}
	return &deleted{string(id), true, c.Revoked(rc)}, nil
}
