package ui

import (
	"net/http"
	"net/url"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/httpapi/fault"
)

// incidentList is a page of the account's incidents.
type incidentList struct {
	Incidents []client.Incident
	Next      string
	May       bool
}

func incidentsPage(v *visit) error {
	list, err := client.Incidents{Client: v.api}.List(v.context(), client.Page{Limit: rowsOfPeople, Cursor: v.query("cursor")})
	if err != nil {
		return err
	}
	return v.show("incidents", "Incidents", incidentList{list.Data, text(list.Next), v.me.may(manage)})
}

// incidentForm is the form that opens an incident.
type incidentForm struct {
	Actions []roleInfo
	Found   *client.RevokedKeys // by a dry run of the form; nil before it
	Users   []client.User       // that may have made the keys; nil if the role may not list them
}

var incidentActions = []roleInfo{
	{"revoke", "revoke the affected keys now"},
	{"rotate", "replace them now, without an overlap; the new keys are shown once"},
	{"none", "only find them, and who used them"},
}

func newIncidentPage(v *visit) error { return v.askIncident(nil, nil) }

func (v *visit) askIncident(found *client.RevokedKeys, problem *fault.Error) error {
	b := incidentForm{Actions: incidentActions, Found: found}
	if v.me.may(people) {
		list, err := client.UsersOf(v.api).List(v.context(), client.Page{Limit: rowsOfPeople})
		if _, err = allowed(err); err != nil {
			return err
		}
		if list != nil {
			b.Users = list.Data
		}
	}
	return v.ask("newincident", "Open an incident", b, problem)
}

// newIncident finds the affected keys, or opens the incident.
func newIncident(v *visit) error {
	m, err := v.entered().incidentMatch()
	if err == nil && m == nil && (v.form("do") == "find" || v.form("action") != "none") {
		err = fault.Invalid("match", "choose by what the affected keys are found")
	}
	if err == nil && v.form("do") == "find" {
		var found *client.RevokedKeys
		if found, err = v.api.RevokeKeys(v.context(), client.BulkRevocation{
			IDs: m.IDs, CreatedBy: m.CreatedBy, Type: m.Type, Environment: m.Environment, CreatedBefore: m.CreatedBefore, DryRun: true,
		}); err == nil {
			return v.askIncident(found, nil)
		}
	}
	var opened *client.Incident
	if err == nil {
		in := client.NewIncident{Title: v.form("title"), Match: m, Action: v.form("action"), Freeze: v.form("freeze") != ""}
		opened, err = client.Incidents{Client: v.api}.Open(v.context(), in, v.once())
	}
	if err != nil {
		f, err := asked(err)
		if f == nil {
			return err
		}
		return v.askIncident(nil, f)
	}
	return v.showIncident(http.StatusOK, opened, true, nil)
}

// incidentDetail is one incident.
type incidentDetail struct {
	*client.Incident
	Opened bool // just now: the answer may hold the secrets of new keys, once
	May    bool
	Names  map[string]string
}

func incidentPage(v *visit) error {
	n, err := client.Incidents{Client: v.api}.Get(v.context(), v.r.PathValue("id"))
	if err != nil {
		return err
	}
	return v.showIncident(http.StatusOK, n, false, nil)
}

func (v *visit) showIncident(status int, n *client.Incident, opened bool, problem *fault.Error) error {
	b := incidentDetail{Incident: n, Opened: opened, May: v.me.may(manage), Names: v.namesOf(n.Keys)}
	return v.render(status, "incident", &page{Title: n.Title, Body: b, Problem: problem})
}

// closeIncident ends the incident and its freeze.
func closeIncident(v *visit) error {
	id := v.r.PathValue("id")
	if _, err := (client.Incidents{Client: v.api}).Close(v.context(), id, v.once()); err != nil {
		return err
	}
	return v.see("/security/incidents/" + url.PathEscape(id))
}

// incidentReport streams the signed report: JSON to keep, or a page to print.
func incidentReport(v *visit) error {
	accept, name := "application/json", "incident.json"
	if v.query("format") == "html" {
		accept, name = "text/html", "incident.html"
	}
	return v.stream("/v1/incidents/"+url.PathEscape(v.r.PathValue("id"))+"/report", nil, accept, name)
}
