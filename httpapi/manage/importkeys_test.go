package manage_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/manage"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
)

func TestImport(t *testing.T) {
	g := apitest.New(t)
	lines := strings.Join([]string{
		`{"name":"a","type":"live","key":"sk-live-aaaaaaaaaaaaaaaa"}`,
		``,
		`{"name":"b","type":"test","sha256":"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0bd82cd15d6c15b0f00a08","scopes":["admin"]}`,
		`{"name":"c","type":"live","key":"sk-live-aaaaaaaaaaaaaaaa"}`,
		`{"name":"d","type":"live"}`,
		`{"name":"e","type":"live","key":"x","sha256":"y"}`,
		`{"name":"f","type":"live","key":"short"}`,
		`{"name":"g","type":"live","key":"pk_test_0123456789ABCDEFGHIJKLMNOPQRSTUV000000"}`,
		`{"name":"h","type":"live","sha256":"zz"}`,
		`not json`,
		`{"name":"i","type":"live","key":"sk-live-bbbbbbbbbbbbbbbb","colour":"red"}`,
		`{"name":"j","type":"live","key":"sk-live-admin-aaaaaaaaaaaa","scopes":["admin"]}`,
	}, "\r\n")
	a := g.Op("POST", "/v1/keys/import", lines, "Content-Type", "application/x-ndjson", "Idempotency-Key", "import-1").Want(t, 200)
	var out struct {
		Data []manage.ImportedLine
	}
	apitest.Must(t, json.Unmarshal([]byte(a.Body), &out))
	var got []string
	for _, l := range out.Data {
		code := ""
		if l.Error != nil {
			code = string(l.Error.Code)
		}
		got = append(got, fmt.Sprintf("%d %v %s", l.Line, l.ID != nil, code))
	}
	want := []string{"1 true ", "3 true ", "4 false conflict", "5 false invalid_value", "6 false invalid_value", "7 false invalid_value",
		"8 false invalid_value", "9 false invalid_value", "10 false invalid_json", "11 false unknown_field", "12 true "}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	g.Do(g.Admin.URL, "GET", "/v1/keys", "sk-live-admin-aaaaaaaaaaaa", "").Want(t, 200)
	g.Op("POST", "/v1/keys/verify", `{"key":"sk-live-aaaaaaaaaaaaaaaa"}`).Want(t, 200)
	repeat := g.Op("POST", "/v1/keys/import", lines, "Content-Type", "application/x-ndjson", "Idempotency-Key", "import-1").Want(t, 200)
	if repeat.Body != a.Body {
		t.Errorf("the repeat answers\n%s\nnot\n%s", repeat.Body, a.Body)
	}
	again := g.Op("POST", "/v1/keys/import", `{"name":"a","type":"live","key":"sk-live-aaaaaaaaaaaaaaaa"}`).Want(t, 200)
	if !strings.Contains(again.Body, `"conflict"`) {
		t.Errorf("%s", again.Body)
	}
	g.Op("POST", "/v1/keys/import", "\n\n").Want(t, 400, fault.InvalidJSON)
	g.Op("POST", "/v1/keys/import", strings.Repeat("{}\n", store.MaxImport+1)).Want(t, 422, fault.InvalidValue)
	g.Op("POST", "/v1/keys/import", strings.Repeat(" ", manage.MaxImportBody+1)).Want(t, 413, fault.BodyTooLarge)
	for _, secret := range []string{"sk-live-aaaaaaaaaaaaaaaa", "sk-live-admin"} {
		if strings.Contains(a.Body+again.Body+g.Log.String(), secret) {
			t.Errorf("%s is shown", secret)
		}
	}
}

// importLines are lines of an import, each with the code and a part of the message
// of its result; no code is a success.
var importLines = []struct{ line, code, names string }{
	{`{"name":"a","type":"live","key":"sk-live-aaaaaaaaaaaaaaaa"}`, "", ""},
	{`{"name":"a","type":"test","key":"sk-live-aaaaaaaaaaaaaaaa"}`, "conflict", "line 1"},
	{`{"name":"a","type":"test"}`, "invalid_value", `either "key" or "sha256"`},
	{`{"name":"a","type":"test","key":"sk-test-aaaaaaaaaaaaaaaa","sha256":"00"}`, "invalid_value", `either "key" or "sha256"`},
	{`{"name":"a","type":"test","key":"sk test aaaaaaaaaaaaaaaa"}`, "invalid_value", "key: must be"},
	{`{"name":"a","type":"live","key":"pk_test_0123456789ABCDEFGHIJKLMNOPQRSTUV000000"}`, "invalid_value", "type: is live"},
	{`{"name":"a","type":"test","key":"pk_live_0123456789ABCDEFGHIJKLMNOPQRSTUV000000"}`, "invalid_value", "type: is test"},
	{`{"name":"a","type":"test","sha256":"` + strings.Repeat("g", 64) + `"}`, "invalid_value", "sha256: must be the 64"},
	{`{"name":"a","type":"test","sha256":"` + strings.Repeat("0", 62) + `"}`, "invalid_value", "sha256: must be the 64"},
	{`{"type":"test","key":"sk-test-aaaaaaaaaaaaaaaa"}`, "invalid_value", "name: is required"},
	{`{"name":"a","key":"sk-test-aaaaaaaaaaaaaaaa"}`, "invalid_value", "type: is required"},
	{`{"name":"a","type":"test","key":"sk-test-aaaaaaaaaaaaaaaa","scopes":[]}`, "invalid_value", "scopes"},
	{`{"name":"a","type":"test","key":"sk-test-aaaaaaaaaaaaaaaa","state":"active"}`, "unknown_field", "state"},
	{`{"name":"a","name":"b"}`, "duplicate_member", "name"},
	{`[]`, "invalid_value", "object"},
	{`{`, "invalid_json", ""},
	{`{"name":"a","type":"test","sha256":"` + strings.Repeat("Aa", 32) + `"}`, "", ""},
	{`{"name":"a","type":"test","sha256":"` + strings.Repeat("aA", 32) + `"}`, "conflict", "line 17"},
}

// Each line has its own result, with its number; a good one is imported beside
// bad ones.
func TestImportResults(t *testing.T) {
	g := apitest.New(t)
	var lines []string
	for _, l := range importLines {
		lines = append(lines, l.line)
	}
	a := g.Op("POST", "/v1/keys/import", strings.Join(lines, "\n")).Want(t, 200)
	var out struct{ Data []manage.ImportedLine }
	apitest.Must(t, json.Unmarshal([]byte(a.Body), &out))
	if len(out.Data) != len(importLines) {
		t.Fatalf("%d results of %d lines", len(out.Data), len(importLines))
	}
	for i, c := range importLines {
		got, code, message := out.Data[i], "", ""
		if got.Error != nil {
			code, message = string(got.Error.Code), got.Error.Message
		}
		if got.Line != i+1 || code != c.code || !strings.Contains(message, c.names) || (got.ID != nil) != (c.code == "") {
			t.Errorf("%s\n\tline %d, id %v, %s %q; want line %d, %q %q", c.line, got.Line, got.ID, code, message, i+1, c.code, c.names)
		}
	}
	if n := g.Backend.Proposed.Load(); n != 1 {
		t.Errorf("%d commands were proposed, want 1", n)
	}
}

// An imported key is a key: it has the settings of its line, and no hint of a
// secret that only its hash is known of.
func TestImportedKeys(t *testing.T) {
	g := apitest.New(t)
	sum := sha256.Sum256([]byte("sk-hashed-aaaaaaaaaaaaaa"))
	a := g.Op("POST", "/v1/keys/import", `{"name":"whole","type":"live","key":"sk-whole-aaaaaaaaaaaaaaa","environment":"e","monthly_budget":7,"metadata":{"a":"b"}}`+"\n"+
		`{"name":"hashed","type":"test","sha256":"`+hex.EncodeToString(sum[:])+`"}`).Want(t, 200)
	var out struct{ Data []manage.ImportedLine }
	apitest.Must(t, json.Unmarshal([]byte(a.Body), &out))
	whole, hashed := show(g, string(*out.Data[0].ID)), show(g, string(*out.Data[1].ID))
	if whole.Text("environment") != "e" || fmt.Sprint(whole.JSON["monthly_budget"]) != "7" || fmt.Sprint(whole.JSON["metadata"]) != "map[a:b]" || whole.Text("state") != "active" || whole.Text("hint") == "…" {
		t.Errorf("%s", whole.Body)
	}
	if hashed.Text("hint") != "…" || hashed.Text("type") != "test" {
		t.Errorf("%s", hashed.Body)
	}
	for secret, id := range map[string]string{"sk-whole-aaaaaaaaaaaaaaa": whole.Text("id"), "sk-hashed-aaaaaaaaaaaaaa": hashed.Text("id")} {
		if v := g.Op("POST", "/v1/keys/verify", `{"key":"`+secret+`"}`).Want(t, 200); v.JSON["valid"] != true || v.Text("key_id") != id {
			t.Errorf("%s: %s", secret, v.Body)
		}
	}
}

// An import of bad lines alone proposes nothing; a body of another form, or a
// failed write, is refused whole.
func TestImportRefuses(t *testing.T) {
	g := apitest.New(t)
	good := `{"name":"a","type":"live","key":"sk-live-aaaaaaaaaaaaaaaa"}`
	g.Op("POST", "/v1/keys/import", "{}\n{}").Want(t, 200)
	g.Op("POST", "/v1/keys/import?dry_run=true", good).Want(t, 422, fault.UnknownField)
	g.Op("POST", "/v1/keys/import", good, "Content-Type", "application/xml").Want(t, 415, fault.UnsupportedMediaType)
	g.Op("POST", "/v1/keys/import", "").Want(t, 400, fault.InvalidJSON)
	if n := g.Backend.Proposed.Load(); n != 0 {
		t.Errorf("%d commands were proposed", n)
	}
	for _, ct := range []string{"application/x-ndjson", "application/ndjson", "application/jsonl", "application/json", "text/plain"} {
		g.Op("POST", "/v1/keys/import", "{}", "Content-Type", ct).Want(t, 200)
	}
	g.Backend.Fail = fault.New(fault.UnknownOutcome)
	if a := g.Op("POST", "/v1/keys/import", good); a.Code() != string(fault.UnknownOutcome) {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}

// An import opens the lookup for the prefix of its key alone: credentials with another
// one, and mistyped keys of our own form, are refused for their form as before. A
// key of which only the hash is known may have any form but ours.
func TestImportOpensOnePrefix(t *testing.T) {
	const mistyped, own = "pk_live_0123456789ABCDEFGHIJKLMNOPQRSTUV000000", "pk_live_ABCDEFGHIJKLMNOPQRSTUV0123456789000000"
	sum := func(key string) string { h := sha256.Sum256([]byte(key)); return hex.EncodeToString(h[:]) }
	for _, c := range []struct {
		name, line string
		looked     string // the forms of credentials that are looked up
	}{
		{"a foreign key", `{"name":"a","type":"live","key":"sk_live_aaaaaaaaaaaaaaaa"}`, "sk_live_"},
		{"a key of our own", `{"name":"a","type":"live","key":"` + apikey.New(apikey.LivePrefix) + `"}`, ""},
		{"one that looks like ours", `{"name":"a","type":"live","key":"` + own + `"}`, "mistyped"},
		{"a hash", `{"name":"a","type":"live","sha256":"` + sum("zz") + `"}`, "sk_live_ ghp_"},
		{"a hash with a prefix", `{"name":"a","type":"live","sha256":"` + sum("zz") + `","prefix":"ghp_"}`, "ghp_"},
		{"a hash with our prefix", `{"name":"a","type":"live","sha256":"` + sum("zz") + `","prefix":"pk_live_"}`, "mistyped"},
		{"a line that is refused", `{"name":"","type":"live","key":"sk_live_aaaaaaaaaaaaaaaa"}`, ""},
	} {
		g := apitest.New(t)
		g.Op("POST", "/v1/keys/import", c.line).Want(t, 200)
		for form, key := range map[string]string{"sk_live_": "sk_live_bbbbbbbbbbbbbbbb", "ghp_": "ghp_bbbbbbbbbbbbbbbbbbbb", "mistyped": mistyped} {
			want := fault.MalformedKey
			if slices.Contains(strings.Fields(c.looked), form) {
				want = fault.InvalidKey
			}
			g.Do(g.Admin.URL, "GET", "/v1/keys", key, "").Want(t, 401, want)
			if got := g.Op("POST", "/v1/keys/verify", `{"key":"`+key+`"}`).Want(t, 200).Text("code"); got != string(want) {
				t.Errorf("%s, %s: verify says %s, want %s", c.name, form, got, want)
			}
		}
	}
}

// The prefix of a line with a hash must be valid, and must name the type of the line.
func TestImportPrefixMember(t *testing.T) {
	g := apitest.New(t)
	hash := `"sha256":"` + strings.Repeat("0", 64) + `"`
	for _, c := range []struct{ members, field string }{
		{hash + `,"prefix":"sk"`, "prefix"},
		{hash + `,"prefix":""`, "prefix"},
		{hash + `,"prefix":"sk live_"`, "prefix"},
		{hash + `,"prefix":"` + apikey.New(apikey.LivePrefix) + `"`, "prefix"},
		{hash + `,"prefix":"pk_test_"`, "type"},
		{`"key":"sk_live_aaaaaaaaaaaaaaaa","prefix":"sk_live_"`, "prefix"},
	} {
		a := g.Op("POST", "/v1/keys/import", `{"name":"a","type":"live",`+c.members+`}`).Want(t, 200)
		if !strings.Contains(a.Body, `"invalid_value"`) || !strings.Contains(a.Body, c.field+": ") {
			t.Errorf("%s: %s", c.members, a.Body)
		}
	}
}

// A large import is several commands, none of which keeps the log for long; a repeat
// answers the same, and completes an import that broke off.
func TestImportInSteps(t *testing.T) {
	g := apitest.New(t)
	const keys = 2*manage.ImportStep + 1
	var lines []string
	for i := range keys {
		lines = append(lines, fmt.Sprintf(`{"name":"n%d","type":"live","key":"sk-foreign-%010d"}`, i, i), "bad")
	}
	body := strings.Join(lines, "\n")
	send := func() apitest.Answer {
		return g.Op("POST", "/v1/keys/import", body, "Idempotency-Key", "steps")
	}
	g.Backend.Fail, g.Backend.Good = fault.New(fault.NoLeader), 1
	send().Want(t, 503, fault.NoLeader)
	g.Backend.Fail = nil
	a := send().Want(t, 200)
	if n := g.Backend.Proposed.Load(); n != 2+3 {
		t.Errorf("%d commands were proposed, want 2 and 3", n)
	}
	var out struct{ Data []manage.ImportedLine }
	apitest.Must(t, json.Unmarshal([]byte(a.Body), &out))
	for i, l := range out.Data {
		if good := i%2 == 0; l.Line != i+1 || (l.ID != nil) != good || (l.Error == nil) != good {
			t.Fatalf("result %d of %d is %+v", i, len(out.Data), l)
		}
	}
	if len(out.Data) != 2*keys {
		t.Errorf("%d results of %d lines", len(out.Data), 2*keys)
	}
	if all := g.Backend.Commands(); strings.Count(all, `"prefixes"`) != strings.Count(all, `"key_import"`) {
		t.Error("a step lacks the prefixes of its keys")
	}
	if again := send().Want(t, 200); again.Body != a.Body {
		t.Error("the repeat answers otherwise")
	}
}

// Each command of a long call has the time at which it is proposed: a leader takes an old
// one for that of a node with a wrong clock.
func TestStepsHaveTheirOwnTimes(t *testing.T) {
	g := apitest.New(t)
	g.Backend.Held, g.Backend.Hold = make(chan struct{}, 2), make(chan struct{})
	var lines []string
	for i := range manage.ImportStep + 1 {
		lines = append(lines, fmt.Sprintf(`{"name":"n%d","type":"live","key":"sk-foreign-%010d"}`, i, i))
	}
	done := make(chan apitest.Answer)
	go func() { done <- g.Op("POST", "/v1/keys/import", strings.Join(lines, "\n")) }()
	<-g.Backend.Held // the first command has its time
	g.Now.Add(int64(time.Minute))
	close(g.Backend.Hold)
	a := <-done
	a.Want(t, 200)
	var times []time.Time
	for _, m := range regexp.MustCompile(`"at":"([^"]*)"`).FindAllStringSubmatch(g.Backend.Commands(), -1) {
		at, err := time.Parse(time.RFC3339Nano, m[1])
		apitest.Must(t, err)
		times = append(times, at)
	}
	if len(times) < 2 || times[len(times)-1].Sub(times[len(times)-2]) != time.Minute {
		t.Errorf("the commands have the times %v, want the last two a minute apart", times)
	}
}

// A version that imported all keys by one command kept its result under the name of the
// first step.
func TestImportRepeatedFromAnOlderVersion(t *testing.T) {
	g := apitest.New(t)
	var lines []string
	all := store.Result{}
	for i := range manage.ImportStep + 1 {
		lines = append(lines, fmt.Sprintf(`{"name":"n","type":"live","key":"sk-foreign-%010d"}`, i))
		all.Lines = append(all.Lines, store.ImportLine{Line: i + 1, ID: store.KeyID(fmt.Sprint("key_", i))})
	}
	s := &script{steps: []rest.Receipt{{Result: all}}}
	w := callBy(g, s, "/v1/keys/import", strings.Join(lines, "\n"), rest.WithRawBody((&manage.Keys{Store: g.Store, Uses: g.Observed()}).Import))
	if w.Code != 200 || len(s.asked) != 1 || !strings.Contains(w.Body.String(), fmt.Sprintf(`"key_%d"`, manage.ImportStep)) {
		t.Errorf("%d after %d commands: %.300s", w.Code, len(s.asked), w.Body)
	}
}

// A line that is refused is told all of its faults, those of the secret too, also beside
// a member that cannot be read.
func TestImportNamesAllFaultsOfALine(t *testing.T) {
	g := apitest.New(t)
	lines := `{"name":"","type":"live","key":"short","prefix":"sk_","scopes":["a b"]}` + "\n" +
		`{"name":"n","type":"live","sha256":"x","prefix":"a","colour":1}` + "\n" +
		`{"name":"n","routes":["x"]}` + "\n"
	a := g.Op("POST", "/v1/keys/import", lines, "Content-Type", "application/x-ndjson").Want(t, 200)
	var page struct {
		Data []struct{ Error struct{ Message string } }
	}
	apitest.Must(t, json.Unmarshal([]byte(a.Body), &page))
	for i, want := range [][]string{
		{"name: must be", "scopes.0: must be", "key: must be 16–256", `prefix: goes with "sha256" only`},
		{"colour is not a known field", "sha256: must be", "prefix: must be"},
		{"type: is required", "routes.0: ", `key: send either`},
	} {
		for _, w := range want {
			if len(page.Data) != 3 || !strings.Contains(page.Data[i].Error.Message, w) {
				t.Errorf("line %d is not told %q: %s", i+1, w, a.Body)
			}
		}
	}
}

// A caller who is revoked during an import makes no keys in its later steps.
func TestImportEndsWithItsCaller(t *testing.T) {
	g := apitest.New(t)
	id, admin := g.Key("live", "admin")
	var lines []string
	for i := range 3 * manage.ImportStep {
		lines = append(lines, fmt.Sprintf(`{"name":"n","type":"live","key":"sk-foreign-%010d"}`, i))
	}
	g.Backend.Held, g.Backend.Hold = make(chan struct{}, 9), make(chan struct{})
	answer := make(chan apitest.Answer, 1)
	go func() {
		answer <- g.Do(g.Admin.URL, "POST", "/v1/keys/import", admin, strings.Join(lines, "\n"))
	}()
	select {
	case <-g.Backend.Held:
	case a := <-answer:
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	rc, err := g.Backend.Apply(&store.Command{At: time.Now().UTC(), Account: store.DefaultAccount, Change: &store.KeyRevoke{ID: store.KeyID(id)}})
	if err != nil || rc.Key == nil || rc.Key.RevokedAt.IsZero() {
		t.Fatalf("%+v, %v", rc, err)
	}
	before := g.Backend.Proposed.Load()
	close(g.Backend.Hold)
	(<-answer).Want(t, 401, fault.KeyRevoked)
	if n := g.Backend.Proposed.Load() - before; n != 0 {
		t.Errorf("%d steps after the revocation", n)
	}
}
