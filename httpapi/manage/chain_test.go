package manage_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi"
	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
)

// texts reads a member of an answer that is a list of strings.
func texts(t *testing.T, a apitest.Answer, name string) []string {
	t.Helper()
	var doc map[string]json.RawMessage
	apitest.Must(t, json.Unmarshal([]byte(a.Body), &doc))
	var out []string
	apitest.Must(t, json.Unmarshal(doc[name], &out))
	slices.Sort(out)
	return out
}

// rotated makes a key and rotates it, with an overlap, so that n keys are valid.
func rotated(g *apitest.Rig, n int) (ids, secrets []string) {
	id, secret := g.Key("live", "read")
	ids, secrets = []string{id}, []string{secret}
	for len(ids) < n {
		a := g.Op("POST", "/v1/keys/"+ids[len(ids)-1]+"/rotate", `{"overlap":"1d"}`).Want(g.T, 201)
		ids, secrets = append(ids, a.Text("id")), append(secrets, a.Text("key"))
	}
	return ids, secrets
}

func valid(g *apitest.Rig, secret string) bool {
	v := g.Op("POST", "/v1/keys/verify", fmt.Sprintf(`{"key":%q}`, secret)).Want(g.T, 200)
	return v.JSON["valid"] == true
}

// Revoking one key of a rotation says which others stay valid.
func TestRevokeTellsWhatIsStillValid(t *testing.T) {
	g := apitest.New(t)
	ids, secrets := rotated(g, 3)
	a := g.Op("POST", "/v1/keys/"+ids[2]+"/revoke", "").Want(t, 200)
	want := slices.Sorted(slices.Values(ids[:2]))
	if got := texts(t, a, "still_valid"); !slices.Equal(got, want) || len(texts(t, a, "also_revoked")) != 0 {
		t.Errorf("still valid %v, want %v: %s", got, want, a.Body)
	}
	if !valid(g, secrets[0]) || valid(g, secrets[2]) {
		t.Error("without chain, only the named key is revoked")
	}
}

// A bulk revocation says which keys of the same rotations stay valid, and so does its dry
// run; those that the filters select are not among them.
func TestBulkRevocationTellsWhatIsStillValid(t *testing.T) {
	sorted := func(ids ...string) []string { return slices.Sorted(slices.Values(ids)) }
	for name, tc := range map[string]struct {
		body func(a, b []string) string
		want func(a, b []string) []string
	}{
		"the first of one":        {func(a, _ []string) string { return list(a[0]) }, func(a, _ []string) []string { return sorted(a[1:]...) }},
		"the last of each":        {func(a, b []string) string { return list(a[2], b[1]) }, func(a, b []string) []string { return sorted(a[0], a[1], b[0]) }},
		"all of one":              {func(a, _ []string) string { return list(a...) }, func(a, _ []string) []string { return nil }},
		"with a filter":           {func(a, b []string) string { return `"type":"live",` + list(b[0]) }, func(_, b []string) []string { return b[1:] }},
		"a filter that has all":   {func(a, _ []string) string { return `"type":"live"` }, func(a, _ []string) []string { return nil }},
		"a filter that has none":  {func(a, _ []string) string { return `"type":"live","created_by":"user_none"` }, func(a, _ []string) []string { return nil }},
		"ids that a filter drops": {func(a, _ []string) string { return `"type":"test",` + list(a[0]) }, func(a, _ []string) []string { return nil }},
	} {
		g := apitest.New(t)
		a, _ := rotated(g, 3)
		b, _ := rotated(g, 2)
		g.Key("live", "read") // without a rotation
		body, want := tc.body(a, b), tc.want(a, b)
		for _, dry := range []string{`,"dry_run":true}`, `}`, `}`, `,"dry_run":true}`} { // the last two for keys that are revoked already
			answer := g.Op("POST", "/v1/keys/revoke", "{"+body+dry).Want(t, 200)
			if got := texts(t, answer, "still_valid"); !slices.Equal(got, want) {
				t.Errorf("%s%s: still valid %v, want %v", name, dry, got, want)
			}
		}
	}
}

// stepping is a backend that answers bulk revocations with its steps and changes nothing.
type stepping struct {
	httpapi.Backend
	script
}

func (b *stepping) Propose(ctx context.Context, cmd *store.Command) (rest.Receipt, error) {
	if _, bulk := cmd.Change.(*store.KeyRevokeBulk); bulk {
		return b.script.Propose(ctx, cmd)
	}
	return b.Backend.Propose(ctx, cmd)
}

// A key that a later step of the revocation ends does not stay valid.
func TestBulkRevocationInStepsTellsWhatIsStillValid(t *testing.T) {
	s := &stepping{}
	g := apitest.New(t, func(c *httpapi.Config) { s.Backend, c.Backend = c.Backend, s })
	ids, _ := rotated(g, 2)
	g.Op("PATCH", "/v1/keys/"+ids[1], `{"environment":"other"}`).Want(t, 200)
	for body, want := range map[string][]string{`{"type":"live"}`: nil, `{"environment":""}`: ids[1:]} {
		s.script = script{steps: []rest.Receipt{step(1, store.KeyID(ids[0]), true, store.KeyID(ids[0])), step(1, "", true)}}
		a := g.Op("POST", "/v1/keys/revoke", body).Want(t, 200)
		if got := texts(t, a, "still_valid"); len(s.asked) != 2 || !slices.Equal(got, want) {
			t.Errorf("%s: still valid %v, want %v, after %d steps", body, got, want, len(s.asked))
		}
	}
}

// list is the member ids of a body.
func list(ids ...string) string {
	raw, _ := json.Marshal(ids)
	return `"ids":` + string(raw)
}

// With chain, whichever key of a rotation is named, none of them is valid afterwards;
// a repeat with the same Idempotency-Key changes nothing.
func TestRevokeChain(t *testing.T) {
	for named := range 3 {
		g := apitest.New(t)
		ids, secrets := rotated(g, 3)
		_, other := g.Key("live", "read")
		call := func() apitest.Answer {
			return g.Op("POST", "/v1/keys/"+ids[named]+"/revoke", `{"chain":true,"reason":"leaked"}`, "Idempotency-Key", "i").Want(t, 200)
		}
		a := call()
		want := slices.Sorted(slices.Values(slices.Concat(ids[:named], ids[named+1:])))
		if got := texts(t, a, "also_revoked"); !slices.Equal(got, want) || len(texts(t, a, "still_valid")) != 0 {
			t.Errorf("also revoked %v, want %v: %s", got, want, a.Body)
		}
		if a.Text("id") != ids[named] || a.Text("state") != "revoked" || a.Text("revoke_reason") != "leaked" {
			t.Errorf("the answer is about another key: %s", a.Body)
		}
		for i, secret := range secrets {
			if valid(g, secret) {
				t.Errorf("key %d of the chain is valid after a revocation of %d", i, named)
			}
		}
		if !valid(g, other) {
			t.Error("a key outside of the chain is revoked")
		}
		call()
		if n := len(g.Events("?action=key.revoke")); n != 3 {
			t.Errorf("%d events of revocations, want 3", n)
		}
	}
}

// racing is a backend in which something else happens right before the first bulk
// revocation is made. One that crashes makes no other after it.
type racing struct {
	httpapi.Backend
	before  func()
	crashes bool
	made    int
}

func (b *racing) Propose(ctx context.Context, cmd *store.Command) (rest.Receipt, error) {
	if _, bulk := cmd.Change.(*store.KeyRevokeBulk); bulk {
		if b.made++; b.made == 1 {
			b.before()
		} else if b.crashes {
			return rest.Receipt{}, fault.New(fault.NoLeader)
		}
	}
	return b.Backend.Propose(ctx, cmd)
}

// older adds a node of an older version to the cluster.
func older(g *apitest.Rig, level int) {
	g.T.Helper()
	rc, err := g.Backend.Apply(&store.Command{At: time.Now(), Change: &store.MemberPut{Member: store.Member{ID: "old", Name: "old", Address: "h:1", Level: level}}})
	if err != nil || rc.Refusal != nil {
		g.T.Fatal(err, rc.Refusal)
	}
}

// One command revokes the chain, with the keys that rotations added after it was read: a
// crash after it leaves none of them valid.
func TestRevokeChainIsOneCommand(t *testing.T) {
	race := &racing{crashes: true}
	g := apitest.New(t, func(c *httpapi.Config) { race.Backend, c.Backend = c.Backend, race })
	ids, secrets := rotated(g, 3)
	race.before = func() {
		for range 2 {
			a := g.Op("POST", "/v1/keys/"+ids[len(ids)-1]+"/rotate", `{"overlap":"1d"}`).Want(t, 201)
			ids, secrets = append(ids, a.Text("id")), append(secrets, a.Text("key"))
		}
	}
	a := g.Op("POST", "/v1/keys/"+ids[1]+"/revoke", `{"chain":true}`).Want(t, 200)
	want := slices.Sorted(slices.Values(slices.Concat(ids[:1], ids[2:])))
	if got := texts(t, a, "also_revoked"); !slices.Equal(got, want) || len(texts(t, a, "still_valid")) != 0 {
		t.Errorf("also revoked %v, want %v: %s", got, want, a.Body)
	}
	for i, secret := range secrets {
		if valid(g, secret) {
			t.Errorf("key %d of the chain is valid", i)
		}
	}
}

// While a node of the cluster does not know how to follow a chain, the chain is read again
// after the command.
func TestRevokeChainInAnOlderCluster(t *testing.T) {
	race := &racing{}
	g := apitest.New(t, func(c *httpapi.Config) { race.Backend, c.Backend = c.Backend, race })
	older(g, store.LevelOfLast-1)
	ids, secrets := rotated(g, 2)
	race.before = func() {
		a := g.Op("POST", "/v1/keys/"+ids[1]+"/rotate", `{"overlap":"1d"}`).Want(t, 201)
		ids, secrets = append(ids, a.Text("id")), append(secrets, a.Text("key"))
	}
	a := g.Op("POST", "/v1/keys/"+ids[0]+"/revoke", `{"chain":true}`).Want(t, 200)
	if got := texts(t, a, "also_revoked"); !slices.Equal(got, slices.Sorted(slices.Values(ids[1:]))) || len(texts(t, a, "still_valid")) != 0 {
		t.Errorf("also revoked %v: %s", got, a.Body)
	}
	if strings.Contains(g.Backend.Commands(), `"last"`) {
		t.Error("a command has a member that not every node knows")
	}
	for i, secret := range secrets {
		if valid(g, secret) {
			t.Errorf("key %d of the chain is valid", i)
		}
	}
}

func TestRevokeChainRefusals(t *testing.T) {
	g := apitest.New(t)
	id, secret := g.Key("live", "read")
	g.Op("POST", "/v1/keys/key_unknown/revoke", `{"chain":true}`).Want(t, 404)
	g.Op("POST", "/v1/keys/"+id+"/revoke", `{"chain":true}`, "If-Match", `"1"`).Want(t, 412)
	g.Op("POST", "/v1/keys/"+id+"/revoke", `{"chain":"yes"}`).Want(t, 422)
	if !valid(g, secret) {
		t.Error("a refused call revokes")
	}
}

// The end of an overlap shows in the key that rotates, and in the rotation's answer.
func TestOverlapEndsAt(t *testing.T) {
	g := apitest.New(t)
	id, _ := g.Key("live", "read")
	if a := g.Op("GET", "/v1/keys/"+id, ""); a.JSON["overlap_ends_at"] != nil {
		t.Errorf("a key that does not rotate: %s", a.Body)
	}
	now, _ := g.Config.Clock()
	want := now.Add(14*24*time.Hour + 12*time.Hour).Format(time.RFC3339Nano)
	a := g.Op("POST", "/v1/keys/"+id+"/rotate", `{"overlap":"14d12h"}`).Want(t, 201)
	if a.Text("overlap_ends_at") != want {
		t.Errorf("the rotation answers %s, want %s", a.Body, want)
	}
	if a := g.Op("GET", "/v1/keys/"+id, ""); a.Text("overlap_ends_at") != want || a.Text("state") != "rotating" {
		t.Errorf("the old key is %s", a.Body)
	}
	if a := g.Op("GET", "/v1/keys/"+a.Text("id"), ""); a.JSON["overlap_ends_at"] != nil {
		t.Errorf("the new key is %s", a.Body)
	}
}

// A key's own allowlist needs the tier's feature; an existing one stays, also through
// a change of other settings and a rotation.
func TestKeyAllowlistNeedsTheFeature(t *testing.T) {
	g := apitest.New(t)
	const list = `["10.0.0.0/8","192.0.2.1"]`
	id := g.Op("POST", "/v1/keys", `{"name":"n","type":"live","allowlist":`+list+`}`).Want(t, 201).Text("id")
	g.Op("PATCH", "/v1/accounts/default", `{"tier":"free"}`).Want(t, 200)
	g.Op("POST", "/v1/keys", `{"name":"n","type":"live","allowlist":["10.0.0.0/8"]}`).Want(t, 403, fault.FeatureNotInTier)
	g.Op("PATCH", "/v1/keys/"+id, `{"allowlist":["10.0.0.1"]}`).Want(t, 403, fault.FeatureNotInTier)
	a := g.Op("POST", "/v1/keys/import", `{"name":"a","type":"live","key":"0123456789abcdef-1","allowlist":["10.0.0.1"]}`+"\n"+
		`{"name":"b","type":"live","key":"0123456789abcdef-2"}`).Want(t, 200)
	var page struct {
		Data []struct {
			ID    *string
			Error *struct{ Code string }
		}
	}
	apitest.Must(t, json.Unmarshal([]byte(a.Body), &page))
	if page.Data[0].Error == nil || page.Data[0].Error.Code != string(fault.FeatureNotInTier) || page.Data[1].ID == nil {
		t.Errorf("the import answers %s", a.Body)
	}
	for _, body := range []string{`{"name":"m"}`, `{"allowlist":` + list + `}`} {
		a := g.Op("PATCH", "/v1/keys/"+id, body).Want(t, 200)
		if got := texts(t, a, "allowlist"); len(got) != 2 {
			t.Errorf("after %s the list is %v", body, got)
		}
	}
	next := g.Op("POST", "/v1/keys/"+id+"/rotate", `{}`).Want(t, 201)
	if got := texts(t, next, "allowlist"); len(got) != 2 {
		t.Errorf("after a rotation the list is %v", got)
	}
	g.Op("PATCH", "/v1/keys/"+id, `{"allowlist":[]}`).Want(t, 200)
	g.Op("POST", "/v1/keys", `{"name":"n","type":"live","allowlist":[]}`).Want(t, 201)
}
