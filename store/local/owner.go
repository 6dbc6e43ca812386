package local

import (
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/pack"
)

// owner is whose events are kept together, and share their room: an account's requests, an
// account's refused requests (refusedMark before the account), or the events of no account
// (""). Whoever holds a key that was revoked can cause refusals at any speed, so they push
// out each other, and never the requests of the same account.
//
// The refusals are a stream of their own: their ids begin with another prefix, their
// chains end in another head, and a gap at the beginning of them is none in the requests.
type owner string

// refusedMark begins an owner of refusals. It stands in no account's name.
const refusedMark = 0x01

// ownerOf is the owner of an event.
func ownerOf(account store.AccountID, refused bool) owner {
	if !refused || account == "" {
		return owner(clip(string(account), maxName))
	}
	return owner(appendOwner(nil, account, true))
}

// appendOwner appends the name of the owner of an event, at most maxName bytes.
func appendOwner[T pack.Text](dst []byte, account T, refused bool) []byte {
	if !refused || len(account) == 0 {
		return append(dst, account[:min(len(account), maxName)]...)
	}
	return append(append(dst, refusedMark), account[:min(len(account), maxName-1)]...)
}

// refuses reports whether an owner holds refusals.
func refuses[T pack.Text](o T) bool { return len(o) > 0 && o[0] == refusedMark }

// account is whose the events are.
func (o owner) account() store.AccountID {
	if refuses(o) {
		o = o[1:]
	}
	return store.AccountID(o)
}

// ownersOf lists the owners whose events q selects; none stands for all.
func ownersOf(q *store.EventQuery) []owner {
	switch {
	case q.Account == "":
		return nil
	case q.Account == store.Operators:
		return []owner{""}
	case q.WithOperators:
		return append(ownersOfAccount(q.Account), "")
	}
	return ownersOfAccount(q.Account)
}

func ownersOfAccount(account store.AccountID) []owner {
	return []owner{ownerOf(account, false), ownerOf(account, true)}
}
