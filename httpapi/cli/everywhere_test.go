package cli

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"
)

// Whichever command meets the wrong server or token says what is wrong, also those that
// read before they write. The token goes to no other call than the command's own.
func TestEveryCommandDiagnoses(t *testing.T) {
	const refused = `{"error":{"type":"authentication_error","code":"invalid_key","message":"The API key is not known.","request_id":"r"}}`
	commands := maps.Clone(everyCommand)
	commands["keys revoke --stdin"] = "pk_live_x"
	for _, c := range []struct {
		name            string
		status          int // of the call
		body            string
		openAPI         int
		foreign         bool // nothing carries a request id
		said            string
		tokenIsMistaken bool
	}{
		{"a wrong token", 401, refused, 200, false, "does not accept this token; check PERFGATE_TOKEN or --data-dir", true},
		{"a proxy listener", 401, refused, 404, false, "is the proxy listener of a perfgate node and not its admin listener", false},
		{"another server", 502, "<html>", 404, true, "is not a perfgate management API; check --server", false},
	} {
		var leaked []string
		s := start(t, nil)
		s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !c.foreign {
				w.Header().Set("X-Request-Id", "r")
			}
			switch r.URL.Path {
			case "/openapi.yaml":
				w.WriteHeader(c.openAPI)
				io.WriteString(w, "openapi: 3.1.0\n")
			case "/livez":
				if c.foreign {
					w.WriteHeader(404)
				}
				io.WriteString(w, `{"status":"ok","reason":null}`)
			default:
				w.WriteHeader(c.status)
				io.WriteString(w, c.body)
				return
			}
			if r.Header.Get("Authorization") != "" {
				leaked = append(leaked, r.URL.Path)
			}
		})
		for args, stdin := range commands {
			got := s.run(t, stdin, strings.Fields(args)...)
			if got.code != 1 || got.out != "" || !strings.Contains(got.err, c.said) {
				t.Errorf("%s: %s: %+v", c.name, args, got)
			}
			if mistaken := strings.Contains(got.err, "PERFGATE_TOKEN"); mistaken != c.tokenIsMistaken {
				t.Errorf("%s: %s: %q", c.name, args, got.err)
			}
		}
		if len(leaked) > 0 {
			t.Errorf("%s: the token was sent to %v", c.name, leaked)
		}
	}
}

// full is an output without room.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

// members are those of every answer, and of every row.
const members = `"id":"e","everything":false,"account":"default","control":"c","fact":"f","name":"n","state":"active","tier":"pro","live":{},"test":{},"time":"2027-01-01T00:00:00Z","action":"a","allowed":true,"queued":1,"reset":1,"policy":"minute","limit":5,"remaining":4,"requests":1,"denied":0,"url":"u","events":[],"webhook_id":"m","title":"t","email":"a@b","role":"viewer","kind":"user","owner":"usr_1","from":"2027-01-01T00:00:00Z","failed_authentications":{"requests":1},"anomalies":[],"truncated":false,"checked":1,"key_id":"key_1","finding":"idle"`

// whatever is an answer that every call but the report of an incident believes.
const whatever = `{"data":[{` + members + `,"line":1,"error":null}],"next_cursor":null,` + members + `,"deleted":true,` +
	`"request":{"id":"req_1","status":200},"valid":true,"code":null,"cluster_id":"c","nodes":[],"kek":"k","data_keys":[],"healthy":true,` +
	`"url":"u","would_refuse":{},"lowest_limit":{},"matched":1,"revoked":1,"ids":[],"entries":[{"cidr":"192.0.2.1"},{"cidr":"192.0.2.9"}],"changes":null,"keys":[],"missing":[]}` + "\n"

// An answer that cannot be written out is a failure: a script that redirects stdout must
// not go on without it.
func TestEveryCommandReportsLostOutput(t *testing.T) {
	s, _ := fixed(t, http.StatusOK, whatever)
	report, _ := fixed(t, http.StatusOK, `{"report":{}}`)
	export := start(t, nil)
	export.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-ndjson")
		io.WriteString(w, `{"type":"end","data":{"lines":0,"missing":[]}}`+"\n")
	})
	for args, stdin := range everyCommand {
		env := map[string]string{serverEnv: s.URL, tokenEnv: "pgop_token"}
		if strings.HasPrefix(args, "incident report") {
			env[serverEnv] = report.URL
		}
		if args == "accounts export" {
			env[serverEnv] = export.URL
		}
		for _, format := range []string{"--json=false", "--json"} {
			var errs bytes.Buffer
			code := Execute(t.Context(), Config{
				Stdin: strings.NewReader(stdin), Stdout: full{}, Stderr: &errs, Archive: fakeArchive(),
				Env: func(name string) (string, bool) { v, ok := env[name]; return v, ok },
			}, append([]string{format}, strings.Fields(args)...))
			if code != 1 || !strings.Contains(errs.String(), "no space left on device") {
				t.Errorf("%s %s: exit code %d, %q", args, format, code, errs.String())
			}
		}
	}
}

// A group alone is wrong usage, and a typo in a command is answered with the one meant.
func TestGroups(t *testing.T) {
	s := start(t, nil)
	testFailures(t, s, []failure{
		{args: "keys", code: 2, err: "perfgate keys needs a subcommand; see perfgate keys --help"},
		{args: "allowlist", code: 2, err: "perfgate allowlist needs a subcommand"},
		{args: "accounts --json", code: 2, err: `"code":"usage","message":"perfgate accounts needs a subcommand`},
		{args: "keys creat a", code: 2, err: `unknown command "creat" for "perfgate keys" (did you mean "create"?)`},
		{args: "tiers lits", code: 2, err: `(did you mean "list"?)`},
		{args: "cluster xyzzy", code: 2, err: `unknown command "xyzzy" for "perfgate cluster"; see perfgate cluster --help`},
	})
	if s.received() != "" {
		t.Errorf("wrong usage makes calls: %s", s.received())
	}
}

// Flags with a duration take days, and the error of one that is none shows the form.
func TestDurationFlags(t *testing.T) {
	s := start(t, map[string]answer{
		"POST /v1/keys": {status: 201, body: issuedKey},
		"POST /v1/keys/key_1/rotate": {status: 201, body: `{"key":"pk_live_secret","id":"key_2","name":"n","type":"live","state":"active",` +
			`"created_at":"2027-01-01T00:00:00Z","replaces":"key_1","overlap_ends_at":"2027-01-08T12:00:00Z","revocation":{"effective":true,"took_ms":2}}`},
		"GET /v1/audit-logs": {body: ""},
	})
	testFailures(t, s, []failure{
		{args: "keys create a --type live --expires-in 1w", code: 2, err: `"1w" is no duration such as "30d" or "12h"`},
		{args: "keys create a --type live --expires-in 1d-1h", code: 2, err: `is no duration such as "30d" or "14d12h"`},
		{args: "keys create a --type live --expires-in 0d", code: 2, err: "must be a duration above zero"},
		{args: "audit tail --interval 0d", code: 2, err: "must be more than zero"},
		{args: "audit tail --since -1d", code: 2, err: "--since -1d: must not be negative"},
		{args: "explain req_1 --since 36h", code: 1, err: "no event of the last 1d12h has the request id"},
		{args: "explain req_1 --since 14d", code: 1, err: "no event of the last 14d has the request id"},
	})
	got := s.run(t, "", "keys", "rotate", "key_1", "--overlap", "7d12h")
	if got.code != 0 || s.received() != `POST /v1/keys/key_1/rotate {"overlap":"7d12h"}` {
		t.Errorf("%+v after %s", got, s.received())
	}
	// The overlap is that of the key that was replaced, which the answer is not about.
	if !strings.Contains(got.out, "old key until  2027-01-08 12:00\n") || strings.Contains(got.out, "overlap ends") {
		t.Errorf("%s", got.out)
	}
}

// A refusal is told in words, with the code for scripts and the wait where one helps.
func TestRefusalsInWords(t *testing.T) {
	for _, c := range []struct {
		status     int
		body, want string
	}{
		{503, `{"error":{"code":"no_leader","message":"There is no leader","retry_after":2}}`, "perfgate: There is no leader (no_leader); try again in 2 s\n"},
		{403, `{"error":{"code":"forbidden","message":"Only an operator token may make this call."}}`, "perfgate: Only an operator token may make this call. (forbidden)\n"},
		{409, `{"error":{"code":"of_a_later_version","message":"No."}}`, "perfgate: No. (of_a_later_version)\n"},
		{422, `{"error":{"code":"invalid_value","message":"a\u001b[2Jb\nc"}}`, "perfgate: a?[2Jb?c (invalid_value)\n"},
	} {
		s, _ := fixed(t, c.status, c.body)
		if got := s.run(t, "", "tiers", "list"); got.code != 1 || got.err != c.want || got.out != "" {
			t.Errorf("%s: %+v, want %q", c.body, got, c.want)
		}
	}
}
