package manage_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/httpapi"
	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/fault"
)

// Operators have the account default, but an owner of it neither sees nor ends their
// sessions. An owner ends those of the account's users, others their own alone.
func TestWhoseSessions(t *testing.T) {
	g := apitest.New(t)
	acct := g.Op("POST", "/v1/accounts", `{"name":"Acme"}`).Want(t, 201).Text("id")
	owner, viewer, op := g.Person("o@example.com", "owner", ""), g.Person("v@example.com", "viewer", ""), g.Person("op@example.com", "operator", "")
	elsewhere := g.Person("o@acme.example", "owner", acct)
	g.SignIn(map[string]string{"token": apitest.OperatorToken}).Want(t, 200)
	ids := func(p *apitest.Person) (list []string) {
		for _, s := range p.Do("GET", "/v1/sessions", "").Want(t, 200).JSON["data"].([]any) {
			list = append(list, s.(map[string]any)["id"].(string))
		}
		return list
	}
	own := func(p *apitest.Person) string {
		return p.Do("GET", "/v1/session", "").Want(t, 200).JSON["session"].(map[string]any)["id"].(string)
	}
	sees := strings.Join(ids(owner), " ")
	if len(ids(owner)) != 2 || !strings.Contains(sees, own(owner)) || !strings.Contains(sees, own(viewer)) {
		t.Errorf("an owner of the account default sees %s", sees)
	}
	users := owner.Do("GET", "/v1/users", "").Want(t, 200).Body
	for line := range strings.Lines(owner.Do("GET", "/v1/account/data", "").Want(t, 200).Body) {
		if strings.HasPrefix(line, `{"type":"user"`) {
			users += line
		}
	}
	if strings.Contains(users, "op@example.com") || !strings.Contains(users, "v@example.com") {
		t.Errorf("an owner sees the users %s", users)
	}
	if n := len(ids(op)); n != 5 {
		t.Errorf("an operator sees %d sessions", n)
	}
	if got := ids(viewer); len(got) != 1 || got[0] != own(viewer) {
		t.Errorf("a viewer sees %q", got)
	}
	for _, id := range []string{own(op), own(elsewhere), "ses_none"} {
		owner.Do("DELETE", "/v1/sessions/"+id, "").Want(t, 404)
		viewer.Do("DELETE", "/v1/sessions/"+id, "").Want(t, 404)
	}
	viewer.Do("DELETE", "/v1/sessions/"+own(owner), "").Want(t, 404)
	owner.Do("DELETE", "/v1/sessions/"+own(viewer), "").Want(t, 200)
	viewer.Do("GET", "/v1/session", "").Want(t, 401, fault.InvalidSession)
	op.Do("DELETE", "/v1/sessions/"+own(elsewhere), "").Want(t, 200)
	owner.Do("DELETE", "/v1/sessions/"+own(owner), "").Want(t, 200)
}

// Behind a proxy that has the TLS, cookies are secure and links begin with https, also where
// the browser states no origin. Nobody but a trusted proxy says so.
func TestCookiesBehindTLS(t *testing.T) {
	for trusted, secure := range map[string]bool{"127.0.0.0/8": true, "192.0.2.0/24": false} {
		g := apitest.New(t, func(c *httpapi.Config) {
			c.SignIn.Trusted = []netip.Prefix{netip.MustParsePrefix(trusted)}
		})
		for proto, https := range map[string]bool{"https": secure, "http, HTTPS": secure, "https, http": false, "http": false, "": false} {
			a := g.SignIn(map[string]string{"token": apitest.OperatorToken}, "X-Forwarded-Proto", proto).Want(t, 200)
			c := a.Header.Get("Set-Cookie")
			if got := strings.HasPrefix(c, "__Host-perfgate=") && strings.Contains(c, "; Secure"); got != https {
				t.Errorf("%s from %s: %s", proto, trusted, c)
			}
			link := g.Op("POST", "/v1/session-links", `{}`, "X-Forwarded-Proto", proto).Want(t, 201).Text("url")
			if strings.HasPrefix(link, "https://") != https {
				t.Errorf("%s from %s: %s", proto, trusted, link)
			}
		}
	}
}
