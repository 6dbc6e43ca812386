package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/spf13/pflag"
)

// request is one call that a server has had.
type request struct {
	line   string // method, path and query
	body   string
	header http.Header
}

// server answers by path; every call is kept.
type server struct {
	*httptest.Server
	mu      sync.Mutex
	calls   []request
	answers map[string]answer // "GET /v1/keys"; the query is left out
}

type answer struct {
	status int // 0 is 200
	etag   string
	body   string
	do     func(w http.ResponseWriter, r *http.Request, body string) // in place of the rest
}

func start(t *testing.T, answers map[string]answer) *server {
	t.Helper()
	s := &server{answers: answers}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	s.calls = append(s.calls, request{r.Method + " " + r.URL.RequestURI(), string(body), r.Header})
	s.mu.Unlock()
	a, ok := s.answers[r.Method+" "+r.URL.EscapedPath()]
	switch {
	case !ok:
		w.WriteHeader(http.StatusNotFound)
		io.WriteString(w, `{"error":{"type":"invalid_request","code":"not_found","message":"There is nothing here."}}`)
		return
	case a.do != nil:
		a.do(w, r, string(body))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if a.etag != "" {
		w.Header().Set("ETag", a.etag)
	}
	if a.status != 0 {
		w.WriteHeader(a.status)
	}
	io.WriteString(w, a.body)
}

// run is one run of the command line.
type run struct {
	code     int
	out, err string
}

func perfgate(t *testing.T, stdin string, env map[string]string, args ...string) run {
	t.Helper()
	var out, errs bytes.Buffer
	code := Execute(t.Context(), Config{
		Version: "1.2.3", Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &errs,
		Env: func(name string) (string, bool) { v, ok := env[name]; return v, ok },
	}, args)
	return run{code, out.String(), errs.String()}
}

// call runs args against s with a token.
func (s *server) call(t *testing.T, stdin string, args ...string) run {
	t.Helper()
	s.calls = nil
	return perfgate(t, stdin, map[string]string{"PERFGATE_SERVER": s.URL, "PERFGATE_TOKEN": "pgop_token"}, args...)
}

const aKey = `{"id":"key_1","name":"Production","type":"live","environment":null,"scopes":["read","write"],"state":"active","hint":"pk_live_0123…STUV","account":"default","created_at":"2027-01-01T00:00:00Z","created_by":"op_1","expires_at":null,"rotation_due_at":"2027-04-01T00:00:00Z","last_used_at":null,"limits":{"requests_per_minute":5,"burst":null,"requests_per_month":7},"max_cost_per_call":0.01,"allowlist":["10.0.0.0/8"],"routes":[],"metadata":{"team":"a"}}`

// Each command makes the one call that it should and shows the answer.
func TestCommands(t *testing.T) {
	var (
		issued  = `{"key":"pk_live_secret",` + aKey[1:]
		revoked = aKey[:len(aKey)-1] + `,"revocation":{"index":3,"effective":true,"took_ms":4,"nodes":[{"name":"n1","how":"applied"}]}}`
		account = `{"id":"acct_1","name":"Acme","tier":"enterprise","region":null,"limits":{"requests_per_minute":6000,"burst":null,"requests_per_month":null},"browser_keys":"alert","retention_days":30,"created_at":"2027-01-01T00:00:00Z"}`
		tier    = `{"name":"team","live":{"requests_per_minute":600,"burst":null,"requests_per_month":null},"test":{"requests_per_minute":null,"burst":null,"requests_per_month":null},"features":{"ip_allowlist":true}}`
		gone    = `{"id":"acct_1","deleted":true,"revocation":null}`
	)
	s := start(t, map[string]answer{
		"POST /v1/keys":               {status: 201, body: issued},
		"GET /v1/keys":                {body: `{"data":[` + aKey + `],"next_cursor":null}`},
		"GET /v1/keys/key_1":          {body: aKey, etag: `"9"`},
		"PATCH /v1/keys/key_1":        {body: revoked},
		"POST /v1/keys/key_1/rotate":  {status: 201, body: issued},
		"POST /v1/keys/key_1/revoke":  {body: revoked},
		"POST /v1/keys/revoke":        {body: `{"matched":2,"revoked":2,"dry_run":false,"ids":["key_1","key_2"],"revocation":null}`},
		"POST /v1/keys/verify":        {body: `{"valid":true,"code":null,"key_id":"key_1","account":"default","scopes":["read"],"limits":{},"retry_after":null}`},
		"GET /v1/allowlist":           {body: `{"entries":[{"cidr":"10.0.0.0/8","note":"office"}]}`, etag: `"4"`},
		"PUT /v1/allowlist":           {body: `{"entries":[],"revocation":{"index":1,"effective":false,"took_ms":9,"nodes":[{"name":"n2","how":"unconfirmed"}]}}`},
		"GET /v1/usage":               {body: `{"data":[{"time":"2027-01-01T00:00:00Z","group":"key_1","requests":5,"denied":1,"units":4,"cost":0.30,"billable":4}]}`},
		"GET /v1/audit-logs":          {body: `{"data":[{"id":"evt_1","time":"2027-01-01T00:00:00Z","action":"key.create","outcome":"success","actor":{"type":"operator","id":"op_1"},"key_id":"key_1"}],"next_cursor":null}`},
		"POST /v1/accounts":           {status: 201, body: account},
		"GET /v1/accounts":            {body: `{"data":[` + account + `],"next_cursor":null}`},
		"GET /v1/accounts/acct_1":     {body: account, etag: `"2"`},
		"PATCH /v1/accounts/acct_1":   {body: account},
		"DELETE /v1/accounts/acct_1":  {body: gone},
		"POST /v1/tiers":              {status: 201, body: tier},
		"GET /v1/tiers":               {body: `{"data":[` + tier + `],"next_cursor":null}`},
		"GET /v1/tiers/team":          {body: tier, etag: `"6"`},
		"PATCH /v1/tiers/team":        {body: tier},
		"DELETE /v1/tiers/team":       {body: `{"id":"team","deleted":true}`},
		"GET /v1/cluster":             {body: `{"cluster_id":"c1","leader":"n1","term":2,"healthy":true,"reasons":[],"nodes":[{"name":"n1","role":"leader","state":"ready","applied_index":7,"lease_ms":null,"version":"1.2.3","region":"","last_contact_ms":0}]}`},
		"GET /readyz":                 {body: `{"status":"ok","reason":null}`},
		"GET /v1/keys/a%2F..%2Fb%3Fc": {body: aKey},
	})
	for _, tt := range []struct {
		args  string
		stdin string
		calls string // lines of method, path, query and, behind a blank, body
		out   []string
		err   string
	}{
		{args: "keys create Production --type live", calls: `POST /v1/keys {"name":"Production","type":"live"}`, out: []string{"pk_live_secret", "5 a minute, 7 a month", "metadata team"}, err: "not shown again"},
		{args: "keys create --name a,b --type test --environment e --scope read,x --scope y --requests-per-minute 3 --max-cost-per-call 0.010 --allow 10.0.0.0/8 --route /v1 --metadata a=b --expires-at 2030-01-01T00:00:00Z",
			calls: `POST /v1/keys {"allowlist":["10.0.0.0/8"],"environment":"e","expires_at":"2030-01-01T00:00:00Z","limits":{"requests_per_minute":3,"burst":null,"requests_per_month":null},"max_cost_per_call":0.010,"metadata":{"a":"b"},"name":"a,b","routes":["/v1"],"scopes":["read","x","y"],"type":"test"}`},
		{args: "keys list", calls: "GET /v1/keys?limit=1000", out: []string{"ID", "key_1", "read,write"}},
		{args: "keys list --type live --created-by op_1 --limit 5", calls: "GET /v1/keys?created_by=op_1&limit=5&type=live"},
		{args: "keys get key_1", calls: "GET /v1/keys/key_1", out: []string{"allowlist", "10.0.0.0/8"}},
		{args: "keys get a/../b?c", calls: "GET /v1/keys/a%2F..%2Fb%3Fc"},
		{args: "keys update key_1 --state disabled --environment none --max-cost-per-call none --allow none", calls: `PATCH /v1/keys/key_1 {"allowlist":[],"environment":null,"max_cost_per_call":null,"state":"disabled"}`, out: []string{"effective on every node after 4 ms"}},
		{args: "keys update key_1 --burst 9 --requests-per-month none", calls: "GET /v1/keys/key_1\n" + `PATCH /v1/keys/key_1 {"limits":{"requests_per_minute":5,"burst":9,"requests_per_month":null}} If-Match "9"`},
		{args: "keys rotate key_1", calls: `POST /v1/keys/key_1/rotate {}`, out: []string{"pk_live_secret"}},
		{args: "keys rotate key_1 --overlap 1h", calls: `POST /v1/keys/key_1/rotate {"overlap":"1h"}`},
		{args: "keys revoke key_1 --reason leaked", calls: `POST /v1/keys/key_1/revoke {"reason":"leaked"}`, out: []string{"revocation", "4 ms"}},
		{args: "keys revoke key_1", calls: `POST /v1/keys/key_1/revoke {}`},
		{args: "keys revoke key_1 key_2", calls: `POST /v1/keys/revoke {"dry_run":false,"ids":["key_1","key_2"]}`, out: []string{"revoked  2"}},
		{args: "keys revoke --created-by u --created-before 2027-01-01T00:00:00Z --dry-run", calls: `POST /v1/keys/revoke {"created_before":"2027-01-01T00:00:00Z","created_by":"u","dry_run":true}`},
		{args: "keys revoke key_1 --type live", calls: `POST /v1/keys/revoke {"dry_run":false,"ids":["key_1"],"type":"live"}`},
		{args: "keys verify --method POST --path /x --units 2", stdin: "pk_live_secret\n", calls: `POST /v1/keys/verify {"consume":false,"key":"pk_live_secret","method":"POST","path":"/x","units":2}`, out: []string{"valid", "true"}},
		{args: "allowlist get", calls: "GET /v1/allowlist", out: []string{"10.0.0.0/8", "office"}},
		{args: "allowlist set --force", stdin: "10.0.0.0/8 # x\n", calls: "PUT /v1/allowlist?force=true 10.0.0.0/8 # x\n", err: "NOT yet effective on n2"},
		{args: "allowlist add 192.0.2.1 10.0.0.0/8 --note n", calls: "GET /v1/allowlist\n" + `PUT /v1/allowlist {"entries":[{"cidr":"10.0.0.0/8","note":"n"},{"cidr":"192.0.2.1","note":"n"}]} If-Match "4"`},
		{args: "allowlist remove ::ffff:10.0.0.0/104 --force", calls: "GET /v1/allowlist\n" + `PUT /v1/allowlist?force=true {"entries":[]} If-Match "4"`},
		{args: "usage --from 2027-01-01 --group-by key", calls: "GET /v1/usage?from=2027-01-01&group_by=key", out: []string{"0.30", "key_1"}},
		{args: "audit list --user op_1 --event-type create", calls: "GET /v1/audit-logs?event_type=create&limit=100&user=op_1", out: []string{"key.create", "operator:op_1"}},
		{args: "audit export --start-date 2024-01-01", calls: "GET /v1/audit-logs?format=json&start_date=2024-01-01", out: []string{`"evt_1"`}},
		{args: "accounts create Acme --tier enterprise --requests-per-minute 6000", calls: `POST /v1/accounts {"limits":{"requests_per_minute":6000,"burst":null,"requests_per_month":null},"name":"Acme","tier":"enterprise"}`, out: []string{"acct_1"}},
		{args: "accounts list", calls: "GET /v1/accounts?limit=1000", out: []string{"6000 a minute"}},
		{args: "accounts get acct_1", calls: "GET /v1/accounts/acct_1", out: []string{"30 days"}},
		{args: "accounts update acct_1 --retention-days 7", calls: `PATCH /v1/accounts/acct_1 {"retention_days":7}`},
		{args: "accounts update acct_1 --burst 1", calls: "GET /v1/accounts/acct_1\n" + `PATCH /v1/accounts/acct_1 {"limits":{"requests_per_minute":6000,"burst":1,"requests_per_month":null}} If-Match "2"`},
		{args: "accounts delete acct_1", calls: "DELETE /v1/accounts/acct_1", out: []string{"deleted  acct_1"}},
		{args: "tiers create team --live-requests-per-minute 600 --ip-allowlist", calls: `POST /v1/tiers {"features":{"ip_allowlist":true},"live":{"requests_per_minute":600,"burst":null,"requests_per_month":null},"name":"team","test":{"requests_per_minute":null,"burst":null,"requests_per_month":null}}`, out: []string{"600 a minute"}},
		{args: "tiers list", calls: "GET /v1/tiers?limit=1000", out: []string{"no limit"}},
		{args: "tiers get team", calls: "GET /v1/tiers/team"},
		{args: "tiers update team --test-burst 2", calls: "GET /v1/tiers/team\n" + `PATCH /v1/tiers/team {"test":{"requests_per_minute":null,"burst":2,"requests_per_month":null}} If-Match "6"`},
		{args: "tiers delete team", calls: "DELETE /v1/tiers/team", out: []string{"team"}},
		{args: "cluster status", calls: "GET /v1/cluster", out: []string{"leader", "n1", "ready"}},
		{args: "health", calls: "GET /readyz", out: []string{"ok"}},
	} {
		t.Run(tt.args, func(t *testing.T) {
			got := s.call(t, tt.stdin, strings.Fields(tt.args)...)
			if got.code != 0 {
				t.Fatalf("exit code %d: %s", got.code, got.err)
			}
			var calls []string
			for _, c := range s.calls {
				line := c.line
				if c.body != "" {
					line += " " + c.body
				}
				if m := c.header.Get("If-Match"); m != "" {
					line += " If-Match " + m
				}
				calls = append(calls, line)
				if want := "Bearer pgop_token"; tt.args != "health" && c.header.Get("Authorization") != want {
					t.Errorf("Authorization %q", c.header.Get("Authorization"))
				}
			}
			if got := strings.Join(calls, "\n"); got != tt.calls {
				t.Errorf("calls\n%s\nwant\n%s", got, tt.calls)
			}
			for _, want := range tt.out {
				if !strings.Contains(got.out, want) {
					t.Errorf("prints\n%s\nwithout %q", got.out, want)
				}
			}
			if !strings.Contains(got.err, tt.err) {
				t.Errorf("stderr %q, want %q", got.err, tt.err)
			}
		})
	}
	// --json prints the API's own words.
	for args, want := range map[string]string{
		"keys get key_1 --json":            aKey,
		"--json keys create a --type live": issued,
		"keys list --json":                 `{"data":[` + aKey + `],"next_cursor":null}`,
		"cluster status --json":            s.answers["GET /v1/cluster"].body,
		"allowlist get --json":             s.answers["GET /v1/allowlist"].body,
	} {
		if got := s.call(t, "", strings.Fields(args)...); got.out != want+"\n" || got.code != 0 {
			t.Errorf("%s prints\n%s%s", args, got.out, got.err)
		}
	}
}

// A wrong command line is exit code 2, makes no call, and says what is wrong.
func TestUsage(t *testing.T) {
	s := start(t, nil)
	for args, want := range map[string]string{
		"":                                   "Usage:",
		"frobnicate":                         `unknown command "frobnicate"`,
		"keys":                               "keys needs a command",
		"keys frobnicate":                    `unknown command "frobnicate"`,
		"keys list --frobnicate":             "--frobnicate",
		"keys list x":                        "x",
		"keys get":                           "accepts 1 arg",
		"keys create":                        "needs a name",
		"keys create a":                      "--type",
		"keys create a --type prod":          "want test or live",
		"keys create a --name b --type live": "twice",
		"keys create a --type live --expires-at tomorrow":      "2027-01-31T00:00:00Z",
		"keys create a --type live --expires-in -5s":           "above zero",
		"keys create a --type live --requests-per-minute many": "whole number",
		"keys create a --type live --monthly-budget 1e":        "want a number",
		"keys create a --type live --monthly-budget none":      "want a number",
		"keys update key_1":             "nothing to change",
		"keys revoke":                   "filters",
		"keys list --limit -1":          "--limit",
		"keys list --server ftp://x":    "want a URL",
		"keys list --server http://a?b": "want a URL",
		"scan":                          "requires at least 1 arg",
		"serve --token x":               "not part of this build",
		"accounts create":               "needs a name",
	} {
		got := s.call(t, "", strings.Fields(args)...)
		if got.code != 2 || !strings.Contains(got.err, want) || got.out != "" {
			t.Errorf("%q: exit code %d, prints %q, says %q; want %q", args, got.code, got.out, got.err, want)
		}
		if len(s.calls) > 0 {
			t.Errorf("%q calls %v", args, s.calls)
		}
	}
	for _, args := range []string{"--help", "keys --help", "keys create --help", "serve --help", "--version", "version"} {
		if got := perfgate(t, "", nil, strings.Fields(args)...); got.code != 0 || got.out == "" {
			t.Errorf("%s: exit code %d, %q", args, got.code, got.err)
		}
	}
}

// What the server refuses is exit code 1, with its sentence and code.
func TestFailures(t *testing.T) {
	s := start(t, map[string]answer{
		"GET /v1/keys":         {status: 401, body: `{"error":{"code":"invalid_key","message":"The API key is not known."}}`},
		"GET /v1/cluster":      {status: 503, body: `{"error":{"code":"no_leader","message":"None.","retry_after":2}}`},
		"GET /v1/usage":        {status: 502, body: `<html>nginx`},
		"GET /v1/allowlist":    {body: `{"entries":`},
		"GET /v1/keys/key_1":   {status: 302, body: ``},
		"GET /v1/keys/key_2":   {body: `{"id":"key_2","name":"\u001b[31mred\nrow"}`},
		"GET /readyz":          {status: 503, body: `{"status":"unavailable","reason":"draining"}`},
		"POST /v1/keys/verify": {body: `{"valid":false,"code":"key_revoked","scopes":[]}`},
		"POST /v1/keys/revoke": {body: `{"matched":1,"revoked":1,"ids":["key_1"]}`},
	})
	for args, want := range map[string]string{
		"keys list":                  "perfgate: The API key is not known. (invalid_key)",
		"cluster status":             "None. (no_leader); try again in 2 s",
		"usage":                      "502",
		"allowlist get":              "answer",
		"keys get key_1":             "302",
		"keys get key_3":             "not_found",
		"health":                     "not ready: draining",
		"keys revoke key_1 x":        "1 of 2 keys were not found",
		"allowlist set /nonexistent": "no such file",
	} {
		got := s.call(t, "", strings.Fields(args)...)
		if got.code != 1 || !strings.Contains(got.err, want) {
			t.Errorf("%q: exit code %d, says %q; want %q", args, got.code, got.err, want)
		}
	}
	if got := s.call(t, "pk_live_x", "keys", "verify"); got.code != 1 || !strings.Contains(got.out, "key_revoked") || strings.Contains(got.out+got.err, "pk_live_x") {
		t.Errorf("verify: %+v", got)
	}
	if got := s.call(t, "", "keys", "verify"); got.code != 1 || !strings.Contains(got.err, "stdin is empty") {
		t.Errorf("verify without a key: %+v", got)
	}
	if got := s.call(t, "", "keys", "get", "key_2"); got.code != 0 || strings.ContainsAny(got.out, "\x1b") || !strings.Contains(got.out, "?[31mred?row") {
		t.Errorf("an escape sequence is printed: %q", got.out)
	}
	s.Close()
	if got := s.call(t, "", "keys", "list"); got.code != 1 || !strings.Contains(got.err, "refused") || strings.Contains(got.err, "pgop_") {
		t.Errorf("no server: %+v", got)
	}
}

// The token comes from the flag, the environment or the local node, whose token
// goes to this machine alone.
func TestToken(t *testing.T) {
	s := start(t, map[string]answer{"GET /v1/cluster": {body: `{}`}})
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, tokenFile), []byte("pgop_local\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		env  map[string]string
		want string
	}{
		{[]string{"--token", "pgop_flag"}, map[string]string{tokenEnv: "pgop_env", dataDirEnv: dir}, "pgop_flag"},
		{nil, map[string]string{tokenEnv: "pgop_env", dataDirEnv: dir}, "pgop_env"},
		{nil, map[string]string{dataDirEnv: dir}, "pgop_local"},
		{[]string{"--data-dir", dir}, nil, "pgop_local"},
	} {
		s.calls = nil
		got := perfgate(t, "", tt.env, append([]string{"cluster", "status", "--server", s.URL, "--account", "acct_1"}, tt.args...)...)
		if got.code != 0 || s.calls[0].header.Get("Authorization") != "Bearer "+tt.want || s.calls[0].header.Get("X-Perf-Account") != "acct_1" {
			t.Errorf("%v: %+v, %v", tt.args, got, s.calls)
		}
	}
	got := perfgate(t, "", map[string]string{dataDirEnv: dir}, "cluster", "status", "--server", "http://perfgate.example.com:8081")
	if got.code != 1 || !strings.Contains(got.err, "no token: set PERFGATE_TOKEN") {
		t.Errorf("a server elsewhere: %+v", got)
	}
	got = perfgate(t, "", nil, "cluster", "status", "--server", s.URL, "--data-dir", t.TempDir())
	if got.code != 1 || !strings.Contains(got.err, "no token") {
		t.Errorf("no token: %+v", got)
	}
}

// Lists are followed to their end, or as far as --limit says.
func TestPages(t *testing.T) {
	s := start(t, map[string]answer{"GET /v1/accounts": {do: func(w http.ResponseWriter, r *http.Request, _ string) {
		n := 0
		fmt.Sscan(r.FormValue("cursor"), &n)
		var limit int
		fmt.Sscan(r.FormValue("limit"), &limit)
		var data []string
		for ; len(data) < min(limit, 2) && n < 5; n++ {
			data = append(data, fmt.Sprintf(`{"id":"acct_%d"}`, n))
		}
		next := "null"
		if n < 5 {
			next = fmt.Sprintf(`"%d"`, n)
		}
		fmt.Fprintf(w, `{"data":[%s],"next_cursor":%s}`, strings.Join(data, ","), next)
	}}})
	for _, tt := range []struct {
		args        string
		rows, calls int
	}{{"accounts list", 5, 3}, {"accounts list --limit 3", 3, 2}, {"accounts list --limit 1", 1, 1}, {"accounts list --cursor 3", 2, 1}} {
		got := s.call(t, "", strings.Fields(tt.args)...)
		if n := strings.Count(got.out, "acct_"); n != tt.rows || len(s.calls) != tt.calls {
			t.Errorf("%s: %d rows in %d calls, want %d in %d", tt.args, n, len(s.calls), tt.rows, tt.calls)
		}
	}
	if got := s.call(t, "", "accounts", "list", "--json"); len(s.calls) != 1 || !strings.Contains(got.out, `"next_cursor":"2"`) {
		t.Errorf("--json: %q", got.out)
	}
}

// A list that somebody else changes meanwhile is read and changed again.
func TestAllowlistRace(t *testing.T) {
	version := 1
	s := start(t, nil)
	s.answers = map[string]answer{
		"GET /v1/allowlist": {do: func(w http.ResponseWriter, r *http.Request, _ string) {
			w.Header().Set("ETag", fmt.Sprintf(`"%d"`, version))
			fmt.Fprintf(w, `{"entries":[{"cidr":"10.0.0.%d/32","note":""}]}`, version)
			if version < 3 {
				version++ // somebody else
			}
		}},
		"PUT /v1/allowlist": {do: func(w http.ResponseWriter, r *http.Request, body string) {
			if r.Header.Get("If-Match") != fmt.Sprintf(`"%d"`, version) {
				w.WriteHeader(http.StatusPreconditionFailed)
				io.WriteString(w, `{"error":{"code":"precondition_failed"}}`)
				return
			}
			io.WriteString(w, body)
		}},
	}
	got := s.call(t, "", "allowlist", "add", "192.0.2.1", "--json")
	if got.code != 0 || !strings.Contains(got.out, "10.0.0.3/32") || !strings.Contains(got.out, "192.0.2.1") || len(s.calls) != 6 {
		t.Errorf("%+v after %d calls", got, len(s.calls))
	}
	if got := s.call(t, "", "allowlist", "remove", "203.0.113.1"); got.code != 1 || !strings.Contains(got.err, "not on the list") {
		t.Errorf("%+v", got)
	}
	if got := s.call(t, "", "allowlist", "remove", "10.0.0.3"); got.code != 1 || !strings.Contains(got.err, "--force") {
		t.Errorf("an empty list without --force: %+v", got)
	}
}

// Commands that main hands in get their own flags, and none of a client's.
func TestHandedIn(t *testing.T) {
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	flags.String("data-dir", "", "directory")
	var got string
	var out, errs bytes.Buffer
	c := Config{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Env: os.LookupEnv, Serve: Command{
		Flags: flags,
		Run: func(ctx context.Context, fs *pflag.FlagSet, args []string) error {
			got, _ = fs.GetString("data-dir")
			if !fs.Lookup("data-dir").Changed {
				return errors.Join(&usageError{errors.New("first")}, errors.New("second"))
			}
			return nil
		},
		FlagError: func(error) error { return &usageError{errors.New("in its own words")} },
	}}
	if code := Execute(t.Context(), c, []string{"serve", "--data-dir", "x"}); code != 0 || got != "x" {
		t.Errorf("exit code %d, data directory %q: %s", code, got, errs.String())
	}
	for args, want := range map[string]string{
		"serve --token x": "--token has no meaning for serve",
		"serve --bogus":   "in its own words",
		"serve x":         "x",
	} {
		errs.Reset()
		if code := Execute(t.Context(), c, strings.Fields(args)); code != 2 || !strings.Contains(errs.String(), want) {
			t.Errorf("%s: exit code %d, %s", args, code, errs.String())
		}
	}
	errs.Reset()
	flags.Lookup("data-dir").Changed = false
	if code := Execute(t.Context(), c, []string{"serve"}); code != 2 || errs.String() != "perfgate: first\nperfgate: second\n" {
		t.Errorf("exit code %d, %s", code, errs.String())
	}
	out.Reset()
	Execute(t.Context(), c, []string{"serve", "--help"})
	if !strings.Contains(out.String(), "--data-dir") || strings.Contains(out.String(), "--token") {
		t.Errorf("help: %s", out.String())
	}
}

func TestClusterSecret(t *testing.T) {
	a, b := perfgate(t, "", nil, "cluster", "secret"), perfgate(t, "", nil, "cluster", "secret")
	if len(strings.TrimSpace(a.out)) < 32 || a.out == b.out {
		t.Errorf("%q, %q", a.out, b.out)
	}
}

func TestVersion(t *testing.T) {
	var v map[string]string
	if err := json.Unmarshal([]byte(perfgate(t, "", nil, "version", "--json").out), &v); err != nil || v["version"] != "1.2.3" {
		t.Errorf("%v, %v", v, err)
	}
}
