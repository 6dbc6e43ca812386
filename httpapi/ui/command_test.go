package ui_test

import (
	"bytes"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/cli"
)

// hostile is a value that does something in a shell that takes it for more than text.
const hostile = "-a'b\"$(touch x)`touch x`;touch x|touch x&\\ !! %s ${IFS} *~ # ü"

// asCommand asks for the command of an action.
func (g *rig) asCommand(method, action string, form url.Values) *shown {
	g.t.Helper()
	form.Set("command_for", action)
	form.Set("command_method", method)
	_, query, _ := strings.Cut(action, "?")
	p := g.post("/command?"+query, form)
	if !strings.HasPrefix(p.header.Get("Content-Type"), "text/plain") {
		g.t.Fatalf("%s %s: %d %.500s", method, action, p.status, p.text())
	}
	p.raw = strings.TrimSuffix(p.raw, "\n")
	return p
}

// run gives a line to a shell in an empty directory, and each command in it to the program,
// which must take it: it fails for want of a server. It returns the words, and what a
// command reads.
func run(t *testing.T, line string) (words []string, stdin string) {
	t.Helper()
	dir := t.TempDir()
	sh := exec.Command("sh", "-c", `perfgate() { printf '%s\0' "$@" >&3; printf '\0' >&3; if [ -p /dev/stdin ]; then cat; fi; }; `+line)
	args, write, err := os.Pipe()
	apitest.Must(t, err)
	defer args.Close()
	in, closed, err := os.Pipe() // stdin is a pipe in a command that reads only
	apitest.Must(t, err)
	in.Close()
	closed.Close()
	null, err := os.Open(os.DevNull)
	apitest.Must(t, err)
	defer null.Close()
	var out, errs bytes.Buffer
	sh.Dir, sh.Stdin, sh.Stdout, sh.Stderr, sh.ExtraFiles = dir, null, &out, &errs, []*os.File{write}
	if err := sh.Run(); err != nil || errs.Len() > 0 {
		t.Errorf("%s: %v %s", line, err, errs.String())
	}
	write.Close()
	var raw bytes.Buffer
	_, err = raw.ReadFrom(args)
	apitest.Must(t, err)
	if made, _ := os.ReadDir(dir); len(made) > 0 {
		t.Errorf("%s did something else: %v", line, made)
	}
	for one := range strings.SplitSeq(strings.TrimSuffix(raw.String(), "\x00\x00"), "\x00\x00") {
		args := strings.Split(one, "\x00")
		words = append(words, args...)
		var said bytes.Buffer
		env := map[string]string{"PERFGATE_SERVER": "http://127.0.0.1:1", "PERFGATE_TOKEN": "pgop_x"}
		code := cli.Execute(t.Context(), cli.Config{
			Stdin: strings.NewReader(out.String()), Stdout: &said, Stderr: &said, Env: func(name string) (string, bool) { v, ok := env[name]; return v, ok },
		}, args)
		if code != 1 || !strings.Contains(said.String(), "127.0.0.1:1") {
			t.Errorf("%s: the program does not take %q: exit code %d, %s", line, args, code, said.String())
		}
	}
	return words, out.String()
}

// action is a way to send a form.
type action struct {
	to     string
	fields url.Values
}

// value is what is entered into a field.
func value(n *html.Node) string {
	switch name := attr(n, "name"); {
	case attr(n, "type") == "hidden", attr(n, "type") == "checkbox", attr(n, "type") == "radio":
		return attr(n, "value")
	case name == "rule0_requests", strings.HasPrefix(attr(n, "inputmode"), "numeric"), name == "alert_thresholds", strings.HasSuffix(name, "_requests"), strings.HasSuffix(name, "_burst"):
		return "7"
	case attr(n, "inputmode") == "decimal":
		return "0.5"
	case attr(n, "type") == "datetime-local":
		return "2027-01-31T15:00"
	case attr(n, "type") == "date", strings.HasSuffix(name, "_until"):
		return "2027-01-31"
	case name == "max_ttl":
		return "30d"
	case name == "ids":
		return "key_1, key_2"
	case name == "routes", strings.HasSuffix(name, "_route"):
		return "/v1/" + hostile
	case name == "entries", name == "allowlist":
		return "203.0.113.0/24\n198.51.100.0/24 # " + hostile
	case name == "url":
		return "https://example.com/?" + hostile
	case name == "other_scopes":
		return "own:a,own:b"
	}
	return hostile
}

// actions are the ways to send the forms of a page.
func (p *shown) actions() (out []action) {
	fields := func(form *html.Node, id string) url.Values {
		values := url.Values{}
		for n := range p.root.Descendants() {
			inside := id != "" && attr(n, "form") == id
			for up := n.Parent; up != nil; up = up.Parent {
				inside = inside || up == form
			}
			if n.Type != html.ElementNode || !inside || attr(n, "name") == "" {
				continue
			}
			name := attr(n, "name")
			switch n.Data {
			case "input", "textarea":
				if attr(n, "type") != "radio" || !values.Has(name) {
					values.Add(name, value(n))
				}
			case "select":
				for o := range n.Descendants() {
					if o.Type == html.ElementNode && o.Data == "option" {
						text := attr(o, "value")
						if text == "" && !slices.ContainsFunc(o.Attr, func(a html.Attribute) bool { return a.Key == "value" }) {
							text = textOf(o)
						}
						values.Set(name, text) // the last one
					}
				}
			}
		}
		return values
	}
	for _, form := range p.all("form", "") {
		if attr(form, "method") != "post" || slices.ContainsFunc(form.Attr, func(a html.Attribute) bool { return a.Key == "data-plain" }) {
			continue
		}
		for n := range form.Descendants() {
			if n.Type == html.ElementNode && n.Data == "button" && attr(n, "type") != "button" {
				values := fields(form, attr(form, "id"))
				if name := attr(n, "name"); name != "" {
					values.Set(name, attr(n, "value"))
				}
				out = append(out, action{attr(form, "action"), values})
			}
		}
	}
	return out
}

// TestEveryFormHasACommand walks through all pages and asks for the command of each form,
// filled with text that means something to shells. The command is a line that the program
// takes, and the text is text.
func TestEveryFormHasACommand(t *testing.T) {
	g := newRig(t)
	templates, err := filepath.Abs("templates")
	apitest.Must(t, err)
	t.Chdir(t.TempDir()) // of reports
	g.Key("live", "read")
	g.Key("test", "read")
	g.Op("POST", "/v1/webhooks", `{"url":"https://example.com/"}`).Want(t, 201)
	g.Op("POST", "/v1/users", `{"email":"ada@example.com","role":"owner"}`).Want(t, 201)
	off := g.Op("POST", "/v1/users", `{"email":"bo@example.com","role":"owner"}`).Want(t, 201).Text("id")
	g.Op("POST", "/v1/users/"+off+"/disable", "").Want(t, 200)
	acct := g.Op("POST", "/v1/accounts", `{"name":"Acme"}`).Want(t, 201).Text("id")
	g.Op("POST", "/v1/tiers", `{"name":"team","live":{},"test":{},"features":{"ip_allowlist":true}}`).Want(t, 201)
	g.Op("PATCH", "/v1/accounts/default", `{"tier":"enterprise","limit_rules":[{"name":"chat","match":{},"per":"key","requests":5,"window":"1h"}]}`).Want(t, 200)
	g.Op("PUT", "/v1/allowlist?confirm_within=5m", `{"entries":[]}`).Want(t, 200)
	g.Op("POST", "/v1/incidents", `{"title":"t","action":"none"}`).Want(t, 201)
	g.Op("POST", "/v1/operator-tokens", `{"name":"ci"}`).Want(t, 201)

	todo, seen, dos, forms, downloads := []string{"/", "/account", "/sessions", "/link", "/accounts/" + acct, "/keys?account=" + acct}, map[string]bool{}, map[string]bool{}, map[string]bool{}, 0
	for len(todo) > 0 {
		at := todo[0]
		todo = todo[1:]
		path, _, _ := strings.Cut(at, "?")
		if shape := regexp.MustCompile(`(key|acct|usr|whk|inc|op)_\w+`).ReplaceAllString(at, "$1"); seen[at] || path != at && seen[shape] {
			continue
		} else {
			seen[at], seen[shape] = true, true
		}
		if len(seen) > 400 {
			t.Fatal("the walk does not end")
		}
		p := g.get(at)
		if p.root == nil {
			continue
		}
		for _, a := range p.all("a", "") {
			switch href := attr(a, "href"); {
			case slices.ContainsFunc(a.Attr, func(a html.Attribute) bool { return a.Key == "data-file" }):
				downloads++
				run(t, g.asCommand("GET", href, url.Values{}).want(200).raw)
			case strings.HasPrefix(href, "/") && (path == "/" || !strings.Contains(href, "?")):
				todo = append(todo, href)
			}
		}
		for _, a := range p.actions() {
			c := g.asCommand("POST", a.to, a.fields).want(200)
			forms[a.to], dos[a.fields.Get("do")] = true, true
			words, stdin := run(t, c.raw)
			for name, values := range a.fields {
				if strings.HasPrefix(values[0], "-a'b") && !slices.Contains([]string{"confirm", "count", "probe"}, name) && !strings.HasPrefix(name, "rule") &&
					!slices.Contains(words, hostile) && !strings.Contains(stdin, hostile) && a.fields.Get("do") != "find" {
					t.Errorf("%s: %s is not in %s", a.to, name, c.raw)
				}
			}
		}
	}
	t.Logf("%d pages, %d forms, %d downloads", len(seen), len(forms), downloads)
	for _, c := range []struct {
		to   string
		form url.Values
		want string
	}{
		{"/cluster", url.Values{"do": {"transfer"}, "node": {""}}, "perfgate cluster transfer"},
		{"/cluster", url.Values{"do": {"remove"}, "node": {"n 2"}, "force": {"1"}}, "perfgate cluster remove --force 'n 2'"},
		{"/webhooks/whk_1", url.Values{"do": {"redeliver"}, "delivery": {"dlv_1"}}, "perfgate webhooks redeliver whk_1 dlv_1"},
	} { // one node, and an endpoint without finished deliveries, have no such forms
		dos[c.form.Get("do")] = true
		if p := g.asCommand("POST", c.to, c.form).want(200); p.raw != c.want {
			t.Errorf("%q, want %q", p.raw, c.want)
		}
	}
	files, err := filepath.Glob(templates + "/*.html")
	if err != nil || len(files) < 30 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		src, err := os.ReadFile(file)
		apitest.Must(t, err)
		for _, m := range regexp.MustCompile(`name="do" value="([a-z]+)"`).FindAllStringSubmatch(string(src), -1) {
			if !dos[m[1]] && !strings.Contains(file, "factor") {
				t.Errorf("%s: no form that does %q was met", file, m[1])
			}
		}
	}
}

// TestCommandsOfForms holds some commands to their exact words, and shows each refusal.
func TestCommandsOfForms(t *testing.T) {
	g := newRig(t)
	id, _ := g.Key("live", "read")
	acct := g.Op("POST", "/v1/accounts", `{"name":"Acme"}`).Want(t, 201).Text("id")
	before := g.Backend.Proposed.Load()
	form := func(pairs ...string) url.Values {
		v := url.Values{}
		for i := 0; i+1 < len(pairs); i += 2 {
			v.Add(pairs[i], pairs[i+1])
		}
		return v
	}
	for _, c := range []struct {
		method, action string
		form           url.Values
		status         int
		want           string
	}{
		{"POST", "/keys/new", form("name", "Production Server", "type", "live", "scopes", "read", "expires", "30d"), 200, "perfgate keys create --type live --scope read --expires-in 30d 'Production Server'"},
		{"POST", "/keys/new?account=" + acct, form("name", "a", "type", "test", "scopes", "read"), 200, "perfgate --account " + acct + " keys create --type test --scope read a"},
		{"POST", "/keys/" + id + "/revoke", form("reason", "it's leaked", "chain", "1"), 200, "perfgate keys revoke " + id + ` --reason 'it'\''s leaked' --chain`},
		{"POST", "/keys/bulk", form("do", "disable", "ids", "key_1", "ids", "key_2"), 200, "perfgate keys update --state disabled key_1 && perfgate keys update --state disabled key_2"},
		{"POST", "/keys/bulk", form("do", "disable"), 422, "tick the keys"},
		{"POST", "/keys/new", form("name", "a\nb", "type", "test", "scopes", "read"), 422, "U+000A"},
		{"POST", "/keys/new", form("name", "a\x1b[31m", "type", "test", "scopes", "read"), 422, "U+001B"},
		{"POST", "/keys/new", form("name", "a\u202eb", "type", "test", "scopes", "read"), 422, "U+202E"},
		{"POST", "/keys/new", form("name", "a\xffb", "type", "test", "scopes", "read"), 422, "UTF-8"},
		{"POST", "/keys/new", form("name", "a", "type", "test", "requests_per_minute", "x"), 422, "whole number"},
		{"POST", "/keys/new", form("name", "a", "type", "test"), 422, "choose at least one"},
		{"POST", "/security/allowlist", form("entries", strings.Repeat("203.0.113.1 # note\n", 8000)), 422, "Put the values into a file"},
		{"POST", "/security/allowlist", form("entries", "203.0.113.0/24 # office\r\n", "force", "1"), 200, `printf '%s\n' '203.0.113.0/24 # office' | perfgate allowlist set --force`},
		{"POST", "/security/allowlist", form("do", "check", "entries", "203.0.113.0/24", "probe", "-x y"), 200, "perfgate allowlist check -- '-x y'"},
		{"POST", "/accounts/" + acct, form("name", "Acme", "retention_days", "30", "browser_keys", "alert"), 422, "changes nothing yet"},
		{"POST", "/accounts/" + acct, form("name", "Acme", "tier", "other", "limits_burst", "9"), 200, "perfgate accounts update --requests-per-minute none --burst 9 --requests-per-month none --max-concurrent none --tier other " + acct},
		{"POST", "/accounts/" + acct, form("name", "Acme", "alert_thresholds", ""), 200, "perfgate accounts update --alert-at none " + acct},
		{"GET", "/usage/export?from=2027-01-01&to=2027-01-31&group_by=country&type=live", form(), 200, "perfgate usage --csv --from 2027-01-01 --to 2027-01-31 --step day --type live --group-by country --output usage.csv"},
		{"GET", "/compliance/report", form(), 200, "perfgate compliance --json"},
		{"GET", "/compliance/report?format=html", form(), 200, "perfgate compliance --html --output compliance.html"},
		{"GET", "/audit/export?format=csv&outcome=denied", form(), 200, "perfgate audit export --format csv --outcome denied --output audit-logs.csv"},
		{"POST", "/password", form(), 404, "No command does this."},
		{"POST", "/command", form(), 404, "No command does this."},
		{"GET", "/keys", form(), 404, "No command does this."},
		{"POST", "/nowhere", form(), 404, "No command does this."},
		{"POST", "%zz", form(), 422, "must be the action of a form"},
		{"DELETE", "/keys/new", form(), 422, "must be the action of a form"},
	} {
		p := g.asCommand(c.method, c.action, c.form)
		if good := p.raw == c.want || c.status != 200 && strings.Contains(p.raw, c.want); p.status != c.status || !good {
			t.Errorf("%s %s: %d %q, want %d %q", c.method, c.action, p.status, p.raw, c.status, c.want)
		}
	}
	if n := g.Backend.Proposed.Load(); n != before {
		t.Errorf("%d commands were proposed", n-before)
	}
	if p := g.send("POST", "/command", url.Values{"command_for": {"/keys/new"}}, "Origin", "http://elsewhere.example"); p.status != 403 {
		t.Errorf("from elsewhere: %d", p.status)
	}
	g.cookie = ""
	g.post("/command", url.Values{"command_for": {"/keys/new"}, "command_method": {"POST"}}).want(303)
}
