package ui

import (
	"time"

	"github.com/perfgate/perfgate/httpapi/client"
)

// Facts are what the dashboard knows of its node's settings.
type Facts struct {
	Routed  bool   // a route to an upstream is configured
	Demo    bool   // the built-in upstream answers
	TLS     bool   // the proxy listener has a certificate
	Backups bool   // backups are scheduled
	Trials  bool   // every node knows allowlists on trial: older ones take part in the cluster until they are upgraded
	Node    string // the node's name
	Version string
	Doctor  []Check
}

// Check is something about the node's machine that goes wrong unseen.
type Check struct {
	Name, Fact string
	Good       bool
}

// todo is a step of the way to a working gateway.
type todo struct {
	Title, Help  string
	Done         bool
	Link, Button string
	Curl         bool // shows the request to send
}

// overviewData is the first page.
type overviewData struct {
	Todos     []todo
	Left      int // of them
	Facts     Facts
	URL       string
	Week      *chart
	Month     *chart
	Pace      *pace
	Due       []client.Key
	Refusals  []client.Event
	MayAudit  bool
	HasUsage  bool
	Operators bool
}

// daysOfOverview is the range of its chart.
const daysOfOverview = 14

// overview is the first page: what is left to do, and what happened lately.
func overview(v *visit) error {
	b := overviewData{Facts: v.ui.cfg.Facts(), URL: v.proxyURL(), Operators: v.me.may(install)}
	now := v.ui.cfg.Clock().UTC()
	today := now.Truncate(24 * time.Hour)
	from := today.AddDate(0, 0, 1-daysOfOverview)
	rows, err := v.rows(client.UsageQuery{From: from.Format(time.DateOnly), To: today.Format(time.DateOnly), Step: "day"})
	if b.HasUsage, err = allowed(err); err != nil {
		return err
	}
	b.Week = newChart(rows, from, today.AddDate(0, 0, 1), "day")
	if b.HasUsage {
		month, err := v.rows(monthOf(now))
		if err != nil {
			return err
		}
		b.Month = newChart(month, today, today, "day") // for its sums
	}
	if b.Pace, err = paceOf(v); err != nil {
		return err
	}
	due, err := v.api.ListKeys(v.context(), client.KeyFilter{Due: "14d", Page: client.Page{Limit: 5}})
	if err != nil {
		return err
	}
	b.Due = due.Data
	if b.Refusals, b.MayAudit, err = v.events(map[string][]string{"outcome": {"denied"}, "limit": {"5"}}); err != nil {
		return err
	}
	if err := b.check(v); err != nil {
		return err
	}
	return v.show("overview", "Overview", b)
}

// check fills the list of steps. Those of the installation are for operators.
func (b *overviewData) check(v *visit) error {
	keys, err := v.api.ListKeys(v.context(), client.KeyFilter{Page: client.Page{Limit: 1}})
	if err != nil {
		return err
	}
	if b.Operators {
		b.Todos = append(b.Todos, todo{Title: "Set an upstream", Done: b.Facts.Routed, Help: "Start perfgate with --upstream URL, or list routes under [[proxy.routes]]. Until then, a built-in echo answers."})
	}
	if v.me.may(makeKeys) {
		b.Todos = append(b.Todos, todo{Title: "Generate a key", Done: len(keys.Data) > 0, Help: "Each program and environment gets a key of its own.", Link: "/keys/new", Button: "Generate New Key"})
	}
	b.Todos = append(b.Todos, todo{Title: "Send a request", Done: b.Week.Requests > 0, Help: "This page notices it within a few seconds.", Curl: true})
	if v.me.may(manage) {
		list, err := v.api.GetAllowlist(v.context())
		if err != nil {
			return err
		}
		b.Todos = append(b.Todos, todo{Title: "Restrict the addresses that may use keys", Done: len(list.Entries) > 0, Help: "Without an IP allowlist, keys work from every address.", Link: "/security/allowlist", Button: "Edit the allowlist"})
	}
	if b.Operators {
		b.Todos = append(b.Todos,
			todo{Title: "Schedule backups", Done: b.Facts.Backups, Help: "Set backup.dir to a directory on another disk."},
			todo{Title: "Use TLS", Done: b.Facts.TLS, Help: "Set proxy.tls.cert_file and key_file, or let a proxy in front end TLS."})
	}
	for _, t := range b.Todos {
		if !t.Done {
			b.Left++
		}
	}
	return nil
}
