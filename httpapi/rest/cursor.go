package rest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/url"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/store"
)

// cursorMAC is how many bytes of the authentication code a cursor carries.
const cursorMAC = 16

// Seal makes the cursor that resumes q's list after pos. It is bound to the
// account, the call and its filters by a code under the cluster's pepper: every
// node accepts it, no client can make one, and it does not fit another list.
func (q *Query) Seal(pos string) *string {
	s := base64.RawURLEncoding.EncodeToString(append(q.cursorCode(q.call.frame.cfg.Store.Pepper(), pos), pos...))
	return &s
}

// resume returns the position in a cursor, "" without one.
func (q *Query) resume(cursor string) (string, error) {
	if cursor == "" {
		return "", nil
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil || len(raw) <= cursorMAC {
		return "", fault.New(fault.InvalidCursor)
	}
	pos := string(raw[cursorMAC:])
	p := q.call.frame.cfg.Store.Peppers()
	if hmac.Equal(raw[:cursorMAC], q.cursorCode(p.Current, pos)) || p.Rotating && hmac.Equal(raw[:cursorMAC], q.cursorCode(p.Retired, pos)) {
		return pos, nil
	}
	return "", fault.New(fault.InvalidCursor)
}

func (q *Query) cursorCode(pepper store.Hash, pos string) []byte {
	filters := url.Values{}
	for k, v := range q.values {
		if k != "cursor" && k != "limit" {
			filters[k] = v
		}
	}
	sum := digest("cursor", string(q.call.Account), q.call.Route.ID, filters.Encode(), pos)
	m := hmac.New(sha256.New, pepper[:])
	m.Write(sum[:])
	return m.Sum(nil)[:cursorMAC]
}

// Page is the answer of a list.
type Page[T any] struct {
	Data []T     `json:"data"`
	Next *string `json:"next_cursor"`
}
