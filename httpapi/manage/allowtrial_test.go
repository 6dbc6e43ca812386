package manage_test

import (
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/fault"
)

// A list on trial is in force and tells until when; it is kept, reverted, or replaced for good.
func TestAllowlistOnTrial(t *testing.T) {
	g := apitest.New(t)
	_, secret := g.Key("live", "read")
	use := func() apitest.Answer { return g.Do(g.Proxy.URL, "GET", "/v1/limits", secret, "") }
	pending := func(a apitest.Answer) map[string]any {
		t.Helper()
		p, _ := a.Want(t, 200).JSON["pending"].(map[string]any)
		return p
	}
	get := func() apitest.Answer { return g.Op("GET", "/v1/allowlist", "") }
	if pending(get()) != nil {
		t.Error("a list that was never set is on trial")
	}
	g.Op("POST", "/v1/allowlist/confirm", "").Want(t, 409, fault.Conflict)
	g.Op("POST", "/v1/allowlist/revert", "").Want(t, 409, fault.Conflict)
	other := `{"entries":[{"cidr":"203.0.113.0/24"}],"confirm_within":"5m"}`

	a := g.Op("PUT", "/v1/allowlist", other)
	p := pending(a)
	by, err := time.Parse(time.RFC3339, p["confirm_by"].(string))
	if set, _ := time.Parse(time.RFC3339, p["set_at"].(string)); err != nil || by.Sub(set).Round(time.Minute) != 5*time.Minute || p["set_by"] == "" {
		t.Errorf("pending is %v", p)
	}
	use().Want(t, 403, fault.IPNotAllowed)
	if got := pending(get()); got["confirm_by"] != p["confirm_by"] || got["set_by"] != p["set_by"] {
		t.Errorf("read, it is %v, and answered, it was %v", got, p)
	}
	tag := get().Header.Get("ETag")
	g.Op("POST", "/v1/allowlist/confirm", "", "If-Match", `"1"`).Want(t, 412)
	if a := g.Op("POST", "/v1/allowlist/confirm", ""); pending(a) != nil || a.JSON["revocation"] == nil {
		t.Errorf("confirmed: %s", a.Body)
	}
	if a := g.Op("GET", "/v1/allowlist", "", "If-None-Match", tag); a.Status != 200 || pending(a) != nil {
		t.Errorf("who has read the list on trial is told nothing of the confirmation: %d", a.Status)
	}
	use().Want(t, 403, fault.IPNotAllowed)

	if pending(g.Op("PUT", "/v1/allowlist?confirm_within=1h", "198.51.100.7 # a", "Content-Type", "text/plain")) == nil {
		t.Error("a list in text is not on trial")
	}
	if a := g.Op("POST", "/v1/allowlist/revert", ""); pending(a) != nil || !strings.Contains(a.Body, "203.0.113.0/24") {
		t.Errorf("reverted: %s", a.Body)
	}
	g.Op("PUT", "/v1/allowlist?confirm_within=1h", `{"entries":[]}`).Want(t, 200)
	use().Want(t, 200)
	if pending(g.Op("PUT", "/v1/allowlist", `{"entries":[]}`)) != nil {
		t.Error("a list that was set for good is on trial")
	}
	for _, within := range []string{"9s", "25h", "-5m", "soon"} {
		g.Op("PUT", "/v1/allowlist?confirm_within="+within, `{"entries":[]}`).Want(t, 422, fault.InvalidValue)
	}
}

// A key confirms only what it is not shut out by, and reverts only to what does not shut it out.
func TestKeyOnTrial(t *testing.T) {
	g := apitest.New(t)
	_, secret := g.Key("live", "admin")
	do := func(from, path string) apitest.Answer {
		return g.Do(g.Admin.URL, "POST", path, secret, "", "X-Forwarded-For", from)
	}
	g.Op("PUT", "/v1/allowlist", `{"entries":[{"cidr":"192.0.2.0/24"}]}`).Want(t, 200)
	g.Op("PUT", "/v1/allowlist?confirm_within=5m", `{"entries":[{"cidr":"203.0.113.0/24"}]}`).Want(t, 200)
	do("192.0.2.9", "/v1/allowlist/confirm").Want(t, 403, fault.IPNotAllowed)
	do("203.0.113.5", "/v1/allowlist/revert").Want(t, 409, fault.WouldLockOut)
	do("203.0.113.5", "/v1/allowlist/revert?force=true").Want(t, 200)
	do("203.0.113.5", "/v1/allowlist/confirm").Want(t, 403, fault.IPNotAllowed)
}
