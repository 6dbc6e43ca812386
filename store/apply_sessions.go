package store

import (
	"crypto/subtle"
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
)

// The events that the changes in this file write.
var (
	sessionCreated = Action{EventCreate, "session.create"}
	sessionDeleted = Action{EventDelete, "session.delete"}
	linkCreated    = Action{EventCreate, "session_link.create"}
	linkOpened     = Action{EventCreate, "session_link.open"}
)

// SessionStart signs in. Exactly one credential begins it, which the proposer has
// verified: of a single-use one, apply makes sure that it is used once.
type SessionStart struct {
	Session  Session `json:"session"`
	Setup    bool    `json:"use_setup,omitzero"`   // the user's set-up token, with the hash Used
	Keeps    bool    `json:"keeps_setup,omitzero"` // no password is set, so that the set-up token stays
	Used     Hash    `json:"used,omitzero"`        // of the set-up token, recovery code or link
	Recovery bool    `json:"use_recovery,omitzero"`
	TOTPStep int64   `json:"totp_step,omitzero"` // of the code; 0: none was needed
	Link     string  `json:"link,omitzero"`      // the link's id
	Password *string `json:"password,omitzero"`  // set with a set-up token
	Check    string  `json:"check,omitzero"`     // the hash of the password that was verified
	Subject  string  `json:"subject,omitzero"`   // that the OIDC provider vouched for
}

// SetupAgain is how long a set-up token works after its first use, if no password was set with
// it: enough for a person who closed the browser. Whoever finds the link later cannot use it
// unseen.
const SetupAgain = 15 * time.Minute

// LevelOfKeptSetups is the level of Keeps.
const LevelOfKeptSetups = 8

func init() { register[SessionStart]("session_start") }

var eventsOfSessionStart = []Action{sessionCreated, linkOpened}

// traits: a set-up token and a link stop working everywhere when they are used, and the
// oldest session may end.
func (in *SessionStart) traits() Traits {
	t := Traits{Takes: Yes, Waits: Yes, Vital: No, Level: LevelOfPeople, Events: eventsOfSessionStart}
	if in.Keeps {
		t.Level = LevelOfKeptSetups
	}
	return t
}

// used answers that a credential is none any more.
func used(what string) *Refusal {
	return refuse(InvalidCredentials, "the %s was used already or is no longer valid", what).Refusal
}

func (in *SessionStart) apply(t *txn) Result {
	s := in.Session
	s.ID, s.Created, s.Seen, s.Ends = SessionIDOf(s.Hash), t.when.at, t.when.at, s.Ends.UTC()
	if !validID(s.Owner) || s.Hash == (Hash{}) || !s.Ends.After(t.when.at) {
		return invalid("session", "it needs an owner, a secret and an end in the future")
	}
	t.settle()
	action := sessionCreated
	var no *Refusal
	switch s.Kind {
	case OfUser:
		no = in.user(t, &s)
	case OfToken:
		o := t.state.set().operatorToken(s.Token)
		if !slices.Contains(t.state.set().OperatorTokens, s.Token) || o.Expired(t.when.at) || o.ID != s.Owner {
			no = used("operator token")
		}
		s.Account = DefaultAccount
	case OfLink:
		action = linkOpened
		no = in.link(t, &s)
	default:
		return invalid("kind", "it must be user, token or link")
	}
	if no != nil {
		return Result{Refusal: no}
	}
	t.makeRoom(s.Owner)
	t.rows.put(sessionRow(s.Owner, s.ID), t.rows.json(&s))
	t.eventOf(operatedAccount(t, s.Account, operatorsSession(t, &s)), action, "", string(s.ID), "", nil)
	return Result{Session: &s}
}

// user checks the user that signs in and uses up what is used once.
func (in *SessionStart) user(t *txn, s *Session) *Refusal {
	u := t.rows.user(UserID(s.Owner))
	if u == nil || u.Disabled || t.state.account(u.Account) == nil {
		return used("credential")
	}
	switch {
	case in.Setup:
		if u.Setup == (Hash{}) || u.Setup != in.Used || !t.when.at.Before(u.SetupEnds) {
			return used("set-up link")
		}
		if !in.Keeps || in.Password != nil {
			u.Setup, u.SetupEnds = Hash{}, time.Time{}
		} else if ends := t.when.at.Add(SetupAgain); ends.Before(u.SetupEnds) {
			u.SetupEnds = ends
		}
		if in.Password != nil {
			u.Password = *in.Password
			u.Modified = t.index
			t.endSessions(string(u.ID), "")
		}
	case in.Subject != "":
		if in.Subject != u.Subject {
			return used("sign-in")
		}
	case in.Check == "" || in.Check != u.Password:
		return used("password")
	}
	if len(u.TOTP) > 0 && in.Subject == "" && in.TOTPStep == 0 && !in.Recovery {
		return used("sign-in without a code")
	}
	if in.Recovery {
		at := slices.Index(u.Recovery, in.Used)
		if at < 0 {
			return used("recovery code")
		}
		u.Recovery = slices.Delete(slices.Clone(u.Recovery), at, at+1)
	}
	if in.TOTPStep != 0 {
		if in.TOTPStep <= u.TOTPStep {
			return used("code")
		}
		u.TOTPStep = in.TOTPStep
	}
	u.LastSignInAt = t.when.at
	if s.IP != "" {
		u.Known = append([]string{s.IP}, slices.DeleteFunc(slices.Clone(u.Known), func(ip string) bool { return ip == s.IP })...)
		u.Known = u.Known[:min(len(u.Known), maxKnown)]
	}
	if no := checkUser(u); no != nil {
		return no
	}
	s.Account = u.Account
	t.rows.putUser(u)
	return nil
}

// link checks the link that is opened, and removes it.
func (in *SessionStart) link(t *txn, s *Session) *Refusal {
	row := linkRow(s.Account, in.Link)
	var l Link
	value := t.rows.get(row)
	if value == nil || t.state.account(s.Account) == nil {
		return used("link")
	}
	if err := json.Unmarshal(value, &l); err != nil {
		t.rows.fault(fmt.Errorf("read link %s: %w", in.Link, err))
		return used("link")
	}
	if subtle.ConstantTimeCompare(l.Hash[:], in.Used[:]) == 0 || !t.when.at.Before(l.Ends) || s.Owner != string(s.Account) {
		return used("link")
	}
	s.Scopes, s.Name = l.Scopes, LinkOf+l.By
	t.rows.delete(row)
	return nil
}

// ownSessions lists the committed sessions of an owner, the oldest first.
func (t *txn) ownSessions(owner string) (list []Session) {
	from := ownerRows(owner)
	t.rows.scan(from, prefixEnd(from), func(_, value []byte) error {
		var s Session
		err := json.Unmarshal(value, &s)
		list = append(list, s)
		return err
	})
	slices.SortFunc(list, func(a, b Session) int { return a.Created.Compare(b.Created) })
	return list
}

// makeRoom removes the sessions of an owner that are over, and the oldest ones beyond
// the bound. The earlier commands of the batch are committed.
func (t *txn) makeRoom(owner string) {
	list := t.ownSessions(owner)
	for i := range list {
		if list[i].Over(t.when.at) || len(list)-i >= maxSessions {
			t.rows.delete(sessionRow(owner, list[i].ID))
		}
	}
}

// endSessions ends all sessions of an owner but one, which then has no more rights than
// any other. The earlier commands of the batch are committed.
func (t *txn) endSessions(owner string, keep SessionID) {
	for _, s := range t.ownSessions(owner) {
		switch row := sessionRow(owner, s.ID); {
		case s.ID != keep:
			t.rows.delete(row)
		case s.Setup:
			s.Setup = false
			t.rows.put(row, t.rows.json(&s))
		}
	}
}

// endLinks removes the links of an account. The earlier commands of the batch are
// committed.
func (p *pending) endLinks(account AccountID) {
	from := linkRows(account)
	p.scan(from, prefixEnd(from), func(row, _ []byte) error {
		p.delete(slices.Clone(row))
		return nil
	})
}

// SessionSeen notes that a session was used, so that it does not end for being idle.
type SessionSeen struct {
	Owner string    `json:"owner"`
	ID    SessionID `json:"id"`
}

func init() { register[SessionSeen]("session_seen") }

// traits: it prolongs a session, and a node that does not know it yet ends it early.
func (*SessionSeen) traits() Traits {
	return Traits{Takes: No, Waits: No, Vital: No, Level: LevelOfPeople, Events: noEvents}
}

func (in *SessionSeen) apply(t *txn) Result {
	row := sessionRow(in.Owner, in.ID)
	value := t.rows.get(row)
	if value == nil {
		return refuse(NotFound, "there is no session %q", in.ID)
	}
	var s Session
	if err := json.Unmarshal(value, &s); err != nil {
		t.rows.fault(fmt.Errorf("read session %s: %w", in.ID, err))
		return Result{}
	}
	if s.Over(t.when.at) {
		return refuse(NotFound, "the session %q is over", in.ID)
	}
	if t.when.at.After(s.Seen) {
		s.Seen = t.when.at
		t.rows.put(row, t.rows.json(&s))
	}
	return Result{Session: &s}
}

// SessionEnd ends one session.
type SessionEnd struct {
	Owner string    `json:"owner"`
	ID    SessionID `json:"id"`
}

func init() { register[SessionEnd]("session_end") }

var eventsOfSessionEnd = []Action{sessionDeleted}

// traits implements [Change].
func (*SessionEnd) traits() Traits {
	return Traits{Takes: Yes, Waits: Yes, Vital: No, Level: LevelOfPeople, Events: eventsOfSessionEnd}
}

func (in *SessionEnd) apply(t *txn) Result {
	row := sessionRow(in.Owner, in.ID)
	if !validID(in.Owner) {
		return refuse(NotFound, "there is no session %q", in.ID)
	}
	value := t.rows.get(row)
	if value == nil {
		return refuse(NotFound, "there is no session %q", in.ID)
	}
	var s Session
	if err := json.Unmarshal(value, &s); err != nil {
		t.rows.fault(fmt.Errorf("read session %s: %w", in.ID, err))
		return Result{}
	}
	t.rows.delete(row)
	t.eventOf(operatedAccount(t, commandAccount(t), operatorsSession(t, &s)), sessionDeleted, "", string(in.ID), "", nil)
	return Result{}
}

// operatorsSession reports whether a session is that of an operator.
func operatorsSession(t *txn, s *Session) bool {
	if s.Kind != OfUser {
		return s.Kind == OfToken
	}
	u := t.rows.user(UserID(s.Owner))
	return u != nil && u.Role == RoleOperator
}

// LinkCreate makes a session link.
type LinkCreate struct {
	Link Link `json:"link"`
}

func init() { register[LinkCreate]("link_create") }

var eventsOfLinkCreate = []Action{linkCreated}

// traits implements [Change].
func (*LinkCreate) traits() Traits {
	return Traits{Takes: No, Waits: Yes, Vital: No, Level: LevelOfPeople, Events: eventsOfLinkCreate}
}

func (in *LinkCreate) apply(t *txn) Result {
	if _, no := t.owner(); no != nil {
		return Result{Refusal: no}
	}
	l := in.Link
	l.ID, l.Account, l.Created, l.By, l.Ends = LinkID(l.Hash), t.cmd.Account, t.when.at, t.cmd.Actor.ID, l.Ends.UTC()
	switch {
	case l.Hash == Hash{} || !l.Ends.After(t.when.at):
		return invalid("link", "it needs a secret and an end in the future")
	case len(l.Scopes) > MaxScopes || longest(l.Scopes) > maxWord:
		return invalid("scopes", "there may be %d of up to %d bytes", MaxScopes, maxWord)
	}
	t.settle()
	left := 0
	from := linkRows(l.Account)
	t.rows.scan(from, prefixEnd(from), func(row, value []byte) error {
		var other Link
		if err := json.Unmarshal(value, &other); err != nil {
			return err
		}
		if !t.when.at.Before(other.Ends) {
			t.rows.delete(slices.Clone(row))
		} else {
			left++
		}
		return nil
	})
	if left >= maxLinks {
		return refuse(LimitReached, "the account has %d links that are not opened yet, which is the most there can be", maxLinks)
	}
	t.rows.put(linkRow(l.Account, l.ID), t.rows.json(&l))
	t.event(linkCreated, "", l.ID, "", nil)
	return Result{Link: &l}
}
