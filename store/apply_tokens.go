package store

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"time"
)

// The events that the changes in this file write.
var (
	operatorTokenCreated = Action{EventCreate, "operator_token.create"}
	operatorTokenDeleted = Action{EventDelete, "operator_token.delete"}
)

// LevelOfPeople is the level of the commands about operator tokens, users and their
// sessions, and of the state and the key policy of an account.
const LevelOfPeople = 6

// OperatorToken is what is kept of an operator token. The token itself is nowhere.
type OperatorToken struct {
	ID        string    `json:"id"` // [OperatorTokenID] of Hash
	Name      string    `json:"name,omitzero"`
	Hash      Hash      `json:"hash"` // SHA-256 of the token
	CreatedAt time.Time `json:"created_at,omitzero"`
	CreatedBy string    `json:"created_by,omitzero"` // the actor's id
	ExpiresAt time.Time `json:"expires_at,omitzero"`
}

// OperatorTokenID is the id of the token with the SHA-256 h, which the audit log shows
// as the actor: "op_" and the beginning of the SHA-256 of h.
func OperatorTokenID(h Hash) string {
	id := sha256.Sum256(h[:])
	return "op_" + hex.EncodeToString(id[:6])
}

// Expired reports whether the token is no longer accepted at now.
func (o *OperatorToken) Expired(now time.Time) bool {
	return !o.ExpiresAt.IsZero() && !now.Before(o.ExpiresAt)
}

// operatorToken is what is kept of the token h, of which there may be the hash alone.
func (set *settings) operatorToken(h Hash) OperatorToken {
	for i := range set.TokenFacts {
		if set.TokenFacts[i].Hash == h {
			return set.TokenFacts[i]
		}
	}
	return OperatorToken{ID: OperatorTokenID(h), Hash: h}
}

// setOperatorTokens makes hashes the tokens that are accepted.
func (set *settings) setOperatorTokens(hashes []Hash) {
	set.OperatorTokens = slices.Clone(hashes)
	set.TokenFacts = slices.DeleteFunc(slices.Clone(set.TokenFacts), func(o OperatorToken) bool {
		return !slices.Contains(hashes, o.Hash)
	})
	if len(set.TokenFacts) == 0 {
		set.TokenFacts = nil
	}
}

// AllOperatorTokens lists the operator tokens, expired ones too, in the order of their
// creation.
func (f *facts) AllOperatorTokens() []OperatorToken {
	set := f.settled.Load()
	out := make([]OperatorToken, len(set.OperatorTokens))
	for i, h := range set.OperatorTokens {
		out[i] = set.operatorToken(h)
	}
	return out
}

// OperatorToken is what is kept of the token with the SHA-256 h, which is one of
// [Store.OperatorTokens].
func (f *facts) OperatorToken(h Hash) OperatorToken { return f.settled.Load().operatorToken(h) }

// OperatorTokenCreate adds an operator token.
type OperatorTokenCreate struct {
	Token OperatorToken `json:"token"`
}

func init() { register[OperatorTokenCreate]("operator_token_create") }

var eventsOfOperatorTokenCreate = []Action{operatorTokenCreated}

// traits: a new token only adds rights.
func (*OperatorTokenCreate) traits() Traits {
	return Traits{Takes: No, Waits: Yes, Vital: No, Level: LevelOfPeople, Events: eventsOfOperatorTokenCreate}
}

func (in *OperatorTokenCreate) apply(t *txn) Result {
	set := *t.state.set()
	o := in.Token
	o.ID, o.CreatedAt, o.CreatedBy, o.ExpiresAt = OperatorTokenID(o.Hash), t.when.at, t.cmd.Actor.ID, o.ExpiresAt.UTC()
	switch {
	case o.Hash == Hash{}:
		return invalid("hash", "it is missing")
	case o.Name == "" || len(o.Name) > maxName:
		return invalid("name", "it must have 1 to %d bytes", maxName)
	case slices.Contains(set.OperatorTokens, o.Hash):
		return refuse(Conflict, "this operator token exists already")
	case len(set.OperatorTokens) >= maxOperatorTokens:
		return refuse(LimitReached, "there are %d operator tokens, which is the most there can be; delete one that is not used", maxOperatorTokens)
	}
	set.OperatorTokens = append(slices.Clone(set.OperatorTokens), o.Hash)
	set.TokenFacts = append(slices.Clone(set.TokenFacts), o)
	t.state.putSettings(set)
	var d diff
	d.text("name", "", o.Name)
	d.time("expires_at", time.Time{}, o.ExpiresAt)
	t.eventOf(operatorsAccount(t), operatorTokenCreated, "", o.ID, "", d.changes(true))
	return Result{OperatorToken: &o}
}

// OperatorTokenDelete ends an operator token for good. Without Force it is refused if
// nobody could manage the installation afterwards.
type OperatorTokenDelete struct {
	ID    string `json:"id"`
	Force bool   `json:"force,omitzero"`
}

func init() { register[OperatorTokenDelete]("operator_token_delete") }

var eventsOfOperatorTokenDelete = []Action{operatorTokenDeleted}

// traits implements [Change].
func (*OperatorTokenDelete) traits() Traits {
	return Traits{Takes: Yes, Waits: Yes, Vital: No, Level: LevelOfPeople, Events: eventsOfOperatorTokenDelete}
}

func (in *OperatorTokenDelete) apply(t *txn) Result {
	set := *t.state.set()
	at := slices.IndexFunc(set.OperatorTokens, func(h Hash) bool { return OperatorTokenID(h) == in.ID })
	if at < 0 {
		return refuse(NotFound, "there is no operator token %q", in.ID)
	}
	gone := set.operatorToken(set.OperatorTokens[at])
	set.setOperatorTokens(slices.Delete(slices.Clone(set.OperatorTokens), at, at+1))
	if !in.Force && !gone.Expired(t.when.at) && !t.operatedBy(&set, "") {
		return refuse(WouldLockOut, "this is the last operator token that is accepted; create another one first, or repeat with force=true: then only a start with PERFGATE_OPERATOR_TOKEN gives access again")
	}
	t.settle()
	t.state.putSettings(set)
	t.endSessions(gone.ID, "")
	var d diff
	d.text("name", gone.Name, "")
	t.eventOf(operatorsAccount(t), operatorTokenDeleted, "", gone.ID, "", d.changes(false))
	return Result{OperatorToken: &gone}
}
