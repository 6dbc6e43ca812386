package manage

import (
	"errors"
	"net/http"
	"strings"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/httpapi/signin"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/ids"
)

// tripCookie keeps a sign-in while the browser is at the provider.
const tripCookie = "perfgate-signin"

// callbackPath is where the provider sends the browser back to.
const callbackPath = "/signin/oidc/callback"

// subjects finds users by the provider's subject.
type subjects interface {
	UserBySubject(string) (*store.User, error)
}

// OIDC serves the sign-in with a provider. Provider is nil where there is none.
type OIDC struct {
	Provider *signin.OIDC
	Subjects subjects
	Sessions *Sessions
	Pepper   func() store.Hash
}

// off is the fault where no provider is configured.
func (h *OIDC) off() error {
	if h.Provider == nil {
		return fault.Newf(fault.NotFound, "No provider is configured: set signin.oidc.issuer.")
	}
	return nil
}

// Begin sends the browser to the provider.
func (h *OIDC) Begin(c *rest.Call) error {
	if err := h.off(); err != nil {
		return err
	}
	b := rest.Browser{Call: c}
	if f := b.CheckHost(); f != nil {
		return f
	}
	page, trip, err := h.Provider.Begin(c.Request.Context(), b.Base()+callbackPath, c.Now)
	if err != nil {
		return &fault.Error{Code: fault.Unavailable, Message: "The provider cannot be reached right now; sign in with a password or an operator token, or try again.", Cause: err}
	}
	// The provider is another site, whose redirect sends no cookie that is SameSite=Strict.
	http.SetCookie(c.Writer(), &http.Cookie{
		Name: tripCookie, Value: signin.Seal(h.Pepper(), trip), Path: "/signin/oidc", HttpOnly: true, Secure: strings.HasPrefix(b.Base(), "https:"),
		SameSite: http.SameSiteLaxMode, MaxAge: int(signin.SignInTime.Seconds()),
	})
	http.Redirect(c.Writer(), c.Request, page, http.StatusFound)
	return nil
}

// End takes the provider's answer and signs the browser in.
func (h *OIDC) End(c *rest.Call) error {
	if err := h.off(); err != nil {
		return err
	}
	b := rest.Browser{Call: c}
	if f := b.CheckHost(); f != nil {
		return f
	}
	c.Account = store.DefaultAccount
	q := c.Request.URL.Query()
	trip, ok := signin.Trip{}, false
	if cookie, err := c.Request.Cookie(tripCookie); err == nil {
		trip, ok = signin.Open(h.Pepper(), cookie.Value, c.Now)
	}
	switch {
	case !ok || q.Get("state") != trip.State || len(q["code"]) > 1:
		return fault.Newf(fault.InvalidCredentials, "The sign-in has taken too long, or was begun in another browser; begin again.")
	case q.Get("error") != "":
		return fault.Newf(fault.InvalidCredentials, "The provider refused the sign-in: %s.", rest.Quote(q.Get("error"), 64))
	}
	who, err := h.Provider.End(c.Request.Context(), b.Base()+callbackPath, q.Get("code"), trip)
	switch {
	case errors.Is(err, signin.ErrRefused):
		return &fault.Error{Code: fault.InvalidCredentials, Message: "The answer of the provider is not valid; begin again.", Cause: err}
	case err != nil:
		return &fault.Error{Code: fault.Unavailable, Message: "The provider cannot be reached right now; try again.", Cause: err}
	}
	u, err := h.user(c, who)
	if err != nil {
		return err
	}
	http.SetCookie(c.Writer(), &http.Cookie{Name: tripCookie, Path: "/signin/oidc", MaxAge: -1})
	if _, err := h.Sessions.start(c, u, &store.SessionStart{Subject: who.Subject}); err != nil {
		return err
	}
	return h.Sessions.showOpened(c)
}

// user finds the user of an identity, and brings role and account up to the groups.
// Somebody whose groups have no role is refused, also if they had one.
func (h *OIDC) user(c *rest.Call, who *signin.Identity) (*store.User, error) {
	if err := c.Linearize(); err != nil {
		return nil, err
	}
	account, role, mapped := h.Provider.Role(who.Groups)
	u, err := h.Subjects.UserBySubject(who.Subject)
	if err != nil {
		return nil, err
	}
	if u == nil && who.Email != "" {
		if u, err = h.Sessions.Store.UserByEmail(who.Email); err != nil {
			return nil, err
		}
		if u != nil && u.Subject != "" {
			return nil, fault.Newf(fault.Forbidden, "The address belongs to a user who signs in as somebody else at the provider; ask an owner of the account.")
		}
	}
	if u != nil {
		c.Account = u.Account
		rest.Browser{Call: c}.Hint(u.Email)
		role, mapped = h.Provider.RoleIn(who.Groups, string(u.Account))
	}
	switch {
	case u != nil && u.Disabled:
		return nil, fault.Newf(fault.Forbidden, "The user is disabled; ask an owner of the account.")
	case h.Provider.Maps() && !mapped, u == nil && !mapped:
		return nil, fault.Newf(fault.Forbidden, "None of your groups at the provider has a role here; ask an owner of the account.")
	}
	c.Caller.Actor = store.Actor{Type: store.ActorSystem, ID: "oidc", Name: h.Provider.Issuer()}
	if u == nil {
		return h.create(c, who, account, role)
	}
	change := &store.UserUpdate{ID: u.ID}
	if mapped && store.Role(role) != u.Role {
		change.Role = new(store.Role(role))
	}
	if u.Subject != who.Subject {
		change.Subject = &who.Subject
	}
	if change.Role == nil && change.Subject == nil {
		return u, nil
	}
	rc, err := c.Propose(&store.Command{Account: u.Account, Change: change})
	if err != nil {
		return nil, err
	}
	return rc.User, nil
}

// create makes a user at their first sign-in.
func (h *OIDC) create(c *rest.Call, who *signin.Identity, account, role string) (*store.User, error) {
	if who.Email == "" {
		return nil, fault.Newf(fault.Forbidden, "The provider states no verified address of yours; ask for the scope email.")
	}
	u := store.User{ID: store.UserID(ids.New("usr_")), Email: who.Email, Name: who.Name, Role: store.Role(role), Account: store.AccountID(account), Subject: who.Subject}
	if account == "" {
		u.Account = store.DefaultAccount
	}
	c.Account = u.Account
	rc, err := c.Propose(&store.Command{Account: u.Account, Change: &store.UserCreate{User: u}})
	if err != nil {
		return nil, err
	}
	return rc.User, nil
}
