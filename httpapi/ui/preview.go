package ui

import (
	"net/http"
	"slices"
	"strings"

	"github.com/perfgate/perfgate/httpapi/client"
)

// Opening tells for one route of the proxy which calls a key may make.
type Opening struct {
	Route   string   // its pattern
	Host    string   // "" is any
	Require []string // custom scopes that it asks for
	Public  bool     // it asks for no key
	Open    []string // the methods that the key may use
	Refused []string // the methods that the route takes and the key may not use
	Missing []string // the scopes that would open some of Refused
	Barred  bool     // the key's own routes leave the route out
	Only    []string // the key's patterns that open a part of it; none: all of it
}

// preview tells what a key may do, before it is made.
type preview struct {
	Methods  []string // the columns
	Rows     []previewRow
	Opened   int                // rows with a method that is open
	Idle     []string           // the key's patterns that open nothing
	Unscoped bool               // no scope was chosen: the form is not taken
	Calls    []scope            // the scopes that open calls of the management API
	Rules    []client.LimitRule // that count the key's requests
	Counted  bool               // Rules are known
}

// previewRow is a route. Cells are "open", "part", "refused", or "" for a method that the route
// does not take.
type previewRow struct {
	Opening
	Cells []string
}

// The bounds of a preview and of the boxes beside it.
const (
	maxMethods      = 12 // columns; a route may list methods of its own
	maxIdle         = 100
	maxScopeChoices = 30
)

// previewOf is the preview of the key that the form describes, of which a part may be wrong yet.
func previewOf(v *visit) (*preview, error) {
	e := v.entered()
	scopes, routes := e.scopes(), lines(e.text("routes"))
	p := &preview{Unscoped: len(scopes) == 0 && v.r.Method == http.MethodPost}
	if v.r.Method != http.MethodPost {
		scopes = []string{"read", "write"} // as the form begins
	}
	for _, s := range builtInScopes {
		if slices.Contains(scopes, s.Name) && s.Name != "write" {
			p.Calls = append(p.Calls, s)
		}
	}
	p.open(v.ui.cfg.Opens(scopes, routes))
	p.Idle = v.ui.idle(routes)
	if !v.me.may(readAudit) {
		return p, nil // a call that is refused would stand in the audit log
	}
	a, err := v.api.GetAccount(v.context())
	if err != nil {
		return nil, err
	}
	p.Counted = true
	for _, r := range a.LimitRules {
		if meets(r.Match.Type, e.text("type")) && meets(r.Match.Environment, e.text("environment")) && p.reaches(text(r.Match.Route)) {
			p.Rules = append(p.Rules, r)
		}
	}
	return p, nil
}

// meets holds for a value that a rule asks for, and for a rule that takes all.
func meets(want *string, value string) bool { return want == nil || *want == value }

// open fills the table.
func (p *preview) open(list []Opening) {
	for _, o := range list {
		for _, m := range slices.Concat(o.Open, o.Refused) {
			if !slices.Contains(p.Methods, m) && len(p.Methods) < maxMethods {
				p.Methods = append(p.Methods, m)
			}
		}
	}
	slices.SortStableFunc(p.Methods, func(a, b string) int { return place(a) - place(b) })
	for _, o := range list {
		row := previewRow{Opening: o}
		for _, m := range p.Methods {
			cell := ""
			switch {
			case slices.Contains(o.Refused, m):
				cell = "refused"
			case slices.Contains(o.Open, m) && len(o.Only) > 0:
				cell = "part"
			case slices.Contains(o.Open, m):
				cell = "open"
			}
			row.Cells = append(row.Cells, cell)
		}
		if len(o.Open) > 0 {
			p.Opened++
		}
		p.Rows = append(p.Rows, row)
	}
}

// place orders the columns: the usual methods first.
func place(method string) int {
	usual := []string{"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"}
	if i := slices.Index(usual, method); i >= 0 {
		return i
	}
	return len(usual)
}

// reaches reports whether the key opens a part of a route; "" is any.
func (p *preview) reaches(route string) bool {
	return route == "" || slices.ContainsFunc(p.Rows, func(r previewRow) bool { return r.Route == route && len(r.Open) > 0 })
}

// idle are those of a key's routes that no request meets.
func (u *UI) idle(routes []string) (idle []string) {
	for _, text := range routes[:min(len(routes), maxIdle)] {
		if !slices.ContainsFunc(u.cfg.Opens(nil, []string{text}), func(o Opening) bool { return !o.Barred && !o.Public }) {
			idle = append(idle, text)
		}
	}
	return idle
}

// scopeChoices are the scopes that have a box in the forms of keys: the built-in ones, and
// those that the routes of the proxy require.
func (u *UI) scopeChoices() []scope {
	list := slices.Clone(builtInScopes)
	for _, o := range u.cfg.Opens(nil, nil) {
		for _, name := range o.Require {
			at := slices.IndexFunc(list, func(s scope) bool { return s.Name == name })
			switch {
			case at >= len(builtInScopes):
				if !strings.HasSuffix(list[at].Means, "…") {
					list[at].Means += " …" // and more routes
				}
			case at < 0 && len(list) < maxScopeChoices:
				list = append(list, scope{name, "required by " + o.Host + o.Route})
			}
		}
	}
	return list
}
