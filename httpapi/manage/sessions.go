package manage

import (
	"crypto/sha256"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/httpapi/signin"
	"github.com/perfgate/perfgate/store"
)

// visible reports whether the caller may see and end a session: their own, an owner those
// of the account's users and links, an operator all. Operators have the account default, but
// are not users of its owner.
func (h *Sessions) visible(c *rest.Call, s *store.Session) bool {
	if own := c.Caller.Session; own != nil && own.Owner == s.Owner || c.Caller.Operates() {
		return true
	}
	if c.Caller.Role != store.RoleOwner || s.Account != c.Account || s.Kind == store.OfToken {
		return false
	}
	if s.Kind != store.OfUser {
		return true
	}
	u, err := h.Store.User(store.UserID(s.Owner))
	return err == nil && u != nil && u.Role != store.RoleOperator
}

// List shows the sessions that the caller may see.
func (h *Sessions) List(c *rest.Call) (*rest.Page[*sessionRowView], error) {
	q := c.Query()
	limit := q.Limit()
	user := q.Text("user")
	after, err := q.Cursor()
	if err != nil {
		return nil, err
	}
	if user != "" && !rest.IsID(user, "usr_") {
		return nil, fault.Newf(fault.NotFound, "user: there is no such user; the id of one begins with usr_.")
	}
	var current store.SessionID
	if own := c.Caller.Session; own != nil {
		current = own.ID
		if user == "" && !c.Caller.Operates() && c.Caller.Role != store.RoleOwner {
			user = own.Owner
		}
	}
	list, next, err := h.Store.Sessions(user, after, limit, func(s *store.Session) bool { return h.visible(c, s) && !s.Over(c.Now) })
	if err != nil {
		return nil, err
	}
	out := &rest.Page[*sessionRowView]{Data: make([]*sessionRowView, 0, len(list))}
	for _, s := range list {
		out.Data = append(out.Data, viewSession(s, current))
	}
	if next != "" {
		out.Next = q.Seal(next)
	}
	return out, nil
}

// End ends the session that the path names.
func (h *Sessions) End(c *rest.Call) (*signedOut, error) {
	if err := c.Linearize(); err != nil {
		return nil, err
	}
	s, err := h.named(c)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return nil, fault.Newf(fault.NotFound, "There is no such session.")
	}
	return h.end(c, s)
}

func (h *Sessions) wait(a *signin.Attempt) *fault.Error { return delayed(h.Guard.Wait(a)) }

// enter is wait for a password; leave must be called once a failure was counted.
func (h *Sessions) enter(a *signin.Attempt) (leave func(), f *fault.Error) {
	leave, wait := h.Guard.Enter(a)
	return leave, delayed(wait)
}

// delayed is the fault of an attempt that must wait.
func delayed(wait int64) *fault.Error {
	if wait == 0 {
		return nil
	}
	return &fault.Error{Code: fault.TooManyFailures, RetryAfter: wait, Message: "You have exceeded your rate limit: too many failed sign-ins; wait before the next one"}
}

// named finds the session that the path names, if the caller may see it: one look-up for each
// owner of a session that they may see. Only an operator has to look through all.
func (h *Sessions) named(c *rest.Call) (*store.Session, error) {
	id := store.SessionID(c.Param)
	owners := []string{}
	if own := c.Caller.Session; own != nil {
		owners = append(owners, own.Owner)
	}
	if c.Caller.Role == store.RoleOwner {
		owners = append(owners, string(c.Account)) // its links
		for after := store.UserID(""); ; {
			users, next, err := h.Store.Users(c.Account, false, after, rest.MaxLimit)
			if err != nil {
				return nil, err
			}
			for _, u := range users {
				owners = append(owners, string(u.ID))
			}
			if after = next; next == "" {
				break
			}
		}
	}
	for _, owner := range owners {
		if s, err := h.Store.Session(owner, id); err != nil || s != nil && h.visible(c, s) {
			return s, err
		}
	}
	if !c.Caller.Operates() {
		return nil, nil
	}
	return h.Store.FindSession(id)
}

// newPassword is the body of PUT /v1/session/password.
type newPassword struct {
	Password string  `json:"password"`
	Current  *string `json:"current"`
}

// own is the user who is signed in. Operator tokens and links have no credentials.
func own(c *rest.Call) (*store.User, error) {
	if c.Caller.User == nil {
		return nil, fault.Newf(fault.Forbidden, "Only a user has a password and a second factor.")
	}
	return c.Caller.User, nil
}

// confirm checks the user's present password: a session that was left open must not be
// enough to take the account over.
func (h *Sessions) confirm(c *rest.Call, u *store.User, field string, password *string) error {
	if password == nil {
		return rest.Invalid(field, "is required")
	}
	a := signin.Attempt{Client: c.Client, User: u.Email, Known: u.Known, Mono: rest.Browser{Call: c}.Mono()}
	leave, f := h.enter(&a)
	if f != nil {
		return f
	}
	defer leave()
	ok, err := h.Hashes.Verify(c.Request.Context(), u.Password, (*password)[:min(len(*password), signin.MaxPassword+1)])
	if err != nil {
		return &fault.Error{Code: fault.TooBusy, RetryAfter: 1, Message: "Too many sign-ins at once; try again in a moment.", Cause: err}
	}
	if !ok {
		h.Guard.Failed(&a)
		return fault.Newf(fault.InvalidCredentials, "%s: is not the present password.", field)
	}
	return nil
}

// SetPassword sets the caller's password and ends all other sessions.
func (h *Sessions) SetPassword(c *rest.Call, in *newPassword) (*changedUser, error) {
	u, err := own(c)
	if err != nil {
		return nil, err
	}
	if !c.Caller.Session.Setup {
		if err := h.confirm(c, u, "current", in.Current); err != nil {
			return nil, err
		}
	}
	hash, err := h.hash(c, u, in.Password)
	if err != nil {
		return nil, err
	}
	return h.change(c, u, &store.UserUpdate{Password: &hash})
}

// change changes the caller's own credentials and keeps this session.
func (h *Sessions) change(c *rest.Call, u *store.User, change *store.UserUpdate) (*changedUser, error) {
	change.ID, change.Keep = u.ID, c.Caller.Session.ID
	rc, err := c.Propose(&store.Command{Account: u.Account, Change: change})
	if err != nil {
		return nil, err
	}
	return &changedUser{userView: viewUser(rc.User), Revocation: c.Revoked(rc)}, nil
}

// factorSecret is a secret that is not in force yet.
type factorSecret struct {
	Secret string `json:"secret"`
	URL    string `json:"url"`
}

// NewFactor makes a secret for an authenticator. It is stored nowhere: the call that
// turns the second factor on brings it back, with a code that proves it is in use.
func (h *Sessions) NewFactor(c *rest.Call) (*factorSecret, error) {
	u, err := own(c)
	if err != nil {
		return nil, err
	}
	secret := signin.NewSecret()
	return &factorSecret{secret, signin.SecretURL(secret, u.Email)}, nil
}

// factor is the body of PUT /v1/session/second-factor.
type factor struct {
	Password *string `json:"password"`
	Secret   string  `json:"secret"`
	Code     string  `json:"code"`
}

// recovery is its answer, the only one that ever holds the recovery codes.
type recovery struct {
	changedUser
	Codes []string `json:"recovery_codes"`
}

// SetFactor turns the second factor on, or replaces it.
func (h *Sessions) SetFactor(c *rest.Call, in *factor) (*recovery, error) {
	u, err := own(c)
	if err != nil {
		return nil, err
	}
	secret, ok := signin.ParseSecret(in.Secret)
	if !ok {
		return nil, rest.Invalid("secret", "is not one that POST /v1/session/second-factor made")
	}
	if err := h.confirm(c, u, "password", in.Password); err != nil {
		return nil, err
	}
	step := signin.CheckCode(secret, in.Code, 0, c.Now)
	if step == 0 {
		return nil, rest.Invalid("code", "is not the present code of this secret; check the clock of the authenticator")
	}
	out := &recovery{}
	var hashes []store.Hash
	for range signin.RecoveryCodes {
		code := signin.NewRecoveryCode()
		out.Codes = append(out.Codes, code)
		hashes = append(hashes, sha256.Sum256([]byte(signin.Recovery(code))))
	}
	changed, err := h.change(c, u, &store.UserUpdate{TOTP: &secret, TOTPStep: &step, Recovery: &hashes})
	if err != nil {
		return nil, err
	}
	out.changedUser = *changed
	return out, nil
}

// present is the body of POST /v1/session/second-factor/remove.
type present struct {
	Password *string `json:"password"`
}

// RemoveFactor turns the second factor off.
func (h *Sessions) RemoveFactor(c *rest.Call, in *present) (*changedUser, error) {
	u, err := own(c)
	if err != nil {
		return nil, err
	}
	if err := h.confirm(c, u, "password", in.Password); err != nil {
		return nil, err
	}
	return h.change(c, u, &store.UserUpdate{TOTP: &[]byte{}})
}
