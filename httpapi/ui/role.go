package ui

import (
	"slices"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/httpapi/fault"
)

// right is something that a role may do. The API enforces the rights; here they only choose
// which links and buttons a page has.
type right int

const (
	makeKeys  right = iota // and change those that the user made
	manage                 // keys of others, the allowlist, the account
	readAudit              // and everything else about the account
	people                 // the users of the account
	install                // the installation and all accounts
)

// rights are those of each role.
var rights = map[string][]right{
	"operator":  {makeKeys, manage, readAudit, people, install},
	"owner":     {makeKeys, manage, readAudit, people},
	"admin":     {makeKeys, manage, readAudit},
	"developer": {makeKeys},
	"viewer":    {readAudit},
}

// may reports whether the user has a right. A link with the scope admin has those of the
// role admin.
func (s session) may(want right) bool {
	role := s.Role
	if s.Session.Kind == "link" && slices.Contains(s.Session.Scopes, "admin") {
		role = "admin"
	}
	return slices.Contains(rights[role], want)
}

// mayChange reports whether the user may change a key.
func (s session) mayChange(k *client.Key) bool {
	return s.may(manage) || s.may(makeKeys) && k.CreatedBy == s.ID
}

// neededFor are the rights without which the form of a page is of no use.
var neededFor = map[string]right{
	"GET /keys/new": makeKeys, "GET /security/incidents/new": manage, "GET /webhooks/new": manage, "GET /users/new": people, "GET /link": manage,
	"GET /accounts/new": install, "GET /tiers/new": install,
}

// mayOpen is a fault for a page with a form that the user's role could not send: the API would
// refuse it, after somebody has filled it in.
func (s session) mayOpen(pattern string) error {
	if r, ok := neededFor[pattern]; ok && !s.may(r) {
		return fault.Newf(fault.Forbidden, "Your role (%s) may not do this. Ask an owner or admin of the account.", s.RoleName())
	}
	return nil
}
