package ui

import (
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/httpapi/fault"
)

// auditLog is a page of the audit log.
type auditLog struct {
	Events   []client.Event
	Next     string
	Missing  []missing
	Chips    []chip
	Filtered bool
	Live     bool // the newest events, as they come
	Types    []string
	Outcomes []string
	Formats  []string
}

// missing is a node whose part the answer lacks.
type missing struct {
	Node   string `json:"node"`
	Reason string `json:"reason"`
}

// auditFilters are the parameters of the log, with their labels.
var auditFilters = []chip{
	{Name: "start_date", Label: "From"}, {Name: "end_date", Label: "To"}, {Name: "key", Label: "Key"}, {Name: "event_type", Label: "Event type"},
	{Name: "user", Label: "User"}, {Name: "action", Label: "Action"}, {Name: "outcome", Label: "Outcome"},
}

// auditQuery are the filters that stand in the page's URL.
func (v *visit) auditQuery() url.Values {
	q := url.Values{}
	for _, c := range auditFilters {
		if value := strings.TrimSpace(v.query(c.Name)); value != "" {
			q.Set(c.Name, value)
		}
	}
	return q
}

// auditPage shows the events that match the filters, the newest first.
func auditPage(v *visit) error {
	b := auditLog{
		Types: []string{"create", "read", "update", "delete"}, Outcomes: []string{"success", "denied", "error"}, Formats: []string{"csv", "ndjson", "json"},
	}
	q := v.auditQuery()
	for _, c := range auditFilters {
		if c.Value = q.Get(c.Name); c.Value != "" {
			b.Chips, b.Filtered = append(b.Chips, c), true
		}
	}
	q.Set("limit", "50")
	b.Live = v.query("live") != "" && v.query("cursor") == ""
	if cursor := v.query("cursor"); cursor != "" {
		q.Set("cursor", cursor)
	}
	var out struct {
		client.List[client.Event]
		Missing []missing `json:"missing"`
	}
	if err := v.api.Do(v.context(), "GET", "/v1/audit-logs", q, nil, &out); err != nil {
		return err
	}
	b.Events, b.Next, b.Missing = out.Data, text(out.Next), out.Missing
	return v.show("audit", "Audit Log", b)
}

// exportAudit streams the events that match the filters of the page, with their proof.
func exportAudit(v *visit) error {
	q, format := v.auditQuery(), v.query("format")
	if !slices.Contains([]string{"csv", "ndjson", "json"}, format) {
		return fault.Newf(fault.InvalidValue, "The format must be csv, ndjson or json.")
	}
	q.Set("format", format)
	return v.stream("/v1/audit-logs", q, "", "audit-logs."+format)
}

// change is one member that an event changed.
type change struct{ Name, Before, After string }

// changesOf lists what an event changed. Before and after are objects with the members
// that differ; what only one of them has was added or taken away.
func changesOf(e client.Event) (list []change) {
	var c struct {
		Before map[string]json.RawMessage `json:"before"`
		After  map[string]json.RawMessage `json:"after"`
	}
	if json.Unmarshal(e.Changes, &c) != nil {
		return nil
	}
	names := map[string]bool{}
	for name := range c.Before {
		names[name] = true
	}
	for name := range c.After {
		names[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		list = append(list, change{name, plain(c.Before[name]), plain(c.After[name])})
	}
	return list
}

// plain is a JSON value for people: strings without quotes.
func plain(raw json.RawMessage) string {
	var s string
	switch {
	case len(raw) == 0, string(raw) == "null":
		return "–"
	case json.Unmarshal(raw, &s) == nil:
		return s
	}
	return string(raw)
}
