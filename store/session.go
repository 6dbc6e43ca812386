package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
)

// SessionID names a session: "ses_" and 22 hexadecimal digits that are derived from the
// hash of its secret.
type SessionID string

// SessionKind is how a session began, which tells whose rights it has.
type SessionKind string

// The kinds of sessions.
const (
	OfUser  SessionKind = "user"  // of a user, with the role that the user has now
	OfToken SessionKind = "token" // of an operator token, while that is accepted
	OfLink  SessionKind = "link"  // of a session link: the account's, with scopes
)

// maxSessions bounds the sessions of one owner: the oldest ends when another begins.
const maxSessions = 20

// Session is a signed-in browser. Its secret is nowhere.
type Session struct {
	ID      SessionID   `json:"id"`
	Kind    SessionKind `json:"kind"`
	Owner   string      `json:"owner"` // the id of the user, operator token or account
	Account AccountID   `json:"account"`
	Hash    Hash        `json:"hash"`            // SHA-256 of the secret
	Token   Hash        `json:"token,omitzero"`  // of the operator token
	Scopes  []string    `json:"scopes,omitzero"` // of a link
	Name    string      `json:"name,omitzero"`   // of a link's session in the audit log
	Setup   bool        `json:"setup,omitzero"`  // began with a set-up token: a password may be set without the old one
	Created time.Time   `json:"created"`
	Seen    time.Time   `json:"seen"`
	Ends    time.Time   `json:"ends"`           // at the latest
	Idle    int64       `json:"idle,omitzero"`  // seconds without a call after which it ends; 0: none
	IP      string      `json:"ip,omitzero"`    // that signed in
	Agent   string      `json:"agent,omitzero"` // that signed in
}

// Over reports whether the session has ended at now.
func (s *Session) Over(now time.Time) bool {
	return !now.Before(s.Ends) || s.Idle != 0 && !now.Before(s.IdleEnds())
}

// IdleEnds is when the session ends without another call.
func (s *Session) IdleEnds() time.Time { return s.Seen.Add(time.Duration(s.Idle) * time.Second) }

// SessionIDOf is the id of the session whose secret has the SHA-256 h.
func SessionIDOf(h Hash) SessionID {
	id := sha256.Sum256(h[:])
	return SessionID("ses_" + hex.EncodeToString(id[:11]))
}

// ownerRows is the prefix of the sessions of an owner.
func ownerRows(owner string) []byte { return append(named(rowSession, owner), 0) }

func sessionRow(owner string, id SessionID) []byte { return append(ownerRows(owner), id...) }

// Session returns a session, also one that is over; nil if there is none.
func (p People) Session(owner string, id SessionID) (*Session, error) {
	row, err := p.s.get(sessionRow(owner, id))
	if row == nil || err != nil {
		return nil, err
	}
	out := new(Session)
	if err := json.Unmarshal(row, out); err != nil {
		return nil, fmt.Errorf("read session %s: %w", id, err)
	}
	return out, nil
}

// FindSession returns the session with an id, of any owner; nil if there is none. It reads the
// keys of all sessions, at most [maxSessions] for each owner, and decodes one of them.
func (p People) FindSession(id SessionID) (found *Session, err error) {
	if !validID(id) {
		return nil, nil
	}
	from, end := named(rowSession, ""), append([]byte{0}, id...)
	err = p.s.scanRange(from, prefixEnd(from), func(row, value []byte) error {
		if !bytes.HasSuffix(row, end) {
			return nil
		}
		found = new(Session)
		if err := json.Unmarshal(value, found); err != nil {
			return err
		}
		return errEnough
	})
	if err != nil {
		return nil, fmt.Errorf("find session %s: %w", id, err)
	}
	return found, nil
}

// Sessions lists up to limit sessions after a place, of one owner or, with "", of all,
// which pass keep, and the place to go on after: "" at the end.
func (p People) Sessions(owner, after string, limit int, keep func(*Session) bool) (list []*Session, next string, err error) {
	from := named(rowSession, owner)
	if owner != "" {
		from = ownerRows(owner)
	}
	to := prefixEnd(from)
	if after != "" {
		from = append(named(rowSession, after), 0)
	}
	var last string
	err = p.s.scanRange(from, to, func(row, value []byte) error {
		one := new(Session)
		if err := json.Unmarshal(value, one); err != nil {
			return err
		}
		if !keep(one) {
			return nil
		}
		if len(list) == limit {
			next = last
			return errEnough
		}
		list, last = append(list, one), string(row[1:])
		return nil
	})
	if err != nil {
		return nil, "", fmt.Errorf("list the sessions: %w", err)
	}
	return list, next, nil
}

// Link is a single-use link to an account's pages.
type Link struct {
	ID      string    `json:"id"` // "lnk_…", derived from Hash
	Account AccountID `json:"account"`
	Hash    Hash      `json:"hash"` // SHA-256 of the link's secret
	Scopes  []string  `json:"scopes,omitzero"`
	Created time.Time `json:"created"`
	By      string    `json:"by,omitzero"` // the id of the actor that made it
	Ends    time.Time `json:"ends"`
}

// LinkOf begins the name of a link's session; the id of the link's maker follows.
const LinkOf = "link of "

// LinkID is the id of the link whose secret has the SHA-256 h.
func LinkID(h Hash) string {
	id := sha256.Sum256(h[:])
	return "lnk_" + hex.EncodeToString(id[:11])
}

// maxLinks bounds the links of one account that are not opened yet.
const maxLinks = 100

func linkRows(account AccountID) []byte { return accountRows(rowLinkUse, account) }

func linkRow(account AccountID, id string) []byte { return append(linkRows(account), id...) }

// SessionLink returns a link; nil if there is none.
func (p People) SessionLink(account AccountID, id string) (*Link, error) {
	row, err := p.s.get(linkRow(account, id))
	if row == nil || err != nil {
		return nil, err
	}
	l := new(Link)
	return l, json.Unmarshal(row, l)
}
