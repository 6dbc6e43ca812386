package manage

import (
	"crypto/sha256"
	"errors"
	"strings"
	"time"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/httpapi/signin"
	"github.com/perfgate/perfgate/store"
)

// The prefixes of tokens that sign in once: who has which right is in the rest of them.
const (
	setupPrefix = "pgsu_"
	linkPrefix  = "pgln_"
)

// peopleStore is the part of the state that the calls about people read.
type peopleStore interface {
	User(store.UserID) (*store.User, error)
	UserByEmail(string) (*store.User, error)
	Users(store.AccountID, bool, store.UserID, int) ([]*store.User, store.UserID, error)
	Session(owner string, id store.SessionID) (*store.Session, error)
	FindSession(store.SessionID) (*store.Session, error)
	Sessions(owner, after string, limit int, keep func(*store.Session) bool) ([]*store.Session, string, error)
	SessionLink(store.AccountID, string) (*store.Link, error)
	Cell(store.AccountID) *store.Cell
	ClusterLevel() int
}

// Sessions serves the calls that sign in and out.
type Sessions struct {
	Store  peopleStore
	Limits rest.SignIn
	Hashes *signin.Hashes
	Guard  *signin.Guard
	Style  string // path of the dashboard's style sheet, for the pages of links
}

// credentials are the body of POST /v1/session: an address and a password, with a code
// if there is a second factor, or a token.
type credentials struct {
	Email    *string `json:"email"`
	Password *string `json:"password"`
	Code     *string `json:"code"`
	Token    *string `json:"token"`
}

// Check implements [rest.Checker].
func (in *credentials) Check(*rest.Call) error {
	var faults fault.List
	switch {
	case in.Token != nil && in.Email != nil:
		faults.Add(rest.Invalid("token", "and email exclude each other"))
	case in.Token == nil && in.Email == nil:
		faults.Add(rest.Invalid("email", "is required, or token"))
	case in.Token == nil && in.Password == nil:
		faults.Add(rest.Invalid("password", "is required"))
	}
	return faults.Err()
}

// sessionView is the signed-in user as GET /v1/session shows them.
type sessionView struct {
	ID           string          `json:"id"`
	Email        *string         `json:"email"`
	Name         *string         `json:"name"`
	Role         *store.Role     `json:"role"`
	Account      store.AccountID `json:"account"`
	State        string          `json:"state"`
	SecondFactor bool            `json:"second_factor"`
	LastSignInAt *time.Time      `json:"last_sign_in_at"`
	Session      *sessionRowView `json:"session"`
}

// sessionRowView is a session in a list.
type sessionRowView struct {
	ID        store.SessionID   `json:"id"`
	Kind      store.SessionKind `json:"kind"`
	Owner     string            `json:"owner"`
	Account   store.AccountID   `json:"account"`
	CreatedAt time.Time         `json:"created_at"`
	SeenAt    time.Time         `json:"last_seen_at"`
	ExpiresAt time.Time         `json:"expires_at"`
	Scopes    []string          `json:"scopes"`
	IP        *string           `json:"ip"`
	Agent     *string           `json:"user_agent"`
	Current   bool              `json:"current"`
}

func viewSession(s *store.Session, current store.SessionID) *sessionRowView {
	ends := s.Ends
	if s.Idle != 0 && s.IdleEnds().Before(ends) {
		ends = s.IdleEnds()
	}
	return &sessionRowView{
		ID: s.ID, Kind: s.Kind, Owner: s.Owner, Account: s.Account, CreatedAt: s.Created.UTC(), SeenAt: s.Seen.UTC(), ExpiresAt: ends.UTC(),
		Scopes: s.Scopes, IP: some(s.IP), Agent: some(s.Agent), Current: s.ID == current,
	}
}

// SignIn begins a session and sets its cookie.
func (h *Sessions) SignIn(c *rest.Call, in *credentials) (*sessionView, error) {
	if err := in.Check(c); err != nil {
		return nil, err
	}
	if f := (rest.Browser{Call: c}.CheckHost()); f != nil {
		return nil, f
	}
	if f := (rest.Browser{Call: c}.CheckOrigin(false)); f != nil {
		return nil, f
	}
	// An address that guesses does not make the leader work.
	if f := h.wait(&signin.Attempt{Client: c.Client, Mono: rest.Browser{Call: c}.Mono()}); f != nil {
		return nil, f
	}
	if err := c.Linearize(); err != nil { // a user that another node has just made must be found
		return nil, err
	}
	start := &store.SessionStart{}
	u, err := h.verify(c, in, start)
	if err != nil {
		return nil, err
	}
	return h.start(c, u, start)
}

// verify checks the credentials, and describes the session that they begin.
func (h *Sessions) verify(c *rest.Call, in *credentials, start *store.SessionStart) (*store.User, error) {
	if in.Token == nil {
		return h.withPassword(c, in, start)
	}
	token := *in.Token
	switch {
	case strings.HasPrefix(token, setupPrefix):
		return h.withSetup(c, in, start)
	case strings.HasPrefix(token, linkPrefix):
		return nil, h.withLink(c, token, start)
	}
	a := signin.Attempt{Client: c.Client, Mono: rest.Browser{Call: c}.Mono()}
	if f := h.wait(&a); f != nil {
		return nil, f
	}
	c.Account = store.DefaultAccount
	o, ok := rest.Browser{Call: c}.OperatorToken(token)
	if !ok {
		h.Guard.Failed(&a)
		return nil, fault.Newf(fault.InvalidCredentials, "The token is not known, or is no longer valid.")
	}
	c.Caller.Actor = store.Actor{Type: store.ActorOperator, ID: o.ID, Name: o.Name}
	c.Caller.Role = store.RoleOperator
	start.Session = store.Session{Kind: store.OfToken, Owner: o.ID, Account: store.DefaultAccount, Token: o.Hash}
	return nil, nil
}

// withPassword signs in with an address and a password. Whether the address has a user
// shows neither in the answer nor in its time.
func (h *Sessions) withPassword(c *rest.Call, in *credentials, start *store.SessionStart) (*store.User, error) {
	u, err := h.Store.UserByEmail(*in.Email)
	if err != nil {
		return nil, err
	}
	a := signin.Attempt{Client: c.Client, User: *in.Email, Mono: rest.Browser{Call: c}.Mono()}
	hash := ""
	c.Account = store.DefaultAccount
	if u != nil {
		a.Known, hash, c.Account = u.Known, u.Password, u.Account
		rest.Browser{Call: c}.Hint(u.Email)
	}
	leave, f := h.enter(&a)
	if f != nil {
		return nil, f
	}
	defer leave()
	ok, err := h.Hashes.Verify(c.Request.Context(), hash, (*in.Password)[:min(len(*in.Password), signin.MaxPassword+1)])
	switch {
	case errors.Is(err, signin.ErrBusy):
		return nil, &fault.Error{Code: fault.TooBusy, RetryAfter: 1, Message: "Too many sign-ins at once; try again in a moment.", Cause: err}
	case err != nil:
		return nil, err
	case !ok || u.Disabled:
		h.Guard.Failed(&a)
		return nil, fault.New(fault.InvalidCredentials)
	}
	if err := h.secondFactor(c, in, u, &a, start); err != nil {
		return nil, err
	}
	start.Check = u.Password
	return u, nil
}

// secondFactor checks the code of a user who has an authenticator.
func (h *Sessions) secondFactor(c *rest.Call, in *credentials, u *store.User, a *signin.Attempt, start *store.SessionStart) error {
	if len(u.TOTP) == 0 {
		return nil
	}
	if in.Code == nil {
		return fault.New(fault.SecondFactorRequired)
	}
	if signin.IsCode(*in.Code) {
		start.TOTPStep = signin.CheckCode(u.TOTP, *in.Code, u.TOTPStep, c.Now)
	} else {
		start.Used = sha256.Sum256([]byte(signin.Recovery(*in.Code)))
		for _, r := range u.Recovery {
			start.Recovery = start.Recovery || r == start.Used
		}
	}
	if start.TOTPStep == 0 && !start.Recovery {
		h.Guard.Failed(a)
		return fault.New(fault.InvalidCredentials)
	}
	return nil
}

// subject is the id in a token that signs in once, and its hash.
func subject(token, prefix string) (id string, hash store.Hash) {
	rest := strings.TrimPrefix(token, prefix)
	return rest[:max(0, strings.LastIndexByte(rest, '_'))], sha256.Sum256([]byte(token))
}

// withSetup signs in with a set-up link's token, and sets the password if there is one.
func (h *Sessions) withSetup(c *rest.Call, in *credentials, start *store.SessionStart) (*store.User, error) {
	id, hash := subject(*in.Token, setupPrefix)
	a := signin.Attempt{Client: c.Client, Mono: rest.Browser{Call: c}.Mono()}
	if f := h.wait(&a); f != nil {
		return nil, f
	}
	c.Account = store.DefaultAccount
	u, err := h.Store.User(store.UserID("usr_" + id))
	if err != nil {
		return nil, err
	}
	if u == nil || u.Disabled || u.Setup == (store.Hash{}) || u.Setup != hash || !c.Now.Before(u.SetupEnds) {
		h.Guard.Failed(&a)
		return nil, usedLink("The set-up link was used already or is no longer valid; ask for another one.")
	}
	c.Account = u.Account
	if err := h.secondFactor(c, in, u, &a, start); err != nil {
		return nil, err
	}
	if start.Recovery { // the command names one hash only
		return nil, fault.Newf(fault.InvalidCredentials, "A set-up link takes the code of the authenticator; an owner can make a link that removes it.")
	}
	if in.Password != nil {
		hash, err := h.hash(c, u, *in.Password)
		if err != nil {
			return nil, err
		}
		start.Password = &hash
	}
	start.Setup, start.Used = true, hash
	// A person who closes the browser before they have set a password needs the link again.
	start.Keeps = in.Password == nil && h.Store.ClusterLevel() >= store.LevelOfKeptSetups
	start.Session.Setup = in.Password == nil
	return u, nil
}

// hash checks a new password and hashes it.
func (h *Sessions) hash(c *rest.Call, u *store.User, password string) (string, error) {
	switch {
	case len(password) < signin.MinPassword || len(password) > signin.MaxPassword:
		return "", rest.Invalid("password", "must have %d to %d bytes", signin.MinPassword, signin.MaxPassword)
	case strings.EqualFold(password, u.Email):
		return "", rest.Invalid("password", "must not be the address of the user")
	}
	hash, err := h.Hashes.New(c.Request.Context(), password)
	if errors.Is(err, signin.ErrBusy) {
		return "", &fault.Error{Code: fault.TooBusy, RetryAfter: 1, Message: "Too many sign-ins at once; try again in a moment.", Cause: err}
	}
	return hash, err
}

// withLink signs in with the token of a session link.
func (h *Sessions) withLink(c *rest.Call, token string, start *store.SessionStart) error {
	id, hash := subject(token, linkPrefix)
	a := signin.Attempt{Client: c.Client, Mono: rest.Browser{Call: c}.Mono()}
	if f := h.wait(&a); f != nil {
		return f
	}
	account := store.AccountID(id)
	c.Account = store.DefaultAccount
	known := account == store.DefaultAccount || rest.IsID(id, "acct_")
	if known = known && h.Store.Cell(account) != nil; known {
		// A token that nobody was given must not reach the log.
		l, err := h.Store.SessionLink(account, store.LinkID(hash))
		if err != nil {
			return err
		}
		if known = l != nil && c.Now.Before(l.Ends); known {
			if known, err = (rest.Browser{Call: c}).MayLink(l); err != nil {
				return err
			}
		}
	}
	if !known {
		h.Guard.Failed(&a)
		return usedLink("The link was used already or is no longer valid; ask for another one.")
	}
	c.Account = account
	start.Link, start.Used = store.LinkID(hash), hash
	start.Session = store.Session{Kind: store.OfLink, Owner: string(account), Account: account}
	return nil
}

// start proposes the session, and sets its cookie.
func (h *Sessions) start(c *rest.Call, u *store.User, start *store.SessionStart) (*sessionView, error) {
	s := &start.Session
	if u != nil {
		setup := s.Setup
		*s = store.Session{Kind: store.OfUser, Owner: string(u.ID), Account: u.Account, Setup: setup}
		c.Caller.Actor = actorOf(u)
		c.Caller.User, c.Caller.Role = u, u.Role
	}
	s.Idle, s.Ends = int64(h.Limits.Idle/time.Second), c.Stamp().Add(h.Limits.Max)
	if s.Kind == store.OfLink {
		s.Idle, s.Ends = 0, c.Stamp().Add(linkSession)
	}
	if c.Client.IsValid() {
		s.IP = c.Client.String()
	}
	s.Agent = rest.Browser{Call: c}.Agent()
	var cookie string
	cookie, s.Hash = rest.NewSessionSecret(s.Owner)
	if s.Kind == store.OfLink { // the link names the account; the session is the actor
		c.Caller.Actor = store.Actor{Type: store.ActorUser, ID: string(store.SessionIDOf(s.Hash)), Name: "session link"}
	}
	rc, err := c.Propose(&store.Command{Change: start})
	if err != nil {
		return nil, err
	}
	c.Revoked(rc) // a set-up token or link may still be taken for good elsewhere
	c.Status = 0
	rest.Browser{Call: c}.SetCookie(cookie, rc.Session.Ends)
	c.Caller.Session = rc.Session
	if u != nil {
		fresh := *u
		fresh.LastSignInAt = rc.Session.Created
		if start.Password != nil {
			fresh.Password = *start.Password
		}
		c.Caller.User = &fresh
	}
	return viewCaller(c), nil
}

func actorOf(u *store.User) store.Actor {
	a := store.Actor{Type: store.ActorUser, ID: string(u.ID), Name: u.Name}
	if a.Name == "" {
		a.Name = u.Email
	}
	return a
}

func viewCaller(c *rest.Call) *sessionView {
	v := &sessionView{ID: c.Caller.Actor.ID, Name: some(c.Caller.Actor.Name), Role: some(c.Caller.Role), Account: c.Account, State: accountActive}
	if u := c.Caller.User; u != nil {
		v.Email, v.Name, v.Account = some(u.Email), some(u.Name), u.Account
		v.State, v.SecondFactor, v.LastSignInAt = userState(u), len(u.TOTP) > 0, when(u.LastSignInAt)
	}
	if s := c.Caller.Session; s != nil {
		v.Session = viewSession(s, s.ID)
	}
	return v
}

// Read shows who is signed in.
func (h *Sessions) Read(c *rest.Call) (*sessionView, error) { return viewCaller(c), nil }

// signedOut answers the end of a session.
type signedOut struct {
	ID         store.SessionID  `json:"id"`
	Deleted    bool             `json:"deleted"`
	Revocation *rest.Revocation `json:"revocation"`
}

// SignOut ends the caller's session and takes its cookie away.
func (h *Sessions) SignOut(c *rest.Call) (*signedOut, error) {
	s := c.Caller.Session
	if s == nil {
		return nil, fault.New(fault.InvalidSession)
	}
	out, err := h.end(c, s)
	if err == nil {
		rest.Browser{Call: c}.SetCookie("", time.Time{})
	}
	return out, err
}

func (h *Sessions) end(c *rest.Call, s *store.Session) (*signedOut, error) {
	rc, err := c.Propose(&store.Command{Account: s.Account, Change: &store.SessionEnd{Owner: s.Owner, ID: s.ID}})
	if err != nil {
		return nil, err
	}
	return &signedOut{s.ID, true, c.Revoked(rc)}, nil
}
