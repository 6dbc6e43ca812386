package manage

import (
	"bytes"
	"errors"
	"html/template"
	"net/http"
	"net/url"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/httpapi/signin"
	"github.com/perfgate/perfgate/store"
)

// entryPages are the pages of set-up links and of links that sign in. They need no script, and look
// like the dashboard's. To look at one uses nothing up.
var entryPages = template.Must(template.New("").Parse(`{{define "top"}}<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark"><title>{{.}}</title>{{end}}
{{define "body"}}{{with .Style}}<link rel="stylesheet" href="{{.}}">{{end}}</head><body><main class="alone"><div class="card signin">{{end}}
{{define "fault"}}{{with .Fault}}<div class="box bad" role="alert"><p>{{.}}</p></div>{{end}}{{end}}
{{define "setup"}}{{template "top" "Set your password"}}{{template "body" .}}<h1>Set your password</h1>{{template "fault" .}}
<form method="post" action="/signin/setup"><input type="hidden" name="token" value="{{.Token}}">
<label for="password">New password <span class="muted">at least {{.Least}} characters</span></label><input id="password" type="password" name="password" autocomplete="new-password" minlength="{{.Least}}" required autofocus>
{{if .Code}}<label for="code">Code of your authenticator</label><input id="code" name="code" inputmode="numeric" autocomplete="one-time-code" required>{{end}}
<button class="primary wide">Set the password and sign in</button></form></div></main></body></html>
{{end}}
{{define "link"}}{{template "top" "Sign in"}}{{template "body" .}}<h1>Sign in to perfgate</h1>{{template "fault" .}}
<p>This link signs you in once, for an hour.</p>
<form method="post" action="/signin/link"><input type="hidden" name="token" value="{{.Token}}"><button class="primary wide" autofocus>Sign in</button></form></div></main></body></html>
{{end}}
{{define "used"}}{{template "top" "The link does not work"}}{{template "body" .}}<h1>The link does not work</h1>{{template "fault" .}}
<p>A link opens once, and for a limited time.</p>
<p class="actions"><a class="button wide" href="/signin">Sign in with a password</a></p></div></main></body></html>
{{end}}
{{define "opened"}}{{template "top" "Signed in"}}<meta http-equiv="refresh" content="0;url=/">{{template "body" .}}<h1>You are signed in</h1>
<p class="actions"><a class="button primary wide" href="/">Continue</a></p></div></main></body></html>
{{end}}`))

// errUsed is the cause of the fault of a link that was used already, or that never was one.
var errUsed = errors.New("the link is not valid")

// usedLink is that fault. Its page has no form, which could only fail again.
func usedLink(message string) *fault.Error {
	return &fault.Error{Code: fault.InvalidCredentials, Message: message, Cause: errUsed}
}

// setupForm is what such a page shows.
type setupForm struct {
	Token, Fault string
	Code         bool
	Least        int
	Style        string
}

func (h *Sessions) showSetup(c *rest.Call, status int, f setupForm) error {
	f.Least = signin.MinPassword
	return h.showForm(c, "setup", status, f)
}

// showForm answers with a page that holds a form.
func (h *Sessions) showForm(c *rest.Call, name string, status int, f setupForm) error {
	f.Style = h.Style
	var page bytes.Buffer
	if err := entryPages.ExecuteTemplate(&page, name, f); err != nil {
		return err
	}
	w := c.Writer()
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; form-action 'self'")
	// With "no-referrer", browsers send "Origin: null" with the form, which is refused.
	w.Header().Set("Referrer-Policy", "same-origin")
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(page.Bytes()) // a client that has gone needs no answer
	return nil
}

// showOpened shows the page behind a link. It goes on to the dashboard by itself: a redirect
// would be part of the navigation from the other site, which sends no cookie that is
// SameSite=Strict.
func (h *Sessions) showOpened(c *rest.Call) error {
	return h.showForm(c, "opened", http.StatusOK, setupForm{})
}

// SetupPage shows the form of a set-up link.
func (h *Sessions) SetupPage(c *rest.Call) error {
	q := c.Query()
	token := q.Text("token")
	if err := q.Err(); err != nil {
		return err
	}
	if f := (rest.Browser{Call: c}).CheckHost(); f != nil {
		return f
	}
	return h.showSetup(c, http.StatusOK, setupForm{Token: token})
}

// readForm reads a form that a page of this host sent.
func readForm(c *rest.Call) (url.Values, error) {
	b := rest.Browser{Call: c}
	if f := b.CheckHost(); f != nil {
		return nil, f
	}
	if f := b.CheckOrigin(true); f != nil {
		return nil, f
	}
	raw, err := c.Body(rest.MaxBody, rest.FormType)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(raw))
	if err != nil {
		return nil, fault.Newf(fault.InvalidRequest, "The form cannot be read.")
	}
	return form, nil
}

// Setup takes the form, and signs in.
func (h *Sessions) Setup(c *rest.Call) error {
	b := rest.Browser{Call: c}
	form, err := readForm(c)
	if err != nil {
		return err
	}
	token, password := form.Get("token"), form.Get("password")
	in := &credentials{Token: &token, Password: &password}
	if code := form.Get("code"); code != "" {
		in.Code = &code
	}
	if f := h.wait(&signin.Attempt{Client: c.Client, Mono: b.Mono()}); f != nil {
		return f
	}
	if err := c.Linearize(); err != nil {
		return err
	}
	start := &store.SessionStart{}
	u, err := h.withSetup(c, in, start)
	if err == nil {
		_, err = h.start(c, u, start)
	}
	if err != nil {
		f := fault.From(err)
		if s := f.Code.Status(); s >= 500 || s == http.StatusTooManyRequests {
			return f
		}
		b.Hint("set-up link")
		if errors.Is(f, errUsed) {
			return h.showForm(c, "used", f.Code.Status(), setupForm{Fault: f.Sentence()})
		}
		return h.showSetup(c, f.Code.Status(), setupForm{Token: token, Fault: f.Sentence(), Code: f.Code == fault.SecondFactorRequired || in.Code != nil})
	}
	return h.showOpened(c)
}
