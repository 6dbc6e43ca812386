package ui

import (
	"cmp"
	"strconv"
	"time"

	"github.com/perfgate/perfgate/httpapi/client"
)

// securityDays are the ranges of the page, in days.
var securityDays = []int{1, 7, 30}

// securityView is what was refused for its credential, and what was unusual.
type securityView struct {
	Days     int
	Ranges   []int
	Key      string // the page is about this key alone
	Failed   int64
	Tables   []countTable
	Findings []client.Anomaly
	Names    map[string]string // of keys, by id
	Missing  []client.Missing
}

// countTable is one way to count requests: its rows have bars.
type countTable struct {
	Title string
	Head  string // of the first column
	Rows  []countRow
}

// countRow is a value and the requests that had it. Share is in percent of the largest.
type countRow struct {
	Value, Link, Note string
	Requests          int64
	Share             int64
}

// newCounts measures rows against the largest of them.
func newCounts(title, head string, rows []countRow) countTable {
	var most int64 = 1
	for _, r := range rows {
		most = max(most, r.Requests)
	}
	for i := range rows {
		rows[i].Share = max(1, rows[i].Requests*100/most)
	}
	return countTable{title, head, rows}
}

// findingTitles are the kinds of findings in words.
var findingTitles = map[string]string{
	"rate": "Unusually many requests", "new_country": "First use from a country", "new_network": "First use from a network",
	"after_silence": "Use after a long silence", "denials": "Many refusals", "many_addresses": "Many addresses at once",
	"auth_failures": "Many failed authentications",
}

// findingTitle is a kind in words; a kind of a newer node has its own name.
func findingTitle(kind string) string { return cmp.Or(findingTitles[kind], kind) }

// securityPage shows failed authentications and findings.
func securityPage(v *visit) error {
	b := securityView{Days: 7, Ranges: securityDays, Key: v.query("key")}
	if n, err := strconv.Atoi(v.query("days")); err == nil && n >= 1 && n <= 90 {
		b.Days = n
	}
	now := v.ui.cfg.Clock().UTC()
	from := now.AddDate(0, 0, -b.Days)
	out, err := v.api.Insight().SecurityEvents(v.context(), from.Format(time.RFC3339), "", b.Key)
	if err != nil {
		return err
	}
	b.Failed, b.Missing, b.Findings = out.Failed.Requests, out.Missing, out.Anomalies
	ids := []string{}
	for _, f := range out.Anomalies {
		if f.KeyID != nil {
			ids = append(ids, *f.KeyID)
		}
	}
	for _, k := range out.Failed.Keys {
		ids = append(ids, k.KeyID)
	}
	b.Names = v.namesOf(ids)
	b.count(out.Failed)
	return v.show("security", "Security", b)
}

// count fills the tables of failed authentications. Those without rows are left out.
func (b *securityView) count(f client.FailedAuth) {
	var reasons, addresses, countries, hints, keys []countRow
	for _, r := range f.Reasons {
		reasons = append(reasons, countRow{Value: r.Reason, Requests: r.Requests})
	}
	for _, r := range f.Addresses {
		addresses = append(addresses, countRow{Value: r.IP, Note: text(r.Country), Requests: r.Requests})
	}
	for _, r := range f.Countries {
		countries = append(countries, countRow{Value: cmp.Or(text(r.Country), "unknown"), Requests: r.Requests})
	}
	for _, r := range f.Hints {
		hints = append(hints, countRow{Value: r.Hint, Requests: r.Requests})
	}
	for _, r := range f.Keys {
		keys = append(keys, countRow{Value: cmp.Or(b.Names[r.KeyID], r.KeyID), Link: "/keys/" + r.KeyID, Requests: r.Requests})
	}
	for _, t := range []countTable{
		newCounts("By cause", "Cause", reasons), newCounts("By address", "Address", addresses), newCounts("By country", "Country", countries),
		newCounts("By what was sent", "Hint", hints), newCounts("By key", "Key", keys),
	} {
		if len(t.Rows) > 0 {
			b.Tables = append(b.Tables, t)
		}
	}
}

// namesOf are the names of the first [maxNames] of some keys, by id. A key that is gone has none.
func (v *visit) namesOf(ids []string) map[string]string {
	names, asked := map[string]string{}, map[string]bool{}
	for _, id := range ids {
		if asked[id] || len(asked) == maxNames {
			continue
		}
		asked[id] = true
		if k, err := v.api.GetKey(v.context(), id); err == nil {
			names[id] = k.Name
		}
	}
	return names
}

// hygieneView is what is untidy about the account's keys, by what it is.
type hygieneView struct {
	*client.Hygiene
	Groups []untidyGroup
}

// untidyGroup are the findings of one kind.
type untidyGroup struct {
	Title, Help string
	Rows        []client.Untidy
}

// untidyKinds are the kinds of findings in the order of the page.
var untidyKinds = []struct{ kind, title, help string }{
	{"rotation_late", "Rotation is late", "The longer a key lives, the more copies of it exist."},
	{"never_used", "Never used", "A key that nobody uses only helps somebody who finds it."},
	{"idle", "Not used any more", "Revoke it if the program is gone."},
	{"scopes_unused", "Scopes without use", "A key in wrong hands should open as little as possible."},
	{"opens_nothing", "Opens nothing", "No route of this node requires the scope, or takes the request."},
	{"shared", "Shared by many clients", "One key for each client can be revoked alone."},
	{"no_expiry", "Never expires", "A date of expiry bounds the damage of a leak that nobody notices."},
}

// rowsOfHygiene is the number of rows that a group shows.
const rowsOfHygiene = 100

// hygienePage shows what is untidy, with the way to mend it.
func hygienePage(v *visit) error {
	out, err := v.api.Insight().Hygiene(v.context())
	if err != nil {
		return err
	}
	b := hygieneView{Hygiene: out}
	known := map[string]bool{}
	for _, k := range untidyKinds {
		known[k.kind] = true
		b.add(k.kind, k.title, k.help)
	}
	for _, u := range out.Data { // of a newer node
		if !known[u.Finding] {
			known[u.Finding] = true
			b.add(u.Finding, u.Finding, "")
		}
	}
	return v.show("hygiene", "Key hygiene", b)
}

// add makes the group of a kind, if there is a finding of it.
func (b *hygieneView) add(kind, title, help string) {
	g := untidyGroup{Title: title, Help: help}
	for _, u := range b.Data {
		if u.Finding == kind {
			g.Rows = append(g.Rows, u)
		}
	}
	if len(g.Rows) > 0 {
		b.Groups = append(b.Groups, g)
	}
}

// Shown are the rows of the group that the page has room for.
func (g untidyGroup) Shown() []client.Untidy { return g.Rows[:min(len(g.Rows), rowsOfHygiene)] }
