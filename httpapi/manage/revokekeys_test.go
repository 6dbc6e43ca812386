package manage_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi"
	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/manage"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
)

// script is a backend that answers each bulk revocation with the next of its
// steps, and keeps the commands.
type script struct {
	httpapi.Backend
	steps []rest.Receipt
	fail  int // the step that fails; 0 is none
	asked []store.Command
}

func (s *script) Propose(_ context.Context, cmd *store.Command) (rest.Receipt, error) {
	s.asked = append(s.asked, *cmd)
	if n := len(s.asked); n == s.fail {
		return rest.Receipt{}, fault.New(fault.NoLeader)
	}
	return s.steps[len(s.asked)-1], nil
}

// revokeBy makes one call of bulk revocation, repeatable, over s.
func revokeBy(g *apitest.Rig, s *script, body string) *httptest.ResponseRecorder {
	g.T.Helper()
	return callBy(g, s, "/v1/keys/revoke", body, rest.WithBody((&manage.Keys{Store: g.Store, Uses: g.Observed()}).RevokeMany))
}

// callBy makes one call, repeatable, of a handler over s.
func callBy(g *apitest.Rig, s *script, path, body string, h rest.Handler) *httptest.ResponseRecorder {
	g.T.Helper()
	s.Backend = g.Backend
	g.Config.Backend = s
	r := httptest.NewRequest("POST", path, strings.NewReader(body))
	r.Header.Set(rest.IdempotencyHeader, "once")
	w := httptest.NewRecorder()
	g.Frame().Serve(w, r, &rest.Route{ID: "x", Method: "POST", Path: path, Access: rest.Open, Serve: h}, "", true)
	return w
}

// step is the receipt of one command that revoked keys and stopped at next.
func step(matched int, next store.KeyID, effective bool, keys ...store.KeyID) rest.Receipt {
	return rest.Receipt{Result: store.Result{Matched: matched, Keys: keys, Next: next}, Revocation: rest.Revocation{Index: 9, Effective: effective}}
}

type bulkAnswer struct {
	Matched, Revoked int
	DryRun           bool `json:"dry_run"`
	IDs              []string
	Revocation       *struct{ Effective bool }
}

func readBulk(t *testing.T, body string) (a bulkAnswer) {
	t.Helper()
	apitest.Must(t, json.Unmarshal([]byte(body), &a))
	return a
}

// A revocation goes on where each command stopped, and sums them up.
func TestBulkRevocationInSteps(t *testing.T) {
	s := &script{steps: []rest.Receipt{step(3, "key_b", true, "key_a", "key_b"), step(0, "key_m", true), step(2, "", true, "key_z")}}
	w := revokeBy(apitest.New(t), s, `{"type":"live","created_by":"op","environment":"","created_before":"2030-01-01T02:00:00+02:00","reason":"gone"}`)
	a := readBulk(t, w.Body.String())
	if w.Code != 200 || a.Matched != 5 || a.Revoked != 3 || !slices.Equal(a.IDs, []string{"key_a", "key_b", "key_z"}) || a.DryRun || !a.Revocation.Effective {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	var after []store.KeyID
	scopes := map[store.Hash]bool{}
	for _, cmd := range s.asked {
		in := cmd.Change.(*store.KeyRevokeBulk)
		after = append(after, in.After)
		scopes[cmd.Once.Scope] = true
		if *in.Type != store.Live || in.CreatedBy != "op" || *in.Environment != "" || in.Reason != "gone" || !in.CreatedBefore.Equal(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)) {
			t.Errorf("a step has other filters: %+v", in)
		}
		if cmd.Once.Body != s.asked[0].Once.Body {
			t.Error("a step has another body")
		}
	}
	if !slices.Equal(after, []store.KeyID{"", "key_b", "key_m"}) || len(scopes) != 3 {
		t.Errorf("steps after %q, with %d identities", after, len(scopes))
	}
	// A repeat takes the same steps under the same identities.
	again := &script{steps: s.steps}
	g := apitest.New(t)
	revokeBy(g, again, `{"type":"live","created_by":"op","environment":"","created_before":"2030-01-01T02:00:00+02:00","reason":"gone"}`)
	for i, cmd := range again.asked {
		if *cmd.Once != *s.asked[i].Once {
			t.Errorf("step %d of the repeat has another identity", i)
		}
	}
}

// An error in a later step is the answer, and no step follows it; one step that is
// not in force everywhere makes the answer 202.
func TestBulkRevocationStopsAtAnError(t *testing.T) {
	steps := []rest.Receipt{step(1, "key_a", true, "key_a"), step(1, "key_b", false, "key_b"), step(1, "", true, "key_c")}
	s := &script{steps: steps, fail: 2}
	if w := revokeBy(apitest.New(t), s, `{"type":"live"}`); w.Code != 503 || !strings.Contains(w.Body.String(), string(fault.NoLeader)) || len(s.asked) != 2 {
		t.Errorf("%d %s after %d commands", w.Code, w.Body, len(s.asked))
	}
	s = &script{steps: steps}
	if w := revokeBy(apitest.New(t), s, `{"type":"live"}`); w.Code != 202 || readBulk(t, w.Body.String()).Revoked != 3 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// The ids of an answer are cut; its counts are not.
func TestBulkRevocationCutsIDs(t *testing.T) {
	keys := make([]store.KeyID, 7_000)
	for i := range keys {
		keys[i] = store.KeyID(fmt.Sprint("key_", i))
	}
	s := &script{steps: []rest.Receipt{step(7_000, "key_a", true, keys...), step(7_000, "key_b", true, keys...), step(7_000, "", true, keys...)}}
	w := revokeBy(apitest.New(t), s, `{"type":"live"}`)
	if a := readBulk(t, w.Body.String()); a.Matched != 21_000 || a.Revoked != 21_000 || len(a.IDs) != store.MaxImport || a.IDs[7_000] != "key_0" {
		t.Errorf("matched %d, revoked %d, %d ids", a.Matched, a.Revoked, len(a.IDs))
	}
}

// No command revokes many keys: named ones are revoked in parts, each once, and a filter
// is carried out in steps with a limit.
func TestBulkRevocationIsBounded(t *testing.T) {
	g := apitest.New(t)
	const keys = manage.BulkStep + 1
	var lines, ids []string
	for i := range keys {
		lines = append(lines, fmt.Sprintf(`{"name":"n","type":"%s","key":"foreign-key-%010d"}`, []string{"test", "live"}[i%2], i))
	}
	var out struct{ Data []manage.ImportedLine }
	apitest.Must(t, json.Unmarshal([]byte(g.Op("POST", "/v1/keys/import", strings.Join(lines, "\n")).Want(t, 200).Body), &out))
	for _, l := range out.Data {
		ids = append(ids, string(*l.ID))
	}
	twice, err := json.Marshal(append(ids, ids...))
	apitest.Must(t, err)
	before := g.Backend.Proposed.Load()
	a := readBulk(t, g.Op("POST", "/v1/keys/revoke", `{"type":"live","ids":`+string(twice)+`}`, "Idempotency-Key", "ids").Want(t, 200).Body)
	if n := g.Backend.Proposed.Load() - before; a.Matched != keys/2 || a.Revoked != keys/2 || n != 2 {
		t.Errorf("named: %d matched and %d revoked by %d commands", a.Matched, a.Revoked, n)
	}
	g.Op("POST", "/v1/keys/revoke", `{"type":"test"}`).Want(t, 200)
	for line := range strings.SplitSeq(g.Backend.Commands(), "\x01") {
		if n := strings.Count(line, `"key_`); strings.Contains(line, `"key_revoke_bulk"`) && (n > manage.BulkStep+1 || n < 2 && !strings.Contains(line, fmt.Sprintf(`"limit":%d`, manage.BulkStep))) {
			t.Errorf("a command without a bound: %.300s", line)
		}
	}
}

// A dry run finds the keys that the call would revoke, by every filter, and
// changes nothing.
func TestBulkDryRun(t *testing.T) {
	g := apitest.New(t)
	other, _ := g.Key("live", "admin")
	var lines []string
	for i := range 1_100 { // more than a page of the store
		lines = append(lines, fmt.Sprintf(`{"name":"n","type":"%s","environment":"%s","key":"foreign-key-%010d"}`, []string{"test", "live"}[i%2], []string{"a", "b", "c"}[i%3], i))
	}
	g.Op("POST", "/v1/keys/import", strings.Join(lines, "\n")).Want(t, 200)
	g.Now.Add(int64(time.Hour))
	now, _ := g.Config.Clock()
	ended, _ := g.Key("live", "read")
	g.Op("POST", "/v1/keys/"+ended+"/revoke", "").Want(t, 200)
	before := now.Add(-time.Minute).Format(time.RFC3339)
	for filter, want := range map[string][2]int{ // matched, and of these to revoke
		`"type":"test"`:                                   {550, 550},
		`"type":"live"`:                                   {552, 551},
		`"environment":"b"`:                               {367, 367},
		`"environment":"b","type":"live"`:                 {184, 184},
		`"environment":""`:                                {2, 1},
		`"created_before":"` + before + `"`:               {1_101, 1_101},
		`"created_before":"2020-01-01T00:00:00Z"`:         {0, 0},
		`"created_by":"nobody"`:                           {0, 0},
		`"ids":["` + ended + `","` + other + `","key_x"]`: {2, 1},
		`"ids":["` + ended + `"],"type":"test"`:           {0, 0},
	} {
		proposed, read := g.Backend.Proposed.Load(), g.Backend.Linearized.Load()
		a := readBulk(t, g.Op("POST", "/v1/keys/revoke", `{"dry_run":true,`+filter+`}`).Want(t, 200).Body)
		if a.Matched != want[0] || len(a.IDs) != want[1] || a.Revoked != 0 || !a.DryRun || a.Revocation != nil {
			t.Errorf("%s: matched %d, %d ids, revoked %d; want %v", filter, a.Matched, len(a.IDs), a.Revoked, want)
		}
		if g.Backend.Proposed.Load() != proposed || g.Backend.Linearized.Load() == read {
			t.Errorf("%s: a dry run writes, or reads an old state", filter)
		}
	}
	dry := readBulk(t, g.Op("POST", "/v1/keys/revoke", `{"dry_run":true,"environment":"c"}`).Body)
	done := readBulk(t, g.Op("POST", "/v1/keys/revoke", `{"environment":"c"}`).Want(t, 200).Body)
	if done.Matched != dry.Matched || done.Revoked != len(dry.IDs) || !slices.Equal(done.IDs, dry.IDs) {
		t.Errorf("%d of %d revoked after a dry run of %d", done.Revoked, done.Matched, len(dry.IDs))
	}
	g.Backend.Stale = fault.New(fault.NoLeader)
	g.Op("POST", "/v1/keys/revoke", `{"dry_run":true,"environment":"c"}`).Want(t, 503, fault.NoLeader)
}

// The body is judged before anything is read or written.
func TestBulkRefusals(t *testing.T) {
	g := apitest.New(t)
	ids := func(n int) string { return `{"ids":["` + strings.Repeat(`key_1","`, n-1) + `key_1"]}` }
	for body, bad := range map[string]string{
		`{}`: "at least one", `{"dry_run":true}`: "at least one", `{"reason":"x"}`: "at least one",
		`{"ids":[]}`: "ids", ids(store.MaxImport + 1): "ids", `{"created_by":""}`: "created_by", `{"type":"prod"}`: "type",
		`{"type":"live","reason":"` + strings.Repeat("r", manage.MaxReason+1) + `"}`: "reason",
		`{"type":"live","reason":"a\u0007b"}`:                                        "reason",
	} {
		if a := g.Op("POST", "/v1/keys/revoke", body).Want(t, 422, fault.InvalidValue); !strings.Contains(a.Message(), bad) {
			t.Errorf("%.60s: %s", body, a.Message())
		}
	}
	if n := g.Backend.Proposed.Load(); n != 0 {
		t.Errorf("%d commands were proposed", n)
	}
	g.Op("POST", "/v1/keys/revoke", ids(store.MaxImport)).Want(t, 200)
}

// A revocation in steps is effective only if each of its steps is.
func TestWorse(t *testing.T) {
	yes, no := &rest.Revocation{Index: 1, Effective: true}, &rest.Revocation{Index: 2}
	later := &rest.Revocation{Index: 3, Effective: true}
	for _, c := range []struct{ before, last, want *rest.Revocation }{
		{nil, yes, yes}, {nil, no, no}, {yes, later, later}, {yes, no, no}, {no, later, no},
	} {
		if got := manage.Worse(c.before, c.last); got != c.want {
			t.Errorf("%+v, then %+v: %+v", c.before, c.last, got)
		}
	}
}
