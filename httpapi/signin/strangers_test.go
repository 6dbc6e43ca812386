package signin

import (
	"net/netip"
	"testing"
)

// Attempts that name no user count for their address alone: strangers cannot fill a bucket
// that everybody is judged by.
func TestStrangersLockNobodyOut(t *testing.T) {
	g := NewGuard()
	for i := range 200 {
		g.Failed(&Attempt{Client: netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})})
	}
	here := netip.MustParseAddr("198.51.100.7")
	for _, a := range []Attempt{{Client: here}, {Client: here, User: "ada@example.com"}} {
		if wait := g.Wait(&a); wait != 0 {
			t.Errorf("%+v waits for %d s", a, wait)
		}
	}
	if one := (Attempt{Client: netip.MustParseAddr("192.0.2.1")}); g.Wait(&one) != 0 {
		t.Error("one failure of an address is enough to wait")
	}
}

// The role of a user comes from groups that are mapped in the user's own account.
func TestRoleIn(t *testing.T) {
	o := NewOIDC(OIDCConfig{Roles: map[string]string{"staff": "viewer", "acme": "acct_x:owner", "ops": "operator"}})
	for _, c := range []struct {
		groups        []string
		account, role string
	}{
		{[]string{"staff", "acme"}, "default", "viewer"},
		{[]string{"staff", "acme"}, "acct_x", "owner"},
		{[]string{"acme"}, "default", ""},
		{[]string{"staff"}, "acct_x", ""},
		{[]string{"staff", "ops"}, "acct_x", "operator"},
		{[]string{"none"}, "default", ""},
	} {
		if role, ok := o.RoleIn(c.groups, c.account); role != c.role || ok != (c.role != "") {
			t.Errorf("%v in %s: %q, %v, want %q", c.groups, c.account, role, ok, c.role)
		}
	}
}
