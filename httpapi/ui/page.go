package ui

import (
	"crypto/rand"
	"embed"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/perfgate/perfgate/httpapi/fault"
)

//go:embed templates
var templateFiles embed.FS

// page is what the templates see. Body is the page's own data.
type page struct {
	Name    string
	Title   string
	Problem *fault.Error // why the form was not taken, or why there is no page
	Notice  string       // what has just been done
	Body    any

	visit *visit
}

// parsePages parses every page with the layout and the parts that pages share.
func (u *UI) parsePages() (map[string]*template.Template, error) {
	base, err := template.New("").Funcs(u.funcs()).ParseFS(templateFiles, "templates/layout.html", "templates/parts.html")
	if err != nil {
		return nil, err
	}
	files, err := fs.Glob(templateFiles, "templates/*.html")
	if err != nil {
		return nil, err
	}
	pages := map[string]*template.Template{}
	for _, file := range files {
		name := strings.TrimSuffix(path.Base(file), ".html")
		if name == "layout" || name == "parts" {
			continue
		}
		one, err := base.Clone()
		if err != nil {
			return nil, err
		}
		if pages[name], err = one.ParseFS(templateFiles, file); err != nil {
			return nil, err
		}
	}
	return pages, nil
}

// Asset is the path of a style sheet or module.
func (p *page) Asset(name string) string { return p.visit.ui.assets.prefix + name }

// Link is a path of the dashboard with the account that is looked at.
func (p *page) Link(target string) string { return p.visit.link(target) }

// Path joins segments to such a path; the segments are escaped.
func (p *page) Path(segments ...string) string {
	out := ""
	for _, s := range segments {
		out += "/" + url.PathEscape(s)
	}
	return p.visit.link(out)
}

// Here is the URL of the page, to which its form posts.
func (p *page) Here() string { return p.visit.r.URL.RequestURI() }

// With is the URL of the page with a parameter of its query changed, or without it if the
// value is "". The position in a list does not survive the change of a filter.
func (p *page) With(name, value string) string {
	q := p.visit.r.URL.Query()
	if name != "cursor" {
		q.Del("cursor")
	}
	if value == "" {
		q.Del(name)
	} else {
		q.Set(name, value)
	}
	if len(q) == 0 {
		return p.visit.r.URL.Path
	}
	return p.visit.r.URL.Path + "?" + q.Encode()
}

// Query is a parameter of the page's URL.
func (p *page) Query(name string) string { return p.visit.query(name) }

// Form is what was entered under a name, for a form that is shown again.
func (p *page) Form(name string) string { return p.visit.r.PostFormValue(name) }

// Entry is the content of a field: what was entered in a form that is shown again, or else
// what is stored.
func (p *page) Entry(name string, stored any) string {
	if p.Posted() {
		return p.Form(name)
	}
	switch n := stored.(type) {
	case *int64:
		if n == nil {
			return ""
		}
		return strconv.FormatInt(*n, 10)
	case *int:
		if n == nil {
			return ""
		}
		return strconv.Itoa(*n)
	case int:
		return strconv.Itoa(n)
	}
	return text(stored)
}

// Ticked reports whether a box of the form is to be ticked.
func (p *page) Ticked(name string, stored bool) bool {
	if p.Posted() {
		return p.Form(name) != ""
	}
	return stored
}

// Chosen reports whether a box with the value was ticked in a form that is shown again.
func (p *page) Chosen(name, value string) bool {
	return slices.Contains(p.visit.r.PostForm[name], value)
}

// Posted reports whether the page shows a form again.
func (p *page) Posted() bool { return p.visit.r.Method == http.MethodPost }

// Provider is the name of the provider that people sign in with; "" if there is none.
func (p *page) Provider() string { return p.visit.ui.cfg.Provider }

// Once is a new Idempotency-Key for a form.
func (p *page) Once() string { return rand.Text() }

// RequestID is the id under which the visit's calls are logged and audited.
func (p *page) RequestID() string { return p.visit.carrier.id }

// Me is the user; its zero value has not signed in.
func (p *page) Me() session { return p.visit.me }

// Account is the account that is looked at.
func (p *page) Account() string { return p.visit.account }

// Faults are the messages about one field of the form.
func (p *page) Faults(field string) (messages []string) {
	if p.Problem == nil {
		return nil
	}
	for _, d := range p.Problem.Details() {
		if name, _, _ := strings.Cut(strings.TrimPrefix(d.Param, "/"), "/"); name == field {
			messages = append(messages, d.Message)
		}
	}
	return messages
}

// entry is a link of the navigation.
type entry struct {
	Title, Path string
	Current     bool
}

// group is a part of the navigation.
type group struct {
	Title   string
	Entries []entry
}

// Nav is the navigation that the user's role has.
func (p *page) Nav() []group {
	at := p.visit.r.URL.Path
	link := func(title, target string) entry {
		current := at == target || target != "/" && strings.HasPrefix(at, target+"/")
		return entry{title, p.visit.link(target), current}
	}
	me := p.visit.me
	settings := []entry{link("API Keys", "/keys"), link("Usage Analytics", "/usage")}
	if me.may(readAudit) {
		settings = append(settings, link("Security", "/security"), link("Audit Log", "/audit"), link("Webhooks", "/webhooks"))
	}
	if me.may(people) {
		settings = append(settings, link("Users", "/users"))
	}
	if me.may(readAudit) {
		settings = append(settings, link("Account", "/account"))
	}
	groups := []group{{"", []entry{link("Overview", "/")}}, {"Settings", settings}}
	if me.may(install) {
		groups = append(groups, group{"Installation", []entry{link("Accounts", "/accounts"), link("Tiers", "/tiers"), link("Operator Tokens", "/tokens"), link("Cluster", "/cluster"), link("Encryption", "/keyring"), link("Backup", "/backup"), link("Compliance", "/compliance")}})
	}
	return groups
}

// Tabs are the pages of the group that the page belongs to.
func (p *page) Tabs() []entry {
	at := p.visit.r.URL.Path
	tabs := []entry{
		{"Activity", "/security", at == "/security"}, {"IP Allowlist", "/security/allowlist", at == "/security/allowlist"},
		{"Key hygiene", "/security/hygiene", at == "/security/hygiene"}, {"Incidents", "/security/incidents", strings.HasPrefix(at, "/security/incidents")},
	}
	for i := range tabs {
		tabs[i].Path = p.visit.link(tabs[i].Path)
	}
	return tabs
}

// Export is the URL of what the page shows, in another format.
func (p *page) Export(target, format string) string {
	q := p.visit.r.URL.Query()
	q.Del("cursor")
	if format != "" {
		q.Set("format", format)
	}
	if len(q) == 0 {
		return target
	}
	return target + "?" + q.Encode()
}

// Range is the URL of the page with another range of time.
func (p *page) Range(from, to, step string) string {
	q := p.visit.r.URL.Query()
	q.Set("from", from)
	q.Set("to", to)
	q.Set("step", step)
	return p.visit.r.URL.Path + "?" + q.Encode()
}

// Picked reports whether an operator looks at an account that links must name.
func (p *page) Picked() bool { return p.visit.picked() }
