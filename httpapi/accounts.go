package httpapi

import (
	"slices"
	"time"

	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/store"
)

// The bounds of an account's settings.
const (
	minRetention     = 7 // days
	maxRetention     = 90
	defaultRetention = 30
	maxAlerts        = 10
	maxRegion        = 64
)

// accountView is an account as the API shows it.
type accountView struct {
	ID            store.AccountID   `json:"id"`
	Name          string            `json:"name"`
	Tier          string            `json:"tier"`
	Region        *string           `json:"region"`
	Limits        *store.Limits     `json:"limits"`
	BrowserKeys   store.BrowserKeys `json:"browser_keys"`
	Alerts        []int             `json:"alert_thresholds"`
	RetentionDays int               `json:"retention_days"`
	CreatedAt     time.Time         `json:"created_at"`
}

type changedAccount struct {
	accountView
	Revocation *Revocation `json:"revocation"`
}

// deleted answers the removal of a thing.
type deleted struct {
	ID         string      `json:"id"`
	Deleted    bool        `json:"deleted"`
	Revocation *Revocation `json:"revocation"`
}

func viewAccount(a *store.Account) accountView {
	return accountView{
		ID: a.ID, Name: a.Name, Tier: a.Tier, Region: some(a.Region), Limits: a.Limits,
		BrowserKeys: a.BrowserKeys, Alerts: a.Alerts, RetentionDays: a.RetentionDays, CreatedAt: a.CreatedAt.UTC(),
	}
}

// newAccount is the body of POST /v1/accounts.
type newAccount struct {
	Name          *string            `json:"name"`
	Tier          *string            `json:"tier"`
	Region        *string            `json:"region"`
	Limits        *store.Limits      `json:"limits"`
	BrowserKeys   *store.BrowserKeys `json:"browser_keys"`
	Alerts        *[]int             `json:"alert_thresholds"`
	RetentionDays *int               `json:"retention_days"`
}

func createAccount(c *call, in *newAccount) (any, error) {
	if in.Name == nil {
		return nil, invalid("name", "is required")
	}
	u := store.AccountUpdate{
		Name: in.Name, Tier: in.Tier, Region: in.Region, Limits: in.Limits,
		BrowserKeys: in.BrowserKeys, Alerts: in.Alerts, RetentionDays: in.RetentionDays,
	}
	if err := checkAccount(&u); err != nil {
		return nil, err
	}
	a := store.Account{
		ID: store.AccountID(apikey.NewID("acct_")), Name: *in.Name, Tier: c.Store.DefaultTier(), Limits: in.Limits,
		BrowserKeys: store.BrowserAlert, RetentionDays: defaultRetention, CreatedAt: c.stamp(),
	}
	set(&a.Tier, in.Tier)
	set(&a.Region, in.Region)
	set(&a.BrowserKeys, in.BrowserKeys)
	set(&a.Alerts, in.Alerts)
	set(&a.RetentionDays, in.RetentionDays)
	rc, err := c.propose(&store.Command{Account: a.ID, AccountCreate: &store.AccountCreate{Account: a}})
	if err != nil {
		return nil, err
	}
	c.created(rc)
	c.etag = rc.Account.Modified
	return viewAccount(rc.Account), nil
}

func set[T any](dst *T, v *T) {
	if v != nil {
		*dst = *v
	}
}

// checkAccount validates what u sets.
func checkAccount(u *store.AccountUpdate) error {
	if u.Name != nil {
		if err := checkText("name", *u.Name, 1, maxName); err != nil {
			return err
		}
	}
	if u.Tier != nil && !isTierName(*u.Tier) {
		return invalid("tier", "is not the name of a tier")
	}
	if u.Region != nil {
		if err := checkText("region", *u.Region, 0, maxRegion); err != nil {
			return err
		}
	}
	if u.Limits != nil {
		if err := checkLimits("limits", u.Limits); err != nil {
			return err
		}
	}
	if b := u.BrowserKeys; b != nil && *b != store.BrowserAllow && *b != store.BrowserAlert && *b != store.BrowserBlock {
		return invalid("browser_keys", `want "allow", "alert" or "block"`)
	}
	if d := u.RetentionDays; d != nil && (*d < minRetention || *d > maxRetention) {
		return invalid("retention_days", "want a whole number from %d to %d", minRetention, maxRetention)
	}
	if u.Alerts != nil {
		if len(*u.Alerts) > maxAlerts {
			return invalid("alert_thresholds", "has more than %d entries", maxAlerts)
		}
		for _, n := range *u.Alerts {
			if n < 1 || n > 100 {
				return invalid("alert_thresholds", "want percentages from 1 to 100")
			}
		}
		*u.Alerts = slices.Clone(*u.Alerts)
		slices.Sort(*u.Alerts)
		*u.Alerts = slices.Compact(*u.Alerts)
	}
	return nil
}

func listAccounts(c *call) (any, error) {
	q := c.query("limit", "cursor")
	limit := q.limit()
	if q.err != nil {
		return nil, q.err
	}
	after, err := c.open(q.values.Get("cursor"))
	if err != nil {
		return nil, err
	}
	accounts, next := c.Store.Accounts(store.AccountID(after), limit)
	out := page[accountView]{Data: make([]accountView, 0, len(accounts))}
	for _, a := range accounts {
		out.Data = append(out.Data, viewAccount(a))
	}
	if next != "" {
		out.Next = c.seal(string(next))
	}
	return out, nil
}

// readAccount is the account id, linearized by the caller.
func (c *call) readAccount(id store.AccountID) (*store.Account, error) {
	if cell := c.Store.Cell(id); cell != nil {
		if s := cell.Load(); s != nil {
			return &s.Account, nil
		}
	}
	return nil, fault.Newf(fault.NotFound, "There is no such account.")
}

func (c *call) showAccount(id store.AccountID) (any, error) {
	if q := c.query(); q.err != nil {
		return nil, q.err
	}
	a, err := c.readAccount(id)
	if err != nil {
		return nil, err
	}
	c.etag = a.Modified
	return viewAccount(a), nil
}

func getAccount(c *call) (any, error)    { return c.showAccount(store.AccountID(c.param)) }
func getOwnAccount(c *call) (any, error) { return c.showAccount(c.account) }

// accountPatch is what an account may change about itself.
type accountPatch struct {
	Name          opt[string]            `json:"name"`
	BrowserKeys   opt[store.BrowserKeys] `json:"browser_keys"`
	Alerts        opt[[]int]             `json:"alert_thresholds"`
	RetentionDays opt[int]               `json:"retention_days"`
}

func (p *accountPatch) update() (*store.AccountUpdate, error) {
	switch {
	case p.Name.Null:
		return nil, invalid("name", "must not be null")
	case p.BrowserKeys.Null:
		return nil, invalid("browser_keys", "must not be null")
	case p.RetentionDays.Null:
		return nil, invalid("retention_days", "must not be null")
	}
	return &store.AccountUpdate{
		Name: p.Name.value(), BrowserKeys: p.BrowserKeys.value(),
		Alerts: p.Alerts.orZero(), RetentionDays: p.RetentionDays.value(),
	}, nil
}

func updateOwnAccount(c *call, in *accountPatch) (any, error) {
	u, err := in.update()
	if err != nil {
		return nil, err
	}
	if u.RetentionDays != nil {
		if !c.admin {
			return nil, fault.Newf(fault.Forbidden, "retention_days can be changed on the admin listener only.")
		}
		if err := c.Backend.Linearize(c.r.Context()); err != nil {
			return nil, err
		}
		a, err := c.readAccount(c.account)
		if err != nil {
			return nil, err
		}
		if *u.RetentionDays > a.RetentionDays {
			return nil, invalid("retention_days", "can only be shortened here, and is %d; an operator can lengthen it", a.RetentionDays)
		}
	}
	return c.changeAccount(c.account, u)
}

// managedPatch is what operators may change about an account.
type managedPatch struct {
	accountPatch
	Tier   opt[string]       `json:"tier"`
	Region opt[string]       `json:"region"`
	Limits opt[store.Limits] `json:"limits"`
}

func updateAccount(c *call, in *managedPatch) (any, error) {
	u, err := in.update()
	if err != nil {
		return nil, err
	}
	if in.Tier.Null {
		return nil, invalid("tier", "must not be null")
	}
	u.Tier, u.Region, u.Limits = in.Tier.value(), in.Region.orZero(), in.Limits.value()
	if in.Limits.Null {
		u.Clear = []string{"limits"}
	}
	return c.changeAccount(store.AccountID(c.param), u)
}

func (c *call) changeAccount(id store.AccountID, u *store.AccountUpdate) (any, error) {
	if q := c.query(); q.err != nil {
		return nil, q.err
	}
	if err := checkAccount(u); err != nil {
		return nil, err
	}
	match, err := c.matchAccount(id)
	if err != nil {
		return nil, err
	}
	rc, err := c.propose(&store.Command{Account: id, Match: match, AccountUpdate: u})
	if err != nil {
		return nil, err
	}
	c.etag = rc.Account.Modified
	return changedAccount{viewAccount(rc.Account), c.revocation(rc)}, nil
}

func (c *call) matchAccount(id store.AccountID) (uint64, error) {
	return c.ifMatch(func() (uint64, error) {
		if err := c.Backend.Linearize(c.r.Context()); err != nil {
			return 0, err
		}
		a, err := c.readAccount(id)
		if err != nil {
			return 0, err
		}
		return a.Modified, nil
	})
}

func deleteAccount(c *call) (any, error) {
	if q := c.query(); q.err != nil {
		return nil, q.err
	}
	id := store.AccountID(c.param)
	match, err := c.matchAccount(id)
	if err != nil {
		return nil, err
	}
	rc, err := c.propose(&store.Command{Account: id, Match: match, AccountDelete: &store.AccountDelete{}})
	if err != nil {
		return nil, err
	}
	return deleted{string(id), true, c.revocation(rc)}, nil
}
