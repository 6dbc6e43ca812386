package ui

import (
	"cmp"
	"net/url"
	"strings"

	"github.com/perfgate/perfgate/httpapi/fault"
)

const defaultAccount = "default"

// session is who is signed in, as GET /v1/session answers. A customer who came by a link
// has no role.
type session struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Email   string `json:"email"`
	Role    string `json:"role"`
	Account string `json:"account"`

	SecondFactor bool `json:"second_factor"`

	Session struct {
		Kind   string   `json:"kind"`
		Scopes []string `json:"scopes"`
	} `json:"session"`
}

// Operator reports whether the user manages the installation.
func (s session) Operator() bool { return s.Role == "operator" }

// RoleName is the role, or how somebody without one has come.
func (s session) RoleName() string { return cmp.Or(s.Role, s.Session.Kind) }

// Label is what the user is called.
func (s session) Label() string {
	for _, label := range []string{s.Name, s.Email, s.ID} {
		if label != "" {
			return label
		}
	}
	return s.Role
}

// signIn finds the user of the browser's session, and the account that is looked at.
func (v *visit) signIn() error {
	if err := v.api.Do(v.context(), "GET", "/v1/session", nil, nil, &v.me); err != nil {
		return err
	}
	v.account = v.me.Account
	if v.me.Operator() {
		v.account = defaultAccount
		if want := v.query("account"); want != "" {
			v.account = want
		}
		v.api.Account = v.account
	}
	return nil
}

// signInPage shows the form.
func signInPage(v *visit) error { return v.show("signin", "Sign in", nil) }

// signIn makes a session with what the form holds.
func signIn(v *visit) error {
	body := map[string]string{"token": v.form("token")}
	if body["token"] == "" {
		body = map[string]string{"email": v.form("email"), "password": v.r.PostFormValue("password")}
		if code := v.form("code"); code != "" {
			body["code"] = code
		}
	}
	err := v.api.Do(v.context(), "POST", "/v1/session", nil, body, nil)
	if f := fault.From(err); err != nil && f.Code.Status() < 500 {
		return v.render(f.Code.Status(), "signin", &page{Title: "Sign in", Problem: f})
	}
	if err != nil {
		return err
	}
	return v.see(ownPath(v.query("next")))
}

// ownPath is a path of the dashboard to go on to after signing in; "/" instead of anything
// that could lead elsewhere.
func ownPath(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || !strings.HasPrefix(next, "/") ||
		strings.HasPrefix(next, "//") || strings.ContainsAny(next, "\\\r\n\t") {
		return "/"
	}
	return next
}

// signOut ends the session.
func signOut(v *visit) error {
	err := v.api.Do(v.context(), "DELETE", "/v1/session", nil, nil, nil)
	if f := fault.From(err); err != nil && f.Code.Status() != 401 { // it has ended already
		return err
	}
	return v.see("/signin")
}
