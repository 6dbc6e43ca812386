package ui_test

import (
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/httpapi"
	"github.com/perfgate/perfgate/store/chain"
	"github.com/perfgate/perfgate/store/local"
)

// TestTrafficOfKey: the page of a key counts by status, cause, country, route and method, explains
// the latest refusals, and names the policy that binds first.
func TestTrafficOfKey(t *testing.T) {
	g := newRig(t)
	id, secret := g.Key("live", "read", "write")
	g.get("/keys/" + id).want(200).says("No requests yet")
	g.observe(id, 2, 3, func(o *local.Observation) { o.Country = "DE" })
	g.observe(id, 1, 2, func(o *local.Observation) { o.Method, o.Route, o.Path = "GET", "/v1/models", "/v1/models" })
	g.observe(id, 1, 1, func(o *local.Observation) {
		o.RequestID, o.Status, o.Code, o.Client = "req_refused", 403, "ip_not_allowed", netip.MustParseAddr("198.51.100.9")
	})
	p := g.get("/keys/"+id).want(200).says("By status", "200 8", "By country", "DE 6", "Refused or failed, by cause", "ip_not_allowed 1", "198.51.100.9",
		"Routes and methods", "Latest refusals", "req_refused", "address")
	for _, n := range p.all("tr", "") {
		switch row := textOf(n); {
		case strings.HasPrefix(row, "/v1/chat") && row != "/v1/chat – 7 7", strings.HasPrefix(row, "/v1/models") && row != "/v1/models 2 – 2":
			t.Errorf("a route has the row %q", row)
		}
	}
	g.Op("POST", "/v1/keys/verify", `{"key":"`+secret+`","units":50}`).Want(t, 200)
	g.get("/keys").want(200).says("2 % minute")
	g.get("/keys/" + id).want(200).says("minute binds first")
	if p := g.as("developer").get("/keys/" + id).want(200).says("Routes and methods"); strings.Contains(p.text(), "Latest refusals") {
		t.Error("a developer sees the audit log's refusals")
	}
}

// TestMissingNodes: numbers without those of a node say so, also when there are none.
func TestMissingNodes(t *testing.T) {
	g := newRig(t)
	id, _ := g.Key("live", "read")
	g.Backend.Silent = []chain.Missing{{Node: "n3", Reason: "no contact"}}
	g.get("/usage").want(200).says("n3: no contact", "No requests in this range")
	g.observe(id, 1, 1, nil)
	g.get("/usage").want(200).says("n3: no contact", "are not in these numbers")
	g.get("/keys/" + id).want(200).says("n3: no contact")
}

// TestErasurePages schedules an erasure, meets its refusals, and cancels it.
func TestErasurePages(t *testing.T) {
	g := newRig(t)
	const at = "/account/erasures"
	owner := g.as("owner")
	owner.get("/account").want(200).says("Data and erasure")
	if p := owner.get(at).want(200).says("Erase the data"); strings.Contains(p.text(), "without the 24 hours") || strings.Contains(p.text(), "the account itself") {
		t.Error("an owner is offered what only operators may do, or to erase the default account")
	}
	owner.post(at, url.Values{"confirm": {"wrong"}}).want(422).says("must be the id of the account")
	to := owner.post(at, url.Values{"confirm": {"default"}}).want(303).header.Get("Location")
	p := owner.get(to).want(200).says("scheduled", "Cancel the erasure", "the data, not the keys")
	if strings.Contains(p.text(), "Receipt") {
		t.Error("an erasure that has not begun has a receipt")
	}
	owner.get(to + "/receipt").want(404).says("no receipt before it is done")
	owner.post(at, url.Values{"confirm": {"default"}}).want(409).says("scheduled already")
	owner.get(at).want(200).says("There is an open erasure")
	g.as("admin").post(to+"/cancel", nil).want(403)
	owner.post(to+"/cancel", nil).want(303)
	owner.get(to).want(200).says("cancelled")
	if data := owner.get("/account/data").want(200); !strings.Contains(data.raw, `"type":"end"`) || !strings.HasPrefix(data.header.Get("Content-Disposition"), "attachment") {
		t.Errorf("the export is %.300s", data.raw)
	}
	acct := g.Op("POST", "/v1/accounts", `{"name":"Acme"}`).Want(t, 201).Text("id")
	g.get(at+"?account="+acct).want(200).says("without the 24 hours", "the account itself")
	over := g.post(at+"?account="+acct, url.Values{"confirm": {acct}, "now": {"1"}}).want(303).header.Get("Location")
	g.get(over).want(200).says("Erasure", acct)
}

// TestFilesPages: the keys of the files can be rotated, and what is measured about backups is shown.
func TestFilesPages(t *testing.T) {
	g := newRig(t)
	g.get("/keyring").want(200).says("Encryption", "kek1", "key1", "new files")
	g.post("/keyring", url.Values{"do": {"data"}}).want(303)
	g.get("/keyring?did=data").want(200).says("encrypted with a new key")
	if to := g.post("/keyring", url.Values{"do": {"kek"}}).want(303).header.Get("Location"); to != "/keyring?did=kek" {
		t.Errorf("it leads to %q", to)
	}
	g.get("/backup").want(200).says("Backup", "perfgate backup verify", "backup.dir")
}

// TestDoctor: the overview tells operators about the machine, and nobody else.
func TestDoctor(t *testing.T) {
	g := newRig(t)
	g.facts.Doctor = []httpapi.Check{{Name: "Disk", Fact: "0.3 GiB free"}, {Name: "Open files", Fact: "at most 65536", Good: true}}
	p := g.get("/").want(200).says("Disk 0.3 GiB free", "Open files at most 65536")
	if len(p.all("dd", "warn")) != 1 || len(p.all("dd", "fine")) != 1 {
		t.Error("what is good and what is not look the same")
	}
	if p := g.as("owner").get("/").want(200); strings.Contains(p.text(), "GiB free") {
		t.Error("an owner is told about the machine")
	}
}
