package manage

import (
	"bytes"
	"html/template"
	"net/http"
	"net/url"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/httpapi/signin"
	"github.com/perfgate/perfgate/store"
)

// setupPage is where a set-up link leads. It needs no script. To look at it uses nothing up.
var setupPage = template.Must(template.New("").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Set your password</title></head>
<body><main><h1>Set your password</h1>{{with .Fault}}<p role="alert">{{.}}</p>{{end}}
<form method="post" action="/signin/setup"><input type="hidden" name="token" value="{{.Token}}">
<p><label>New password, at least {{.Least}} characters<br><input type="password" name="password" autocomplete="new-password" minlength="{{.Least}}" required autofocus></label></p>
{{if .Code}}<p><label>Code of your authenticator<br><input name="code" inputmode="numeric" autocomplete="one-time-code" required></label></p>{{end}}
<p><button>Set the password and sign in</button></p></form></main></body></html>
`))

// setupForm is what the page shows.
type setupForm struct {
	Token, Fault string
	Code         bool
	Least        int
}

func showSetup(c *rest.Call, status int, f setupForm) error {
	f.Least = signin.MinPassword
	return showForm(c, setupPage, status, f)
}

// showForm answers with a page that holds a form.
func showForm(c *rest.Call, form *template.Template, status int, f setupForm) error {
	var page bytes.Buffer
	if err := form.Execute(&page, f); err != nil {
		return err
	}
	w := c.Writer()
	w.Header().Set("Content-Security-Policy", "default-src 'none'; form-action 'self'")
	// With "no-referrer", browsers send "Origin: null" with the form, which is refused.
	w.Header().Set("Referrer-Policy", "same-origin")
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(page.Bytes()) // a client that has gone needs no answer
	return nil
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
	return showSetup(c, http.StatusOK, setupForm{Token: token})
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
		return showSetup(c, f.Code.Status(), setupForm{Token: token, Fault: f.Sentence(), Code: f.Code == fault.SecondFactorRequired || in.Code != nil})
	}
	c.Writer().Header().Set("Content-Security-Policy", "default-src 'none'")
	return c.AnswerAs("text/html; charset=utf-8", []byte(opened))
}
