package httpapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
)

// A small body must not write any number of bytes: each call that keys make and that
// changes something is charged for its body, and for a stored key that it writes again. A
// revocation is not: it writes each key once, and nothing may keep it off.
func TestWritesAreCharged(t *testing.T) {
	const rewrites, small = true, false
	all := map[string]bool{
		"createKey": small, "updateKey": rewrites, "rotateKey": rewrites, "revokeKey": small, "revokeKeys": small,
		"importKeys": small, "setAllowlist": small, "updateAccount": small, "simulateLimits": small,
	}
	g := apitest.New(t)
	routes := map[string]*rest.Route{}
	for _, rt := range g.API.Routes() {
		if rt.Method == http.MethodGet || rt.Access&(rest.Operators|rest.NoKeys|rest.Unmetered|rest.Open) != 0 {
			continue
		}
		if strings.HasPrefix(rt.Path, "/v1/webhooks") || strings.HasPrefix(rt.Path, "/v1/incidents") {
			continue // they write no keys again, or only by a rotation, and an account has few of them
		}
		if rt.ID == "confirmAllowlist" || rt.ID == "revertAllowlist" {
			continue // see TestTrialsAreCharged
		}
		if _, ok := all[rt.ID]; !ok {
			t.Errorf("%s has no row: state whether it writes stored keys again", rt.ID)
		}
		routes[rt.ID] = rt
	}
	for id, charged := range all {
		rt := routes[id]
		if rt == nil {
			t.Errorf("there is no call %s that changes something", id)
			continue
		}
		g := apitest.New(t)
		_, secret := g.Key("live", "admin")
		target, size := largeKey(g)
		g.Unchecked = true
		left := drain(g, secret)
		const calls = 50
		passed := 0
		for passed < calls {
			path, body := sample(rt, target)
			if id == "importKeys" {
				body = fmt.Sprintf(`{"name":"n","type":"test","key":"an-imported-key-%09d"}`, passed)
			}
			a := g.Do(g.Admin.URL, rt.Method, path, secret, body)
			if a.Status == 429 {
				a.Want(t, 429, fault.RequestsPerMinute)
				break
			}
			if a.Status >= 300 {
				t.Fatalf("%s: %d %s", id, a.Status, a.Body)
			}
			if passed++; id == "rotateKey" {
				target = a.Text("id")
			}
		}
		most := calls
		if charged {
			most = int(left / size)
		}
		if passed > most || passed < most*9/10 {
			t.Errorf("%s: %d calls passed, want %d, with a key of %d bytes", id, passed, most, size)
		}
	}
}

// A repeat of a rotation writes nothing and takes nothing, also when nothing is left.
func TestRepeatsAreNotCharged(t *testing.T) {
	g := apitest.New(t)
	_, secret := g.Key("live", "admin")
	target, size := largeKey(g)
	g.Unchecked = true
	rotate := func(id, once string) apitest.Answer {
		return g.Do(g.Admin.URL, "POST", "/v1/keys/"+id+"/rotate", secret, "", "Idempotency-Key", once)
	}
	next := rotate(target, "first").Want(t, 201).Text("id")
	for n := range int(drain(g, secret) / size) {
		a := rotate(next, fmt.Sprint(n))
		if a.Status != 201 {
			break
		}
		next = a.Text("id")
	}
	rotate(next, "last").Want(t, 429, fault.RequestsPerMinute)
	if a := rotate(target, "first").Want(t, 200); a.JSON["secret_withheld"] != true {
		t.Errorf("the repeat answers %s", a.Body)
	}
}

// drain takes most of the bytes that the account may write at once, and returns the rest.
func drain(g *apitest.Rig, secret string) (left int64) {
	g.T.Helper()
	text := "127.0.0.0/8\n" + strings.Repeat("# filler\n", 7<<20/9)
	left = 16 << 20
	for range 2 {
		g.Do(g.Admin.URL, "PUT", "/v1/allowlist", secret, text, "Content-Type", "text/plain").Want(g.T, 200)
		left -= int64(len(text))
	}
	return left
}

// An allowlist is written again by a small call that begins or ends its trial: each is charged
// for the list.
func TestTrialsAreCharged(t *testing.T) {
	for _, c := range []struct{ name, method, path, body string }{
		{"begin", "PUT", "/v1/allowlist?confirm_within=5m", `{"entries":[]}`},
		{"confirm", "POST", "/v1/allowlist/confirm", ""},
		{"revert", "POST", "/v1/allowlist/revert", ""},
	} {
		g := apitest.New(t)
		_, secret := g.Key("live", "admin")
		g.Unchecked = true
		left := drain(g, secret)
		var long strings.Builder
		long.WriteString("127.0.0.0/8\n")
		for i := range 1000 {
			fmt.Fprintf(&long, "10.0.%d.%d # %s\n", i>>8, i&255, strings.Repeat("\U0001F511", 150))
		}
		set := func(path string) {
			g.Op("PUT", path, long.String(), "Content-Type", "text/plain").Want(t, 200)
		}
		set("/v1/allowlist")
		list, _, err := g.Store.Allowlist(store.DefaultAccount)
		apitest.Must(t, err)
		most := int(left / store.AllowlistSize(list))
		passed := 0
		for ; passed < 10; passed++ {
			if c.name == "begin" {
				set("/v1/allowlist")
			} else {
				set("/v1/allowlist?confirm_within=5m")
			}
			if a := g.Do(g.Admin.URL, c.method, c.path, secret, c.body); a.Status == 429 {
				break
			} else if a.Status >= 300 {
				t.Fatalf("%s: %d %s", c.name, a.Status, a.Body)
			}
		}
		if passed > most || most > 9 || passed < most-1 {
			t.Errorf("%s: %d calls passed, want %d", c.name, passed, most)
		}
	}
}

// largeKey makes a key with settings of about 100 KB.
func largeKey(g *apitest.Rig) (id string, size int64) {
	g.T.Helper()
	metadata := map[string]string{}
	for i := range store.MaxMetadata {
		metadata[fmt.Sprint("name", i)] = strings.Repeat("\U0001F511", 500)
	}
	body, err := json.Marshal(map[string]any{"name": "large", "type": "live", "metadata": metadata})
	apitest.Must(g.T, err)
	id = g.Op("POST", "/v1/keys", string(body)).Want(g.T, 201).Text("id")
	k, err := g.Store.Key(store.KeyID(id))
	apitest.Must(g.T, err)
	return id, store.KeySize(k)
}
