package manage

import (
	"crypto/sha256"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/ids"
)

// setupLife is how long a set-up link works.
const setupLife = 24 * time.Hour

// Users serves the calls about users.
type Users struct {
	Store peopleStore
	Keys  *Keys // revokes those of a user who leaves
	All   accountStore
}

// userView is a user as the API shows it.
type userView struct {
	ID           store.UserID    `json:"id"`
	Email        string          `json:"email"`
	Name         *string         `json:"name"`
	Role         store.Role      `json:"role"`
	Account      store.AccountID `json:"account"`
	State        string          `json:"state"`
	SecondFactor bool            `json:"second_factor"`
	CreatedAt    time.Time       `json:"created_at"`
	CreatedBy    *string         `json:"created_by"`
	LastSignInAt *time.Time      `json:"last_sign_in_at"`
}

// userState is invited until the user can sign in without a set-up link.
func userState(u *store.User) string {
	switch {
	case u.Disabled:
		return "disabled"
	case u.Password == "" && u.Subject == "":
		return "invited"
	}
	return "active"
}

func viewUser(u *store.User) userView {
	return userView{
		ID: u.ID, Email: u.Email, Name: some(u.Name), Role: u.Role, Account: u.Account, State: userState(u),
		SecondFactor: u.TOTP != nil, CreatedAt: u.CreatedAt.UTC(), CreatedBy: some(u.CreatedBy), LastSignInAt: when(u.LastSignInAt),
	}
}

// changedUser is the answer of a change of a user.
type changedUser struct {
	userView
	Revocation *rest.Revocation `json:"revocation"`
}

// invitedUser is the one answer that holds a set-up link.
type invitedUser struct {
	SetupURL *string `json:"setup_url"`
	Withheld bool    `json:"secret_withheld,omitzero"`
	userView
	SetupExpiresAt *time.Time       `json:"setup_expires_at"`
	Revocation     *rest.Revocation `json:"revocation,omitzero"`
}

// newUser is the body of POST /v1/users.
type newUser struct {
	Email   *string          `json:"email"`
	Name    *string          `json:"name"`
	Role    *store.Role      `json:"role"`
	Account *store.AccountID `json:"account"`
}

// Check implements [rest.Checker].
func (in *newUser) Check(c *rest.Call) error {
	var faults fault.List
	if in.Email == nil {
		faults.Add(rest.Invalid("email", "is required"))
	} else if at := strings.IndexByte(*in.Email, '@'); at < 1 || at == len(*in.Email)-1 || len(*in.Email) > 254 || strings.ContainsFunc(*in.Email, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		faults.Add(rest.Invalid("email", "must be an address such as ada@example.com"))
	} else {
		faults.Add(checkText("email", *in.Email, 3, 254))
	}
	if in.Name != nil {
		faults.Add(checkText("name", *in.Name, 0, maxName))
	}
	if in.Role == nil {
		faults.Add(rest.Invalid("role", "is required: owner, admin, developer, viewer or operator"))
	} else {
		faults.Add(checkRole(c, *in.Role))
	}
	if in.Account != nil && *in.Account != c.Account && c.Caller.Operates() {
		faults.Add(checkAccountNamed(c, *in.Account))
	}
	return faults.Err()
}

// checkRole refuses roles that the caller cannot give.
func checkRole(c *rest.Call, role store.Role) error {
	switch {
	case !slices.Contains(store.Roles, role):
		return rest.Invalid("role", "must be owner, admin, developer, viewer or operator")
	case role == store.RoleOperator && !c.Caller.Operates():
		return &fault.Error{Code: fault.Forbidden, Param: "/role", Message: "role: only an operator can make an operator."}
	}
	return nil
}

// newSetup is a token for a set-up link of a user, and its hash.
func newSetup(id store.UserID) (token string, hash store.Hash) {
	token = ids.New(ids.New(setupPrefix + strings.TrimPrefix(string(id), "usr_") + "_"))
	return token, sha256.Sum256([]byte(token))
}

// setupURL is the page where a user sets the password.
func setupURL(c *rest.Call, token string) string {
	return rest.Browser{Call: c}.Base() + "/signin/setup?token=" + url.QueryEscape(token)
}

// Create makes a user and shows the set-up link, once.
func (h *Users) Create(c *rest.Call, in *newUser) (*invitedUser, error) {
	if err := in.Check(c); err != nil {
		return nil, err
	}
	u := store.User{ID: store.UserID(ids.New("usr_")), Email: *in.Email, Role: *in.Role, Account: c.Account, SetupEnds: c.Stamp().Add(setupLife)}
	set(&u.Name, in.Name)
	if in.Account != nil && *in.Account != c.Account {
		if !c.Caller.Operates() {
			return nil, &fault.Error{Code: fault.Forbidden, Param: "/account", Message: "account: an owner makes users of their own account."}
		}
		u.Account = *in.Account
	}
	token, hash := newSetup(u.ID)
	u.Setup = hash
	rc, err := c.Propose(&store.Command{Account: u.Account, Change: &store.UserCreate{User: u}})
	if err != nil {
		return nil, err
	}
	c.Created(rc)
	c.ETag = rc.User.Modified
	out := &invitedUser{SetupURL: some(setupURL(c, token)), userView: viewUser(rc.User), SetupExpiresAt: when(rc.User.SetupEnds)}
	if rc.Repeat {
		out.SetupURL, out.Withheld = nil, true
	}
	return out, nil
}

// List shows the users of the caller's account, or all to an operator who names none.
func (h *Users) List(c *rest.Call) (*rest.Page[userView], error) {
	account := c.Account
	if c.Caller.Operates() && c.Request.Header.Get(rest.AccountHeader) == "" {
		account = ""
	}
	return h.listOf(c, account, c.Caller.Operates())
}

// listOf lists the users of an account; "" is all. Operators belong to no account and are
// listed only if that is asked for.
func (h *Users) listOf(c *rest.Call, account store.AccountID, operators bool) (*rest.Page[userView], error) {
	q := c.Query()
	limit := q.Limit()
	after, err := q.Cursor()
	if err != nil {
		return nil, err
	}
	list, next, err := h.Store.Users(account, operators, store.UserID(after), limit)
	if err != nil {
		return nil, err
	}
	out := &rest.Page[userView]{Data: make([]userView, 0, len(list))}
	for _, u := range list {
		out.Data = append(out.Data, viewUser(u))
	}
	if next != "" {
		out.Next = q.Seal(string(next))
	}
	return out, nil
}

// user is the user that the path names, if the caller may manage them.
func (h *Users) user(c *rest.Call) (*store.User, error) {
	if err := c.Linearize(); err != nil {
		return nil, err
	}
	u, err := h.Store.User(store.UserID(c.Param))
	if err != nil {
		return nil, err
	}
	if u == nil || !c.Caller.Operates() && (u.Account != c.Account || u.Role == store.RoleOperator) {
		return nil, fault.Newf(fault.NotFound, "There is no such user.")
	}
	return u, nil
}

// Get shows one user.
func (h *Users) Get(c *rest.Call) (*userView, error) {
	u, err := h.user(c)
	if err != nil {
		return nil, err
	}
	c.ETag = u.Modified
	v := viewUser(u)
	return &v, nil
}

// userPatch is the body of PATCH /v1/users/{id}.
type userPatch struct {
	Name  rest.Opt[string]     `json:"name"`
	Role  rest.Opt[store.Role] `json:"role"`
	State rest.Opt[string]     `json:"state"`
}

// Check implements [rest.Checker].
func (p *userPatch) Check(c *rest.Call) error {
	var faults fault.List
	if p.Name.Set {
		faults.Add(checkText("name", p.Name.Value, 0, maxName))
	}
	if p.Role.Set {
		faults.Add(checkRole(c, p.Role.Value))
	}
	if p.State.Set && p.State.Value != "active" && p.State.Value != "disabled" {
		faults.Add(rest.Invalid("state", `must be "active" or "disabled"`))
	}
	return faults.Err()
}

// Update changes a user. A change that takes a right ends their sessions.
func (h *Users) Update(c *rest.Call, in *userPatch) (*changedUser, error) {
	if err := in.Check(c); err != nil {
		return nil, err
	}
	change := &store.UserUpdate{Name: in.Name.OrZero(), Role: in.Role.Get()}
	if in.State.Set {
		change.Disabled = new(in.State.Value == "disabled")
	}
	_, rc, err := h.change(c, change, change.Role != nil || change.Disabled != nil)
	if err != nil {
		return nil, err
	}
	return &changedUser{viewUser(rc.User), c.Revoked(rc)}, nil
}

// change proposes a change of the user that the path names. Callers who would take a
// right from themselves must insist.
func (h *Users) change(c *rest.Call, change *store.UserUpdate, takes bool) (*store.User, rest.Receipt, error) {
	force, err := forced(c)
	if err != nil {
		return nil, rest.Receipt{}, err
	}
	u, err := h.user(c)
	if err != nil {
		return nil, rest.Receipt{}, err
	}
	if takes && !force && string(u.ID) == c.Caller.Actor.ID {
		return nil, rest.Receipt{}, fault.New(fault.WouldLockOut)
	}
	change.ID, change.Force = u.ID, force
	rc, err := c.Propose(&store.Command{Account: u.Account, Change: change})
	if err == nil {
		c.ETag = rc.User.Modified
	}
	return u, rc, err
}

// Delete removes a user and ends their sessions.
func (h *Users) Delete(c *rest.Call) (*deleted, error) {
	force, err := forced(c)
	if err != nil {
		return nil, err
	}
	u, err := h.user(c)
	if err != nil {
		return nil, err
	}
	if !force && string(u.ID) == c.Caller.Actor.ID {
		return nil, fault.New(fault.WouldLockOut)
	}
	rc, err := c.Propose(&store.Command{Account: u.Account, Change: &store.UserDelete{ID: u.ID, Force: force}})
	if err != nil {
		return nil, err
	}
	return &deleted{string(u.ID), true, c.Revoked(rc)}, nil
}

// reset is the body of POST /v1/users/{id}/reset.
type reset struct {
	SecondFactor bool `json:"second_factor"` // remove it, too
}

// Reset makes a new set-up link, for a user who has lost the password or the
// authenticator. It ends their sessions; the old password works until a new one is set.
func (h *Users) Reset(c *rest.Call, in *reset) (*invitedUser, error) {
	if _, err := forced(c); err != nil {
		return nil, err
	}
	token, hash := newSetup(store.UserID(c.Param))
	change := &store.UserUpdate{Setup: &hash, SetupEnds: new(c.Stamp().Add(setupLife))}
	if in.SecondFactor {
		change.TOTP = &[]byte{}
	}
	u, err := h.user(c)
	if err != nil {
		return nil, err
	}
	if u.Disabled {
		return nil, fault.Newf(fault.Conflict, "The user is disabled; make them active first.")
	}
	_, rc, err := h.change(c, change, false)
	if err != nil {
		return nil, err
	}
	out := &invitedUser{SetupURL: some(setupURL(c, token)), userView: viewUser(rc.User), SetupExpiresAt: when(rc.User.SetupEnds), Revocation: c.Revoked(rc)}
	if rc.Repeat {
		out.SetupURL, out.Withheld = nil, true
	}
	return out, nil
}

// leaving is the body of POST /v1/users/{id}/disable.
type leaving struct {
	RevokeKeys bool `json:"revoke_keys"`
}

// disabledUser is its answer. Of the keys, IDs is cut at [store.MaxImport].
type disabledUser struct {
	userView
	RevokedKeys int              `json:"revoked_keys"`
	IDs         []store.KeyID    `json:"ids"`
	Revocation  *rest.Revocation `json:"revocation"`
}

// Disable ends the user's access and, if asked to, revokes all keys that they made.
func (h *Users) Disable(c *rest.Call, in *leaving) (*disabledUser, error) {
	u, rc, err := h.change(c, &store.UserUpdate{Disabled: new(true)}, true)
	if err != nil {
		return nil, err
	}
	out := &disabledUser{userView: viewUser(rc.User), IDs: []store.KeyID{}, Revocation: c.Revoked(rc)}
	if !in.RevokeKeys {
		return out, nil
	}
	accounts := []store.AccountID{u.Account}
	if u.Operated {
		accounts = h.madeKeysIn(u)
	}
	call := c.Account
	defer func() { c.Account = call }()
	for _, account := range accounts {
		c.Account = account
		c.Continue("keys of " + string(account))
		revoked, err := h.Keys.revokeAll(c, &store.KeyRevokeBulk{CreatedBy: string(u.ID), Reason: "user disabled"})
		if err != nil {
			return nil, err
		}
		out.RevokedKeys += revoked.Revoked
		out.IDs = append(out.IDs, revoked.IDs[:min(len(revoked.IDs), store.MaxImport-len(out.IDs))]...)
		out.Revocation = worse(out.Revocation, revoked.Revocation)
	}
	return out, nil
}

// madeKeysIn lists the accounts in which the user made a key. The user is disabled on
// every node, so that no more can be made.
func (h *Users) madeKeysIn(u *store.User) (out []store.AccountID) {
	for after := store.AccountID(""); ; {
		page, next := h.All.Accounts(after, rest.MaxLimit)
		for _, a := range page {
			q := store.KeyQuery{Account: a.ID, CreatedBy: string(u.ID), Limit: 1}
			for more := true; more; more = q.After != "" {
				keys, next, err := h.Keys.Store.Keys(q)
				if err != nil || len(keys) > 0 { // an account that cannot be read is tried, and tells why
					out = append(out, a.ID)
					break
				}
				q.After = next
			}
		}
		if next == "" {
			return out
		}
		after = next
	}
}
