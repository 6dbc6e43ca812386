package manage

import (
	"bufio"
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/chain"
	"github.com/perfgate/perfgate/store/insight"
	"github.com/perfgate/perfgate/store/local"
)

// AccountData serves the call that exports all that is stored about an account, as
// objects in the forms of the calls that read them one by one. Secrets are in none.
type AccountData struct {
	Accounts  *Accounts
	Allowlist *Allowlist
	Keys      *Keys
	Users     *Users
	Sessions  *Sessions
	Webhooks  *Webhooks
	Incidents *Incidents
	Erasures  *Erasures
	Audit     *Audit
	Observed  Observed
}

// The bounds of an export, beside those of its parts: it holds one page of a list, one span
// of usage or one day of failures in memory.
const (
	exportPage   = rest.MaxLimit
	exportCounts = 1000 // values of each dimension of a day's failed requests, and a day's findings
)

// dataExport is an export that is under way.
type dataExport struct {
	h       *AccountData
	c       *rest.Call
	w       *bufio.Writer
	lines   int
	missing []chain.Missing
}

// exportHead is the first line's data, exportEnd the last one's: without it the export is cut.
type exportHead struct {
	Account   store.AccountID `json:"account"`
	ClusterID string          `json:"cluster_id"`
	CreatedAt time.Time       `json:"created_at"`
}

type exportEnd struct {
	Lines   int             `json:"lines"`   // before this one
	Missing []chain.Missing `json:"missing"` // nodes whose part of usage, failures, findings or events is not in it
}

// Read streams the export, an object a line.
func (h *AccountData) Read(c *rest.Call) error {
	if c.Request.Method != http.MethodHead {
		if err := c.Export(); err != nil {
			return err
		}
	}
	head := c.Writer().Header()
	head.Set("Content-Type", "application/x-ndjson")
	head.Set("Content-Disposition", `attachment; filename="account-data.ndjson"`)
	head.Set("Cache-Control", "no-store")
	if c.Request.Method == http.MethodHead {
		return nil
	}
	x := &dataExport{h: h, c: c, w: c.Stream()}
	for _, part := range []func() error{x.account, x.keys, x.people, x.webhooks, x.cases, x.usage, x.failures, x.findings, x.events} {
		if err := part(); err != nil {
			return err
		}
	}
	if x.missing == nil {
		x.missing = []chain.Missing{}
	}
	if err := x.line("end", &exportEnd{x.lines, x.missing}); err != nil {
		return err
	}
	return x.w.Flush()
}

// line writes one object.
func (x *dataExport) line(kind string, data any) error {
	raw, err := json.Marshal(struct {
		Type string `json:"type"`
		Data any    `json:"data"`
	}{kind, data}, json.Deterministic(true))
	if err != nil {
		return err
	}
	x.lines++
	_, err = x.w.Write(append(raw, '\n'))
	return err
}

// miss notes nodes that did not answer, each once.
func (x *dataExport) miss(list []chain.Missing) {
	for _, m := range list {
		if !slices.ContainsFunc(x.missing, func(o chain.Missing) bool { return o.Node == m.Node }) {
			x.missing = append(x.missing, m)
		}
	}
}

// exportList writes all pages of a list; see may look at each page.
func exportList[T any](x *dataExport, kind, param string, list func(*rest.Call) (*rest.Page[T], error), see func([]T) error) error {
	query := url.Values{"limit": {"1000"}, "cursor": {""}}
	for {
		page, err := list(rest.Part(x.c, "export."+kind, param, query))
		if err != nil {
			return err
		}
		for i := range page.Data {
			if err := x.line(kind, &page.Data[i]); err != nil {
				return err
			}
		}
		if see != nil {
			if err := see(page.Data); err != nil {
				return err
			}
		}
		if page.Next == nil {
			return nil
		}
		query.Set("cursor", *page.Next)
	}
}

func (x *dataExport) account() error {
	head := &exportHead{x.c.Account, x.h.Erasures.Store.ClusterID(), x.c.Now.UTC()}
	if err := x.line("export", head); err != nil {
		return err
	}
	a, err := x.h.Accounts.show(rest.Part(x.c, "", "", nil), x.c.Account)
	if err != nil {
		return err
	}
	if err := x.line("account", a); err != nil {
		return err
	}
	entries, _, err := x.h.Allowlist.Store.Allowlist(x.c.Account)
	if err != nil {
		return err
	}
	shown := showEntries(entries, nil).Entries
	for i := range shown {
		if err := x.line("allowlist_entry", &shown[i]); err != nil {
			return err
		}
	}
	before, err := x.h.Allowlist.Trials.Before(x.c.Account)
	if err != nil {
		return err
	}
	shown = showEntries(before, nil).Entries
	for i := range shown {
		if err := x.line("allowlist_entry_before_trial", &shown[i]); err != nil {
			return err
		}
	}
	return nil
}

// keyHabit is what is known of a key's use.
type keyHabit struct {
	Key       store.KeyID    `json:"key"`
	FirstUse  *time.Time     `json:"first_use"`
	LastUse   *time.Time     `json:"last_use"`
	Addresses int            `json:"addresses"`
	Recent    []insight.User `json:"recent"`
}

// keys writes the keys, with their last use, and after each page the habits of its keys.
func (x *dataExport) keys() error {
	return exportList(x, "key", "", x.h.Keys.List, func(page []keyView) error {
		var ids []store.KeyID
		for i := range page {
			ids = append(ids, page[i].ID)
		}
		if len(ids) == 0 {
			return nil
		}
		found, missing, err := x.h.Observed.Profiles(x.c.Request.Context(), ids)
		if err != nil {
			return err
		}
		x.miss(missing)
		for _, id := range ids {
			p, ok := found[id]
			if !ok {
				continue
			}
			recent := p.Recent
			if recent == nil {
				recent = []insight.User{}
			}
			if err := x.line("key_habit", &keyHabit{id, when(p.First), when(p.Last), p.Addresses, recent}); err != nil {
				return err
			}
		}
		return nil
	})
}

// people writes the users of the account and the sessions that are open in it.
func (x *dataExport) people() error {
	users := func(c *rest.Call) (*rest.Page[userView], error) { return x.h.Users.listOf(c, c.Account, false) }
	if err := exportList(x, "user", "", users, nil); err != nil {
		return err
	}
	after := store.SessionID("")
	for {
		list, next, err := x.h.Sessions.Store.Sessions("", string(after), exportPage, func(s *store.Session) bool {
			return s.Account == x.c.Account && x.h.Sessions.visible(x.c, s) && !s.Over(x.c.Now)
		})
		if err != nil {
			return err
		}
		for _, s := range list {
			if err := x.line("session", viewSession(s, "")); err != nil {
				return err
			}
		}
		if next == "" {
			return nil
		}
		after = store.SessionID(next)
	}
}

// webhooks writes the endpoints, each page before the deliveries of its endpoints.
func (x *dataExport) webhooks() error {
	return exportList(x, "webhook", "", x.h.Webhooks.List, func(page []webhookView) error {
		for i := range page {
			if err := exportList(x, "delivery", string(page[i].ID), x.h.Webhooks.Deliveries, nil); err != nil {
				return err
			}
		}
		return nil
	})
}

// cases writes incidents and erasures.
func (x *dataExport) cases() error {
	whole := func(page []incidentView) error {
		for i := range page {
			v, err := x.h.Incidents.Get(rest.Part(x.c, "", string(page[i].ID), nil))
			if err != nil {
				return err
			}
			if err := x.line("incident", v); err != nil {
				return err
			}
		}
		return nil
	}
	if err := exportList(x, "incident_summary", "", x.h.Incidents.List, whole); err != nil {
		return err
	}
	return exportList(x, "erasure", "", x.h.Erasures.List, nil)
}

// exportedUsage is a step of usage of one value of a dimension.
type exportedUsage struct {
	Step    local.Step  `json:"step"`
	GroupBy local.Group `json:"group_by"`
	usageRow
}

// usage writes the counts of each day by each dimension, and those of each hour by key.
func (x *dataExport) usage() error {
	to := x.c.Now.UTC().Truncate(24 * time.Hour).Add(24 * time.Hour)
	for _, g := range append([]local.Group{local.ByNothing}, local.Groups...) {
		if err := x.usageOf(local.StepDay, g, to.Add(-local.Kept(local.StepDay)), to); err != nil {
			return err
		}
	}
	return x.usageOf(local.StepHour, local.ByKey, to.Add(-local.Kept(local.StepHour)), to)
}

// usageOf writes the usage of a span; where that is too much at once, of its halves, down to
// a step.
func (x *dataExport) usageOf(step local.Step, g local.Group, from, to time.Time) error {
	unit := 24 * time.Hour
	if step == local.StepHour {
		unit = time.Hour
	}
	rows, missing, err := x.h.Observed.Usage(x.c.Request.Context(), local.UsageQuery{Account: x.c.Account, From: from, To: to, Step: step, GroupBy: g})
	if n := int64(to.Sub(from) / unit); errors.Is(err, local.ErrTooWide) && n > 1 {
		middle := from.Add(time.Duration(n/2) * unit)
		if err := x.usageOf(step, g, from, middle); err != nil {
			return err
		}
		return x.usageOf(step, g, middle, to)
	}
	if errors.Is(err, local.ErrTooWide) { // more values in one step than an answer may have
		return x.line("usage_omitted", &exportedUsage{step, g, usageRow{Time: from}})
	}
	if err != nil {
		return err
	}
	x.miss(missing)
	for i := range rows {
		row := viewUsage(&rows[i])
		if g != local.ByNothing {
			row.Group = &rows[i].Group
		}
		if err := x.line("usage", &exportedUsage{step, g, row}); err != nil {
			return err
		}
	}
	return nil
}

// eachDay calls use with each day from the oldest one of which anything about single
// requests is kept.
func (x *dataExport) eachDay(use func(ctx context.Context, from, to time.Time) error) error {
	to := x.c.Now.UTC().Truncate(24 * time.Hour).Add(24 * time.Hour)
	for from := to.AddDate(0, 0, -store.MaxRetention-1); from.Before(to); from = from.AddDate(0, 0, 1) {
		if err := use(x.c.Request.Context(), from, from.AddDate(0, 0, 1)); err != nil {
			return err
		}
	}
	return nil
}

// failuresOfDay are the failed requests of a day, by their most frequent values.
type failuresOfDay struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	local.FailureCounts
}

func (x *dataExport) failures() error {
	return x.eachDay(func(ctx context.Context, from, to time.Time) error {
		n, missing, err := x.h.Observed.Failures(ctx, local.FailureQuery{Account: x.c.Account, From: from, To: to, Most: exportCounts})
		x.miss(missing)
		if err != nil || n.Requests == 0 {
			return err
		}
		return x.line("failures", &failuresOfDay{from, to, n})
	})
}

func (x *dataExport) findings() error {
	return x.eachDay(func(ctx context.Context, from, to time.Time) error {
		list, missing, err := x.h.Observed.Findings(ctx, insight.Query{Account: string(x.c.Account), From: from, To: to, Most: exportCounts})
		x.miss(missing)
		for _, a := range anomalies(list) {
			if err == nil {
				err = x.line("finding", &a)
			}
		}
		return err
	})
}

// events writes the audit events, the oldest first. Their proof is that of GET
// /v1/audit-logs.
func (x *dataExport) events() error {
	q := store.EventQuery{Account: x.c.Account, To: x.c.Now.Add(writingTime)}
	reading, err := x.h.Audit.Log.Read(x.c.Request.Context(), q, false)
	if err != nil {
		return err
	}
	defer reading.Close()
	x.miss(reading.Missing())
	const open = `{"type":"event","data":`
	line := []byte(open)
	for e, err := range mergeEvents(false, reading.Streams()) {
		if err != nil {
			return err
		}
		line = append(AppendEvent(line[:len(open)], e), '}', '\n')
		x.lines++
		if _, err := x.w.Write(line); err != nil {
			return err
		}
	}
	return nil
}
