package manage_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/manage"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/chain"
	"github.com/perfgate/perfgate/store/local"
)

// counts answers every query alike and keeps the last one.
type counts struct {
	manage.Observed
	asked local.UsageQuery
	rows  []local.UsageRow
	err   error

	missing string // a node
}

func (c *counts) Usage(_ context.Context, q local.UsageQuery) ([]local.UsageRow, []chain.Missing, error) {
	c.asked = q
	missing := []chain.Missing{}
	if c.missing != "" {
		missing = append(missing, chain.Missing{Node: c.missing, Reason: "it is down"})
	}
	return c.rows, missing, c.err
}

// The parameters become a query, a day at its end included.
func TestUsageQuery(t *testing.T) {
	frame := apitest.New(t).Frame()
	day := time.Date(2024, 1, 31, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		query string
		want  local.UsageQuery
	}{
		{"", local.UsageQuery{Step: local.StepDay}},
		{"?step=minute", local.UsageQuery{Step: "minute"}},
		{"?from=2024-01-31&to=2024-01-31", local.UsageQuery{Step: local.StepDay, From: day, To: day.AddDate(0, 0, 1)}},
		{"?key=key_1&group_by=route", local.UsageQuery{Step: local.StepDay, Key: "key_1", GroupBy: "route"}},
		{"?group_by=country", local.UsageQuery{Step: local.StepDay, GroupBy: "country"}},
		{"?group_by=method&method=GET&status=404", local.UsageQuery{Step: local.StepDay, GroupBy: "method", Method: "GET", Status: 404}},
	} {
		h := &manage.Usage{Observed: &counts{}}
		if w := call(frame, rest.WithoutBody(h.Read), "GET", c.query); w.Code != 200 || w.Body.String() != `{"data":[],"missing":[]}`+"\n" {
			t.Errorf("%s: %d %s", c.query, w.Code, w.Body)
		}
		if got := h.Observed.(*counts).asked; got != c.want {
			t.Errorf("%s: asked for %+v, want %+v", c.query, got, c.want)
		}
	}
	h := &manage.Usage{Observed: &counts{}}
	call(frame, rest.WithoutBody(h.Read), "GET", "?type=live&environment=")
	if q := h.Observed.(*counts).asked; q.Type == nil || *q.Type != store.Live || q.Environment == nil || *q.Environment != "" {
		t.Errorf("asked for %+v", q)
	}
	call(frame, rest.WithoutBody(h.Read), "GET", "?country=unknown&route=/v1/")
	if q := h.Observed.(*counts).asked; q.Country == nil || *q.Country != "" || q.Route != "/v1/" {
		t.Errorf("asked for %+v", q)
	}
	for query, bad := range map[string]string{
		"?country=de": "country", "?country=DEU": "country", "?status=20": "status", "?status=x": "status", "?method=get": "method",
		"?step=week": "step", "?group_by=x": "group_by", "?type=LIVE": "type", "?from=x": "from", "?to=2024-02-30": "to",
		"?from=2024-02-01&to=2024-01-01": "to", "?key=a&key=b": "key", "?key=": "key",
	} {
		if w := call(frame, rest.WithoutBody(h.Read), "GET", query); w.Code != 422 || !strings.Contains(w.Body.String(), bad) {
			t.Errorf("%s: %d %s", query, w.Code, w.Body)
		}
	}
}

func TestUsageAnswers(t *testing.T) {
	g := apitest.New(t)
	frame := g.Frame()
	log := &counts{rows: []local.UsageRow{{Time: time.Unix(0, 0), Group: "", Requests: 3, Denied: 1, Failed: 5, Units: 2, Cost: 1_500_000_000, Billable: 2, Would: 1}}}
	h := &manage.Usage{Observed: log}
	const row = `"requests":3,"denied":1,"failed":5,"units":2,"cost":1.5,"billable":2,"would_refuse":1}],"missing":[]}`
	for query, want := range map[string]string{
		"":                  `{"data":[{"time":"1970-01-01T00:00:00Z","group":null,` + row + "\n",
		"?group_by=key":     `{"data":[{"time":"1970-01-01T00:00:00Z","group":"",` + row + "\n",
		"?group_by=country": `{"data":[{"time":"1970-01-01T00:00:00Z","group":null,` + row + "\n",
	} {
		if w := call(frame, rest.WithoutBody(h.Read), "GET", query); w.Body.String() != want {
			t.Errorf("%s: %s, want %s", query, w.Body, want)
		}
	}
	log.missing = "n2"
	if w := call(frame, rest.WithoutBody(h.Read), "GET", ""); w.Header().Get(manage.MissingNodesHeader) != "n2" || !strings.Contains(w.Body.String(), `"missing":[{"node":"n2","reason":"it is down"}]`) {
		t.Errorf("%v %s", w.Header(), w.Body)
	}
	log.err = local.ErrTooWide
	if w := call(frame, rest.WithoutBody(h.Read), "GET", ""); w.Code != 422 || !strings.Contains(w.Body.String(), string(fault.InvalidValue)) || !strings.Contains(w.Body.String(), "step: ") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	log.err = errors.New("the disk is gone")
	if w := call(frame, rest.WithoutBody(h.Read), "GET", ""); w.Code != 500 || strings.Contains(w.Body.String(), "disk") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	// A proxied request shows up for its account and no other.
	g.Local.Observe(&local.Observation{At: time.Now(), Method: "GET", Route: "/v1/chat", Status: 200, Account: "default", Key: "key_x", Units: 4})
	apitest.Must(t, g.Local.Flush())
	acct := g.Op("POST", "/v1/accounts", `{"name":"other"}`).Want(t, 201).Text("id")
	var doc struct {
		Data []struct{ Units int }
	}
	apitest.Must(t, json.Unmarshal([]byte(g.Op("GET", "/v1/usage?key=key_x", "").Want(t, 200).Body), &doc))
	if len(doc.Data) != 1 || doc.Data[0].Units != 4 {
		t.Errorf("%+v", doc)
	}
	if a := g.Op("GET", "/v1/usage?key=key_x", "", rest.AccountHeader, acct).Want(t, 200); a.Body != `{"data":[],"missing":[]}`+"\n" {
		t.Errorf("another account sees %s", a.Body)
	}
}

// observe counts requests of two keys, one in each of some hours.
func observe(t *testing.T, g *apitest.Rig, start time.Time) {
	t.Helper()
	for i := range 6 {
		o := &local.Observation{At: start.Add(time.Duration(i) * time.Hour), Method: "GET", Route: []string{"/a", "/b"}[i%2], Status: 200, Account: "default",
			Key: []store.KeyID{"key_x", "key_y", "key_y"}[i%3], Type: []store.KeyType{store.Test, store.Live}[i%2], Units: 2, Cost: store.MoneyUnit / 2, Environment: []string{"e", ""}[i/3]}
		if i == 1 {
			o.Country, o.Method = "DE", "PURGE"
		}
		if i == 5 {
			o.Code, o.Status, o.Units, o.Cost = "requests_per_minute", 429, 0, 0
		}
		g.Local.Observe(o)
	}
	apitest.Must(t, g.Local.Flush())
}

// Rows sum the steps of a range, by the group that was asked for.
func TestUsageSums(t *testing.T) {
	g := apitest.New(t)
	now, _ := g.Config.Clock()
	day := now.UTC().Truncate(24*time.Hour).AddDate(0, 0, -2)
	observe(t, g, day.Add(3*time.Hour))
	at := func(hours int) string { return day.Add(time.Duration(hours) * time.Hour).Format(time.RFC3339) }
	date := day.Format(time.DateOnly)
	whole := "from=" + date + "&to=" + date
	for query, want := range map[string]string{ // group, requests, denied, units, cost, billable of each row
		whole:                "- 6 1 10 2.5 4;",
		whole + "&step=hour": "- 1 0 2 0.5 0;- 1 0 2 0.5 2;- 1 0 2 0.5 0;- 1 0 2 0.5 2;- 1 0 2 0.5 0;- 1 1 0 0 0;",
		"step=hour&from=" + at(4) + "&to=" + at(6): "- 1 0 2 0.5 2;- 1 0 2 0.5 0;",
		"step=hour&from=" + at(9) + "&to=" + at(9): "",
		"from=2020-01-01&to=2020-01-31":            "",
		whole + "&group_by=key":                    "key_x 2 0 4 1 2;key_y 4 1 6 1.5 2;",
		whole + "&group_by=route":                  "/a 3 0 6 1.5 0;/b 3 1 4 1 4;",
		whole + "&group_by=type":                   "live 3 1 4 1 4;test 3 0 6 1.5 0;",
		whole + "&group_by=environment":            " 3 1 4 1 2;e 3 0 6 1.5 2;",
		whole + "&group_by=status":                 "200 5 0 10 2.5 4;429 1 1 0 0 0;",
		whole + "&group_by=country":                "- 5 1 8 2 2;DE 1 0 2 0.5 2;",
		whole + "&country=DE":                      "- 1 0 2 0.5 2;",
		whole + "&country=unknown":                 "- 5 1 8 2 2;",
		whole + "&group_by=method":                 "GET 5 1 8 2 2;other 1 0 2 0.5 2;",
		whole + "&method=GET&route=/a":             "- 3 0 6 1.5 0;",
		whole + "&status=429":                      "- 1 1 0 0 0;",
		whole + "&key=key_y&type=live":             "- 2 1 2 0.5 2;",
		whole + "&type=test":                       "- 3 0 6 1.5 0;",
		whole + "&environment=":                    "- 3 1 4 1 2;",
		whole + "&environment=e":                   "- 3 0 6 1.5 2;",
		whole + "&key=key_none":                    "",
	} {
		var doc struct {
			Data []struct {
				Group                             *string
				Requests, Denied, Units, Billable int
				Cost                              json.Number
			}
		}
		apitest.Must(t, json.Unmarshal([]byte(g.Op("GET", "/v1/usage?"+query, "").Want(t, 200).Body), &doc))
		got := ""
		for _, r := range doc.Data {
			group := "-"
			if r.Group != nil {
				group = *r.Group
			}
			got += fmt.Sprintf("%s %d %d %d %s %d;", group, r.Requests, r.Denied, r.Units, r.Cost, r.Billable)
		}
		if got != want {
			t.Errorf("%s:\n\t%s\nwant\t%s", query, got, want)
		}
	}
}

// Without a step, usage is not told of a longer time than was asked for.
func TestDefaultStep(t *testing.T) {
	now := time.Date(2026, 11, 30, 19, 31, 0, 0, time.UTC)
	day := now.Truncate(24 * time.Hour)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	for _, c := range []struct {
		from, to time.Time
		want     local.Step
	}{
		{time.Time{}, time.Time{}, local.StepDay},
		{day, time.Time{}, local.StepDay},
		{day.AddDate(0, 0, -1), day, local.StepDay},
		{ago(time.Hour), now, local.StepMinute},
		{now, now, local.StepMinute},
		{ago(2 * time.Hour), time.Time{}, local.StepMinute},
		{ago(3 * time.Hour), time.Time{}, local.StepHour},
		{day, now, local.StepHour},
		{ago(50 * time.Hour), ago(49 * time.Hour), local.StepHour}, // the minutes are gone
		{ago(49 * time.Hour), time.Time{}, local.StepDay},
		{ago(91 * 24 * time.Hour), ago(91*24*time.Hour - time.Hour), local.StepDay}, // the hours, too
	} {
		if got := manage.StepFor(c.from, c.to, now); got != c.want {
			t.Errorf("from %v to %v: %v, want %v", c.from, c.to, got, c.want)
		}
	}
}
