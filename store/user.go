package store

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

// UserID names a person: "usr_" and 22 base62 characters.
type UserID string

// Role is what a user may do in their account.
type Role string

// The roles. Operators manage the installation and all accounts.
const (
	RoleOwner     Role = "owner"
	RoleAdmin     Role = "admin"
	RoleDeveloper Role = "developer"
	RoleViewer    Role = "viewer"
	RoleOperator  Role = "operator"
)

// Roles lists all roles.
var Roles = []Role{RoleOwner, RoleAdmin, RoleDeveloper, RoleViewer, RoleOperator}

// The bounds of users and of what is kept of each.
const (
	maxUsers     = 10_000
	MaxRecovery  = 10 // recovery codes of a user
	maxKnown     = 5  // addresses that a user signed in from
	maxEmail     = 254
	maxPassword  = 256 // bytes of a hash
	maxTOTPBytes = 64  // of a secret
)

// User is a person who signs in.
type User struct {
	ID       UserID    `json:"id"`
	Email    string    `json:"email"` // unique without regard to case
	Name     string    `json:"name,omitzero"`
	Role     Role      `json:"role"`
	Account  AccountID `json:"account"`
	Disabled bool      `json:"disabled,omitzero"`
	Operated bool      `json:"operated,omitzero"` // is or was an operator: may have made keys in any account

	Password string `json:"password,omitzero"` // its argon2id hash; "": signs in otherwise, or not yet
	Subject  string `json:"subject,omitzero"`  // of the OIDC provider: issuer, a blank, subject
	// Setup is the SHA-256 of the set-up token, which signs in until a password is set, or until SetupEnds: see
	// [SetupAgain].
	Setup     Hash      `json:"setup,omitzero"`
	SetupEnds time.Time `json:"setup_ends,omitzero"`
	// TOTP is the secret of the second factor; nil: there is none. TOTPStep is the newest
	// time step of which a code was accepted: no code is accepted twice.
	TOTP     []byte `json:"totp,omitzero"`
	TOTPStep int64  `json:"totp_step,omitzero"`
	Recovery []Hash `json:"recovery,omitzero"` // SHA-256 of the recovery codes that are left
	// Known are the newest addresses that the user signed in from.
	Known []string `json:"known,omitzero"`

	CreatedAt    time.Time `json:"created_at"`
	CreatedBy    string    `json:"created_by,omitzero"`
	LastSignInAt time.Time `json:"last_sign_in_at,omitzero"`
	Modified     uint64    `json:"modified,omitzero"` // Raft index of the last change, sign-ins aside; the ETag
}

// SignsIn reports whether the user has a way to sign in other than a set-up token.
func (u *User) SignsIn() bool { return !u.Disabled && (u.Password != "" || u.Subject != "") }

// shown is u as results hold it: without secrets. That there are some still shows, by a
// password of "set" and a TOTP that is empty instead of nil.
func (u *User) shown() *User {
	out := *u
	if out.Password != "" {
		out.Password = "set"
	}
	if len(out.TOTP) > 0 {
		out.TOTP = []byte{}
	}
	out.Recovery = nil
	return &out
}

func userRow(id UserID) []byte { return named(rowUser, "i"+string(id)) }

func emailRow(email string) []byte { return named(rowUser, "e"+strings.ToLower(email)) }

// subjectRow hashes the subject, of which the provider chooses the characters.
func subjectRow(subject string) []byte {
	sum := sha256.Sum256([]byte(subject))
	return append([]byte{rowUser, 's'}, sum[:]...)
}

func decodeUser(row []byte) (*User, error) {
	if row == nil {
		return nil, nil
	}
	u := new(User)
	return u, json.Unmarshal(row, u)
}

// People reads users, sessions and session links.
type People struct{ s *Store }

// People returns what reads users, sessions and session links.
func (s *Store) People() People { return People{s} }

// Cell is [Store.Cell].
func (p People) Cell(id AccountID) *Cell { return p.s.Cell(id) }

// ClusterLevel is [Store.ClusterLevel].
func (p People) ClusterLevel() int { return p.s.ClusterLevel() }

// User returns a user; nil if there is none.
func (p People) User(id UserID) (*User, error) {
	row, err := p.s.get(userRow(id))
	if err != nil {
		return nil, fmt.Errorf("read user %s: %w", id, err)
	}
	return decodeUser(row)
}

// UserByEmail returns the user with an address; nil if there is none.
func (p People) UserByEmail(email string) (*User, error) {
	u, err := p.userAt(emailRow(email))
	if u == nil || err != nil || !strings.EqualFold(u.Email, email) {
		return nil, err
	}
	return u, nil
}

// UserBySubject returns the user of an OIDC provider's subject; nil if there is none.
func (p People) UserBySubject(subject string) (*User, error) {
	u, err := p.userAt(subjectRow(subject))
	if u == nil || err != nil || u.Subject != subject {
		return nil, err
	}
	return u, nil
}

// userAt is the user whose id is in row.
func (p People) userAt(row []byte) (*User, error) {
	id, err := p.s.get(row)
	if id == nil || err != nil {
		return nil, err
	}
	return p.User(UserID(id))
}

// Users lists up to limit users after the given one, of an account or, with "", of all,
// and where to go on: "" at the end.
func (p People) Users(account AccountID, operators bool, after UserID, limit int) (list []*User, next UserID, err error) {
	from := append(userRow(after), 0)
	if after == "" {
		from = userRow("")
	}
	err = p.s.scanRange(from, prefixEnd(userRow("")), func(_, value []byte) error {
		u, err := decodeUser(value)
		if err != nil {
			return err
		}
		if account != "" && u.Account != account || !operators && u.Role == RoleOperator {
			return nil
		}
		if len(list) == limit {
			next = list[limit-1].ID
			return errEnough
		}
		list = append(list, u)
		return nil
	})
	if err != nil {
		return nil, "", fmt.Errorf("list the users: %w", err)
	}
	return list, next, nil
}

// user returns a user as the batch leaves it; nil if there is none.
func (p *pending) user(id UserID) *User {
	u, err := decodeUser(p.get(userRow(id)))
	if err != nil {
		p.fault(fmt.Errorf("read user %s: %w", id, err))
		return nil
	}
	return u
}

func (p *pending) putUser(u *User) { p.put(userRow(u.ID), p.json(u)) }

// eachUser calls use with every committed user, so the command must not have written
// anything before. errEnough ends it.
func (t *txn) eachUser(use func(*User) error) {
	t.settle()
	from := userRow("")
	t.rows.scan(from, prefixEnd(from), func(_, value []byte) error {
		u, err := decodeUser(value)
		if err != nil {
			return err
		}
		return use(u)
	})
}

// checkUser checks what every user must have.
func checkUser(u *User) *Refusal {
	switch at := strings.IndexByte(u.Email, '@'); {
	case !validID(u.ID):
		return invalid("id", "it must have 1 to %d letters, digits, \"_\" or \"-\"", maxID).Refusal
	case at < 1 || at == len(u.Email)-1 || len(u.Email) > maxEmail || strings.ContainsFunc(u.Email, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return invalid("email", "it must be an address such as ada@example.com").Refusal
	case len(u.Name) > maxName:
		return invalid("name", "it is longer than %d bytes", maxName).Refusal
	case !slices.Contains(Roles, u.Role):
		return invalid("role", "it must be owner, admin, developer, viewer or operator").Refusal
	case len(u.Password) > maxPassword, len(u.Subject) > maxText, len(u.TOTP) > maxTOTPBytes, len(u.Recovery) > MaxRecovery:
		return invalid("password", "a credential of the user is too long").Refusal
	}
	return nil
}
