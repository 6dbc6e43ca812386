package ui

import (
	"net/http"
	"net/url"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/httpapi/fault"
)

// rowsOfPeople is the number of rows on one page of users, sessions or tokens.
const rowsOfPeople = 100

// roleInfo is a role and what it may do.
type roleInfo struct{ Name, Means string }

var roleInfos = []roleInfo{
	{"owner", "everything in the account"},
	{"admin", "everything except users, erasure and retention"},
	{"developer", "create keys, manage the keys that they created, read usage"},
	{"viewer", "read everything"},
	{"operator", "manage the installation and all accounts"},
}

// offered are the roles that the user may give.
func (v *visit) offered() []roleInfo {
	if v.me.may(install) {
		return roleInfos
	}
	return roleInfos[:len(roleInfos)-1]
}

// userList is a page of users.
type userList struct {
	Users []client.User
	Next  string
}

func usersPage(v *visit) error {
	list, err := client.UsersOf(v.api).List(v.context(), client.Page{Limit: rowsOfPeople, Cursor: v.query("cursor")})
	if err != nil {
		return err
	}
	return v.show("users", "Users", userList{list.Data, text(list.Next)})
}

// userForm is the form for a new user.
type userForm struct{ Roles []roleInfo }

func newUserPage(v *visit) error { return v.ask("newuser", "Add a user", userForm{v.offered()}, nil) }

// ask shows a form, with the problem that a first try met.
func (v *visit) ask(name, title string, body any, problem *fault.Error) error {
	status := http.StatusOK
	if problem != nil {
		status = problem.Code.Status()
	}
	return v.render(status, name, &page{Title: title, Problem: problem, Body: body})
}

// handout is something that is shown once: a link or a token.
type handout struct {
	Title, Sentence string
	Value           string // "" if the form was sent twice, and the first answer had it
	Back            string
}

func (v *visit) handOut(h handout) error { return v.show("handout", h.Title, h) }

func newUser(v *visit) error {
	u, err := client.UsersOf(v.api).Create(v.context(), client.NewUser{Email: v.form("email"), Name: v.form("name"), Role: v.form("role")}, v.once())
	if err != nil {
		f, err := asked(err)
		if f == nil {
			return err
		}
		return v.ask("newuser", "Add a user", userForm{v.offered()}, f)
	}
	return v.setupLink(u)
}

func (v *visit) setupLink(u *client.User) error {
	return v.handOut(handout{
		Title: "Send this link", Value: text(u.SetupURL), Back: "/users",
		Sentence: "With it, " + u.Email + " sets a password. It works once, for 24 hours, and is not shown again.",
	})
}

// userDetail is one user, and what their page offers.
type userDetail struct {
	User  *client.User
	Roles []roleInfo
	Self  bool
	Force bool               // the last change was refused because it would lock everybody out
	Done  *client.Revocation // of a user who was disabled
}

func userPage(v *visit) error { return v.showUser(nil, nil) }

func (v *visit) showUser(done *client.User, problem *fault.Error) error {
	u, err := client.UsersOf(v.api).Get(v.context(), v.r.PathValue("id"))
	if err != nil {
		return err
	}
	b := userDetail{User: u, Roles: v.offered(), Self: u.ID == v.me.ID, Force: problem != nil && problem.Code == fault.WouldLockOut}
	p := &page{Title: u.Email, Body: b, Problem: problem}
	status := http.StatusOK
	if problem != nil {
		status = problem.Code.Status()
	}
	if done != nil {
		b.Done = done.Revocation
		p.Body, p.Notice = b, "The user is disabled and signed out everywhere; "+number(done.RevokedKeys)+" of their keys were revoked."
	}
	return v.render(status, "user", p)
}

// changeUser does what a form of the user's page asks for.
func changeUser(v *visit) error {
	id, users := v.r.PathValue("id"), client.UsersOf(v.api)
	var opts []client.Option
	if v.form("force") != "" {
		opts = append(opts, client.Force())
	}
	var u *client.User
	var err error
	switch v.form("do") {
	case "role":
		u, err = users.Update(v.context(), id, client.Patch{"role": v.form("role")}, opts...)
	case "enable":
		u, err = users.Update(v.context(), id, client.Patch{"state": "active"}, opts...)
	case "disable":
		if u, err = users.Disable(v.context(), id, v.form("revoke_keys") != "", append(opts, v.once())...); err == nil {
			return v.showUser(u, nil)
		}
	case "reset":
		if u, err = users.Reset(v.context(), id, v.form("second_factor") != "", append(opts, v.once())...); err == nil {
			return v.setupLink(u)
		}
	default:
		return fault.Newf(fault.InvalidValue, "The form asks for nothing that can be done.")
	}
	if err != nil {
		f, err := asked(err)
		if f == nil {
			return err
		}
		return v.showUser(nil, f)
	}
	return v.see("/users/" + url.PathEscape(u.ID))
}

// sessionList is a page of sessions.
type sessionList struct {
	Sessions []client.Session
	Next     string
}

func sessionsPage(v *visit) error {
	list, err := client.SessionsOf(v.api).List(v.context(), "", client.Page{Limit: rowsOfPeople, Cursor: v.query("cursor")})
	if err != nil {
		return err
	}
	return v.show("sessions", "Sessions", sessionList{list.Data, text(list.Next)})
}

func endSession(v *visit) error {
	if _, err := client.SessionsOf(v.api).End(v.context(), v.r.PathValue("id")); err != nil {
		return err
	}
	return v.see("/sessions")
}

// passwordPage is the form for the own password.
func passwordPage(v *visit) error { return v.ask("password", "Change the password", nil, nil) }

func setPassword(v *visit) error {
	fresh := v.r.PostFormValue("password")
	err := error(nil)
	if fresh != v.r.PostFormValue("again") {
		err = fault.Invalid("again", "is not the same as the new password")
	} else {
		_, err = client.SessionsOf(v.api).SetPassword(v.context(), fresh, v.r.PostFormValue("current"))
	}
	if err != nil {
		f, err := asked(err)
		if f == nil {
			return err
		}
		return v.ask("password", "Change the password", nil, f)
	}
	return v.see("/sessions")
}

func tokensPage(v *visit) error { return v.showTokens(nil) }

// tokenList is the operator tokens, and the one whose end was refused because it is the
// last.
type tokenList struct {
	Tokens []client.OperatorToken
	Lives  []preset
	Last   string
}

func (v *visit) showTokens(problem *fault.Error) error {
	list, err := client.OperatorTokensOf(v.api).List(v.context(), client.Page{Limit: rowsOfPeople})
	if err != nil {
		return err
	}
	b := tokenList{Tokens: list.Data, Lives: expiries[:len(expiries)-1]}
	if problem != nil && problem.Code == fault.WouldLockOut {
		b.Last = v.form("id")
	}
	return v.ask("tokens", "Operator Tokens", b, problem)
}

// changeTokens makes or ends an operator token.
func changeTokens(v *visit) error {
	tokens := client.OperatorTokensOf(v.api)
	var made *client.OperatorToken
	var err error
	if id := v.form("id"); id != "" {
		var opts []client.Option
		if v.form("force") != "" {
			opts = append(opts, client.Force())
		}
		_, err = tokens.Delete(v.context(), id, opts...)
	} else {
		in := client.NewOperatorToken{Name: v.form("name")}
		if in.ExpiresAt, err = v.entered().expiry(); err == nil {
			made, err = tokens.Create(v.context(), in, v.once())
		}
	}
	switch {
	case err != nil:
		f, err := asked(err)
		if f == nil {
			return err
		}
		return v.showTokens(f)
	case made != nil:
		return v.handOut(handout{Title: "Store the token now", Value: text(made.Token), Back: "/tokens", Sentence: "It manages the installation and all accounts, and is not shown again."})
	}
	return v.see("/tokens")
}

// linkPage is the form for a link with which a customer without a user signs in.
func linkPage(v *visit) error { return v.ask("link", "Customer link", linkForm, nil) }

// linkForm is what a customer link can be limited to.
var linkForm = struct{ Scopes []roleInfo }{[]roleInfo{{"admin", "manage the account's keys"}, {"read", "read usage only"}}}

func makeLink(v *visit) error {
	in := client.NewSessionLink{Account: v.account}
	if s := v.form("scope"); s != "" {
		in.Scopes = []string{s}
	}
	l, err := client.SessionsOf(v.api).CreateLink(v.context(), in, v.once())
	if err != nil {
		f, err := asked(err)
		if f == nil {
			return err
		}
		return v.ask("link", "Customer link", linkForm, f)
	}
	return v.handOut(handout{
		Title: "Send this link", Value: text(l.URL), Back: "/keys",
		Sentence: "It opens the pages of the account " + l.Account + " once, within 15 minutes; the session lasts an hour.",
	})
}
