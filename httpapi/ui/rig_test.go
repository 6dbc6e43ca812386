package ui_test

import (
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/perfgate/perfgate/httpapi"
	"github.com/perfgate/perfgate/httpapi/apitest"
)

// rig is a dashboard over an API in memory.
type rig struct {
	*apitest.Rig
	t      testing.TB
	pages  *apitest.Endpoint
	cookie string // of the session
	facts  httpapi.Facts
	opens  []httpapi.Opening
	asked  [2][]string // the scopes and routes of the latest preview
}

func newRig(t testing.TB) *rig {
	t.Helper()
	g := &rig{t: t, facts: httpapi.Facts{Trials: true}}
	g.Rig = apitest.New(t, func(c *httpapi.Config) {
		c.SignIn.Hosts = []string{"gate.example.com"}
		c.Dashboard = httpapi.Dashboard{Proxy: "http://127.0.0.1:8080", Facts: func() httpapi.Facts { return g.facts }, Opens: func(scopes, routes []string) []httpapi.Opening {
			if g.asked = [2][]string{scopes, routes}; len(routes) == 1 && routes[0] == "/nowhere" {
				return nil
			}
			return g.opens
		}}
	})
	g.Unchecked = true
	g.pages = g.Admin
	g.signIn()
	return g
}

// signIn signs in with the operator token.
func (g *rig) signIn() {
	g.t.Helper()
	g.cookie = ""
	g.enter(g.post("/signin", url.Values{"token": {apitest.OperatorToken}}).want(303))
}

// enter keeps the cookie that a page has set.
func (g *rig) enter(p *shown) {
	g.t.Helper()
	set := p.header.Get("Set-Cookie")
	if !strings.Contains(set, "HttpOnly") || !strings.Contains(set, "SameSite=Strict") {
		g.t.Fatalf("the cookie is %q", set)
	}
	g.cookie, _, _ = strings.Cut(set, ";")
}

// shown is a page as a browser got it.
type shown struct {
	t      testing.TB
	status int
	header http.Header
	raw    string
	root   *html.Node
}

// get asks for a page.
func (g *rig) get(path string, header ...string) *shown {
	g.t.Helper()
	return g.send("GET", path, nil, header...)
}

// post sends a form as the page at path does.
func (g *rig) post(path string, form url.Values) *shown {
	g.t.Helper()
	return g.send("POST", path, form, "Origin", g.pages.URL)
}

func (g *rig) send(method, path string, form url.Values, header ...string) *shown {
	g.t.Helper()
	r, err := http.NewRequest(method, g.pages.URL+path, strings.NewReader(form.Encode()))
	apitest.Must(g.t, err)
	r.Header.Set("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
	r.Header.Set("Cookie", g.cookie)
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i+1 < len(header); i += 2 {
		if r.Header.Set(header[i], header[i+1]); header[i] == "Host" {
			r.Host = header[i+1]
		}
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	apitest.Must(g.t, err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	apitest.Must(g.t, err)
	p := &shown{t: g.t, status: resp.StatusCode, header: resp.Header, raw: string(raw)}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") {
		p.root, err = html.Parse(strings.NewReader(p.raw))
		apitest.Must(g.t, err)
		p.inert()
	}
	return p
}

// want fails unless the page has the status.
func (p *shown) want(status int) *shown {
	p.t.Helper()
	if p.status != status {
		p.t.Fatalf("status %d, want %d: %s %.2000s", p.status, status, p.header.Get("Location"), p.text())
	}
	return p
}

// inert fails if the page holds a script or a style of its own, or refers to another host,
// or has an id twice or a label without a field: the rules of every page.
func (p *shown) inert() {
	p.t.Helper()
	if csp := p.header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'self'") && !strings.HasPrefix(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
		p.t.Errorf("the policy is %q", csp)
	}
	ids, labelled := []string{}, []string{}
	for n := range p.root.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		if n.Data == "style" || n.Data == "script" && (attr(n, "src") == "" || n.FirstChild != nil) || n.Data == "iframe" || n.Data == "object" {
			p.t.Errorf("the page has a %s of its own", n.Data)
		}
		for _, a := range n.Attr {
			switch {
			case a.Key == "style", strings.HasPrefix(a.Key, "on"):
				p.t.Errorf("a %s has the attribute %s=%q", n.Data, a.Key, a.Val)
			case a.Key == "id" && slices.Contains(ids, a.Val):
				p.t.Errorf("two elements have the id %q", a.Val)
			case a.Key == "id":
				ids = append(ids, a.Val)
			case a.Key == "for":
				labelled = append(labelled, a.Val)
			case a.Key == "src", a.Key == "href", a.Key == "action":
				if u, err := url.Parse(a.Val); err != nil || u.Host != "" || u.Scheme != "" {
					p.t.Errorf("%s=%q leads elsewhere", a.Key, a.Val)
				}
			}
		}
	}
	for _, id := range labelled {
		if !slices.Contains(ids, id) {
			p.t.Errorf("a label is for %q, which is not there", id)
		}
	}
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// all are the elements with a tag, and if class is not "", with that class.
func (p *shown) all(tag, class string) (found []*html.Node) {
	for n := range p.root.Descendants() {
		if n.Type == html.ElementNode && n.Data == tag && (class == "" || slices.Contains(strings.Fields(attr(n, "class")), class)) {
			found = append(found, n)
		}
	}
	return found
}

// field is the value of the input with a name.
func (p *shown) field(name string) string {
	p.t.Helper()
	for _, n := range p.all("input", "") {
		if attr(n, "name") == name || attr(n, "id") == name {
			return attr(n, "value")
		}
	}
	p.t.Fatalf("there is no field %q in %.2000s", name, p.text())
	return ""
}

// links reports whether a link or form of the page leads to target.
func (p *shown) links(target string) bool {
	for n := range p.root.Descendants() {
		if n.Type == html.ElementNode && (attr(n, "href") == target || attr(n, "action") == target) {
			return true
		}
	}
	return false
}

// text is what the page says, blanks folded.
func (p *shown) text() string {
	if p.root == nil {
		return p.raw
	}
	return textOf(p.root)
}

func textOf(root *html.Node) string {
	var b strings.Builder
	for n := range root.Descendants() {
		if n.Type == html.TextNode {
			b.WriteString(n.Data + " ")
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// says fails unless the page says each of the texts.
func (p *shown) says(texts ...string) *shown {
	p.t.Helper()
	for _, s := range texts {
		if !strings.Contains(p.text(), s) {
			p.t.Fatalf("the page does not say %q: %.3000s", s, p.text())
		}
	}
	return p
}
