package store

import (
	"encoding/json"
	"slices"
	"time"
)

// The events that the changes in this file write.
var (
	userCreated = Action{EventCreate, "user.create"}
	userUpdated = Action{EventUpdate, "user.update"}
	userDeleted = Action{EventDelete, "user.delete"}
)

// UserCreate adds a user.
type UserCreate struct {
	User User `json:"user"`
}

func init() { register[UserCreate]("user_create") }

var eventsOfUserCreate = []Action{userCreated}

// traits: a new user only adds rights.
func (*UserCreate) traits() Traits {
	return Traits{Takes: No, Waits: Yes, Vital: No, Level: LevelOfPeople, Events: eventsOfUserCreate}
}

func (in *UserCreate) apply(t *txn) Result {
	u := in.User
	if u.Account == "" {
		u.Account = t.cmd.Account
	}
	if no := checkUser(&u); no != nil {
		return Result{Refusal: no}
	}
	switch {
	case t.state.account(u.Account) == nil:
		return refuse(NotFound, "there is no account %q", u.Account)
	case t.rows.user(u.ID) != nil, t.rows.get(emailRow(u.Email)) != nil:
		return refuse(Conflict, "there is a user with this address already")
	case u.Subject != "" && t.rows.get(subjectRow(u.Subject)) != nil:
		return refuse(Conflict, "there is a user of this subject already")
	}
	n := 0
	t.eachUser(func(*User) error { n++; return nil })
	if n >= maxUsers {
		return refuse(LimitReached, "there are %d users, which is the most there can be", maxUsers)
	}
	u.CreatedAt, u.CreatedBy, u.SetupEnds = t.when.at, t.cmd.Actor.ID, u.SetupEnds.UTC()
	u.Operated = u.Role == RoleOperator
	u.Modified = t.index
	t.rows.putUser(&u)
	t.rows.put(emailRow(u.Email), []byte(u.ID))
	if u.Subject != "" {
		t.rows.put(subjectRow(u.Subject), []byte(u.ID))
	}
	t.eventOf(operatedAccount(t, u.Account, u.Role == RoleOperator), userCreated, "", string(u.ID), "", diffUsers(&User{}, &u, true))
	return Result{User: u.shown()}
}

// UserUpdate changes the fields of a user that are set. Whatever takes a right or changes
// a credential ends the user's sessions, but for the one that Keep names.
type UserUpdate struct {
	ID        UserID     `json:"id"`
	Name      *string    `json:"name,omitzero"`
	Role      *Role      `json:"role,omitzero"`
	Disabled  *bool      `json:"disabled,omitzero"`
	Password  *string    `json:"password,omitzero"`
	Subject   *string    `json:"subject,omitzero"`
	Setup     *Hash      `json:"setup,omitzero"`
	SetupEnds *time.Time `json:"setup_ends,omitzero"`
	TOTP      *[]byte    `json:"totp,omitzero"`
	TOTPStep  *int64     `json:"totp_step,omitzero"`
	Recovery  *[]Hash    `json:"recovery,omitzero"`
	Keep      SessionID  `json:"keep,omitzero"`
	Force     bool       `json:"force,omitzero"`
}

func init() { register[UserUpdate]("user_update") }

var eventsOfUserUpdate = []Action{userUpdated}

// traits: a role, a state or a credential may take a right away.
func (*UserUpdate) traits() Traits {
	return Traits{Takes: Yes, Waits: Yes, Vital: No, Level: LevelOfPeople, Events: eventsOfUserUpdate}
}

// person returns the user that the command changes, or the refusal. The user of another
// account does not exist for the caller, unless that is an operator.
func (t *txn) person(id UserID) (*User, *Refusal) {
	u := t.rows.user(id)
	if u == nil || t.cmd.Account != u.Account {
		return nil, refuse(NotFound, "there is no user %q", id).Refusal
	}
	if !t.matches(u.Modified) {
		return nil, changedMeanwhile().Refusal
	}
	return u, nil
}

func (in *UserUpdate) apply(t *txn) Result {
	old, no := t.person(in.ID)
	if no != nil {
		return Result{Refusal: no}
	}
	u := *old
	assign(&u.Name, in.Name)
	assign(&u.Role, in.Role)
	assign(&u.Disabled, in.Disabled)
	assign(&u.Password, in.Password)
	assign(&u.Subject, in.Subject)
	assign(&u.Setup, in.Setup)
	assign(&u.TOTP, in.TOTP)
	assign(&u.TOTPStep, in.TOTPStep)
	assign(&u.Recovery, in.Recovery)
	if in.SetupEnds != nil {
		u.SetupEnds = in.SetupEnds.UTC()
	}
	if no := checkUser(&u); no != nil {
		return Result{Refusal: no}
	}
	if u.Subject != old.Subject && u.Subject != "" && t.rows.get(subjectRow(u.Subject)) != nil {
		return refuse(Conflict, "there is a user of this subject already")
	}
	if !in.Force && old.operates() && !u.operates() && !t.operatedWithout(u.ID) {
		return lastOperator()
	}
	u.Operated = u.Operated || u.Role == RoleOperator
	if len(u.TOTP) == 0 {
		u.TOTP, u.TOTPStep, u.Recovery = nil, 0, nil
	}
	// A link that was made for the user as they were must not outlive a new password or role.
	if u.Disabled || in.Setup == nil && (in.Password != nil || u.Role != old.Role) {
		u.Setup, u.SetupEnds = Hash{}, time.Time{}
	}
	t.settle()
	u.Modified = t.index
	t.rows.putUser(&u)
	if u.Subject != old.Subject {
		t.rows.moveSubject(old, &u)
	}
	if in.Role != nil && u.Role != old.Role || u.Disabled || in.Password != nil || in.TOTP != nil || in.Setup != nil && *in.Setup != (Hash{}) {
		t.endSessions(string(u.ID), in.Keep)
	}
	t.eventOf(operatedAccount(t, commandAccount(t), u.Role == RoleOperator || old.Role == RoleOperator), userUpdated, "", string(u.ID), "", diffUsers(old, &u, false))
	return Result{User: u.shown()}
}

func (p *pending) moveSubject(old, u *User) {
	if old.Subject != "" {
		p.delete(subjectRow(old.Subject))
	}
	if u.Subject != "" {
		p.put(subjectRow(u.Subject), []byte(u.ID))
	}
}

// operates reports whether the user can manage the installation.
func (u *User) operates() bool { return u.Role == RoleOperator && u.SignsIn() }

// operatedWithout reports whether an operator has a way in without this user.
func (t *txn) operatedWithout(id UserID) bool {
	return t.operatedBy(t.state.set(), id)
}

func lastOperator() Result {
	return refuse(WouldLockOut, "this is the last operator who can sign in, and there is no operator token; repeat with force=true if that is intended")
}

// UserDelete removes a user and ends their sessions. Their events stay.
type UserDelete struct {
	ID    UserID `json:"id"`
	Force bool   `json:"force,omitzero"`
}

func init() { register[UserDelete]("user_delete") }

var eventsOfUserDelete = []Action{userDeleted}

// traits implements [Change].
func (*UserDelete) traits() Traits {
	return Traits{Takes: Yes, Waits: Yes, Vital: No, Level: LevelOfPeople, Events: eventsOfUserDelete}
}

func (in *UserDelete) apply(t *txn) Result {
	u, no := t.person(in.ID)
	if no != nil {
		return Result{Refusal: no}
	}
	if !in.Force && u.operates() && !t.operatedWithout(u.ID) {
		return lastOperator()
	}
	t.settle()
	t.removeUser(u)
	t.eventOf(operatedAccount(t, commandAccount(t), u.Role == RoleOperator), userDeleted, "", string(u.ID), "", diffUsers(u, &User{}, false))
	return Result{User: u.shown()}
}

// removeUser removes the rows of a user. The earlier commands of the batch are committed.
func (t *txn) removeUser(u *User) {
	t.endSessions(string(u.ID), "")
	t.rows.delete(userRow(u.ID))
	t.rows.delete(emailRow(u.Email))
	if u.Subject != "" {
		t.rows.delete(subjectRow(u.Subject))
	}
}

// diffUsers compares two states of a user. Credentials are left out: an event says only
// that one is set.
func diffUsers(old, u *User, created bool) json.RawMessage {
	var d diff
	d.text("email", old.Email, u.Email)
	d.text("name", old.Name, u.Name)
	d.text("role", string(old.Role), string(u.Role))
	d.flag("disabled", old.Disabled, u.Disabled)
	d.flag("password", old.Password != "", u.Password != "")
	if old.Password != "" && u.Password != "" && old.Password != u.Password {
		d.after = quote(member(d.after, "password"), "changed")
	}
	d.flag("totp", len(old.TOTP) > 0, len(u.TOTP) > 0)
	d.flag("oidc", old.Subject != "", u.Subject != "")
	d.flag("setup_link", old.Setup != Hash{}, u.Setup != Hash{})
	return d.changes(created)
}

// operatedBy reports whether set leaves an operator a way in, without the given user.
func (t *txn) operatedBy(set *settings, without UserID) bool {
	if slices.ContainsFunc(set.OperatorTokens, func(h Hash) bool {
		o := set.operatorToken(h)
		return !o.Expired(t.when.at)
	}) {
		return true
	}
	some := false
	t.eachUser(func(u *User) error {
		if u.ID != without && u.operates() {
			some = true
			return errEnough
		}
		return nil
	})
	return some
}
