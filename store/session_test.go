package store

import (
	"fmt"
	"testing"
	"time"
)

// A session is found by its id alone, and by nothing else that its row holds.
func TestFindSession(t *testing.T) {
	h := begun(t)
	var ids []SessionID
	for i := range 6 {
		owner := UserID(fmt.Sprint("usr_", i/2))
		if i%2 == 0 {
			h.must(&Command{Change: &UserCreate{User: User{ID: owner, Email: fmt.Sprint(owner, "@example.com"), Role: RoleOwner, Password: "$argon2id$1"}}})
		}
		s := Session{Kind: OfUser, Owner: string(owner), Account: DefaultAccount, Hash: hashOf(fmt.Sprint(i)), Ends: h.at.Add(time.Hour)}
		h.must(&Command{Change: &SessionStart{Session: s, Check: "$argon2id$1"}})
		ids = append(ids, SessionIDOf(s.Hash))
	}
	for i, id := range ids {
		if s, err := h.People().FindSession(id); err != nil || s == nil || s.ID != id || s.Owner != fmt.Sprint("usr_", i/2) {
			t.Errorf("%s: %+v, %v", id, s, err)
		}
	}
	for _, id := range []SessionID{"", "ses_none", ids[0][1:], "usr_0\x00" + ids[0], "\x00" + ids[0]} {
		if s, err := h.People().FindSession(id); err != nil || s != nil {
			t.Errorf("%q: %+v, %v", id, s, err)
		}
	}
}
