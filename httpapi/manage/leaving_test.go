package manage_test

import (
	"strings"
	"testing"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/fault"
)

// Whoever is disabled has no access any more: by session, keys, links, or sessions of links.
func TestEmployeeLeaves(t *testing.T) {
	g := apitest.New(t)
	ada, boss := g.Person("ada@example.com", "admin", ""), g.Person("boss@example.com", "owner", "")
	key := ada.Do("POST", "/v1/keys", `{"name":"n","type":"live","scopes":["admin"]}`).Want(t, 201).Text("key")
	_, others := g.Key("live", "admin")
	link := func() map[string]string {
		_, token, _ := strings.Cut(ada.Do("POST", "/v1/session-links", `{}`).Want(t, 201).Text("url"), "?token=")
		return map[string]string{"token": token}
	}
	visitor := &apitest.Person{Cookie: apitest.Cookie(g.SignIn(link()).Want(t, 200)), Rig: g}
	visitor.Do("GET", "/v1/keys", "").Want(t, 200)
	handed := visitor.Do("POST", "/v1/keys", `{"name":"v","type":"live","scopes":["admin"]}`).Want(t, 201)
	next := visitor.Do("POST", "/v1/keys/"+handed.Text("id")+"/rotate", `{"overlap":"24h"}`).Want(t, 201)
	for _, k := range []apitest.Answer{handed, next} { // made with ada's right
		if by := k.Text("created_by"); by != ada.ID {
			t.Errorf("created by %q, want %q", by, ada.ID)
		}
	}
	if e := g.Events("?action=key.create&key=" + next.Text("id")); len(e) != 1 || !strings.HasPrefix(e[0].Actor.ID, "ses_") {
		t.Errorf("the event names %+v, not the session", e)
	}
	unopened := link()
	a := boss.Do("POST", "/v1/users/"+ada.ID+"/disable", `{"revoke_keys":true}`).Want(t, 200)
	if a.Text("state") != "disabled" || a.JSON["revocation"] == nil || len(a.JSON["ids"].([]any)) != 3 {
		t.Errorf("%s", a.Body)
	}
	ada.Do("GET", "/v1/session", "").Want(t, 401, fault.InvalidSession)
	visitor.Do("GET", "/v1/keys", "").Want(t, 401, fault.InvalidSession)
	g.SignIn(unopened).Want(t, 401, fault.InvalidCredentials)
	for _, secret := range []string{key, handed.Text("key"), next.Text("key")} {
		g.Do(g.Admin.URL, "GET", "/v1/keys", secret, "").Want(t, 401, fault.KeyRevoked)
	}
	g.Do(g.Admin.URL, "GET", "/v1/keys", others, "").Want(t, 200)
	g.SignIn(map[string]string{"email": ada.Email, "password": apitest.Password}).Want(t, 401, fault.InvalidCredentials)
	g.Op("POST", "/v1/users/"+ada.ID+"/reset", "").Want(t, 409)
	boss.Do("POST", "/v1/users/"+boss.ID+"/disable", "").Want(t, 409, fault.WouldLockOut)
	boss.Do("PATCH", "/v1/users/"+ada.ID, `{"state":"active"}`).Want(t, 200)
	g.SignIn(map[string]string{"email": ada.Email, "password": apitest.Password}).Want(t, 200)
	boss.Do("DELETE", "/v1/users/"+ada.ID, "").Want(t, 200)
	boss.Do("GET", "/v1/users/"+ada.ID, "").Want(t, 404)
}
