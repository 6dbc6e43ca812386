package manage

import (
	"bytes"
	"html/template"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/chain"
)

// reportFormat begins the signed text of a report, before its JSON.
const reportFormat = "perfgate incident report 1\n"

// The bounds of a report. One that reaches a bound says so.
const (
	maxReportUses   = 20_000 // places from which keys were used
	maxReportEvents = 5_000  // changes
)

// incidentReport is what the signature covers.
type incidentReport struct {
	ClusterID string          `json:"cluster_id"`
	Account   store.AccountID `json:"account"`
	MadeAt    time.Time       `json:"made_at"`
	Incident  wholeIncident   `json:"incident"`
	Keys      []reportedKey   `json:"keys"`
	Changes   []reportedEvent `json:"changes"`   // of affected keys and of the incident, since it was opened
	Truncated bool            `json:"truncated"` // a bound was reached
	Missing   []chain.Missing `json:"missing"`   // nodes whose events are not in it
}

// reportedKey is an affected key and who used it from where, as far as the audit log
// reaches.
type reportedKey struct {
	ID          store.KeyID    `json:"id"`
	Name        string         `json:"name"`
	Type        store.KeyType  `json:"type"`
	Environment *string        `json:"environment"`
	Hint        string         `json:"hint"`
	State       store.KeyState `json:"state"`
	CreatedAt   time.Time      `json:"created_at"`
	CreatedBy   string         `json:"created_by"`
	RevokedAt   *time.Time     `json:"revoked_at"`
	ReplacedBy  *store.KeyID   `json:"replaced_by"`
	Uses        []reportedUse  `json:"uses"`
}

// reportedUse sums the requests of a key from one place.
type reportedUse struct {
	IP        string    `json:"ip"`
	Country   *string   `json:"country"`
	UserAgent *string   `json:"user_agent"`
	Requests  int64     `json:"requests"`
	Refused   int64     `json:"refused"`
	First     time.Time `json:"first"`
	Last      time.Time `json:"last"`
}

// reportedEvent is a change.
type reportedEvent struct {
	Time   time.Time   `json:"time"`
	ID     string      `json:"id"` // in the audit log
	Action string      `json:"action"`
	Target string      `json:"target"`
	Reason *string     `json:"reason"`
	Actor  store.Actor `json:"actor"`
	IP     *string     `json:"ip"`
}

// signedReport is the answer in JSON. The signature is over [reportFormat] and the bytes of
// Report as they are sent.
type signedReport struct {
	Report    jsontext.Value `json:"report"`
	Signature reportSeal     `json:"signature"`
}

type reportSeal struct {
	Key       string `json:"key"` // id; GET /v1/audit-logs/head has the public keys
	Algorithm string `json:"algorithm"`
	Value     []byte `json:"value"`
}

// Report shows an incident with the use of the affected keys, signed: as JSON, or as a page
// to print if the client asks for one.
func (h *Incidents) Report(c *rest.Call) error {
	n, err := h.named(c)
	if err != nil {
		return err
	}
	if err := c.Export(); err != nil {
		return err
	}
	r, err := h.report(c, n)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(r, json.Deterministic(true))
	if err != nil {
		return err
	}
	seal := reportSeal{Algorithm: "Ed25519"}
	if seal.Key, seal.Value, err = h.Store.Sign(append([]byte(reportFormat), raw...)); err != nil {
		return unsigned(err)
	}
	accept := c.Request.Header.Values("Accept")
	page, named := fault.Accepts(accept, "text/html")
	if plain, _ := fault.Accepts(accept, "application/json"); !named || page < plain {
		return c.Answer(&signedReport{raw, seal})
	}
	var b bytes.Buffer
	if err := reportPage.Execute(&b, map[string]any{"R": r, "Seal": seal, "JSON": string(raw)}); err != nil {
		return err
	}
	c.Writer().Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	return c.AnswerAs("text/html; charset=utf-8", b.Bytes())
}

// use names one place from which a key was used.
type use struct {
	key                store.KeyID
	ip, country, agent string
}

// report reads everything that the report of n says.
func (h *Incidents) report(c *rest.Call, n *store.Incident) (*incidentReport, error) {
	r := &incidentReport{
		ClusterID: h.Store.ClusterID(), Account: c.Account, MadeAt: c.Stamp(), Incident: viewWhole(n), Keys: []reportedKey{}, Changes: []reportedEvent{},
		Truncated: n.Matched > len(n.Keys) && len(n.Keys) == store.MaxImport,
	}
	affected := make(map[store.KeyID]bool, len(n.Keys))
	for _, id := range n.Keys {
		affected[id] = true
	}
	uses, err := h.read(c, n, r, affected)
	if err != nil {
		return nil, err
	}
	for _, id := range n.Keys {
		k, err := h.Store.Key(id)
		if err != nil {
			return nil, err
		}
		if k == nil {
			k = &store.Key{ID: id}
		}
		shown := reportedKey{
			ID: id, Name: k.Name, Type: k.Type, Environment: some(k.Environment), Hint: k.Hint, State: k.State(c.Now), CreatedAt: k.CreatedAt.UTC(), CreatedBy: k.CreatedBy,
			RevokedAt: when(k.RevokedAt), ReplacedBy: some(k.ReplacedBy), Uses: uses[id],
		}
		slices.SortFunc(shown.Uses, func(a, b reportedUse) int { return int(b.Requests - a.Requests) })
		r.Keys = append(r.Keys, shown)
	}
	return r, nil
}

// read goes through the account's audit log once, over all nodes.
func (h *Incidents) read(c *rest.Call, n *store.Incident, r *incidentReport, affected map[store.KeyID]bool) (map[store.KeyID][]reportedUse, error) {
	reading, err := h.Audit.Read(c.Request.Context(), store.EventQuery{Account: c.Account, To: c.Now.Add(writingTime)}, false)
	if err != nil {
		return nil, err
	}
	defer reading.Close()
	if r.Missing = reading.Missing(); r.Missing == nil {
		r.Missing = []chain.Missing{}
	}
	sums := map[use]*reportedUse{}
	for e, err := range mergeEvents(false, reading.Streams()) {
		if err != nil {
			return nil, err
		}
		switch {
		case e.Action == "request" && affected[e.KeyID]:
			u := use{e.KeyID, e.IP, e.Country, e.UserAgent}
			s := sums[u]
			if s == nil {
				if len(sums) == maxReportUses {
					r.Truncated = true
					continue
				}
				s = &reportedUse{IP: u.ip, Country: some(u.country), UserAgent: some(u.agent), First: e.Time.UTC()}
				sums[u] = s
			}
			count := int64(max(e.Count, 1))
			s.Last = e.Time.UTC()
			if e.Outcome == store.Denied {
				s.Refused += count
			} else {
				s.Requests += count
			}
		case !e.Time.Before(n.OpenedAt) && (e.Target == string(n.ID) || affected[e.KeyID] && strings.HasPrefix(e.Action, "key.") && e.EventType != store.EventRead):
			if len(r.Changes) == maxReportEvents {
				r.Truncated = true
				continue
			}
			r.Changes = append(r.Changes, reportedEvent{e.Time.UTC(), e.ID, e.Action, e.Target, some(e.Reason), e.Actor, some(e.IP)})
		}
	}
	uses := map[store.KeyID][]reportedUse{}
	for u, s := range sums {
		uses[u.key] = append(uses[u.key], *s)
	}
	return uses, nil
}

// reportPage is the report as a page to print.
var reportPage = template.Must(template.New("report").Funcs(template.FuncMap{
	"time": func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
}).Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Incident {{.R.Incident.ID}}</title>
<style>body{font:14px/1.4 sans-serif;margin:2em;max-width:70em}table{border-collapse:collapse;width:100%}td,th{border:1px solid #999;padding:.2em .5em;text-align:left;vertical-align:top}
th{background:#eee}code,pre{font:12px monospace;overflow-wrap:anywhere;white-space:pre-wrap}@media print{body{margin:0}tr{break-inside:avoid}}</style></head><body>
<h1>Incident: {{.R.Incident.Title}}</h1>
<table>
<tr><th>Incident</th><td><code>{{.R.Incident.ID}}</code>, {{.R.Incident.State}}</td></tr>
<tr><th>Account, cluster</th><td><code>{{.R.Account}}</code>, <code>{{.R.ClusterID}}</code></td></tr>
<tr><th>Opened</th><td>{{time .R.Incident.OpenedAt}} by {{.R.Incident.OpenedBy.Type}} {{.R.Incident.OpenedBy.ID}}</td></tr>
{{with .R.Incident.ClosedAt}}<tr><th>Closed</th><td>{{time .}}</td></tr>{{end}}
<tr><th>Action</th><td>{{.R.Incident.Action}}{{if .R.Incident.Freeze}}, no new keys while it is open{{end}}</td></tr>
<tr><th>Keys</th><td>{{.R.Incident.Matched}} matched, {{.R.Incident.Revoked}} revoked, {{.R.Incident.Rotated}} rotated</td></tr>
<tr><th>Report made</th><td>{{time .R.MadeAt}}</td></tr>
{{if .R.Truncated}}<tr><th>Not complete</th><td>A bound was reached; the audit log has the rest.</td></tr>{{end}}
{{range .R.Missing}}<tr><th>Node missing</th><td>{{.Node}}</td></tr>{{end}}
</table>
<h2>Affected keys and who used them from where</h2>
{{range .R.Keys}}<h3>{{.Name}} <code>{{.ID}}</code></h3>
<p>{{.Type}} key <code>{{.Hint}}</code>, {{.State}}, created {{time .CreatedAt}} by {{.CreatedBy}}{{with .RevokedAt}}, revoked {{time .}}{{end}}{{with .ReplacedBy}}, replaced by <code>{{.}}</code>{{end}}</p>
{{if .Uses}}<table><tr><th>Address</th><th>Country</th><th>Client</th><th>Requests</th><th>Refused</th><th>First</th><th>Last</th></tr>
{{range .Uses}}<tr><td>{{.IP}}</td><td>{{with .Country}}{{.}}{{end}}</td><td>{{with .UserAgent}}{{.}}{{end}}</td><td>{{.Requests}}</td><td>{{.Refused}}</td><td>{{time .First}}</td><td>{{time .Last}}</td></tr>
{{end}}</table>{{else}}<p>The audit log has no request of it.</p>{{end}}
{{end}}<h2>Changes since the incident was opened</h2>
<table><tr><th>Time</th><th>Change</th><th>Target</th><th>Reason</th><th>By</th></tr>
{{range .R.Changes}}<tr><td>{{time .Time}}</td><td>{{.Action}}</td><td>{{.Target}}</td><td>{{with .Reason}}{{.}}{{end}}</td><td>{{.Actor.Type}} {{.Actor.ID}}</td></tr>
{{end}}</table>
<h2>Signature</h2>
<p>{{.Seal.Algorithm}} by the key <code>{{.Seal.Key}}</code>, over the line <code>perfgate incident report 1</code> and the JSON below:</p>
<pre>{{printf "%x" .Seal.Value}}</pre>
<details open><summary>JSON</summary><pre>{{.JSON}}</pre></details>
</body></html>
`))
