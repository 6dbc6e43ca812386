package client

import (
	"context"
	"io"
	"net/url"
	"strings"
	"time"
)

// User is a person who signs in.
type User struct {
	ID           string     `json:"id"`
	Email        string     `json:"email"`
	Name         *string    `json:"name"`
	Role         string     `json:"role"` // owner, admin, developer, viewer, operator
	Account      string     `json:"account"`
	State        string     `json:"state"` // invited, active, disabled
	SecondFactor bool       `json:"second_factor"`
	CreatedAt    time.Time  `json:"created_at"`
	CreatedBy    *string    `json:"created_by"`
	LastSignInAt *time.Time `json:"last_sign_in_at"`

	// SetupURL is set by the creation and by a reset; a repeat sets SecretWithheld instead.
	SetupURL       *string    `json:"setup_url,omitempty"`
	SetupExpiresAt *time.Time `json:"setup_expires_at,omitempty"`
	SecretWithheld bool       `json:"secret_withheld,omitempty"`
	// RevokedKeys is set by [Users.Disable].
	RevokedKeys   int         `json:"revoked_keys,omitempty"`
	RecoveryCodes []string    `json:"recovery_codes,omitempty"` // set by [Sessions.SetSecondFactor]
	Revocation    *Revocation `json:"revocation,omitempty"`
}

// NewUser describes a user to create. Name and Account may be empty.
type NewUser struct {
	Email   string `json:"email"`
	Name    string `json:"name,omitempty"`
	Role    string `json:"role"`
	Account string `json:"account,omitempty"`
}

// Users are the calls about users. See [UsersOf].
type Users struct{ client *Client }

// UsersOf returns the calls of c about users.
func UsersOf(c *Client) Users { return Users{c} }

// Create creates a user; the answer is the only one with the set-up link.
func (u Users) Create(ctx context.Context, user NewUser, opts ...Option) (*User, error) {
	return call[User](ctx, u.client, "POST", "/v1/users", nil, user, opts)
}

// List returns one page of users in the order of their ids.
func (u Users) List(ctx context.Context, p Page) (*List[User], error) {
	return call[List[User]](ctx, u.client, "GET", "/v1/users", p.query(), nil, nil)
}

func userPath(id string) string { return "/v1/users/" + url.PathEscape(id) }

// Get returns a user.
func (u Users) Get(ctx context.Context, id string) (*User, error) {
	return call[User](ctx, u.client, "GET", userPath(id), nil, nil, nil)
}

// Update changes the members in p of a user.
func (u Users) Update(ctx context.Context, id string, p Patch, opts ...Option) (*User, error) {
	return call[User](ctx, u.client, "PATCH", userPath(id), nil, p, opts)
}

// Delete deletes a user; their keys stay.
func (u Users) Delete(ctx context.Context, id string, opts ...Option) (*Deleted, error) {
	return call[Deleted](ctx, u.client, "DELETE", userPath(id), nil, nil, opts)
}

// Disable ends a user's access and, if asked to, revokes all keys that they made.
func (u Users) Disable(ctx context.Context, id string, revokeKeys bool, opts ...Option) (*User, error) {
	return call[User](ctx, u.client, "POST", userPath(id)+"/disable", nil, map[string]bool{"revoke_keys": revokeKeys}, opts)
}

// Reset makes a new set-up link and, if asked to, removes the second factor.
func (u Users) Reset(ctx context.Context, id string, secondFactor bool, opts ...Option) (*User, error) {
	return call[User](ctx, u.client, "POST", userPath(id)+"/reset", nil, map[string]bool{"second_factor": secondFactor}, opts)
}

// Session is a session of a browser.
type Session struct {
	ID        string    `json:"id"`
	Kind      string    `json:"kind"` // user, token, link
	Owner     string    `json:"owner"`
	Account   string    `json:"account"`
	CreatedAt time.Time `json:"created_at"`
	SeenAt    time.Time `json:"last_seen_at"`
	ExpiresAt time.Time `json:"expires_at"`
	Scopes    []string  `json:"scopes"`
	IP        *string   `json:"ip"`
	Agent     *string   `json:"user_agent"`
	Current   bool      `json:"current"`
}

// SignedIn is who makes the calls of a session.
type SignedIn struct {
	ID           string     `json:"id"`
	Email        *string    `json:"email"`
	Name         *string    `json:"name"`
	Role         *string    `json:"role"`
	Account      string     `json:"account"`
	State        string     `json:"state"`
	SecondFactor bool       `json:"second_factor"`
	LastSignInAt *time.Time `json:"last_sign_in_at"`
	Session      *Session   `json:"session"`
}

// Credentials sign in: an address and a password, with a code if there is a second
// factor, or a token.
type Credentials struct {
	Email    string `json:"email,omitempty"`
	Password string `json:"password,omitempty"`
	Code     string `json:"code,omitempty"`
	Token    string `json:"token,omitempty"`
}

// Sessions are the calls of somebody who is signed in. The HTTP client of the [Client]
// must have a cookie jar and send Origin and X-Perf-Request. See [SessionsOf].
type Sessions struct{ client *Client }

// SessionsOf returns the calls of c about sessions.
func SessionsOf(c *Client) Sessions { return Sessions{c} }

// SignIn begins a session.
func (s Sessions) SignIn(ctx context.Context, with Credentials) (*SignedIn, error) {
	return call[SignedIn](ctx, s.client, "POST", "/v1/session", nil, with, nil)
}

// Current returns who is signed in.
func (s Sessions) Current(ctx context.Context) (*SignedIn, error) {
	return call[SignedIn](ctx, s.client, "GET", "/v1/session", nil, nil, nil)
}

// SignOut ends the session.
func (s Sessions) SignOut(ctx context.Context) (*Deleted, error) {
	return call[Deleted](ctx, s.client, "DELETE", "/v1/session", nil, nil, nil)
}

// SetPassword sets the own password. current is "" after a set-up link.
func (s Sessions) SetPassword(ctx context.Context, password, current string) (*User, error) {
	body := map[string]string{"password": password}
	if current != "" {
		body["current"] = current
	}
	return call[User](ctx, s.client, "PUT", "/v1/session/password", nil, body, nil)
}

// FactorSecret is a secret for an authenticator.
type FactorSecret struct {
	Secret string `json:"secret"`
	URL    string `json:"url"`
}

// NewSecondFactor makes a secret, which is not in force yet.
func (s Sessions) NewSecondFactor(ctx context.Context) (*FactorSecret, error) {
	return call[FactorSecret](ctx, s.client, "POST", "/v1/session/second-factor", nil, nil, nil)
}

// SetSecondFactor puts a secret in force, which code proves.
func (s Sessions) SetSecondFactor(ctx context.Context, password, secret, code string) (*User, error) {
	return call[User](ctx, s.client, "PUT", "/v1/session/second-factor", nil, map[string]string{"password": password, "secret": secret, "code": code}, nil)
}

// RemoveSecondFactor turns the second factor off.
func (s Sessions) RemoveSecondFactor(ctx context.Context, password string) (*User, error) {
	return call[User](ctx, s.client, "POST", "/v1/session/second-factor/remove", nil, map[string]string{"password": password}, nil)
}

// List returns one page of sessions, of one user or, with "", of all that may be seen.
func (s Sessions) List(ctx context.Context, user string, p Page) (*List[Session], error) {
	q := p.query()
	if user != "" {
		q.Set("user", user)
	}
	return call[List[Session]](ctx, s.client, "GET", "/v1/sessions", q, nil, nil)
}

// End ends a session.
func (s Sessions) End(ctx context.Context, id string) (*Deleted, error) {
	return call[Deleted](ctx, s.client, "DELETE", "/v1/sessions/"+url.PathEscape(id), nil, nil, nil)
}

// SessionLink is a link that signs in once.
type SessionLink struct {
	ID             string    `json:"id"`
	URL            *string   `json:"url"`
	SecretWithheld bool      `json:"secret_withheld,omitempty"`
	Account        string    `json:"account"`
	Scopes         []string  `json:"scopes"`
	ExpiresAt      time.Time `json:"expires_at"`
}

// NewSessionLink describes a link. Empty members have their defaults.
type NewSessionLink struct {
	Account string   `json:"account,omitempty"`
	TTL     string   `json:"ttl,omitempty"`
	Scopes  []string `json:"scopes,omitempty"`
}

// CreateLink makes a session link; the answer is the only one that holds it.
func (s Sessions) CreateLink(ctx context.Context, link NewSessionLink, opts ...Option) (*SessionLink, error) {
	return call[SessionLink](ctx, s.client, "POST", "/v1/session-links", nil, link, opts)
}

// LinkPage copies the page of a session link to w.
func (s Sessions) LinkPage(ctx context.Context, token string, w io.Writer) error {
	return s.client.Do(ctx, "GET", "/signin/link", url.Values{"token": {token}}, nil, w)
}

// OpenLink sends the form of a session link. Programs use [Sessions.SignIn] instead.
func (s Sessions) OpenLink(ctx context.Context, token string) error {
	form := url.Values{"token": {token}}
	return s.client.Do(ctx, "POST", "/signin/link", nil, strings.NewReader(form.Encode()), nil, Header("Content-Type", "application/x-www-form-urlencoded"))
}

// OIDC begins a sign-in with the provider, which only a browser completes.
func (s Sessions) OIDC(ctx context.Context) error {
	return s.client.Do(ctx, "GET", "/signin/oidc", nil, nil, nil)
}

// OIDCCallback brings the provider's answer back.
func (s Sessions) OIDCCallback(ctx context.Context, state, code string) error {
	return s.client.Do(ctx, "GET", "/signin/oidc/callback", url.Values{"state": {state}, "code": {code}}, nil, nil)
}

// SetupPage copies the page of a set-up link to w.
func (s Sessions) SetupPage(ctx context.Context, token string, w io.Writer) error {
	return s.client.Do(ctx, "GET", "/signin/setup", url.Values{"token": {token}}, nil, w)
}

// Setup sends the form of a set-up link. Programs use [Sessions.SignIn] instead.
func (s Sessions) Setup(ctx context.Context, token, password string) error {
	form := url.Values{"token": {token}, "password": {password}}
	return s.client.Do(ctx, "POST", "/signin/setup", nil, strings.NewReader(form.Encode()), nil, Header("Content-Type", "application/x-www-form-urlencoded"))
}
