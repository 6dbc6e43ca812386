package cli

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

func allowlistServer(t *testing.T) *server {
	return start(t, map[string]answer{
		"GET /v1/allowlist":          {body: `{"entries":[{"cidr":"10.0.0.0/8","note":"office"}]}`, etag: `"4"`},
		"POST /v1/allowlist/confirm": {body: `{"entries":[{"cidr":"10.0.0.0/8","note":""}],"pending":null}`},
		"POST /v1/allowlist/revert":  {body: `{"entries":[{"cidr":"10.0.0.0/8","note":""}],"pending":{"confirm_by":"2027-01-31T15:00:00Z","set_at":"2027-01-31T14:55:00Z","set_by":"usr_1"}}`},
		"PUT /v1/allowlist":          {body: `{"entries":[],"revocation":{"index":1,"effective":false,"took_ms":9,"nodes":[{"name":"n2","how":"unconfirmed"}]}}`},
	})
}

func TestAllowlist(t *testing.T) {
	const (
		empty   = "CIDR  NOTE"
		changed = "The allowlist is empty: every address is allowed.\nThe change is NOT yet effective on n2."
	)
	path := put(t, t.TempDir(), "list", []byte("192.0.2.1\n"))
	testCommands(t, allowlistServer(t), []commandTest{
		{args: "allowlist get", calls: "GET /v1/allowlist", out: "CIDR        NOTE\n10.0.0.0/8  office"},
		{args: "allowlist check ::ffff:10.9.9.9", calls: "GET /v1/allowlist", out: "It passes by 10.0.0.0/8  office"},
		{args: "allowlist set", stdin: "10.0.0.0/8 # x\n", calls: "PUT /v1/allowlist 10.0.0.0/8 # x\n", out: empty, err: changed},
		{args: "allowlist set --force -", stdin: "", calls: "PUT /v1/allowlist?force=true", out: empty, err: changed},
		{args: "allowlist set --confirm-within 5m -", stdin: "10.0.0.0/8", calls: "PUT /v1/allowlist?confirm_within=5m 10.0.0.0/8", out: empty, err: changed},
		{args: "allowlist confirm", calls: "POST /v1/allowlist/confirm", out: "CIDR        NOTE\n10.0.0.0/8  -"},
		{args: "allowlist revert --force", calls: "POST /v1/allowlist/revert?force=true", out: "CIDR        NOTE\n10.0.0.0/8  -",
			err: "On trial: perfgate allowlist confirm keeps it; otherwise the list from before comes back at 2027-01-31T15:00:00Z."},
		{args: "allowlist set " + path, calls: "PUT /v1/allowlist 192.0.2.1\n", out: empty, err: changed},
		{args: "allowlist add 192.0.2.1 10.0.0.0/8 --note n", out: empty, err: changed,
			calls: "GET /v1/allowlist\n" + `PUT /v1/allowlist {"entries":[{"cidr":"10.0.0.0/8","note":"n"},{"cidr":"192.0.2.1","note":"n"}]} If-Match "4"`},
		{args: "allowlist add ::ffff:10.1.2.3/104 --force", out: empty, err: changed,
			calls: "GET /v1/allowlist\n" + `PUT /v1/allowlist?force=true {"entries":[{"cidr":"10.0.0.0/8","note":"office"}]} If-Match "4"`},
		{args: "allowlist remove ::ffff:10.0.0.0/104 --force", out: empty, err: changed,
			calls: "GET /v1/allowlist\n" + `PUT /v1/allowlist?force=true {"entries":[]} If-Match "4"`},
	})
	s := allowlistServer(t)
	s.run(t, "10.0.0.0/8", "allowlist", "set")
	if ct := s.calls[0].header.Get("Content-Type"); ct != "text/plain" {
		t.Errorf("set sends %q", ct)
	}
	s.run(t, "", "allowlist", "add", "192.0.2.1")
	if ct := s.calls[1].header.Get("Content-Type"); ct != "application/json" {
		t.Errorf("add sends %q", ct)
	}
}

func TestAllowlistFails(t *testing.T) {
	path := put(t, t.TempDir(), "large", []byte(strings.Repeat("\n", maxAllowFile+1)))
	s := allowlistServer(t)
	testFailures(t, s, []failure{
		{args: "allowlist set /nonexistent", code: 1, err: "read allowlist: open /nonexistent: no such file"},
		{args: "allowlist set " + path, code: 1, err: "is larger than 8388608 bytes"},
		{args: "allowlist check 203.0.113.7", code: 1, err: "would be refused"},
		{args: "allowlist check 203.0.113.0/24", code: 1, err: "is no IP address"},
		{args: "allowlist set a b", code: 2, err: "accepts at most 1 arg"},
		{args: "allowlist add", code: 2, err: "requires at least 1 arg"},
		{args: "allowlist remove 203.0.113.1", code: 1, err: "203.0.113.1 is not on the allowlist"},
		{args: "allowlist remove 10.0.0.0/8", code: 1, err: "the allowlist would be empty, which allows every address; repeat with --force"},
		{args: "allowlist remove 10.0.0.0/8 10.0.0.0/8 --force", code: 1, err: "10.0.0.0/8 is not on the allowlist"},
	})
	for _, c := range s.calls {
		if strings.HasPrefix(c.line, "PUT") {
			t.Errorf("a change that fails is sent: %s", c)
		}
	}
}

// A list that someone else changes at the same time is read and changed again,
// but not for ever.
func TestAllowlistRace(t *testing.T) {
	version, last := 1, 3
	s := start(t, nil)
	s.answers = map[string]answer{
		"GET /v1/allowlist": {do: func(w http.ResponseWriter, r *http.Request, _ string) {
			w.Header().Set("ETag", fmt.Sprintf(`"%d"`, version))
			fmt.Fprintf(w, `{"entries":[{"cidr":"10.0.0.%d/32","note":""}]}`, version)
			if version < last {
				version++ // by someone else
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
	got := s.run(t, "", "allowlist", "add", "192.0.2.1", "--json")
	if got.code != 0 || !strings.Contains(got.out, "10.0.0.3/32") || !strings.Contains(got.out, "192.0.2.1") || len(s.calls) != 6 {
		t.Errorf("%+v after %d calls", got, len(s.calls))
	}
	version, last = 1, 100
	got = s.run(t, "", "allowlist", "add", "192.0.2.1")
	if got.code != 1 || !strings.Contains(got.err, "precondition_failed") || len(s.calls) != 2*allowTries {
		t.Errorf("always changed: %+v after %d calls", got, len(s.calls))
	}
}

func TestSameRange(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"10.0.0.1", "10.0.0.1/32", true},
		{"10.0.0.1", "::ffff:10.0.0.1", true},
		{"10.9.9.9/8", "10.0.0.0/8", true}, // host bits do not count
		{"2001:db8::1", "2001:DB8:0::1/128", true},
		{"10.0.0.0/8", "10.0.0.0/9", false},
		{"::/0", "0.0.0.0/0", false},
		{"::ffff:0:0/95", "0.0.0.0/0", false},
		{"office", "office", true}, // for the server to refuse
		{"office", "10.0.0.1", false},
		{"10.0.0.1", "office", false},
	} {
		if got := sameRange(tt.a, tt.b); got != tt.want {
			t.Errorf("sameRange(%q, %q) = %t", tt.a, tt.b, got)
		}
	}
}

// A list without entries would allow every address: it needs --force.
func TestAllowlistSetOfNothing(t *testing.T) {
	s := start(t, map[string]answer{"PUT /v1/allowlist": {body: `{"entries":[],"revocation":null}`}})
	for _, empty := range []string{"", "\n\n", "# all gone\n  # and this\n", " \t\r\n"} {
		if got := s.run(t, empty, "allowlist", "set"); got.code != 1 || !strings.Contains(got.err, "--force") || len(s.calls) != 0 {
			t.Errorf("set of %q: exit code %d, %s, calls %v", empty, got.code, got.err, s.calls)
		}
		if got := s.run(t, empty, "allowlist", "set", "--force"); got.code != 0 || len(s.calls) != 1 {
			t.Errorf("set of %q with --force: exit code %d, %s", empty, got.code, got.err)
		}
	}
}
