package rest_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
)

// keyOf makes a key of an account.
func keyOf(g *apitest.Rig, account string, scopes string) (secret string) {
	g.T.Helper()
	return g.Op("POST", "/v1/keys", `{"name":"k","type":"live","scopes":["`+scopes+`"]}`, rest.AccountHeader, account).Want(g.T, 201).Text("key")
}

// The keys of an account share its calls, however many there are; another account and
// operators have theirs.
func TestAccountShare(t *testing.T) {
	g := apitest.New(t)
	f := g.Frame()
	other := g.Op("POST", "/v1/accounts", `{"name":"other"}`).Want(t, 201).Text("id")
	keys := []string{keyOf(g, "default", "admin"), keyOf(g, "default", "admin"), keyOf(g, "default", "admin")}
	rt := rest.Route{Method: "GET", Scope: store.ScopeAdmin, Serve: func(c *rest.Call) error { return c.Answer(struct{}{}) }}
	passed := 0
	for i := range 3 * rest.PerMinute {
		w := serve(f, rt, "", "Authorization", "Bearer "+keys[i%3])
		switch w.Code {
		case 200:
			passed++
		case 429:
			body := w.Body.String()
			if after, err := strconv.Atoi(w.Header().Get("Retry-After")); err != nil || after < 1 || !strings.Contains(body, "You have exceeded your rate limit") || !strings.Contains(body, "account") {
				t.Fatalf("%v %s", w.Header(), body)
			}
			name := "X-RateLimit-Remaining" // as documented, which is not the canonical form
			if got := w.Header()[name]; len(got) != 1 || got[0] != "0" {
				t.Fatalf("remaining %v", got)
			}
		default:
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	if passed != rest.AccountPerMinute {
		t.Errorf("%d calls of three keys passed, want %d", passed, rest.AccountPerMinute)
	}
	for _, token := range []string{keyOf(g, other, "admin"), apitest.OperatorToken} {
		if w := serve(f, rt, "", "Authorization", "Bearer "+token); w.Code != 200 {
			t.Errorf("another caller: %d %s", w.Code, w.Body)
		}
	}
	g.Now.Add(int64(time.Second))
	if w := serve(f, rt, "", "Authorization", "Bearer "+keys[0]); w.Code != 200 {
		t.Errorf("a second later: %d %s", w.Code, w.Body)
	}
}

// The bodies of an account's keys share a bound in bytes. Operators have none, and
// neither have calls that are not counted.
func TestAccountBytes(t *testing.T) {
	g := apitest.New(t)
	f := g.Frame()
	other := g.Op("POST", "/v1/accounts", `{"name":"other"}`).Want(t, 201).Text("id")
	keys := []string{keyOf(g, "default", "admin"), keyOf(g, "default", "admin")}
	body := strings.Repeat("x", rest.MaxBody)
	rt := rest.Route{Scope: store.ScopeAdmin, Serve: func(c *rest.Call) error {
		if _, err := c.Body(rest.MaxBody, "text/plain"); err != nil {
			return err
		}
		return c.Answer(struct{}{})
	}}
	for i := range rest.AccountBurst / rest.MaxBody {
		if w := serve(f, rt, body, "Authorization", "Bearer "+keys[i%2]); w.Code != 200 {
			t.Fatalf("body %d: %d %s", i, w.Code, w.Body)
		}
	}
	w := serve(f, rt, body, "Authorization", "Bearer "+keys[0])
	if after, err := strconv.Atoi(w.Header().Get("Retry-After")); w.Code != 429 || err != nil || after < 1 || !strings.Contains(w.Body.String(), "MiB") {
		t.Errorf("beyond the bound: %d %v %s", w.Code, w.Header(), w.Body)
	}
	unmetered := rt
	unmetered.Access = rest.Unmetered
	if w := serve(f, unmetered, body, "Authorization", "Bearer "+keys[0]); w.Code != 200 {
		t.Errorf("a call that is not counted: %d %s", w.Code, w.Body)
	}
	if w := serve(f, rt, "", "Authorization", "Bearer "+keys[0]); w.Code != 200 {
		t.Errorf("a call without a body: %d %s", w.Code, w.Body)
	}
	for _, token := range []string{keyOf(g, other, "admin"), apitest.OperatorToken} {
		if w := serve(f, rt, body, "Authorization", "Bearer "+token); w.Code != 200 {
			t.Errorf("another caller: %d %s", w.Code, w.Body)
		}
	}
	g.Now.Add(int64(time.Hour))
	if w := serve(f, rt, body, "Authorization", "Bearer "+keys[0]); w.Code != 200 {
		t.Errorf("an hour later: %d %s", w.Code, w.Body)
	}
	if codeOf(serve(f, rest.Route{Scope: store.ScopeAdmin, Serve: func(c *rest.Call) error {
		_, err := c.Body(10, "text/plain")
		return err
	}}, body, "Authorization", "Bearer "+keys[0])) != string(fault.BodyTooLarge) {
		t.Error("a body that is too large is refused for that")
	}
}

// Bytes that a call writes beside its body are taken from the same bound.
func TestCharge(t *testing.T) {
	g := apitest.New(t)
	f := g.Frame()
	_, secret := g.Key("live", "admin")
	rt := rest.Route{Scope: store.ScopeAdmin, Serve: func(c *rest.Call) error {
		if err := c.Charge(rest.MaxBody); err != nil {
			return err
		}
		return c.Answer(struct{}{})
	}}
	for i := range rest.AccountBurst / rest.MaxBody {
		if w := serve(f, rt, "", "Authorization", "Bearer "+secret); w.Code != 200 {
			t.Fatalf("call %d: %d %s", i, w.Code, w.Body)
		}
	}
	if w := serve(f, rt, "", "Authorization", "Bearer "+secret); codeOf(w) != string(fault.RequestsPerMinute) || w.Header().Get("Retry-After") == "" {
		t.Errorf("beyond the bound: %d %v %s", w.Code, w.Header(), w.Body)
	}
	unmetered := rt
	unmetered.Access = rest.Unmetered
	for token, rt := range map[string]rest.Route{apitest.OperatorToken: rt, secret: unmetered} {
		if w := serve(f, rt, "", "Authorization", "Bearer "+token); w.Code != 200 {
			t.Errorf("a call without a bound: %d %s", w.Code, w.Body)
		}
	}
}
