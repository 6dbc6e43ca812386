package signin

import (
	"testing"
	"time"
)

func TestTrips(t *testing.T) {
	now := time.Unix(1_800_000_000, 0).UTC()
	trip := Trip{State: "s", Nonce: "n", Verifier: "v", Ends: now.Add(SignInTime)}
	secret, other := [32]byte{1}, [32]byte{2}
	sealed := Seal(secret, trip)
	if got, ok := Open(secret, sealed, now); !ok || got != trip {
		t.Errorf("%+v %v", got, ok)
	}
	if sealed == Seal(secret, trip) {
		t.Error("two trips are sealed alike")
	}
	if _, ok := Open(other, sealed, now); ok {
		t.Error("opened with another key")
	}
	if _, ok := Open(secret, sealed, trip.Ends); ok {
		t.Error("opened when it was over")
	}
	for i := range sealed {
		b := []byte(sealed)
		if b[i]++; string(b) == sealed {
			continue
		}
		if got, ok := Open(secret, string(b), now); ok && got != trip { // the last character may have unused bits
			t.Errorf("changed at %d: %+v", i, got)
		}
	}
	for _, bad := range []string{"", "AAAA", "!"} {
		if _, ok := Open(secret, bad, now); ok {
			t.Errorf("%q is a trip", bad)
		}
	}
}

func TestRolesOfGroups(t *testing.T) {
	o := NewOIDC(OIDCConfig{Roles: map[string]string{"a": "viewer", "b": "acct_1:owner", "c": "admin"}})
	for _, row := range []struct {
		groups        []string
		account, role string
	}{
		{nil, "", ""}, {[]string{"x"}, "", ""}, {[]string{"a"}, "", "viewer"}, {[]string{"a", "c"}, "", "admin"}, {[]string{"b", "c"}, "acct_1", "owner"}, {[]string{"c", "b", "a"}, "acct_1", "owner"},
	} {
		account, role, ok := o.Role(row.groups)
		if account != row.account || role != row.role || ok != (row.role != "") {
			t.Errorf("%v: %q %q %v", row.groups, account, role, ok)
		}
	}
}
