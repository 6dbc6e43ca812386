package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAuditList(t *testing.T) {
	s := start(t, map[string]answer{"GET /v1/audit-logs": {body: `{"data":[` +
		`{"id":"evt_1","time":"2027-01-01T00:00:00Z","action":"key.create","outcome":"success","actor":{"type":"operator","id":"op_1"},"key_id":"key_1"},` +
		`{"id":"evt_2","time":"2027-01-01T00:00:01Z","action":"request","outcome":"denied","actor":{"type":"key","id":"key_1","name":"CI"},"target":"t","key_id":"key_1","ip":"192.0.2.1","reason":"ip_not_allowed"},` +
		`{"id":"evt_3","time":"2027-01-01T00:00:02Z","action":"backup","outcome":"success","actor":{"type":"system"}}],"next_cursor":null}`}})
	const table = `TIME                 ACTION      OUTCOME  ACTOR          TARGET  IP         REASON
2027-01-01 00:00:00  key.create  success  operator:op_1  key_1   -          -
2027-01-01 00:00:01  request     denied   key:CI         t       192.0.2.1  ip_not_allowed
2027-01-01 00:00:02  backup      success  system         -       -          -`
	testCommands(t, s, []commandTest{
		{args: "audit list", calls: "GET /v1/audit-logs?limit=100", out: table},
		{args: "audit list --limit 0 --cursor c", calls: "GET /v1/audit-logs?cursor=c&limit=1000", out: table},
		{args: "audit list --user op_1 --event-type create --action key.create --outcome success --key key_1 --start-date 2027-01-01 --end-date 2027-01-31", out: table,
			calls: "GET /v1/audit-logs?action=key.create&end_date=2027-01-31&event_type=create&key=key_1&limit=100&outcome=success&start_date=2027-01-01&user=op_1"},
	})
}

// A file appears under its name once it is complete.
func TestAuditExport(t *testing.T) {
	const log = `{"data":[` + "\n"
	broken := false
	s := start(t, map[string]answer{"GET /v1/audit-logs": {do: func(w http.ResponseWriter, r *http.Request, _ string) {
		io.WriteString(w, log)
		if broken {
			cut(w)
		}
	}}})
	dir := t.TempDir()
	path := filepath.Join(dir, "out.csv")
	if got := s.run(t, "", "audit", "export"); got.code != 0 || got.out != log || s.received() != "GET /v1/audit-logs?format=json" {
		t.Errorf("to stdout: %+v after %s", got, s.received())
	}
	got := s.run(t, "", "audit", "export", "--format", "csv", "--user", "u", "--output", path)
	if got.code != 0 || got.out != "" || s.received() != "GET /v1/audit-logs?format=csv&user=u" {
		t.Errorf("%+v after %s", got, s.received())
	}
	if raw, err := os.ReadFile(path); err != nil || string(raw) != log {
		t.Errorf("%q, %v", raw, err)
	}
	broken = true
	other := filepath.Join(dir, "other")
	testFailures(t, s, []failure{
		{args: "audit export -o " + other, code: 1, err: "broke off"},
		{args: "audit export -o " + filepath.Join(dir, "no", "other"), code: 1, err: "export: open"},
	})
	noFiles(t, dir, "other*")
	noFiles(t, dir, ".*")
	if got := s.run(t, "", "audit", "export"); got.code != 1 || !strings.Contains(got.err, "broke off") {
		t.Errorf("to stdout, cut: %+v", got)
	}
}

// tailServer answers query n with n+1 events, and calls end with its third.
func tailServer(t *testing.T, end func()) *server {
	queries := 0
	return start(t, map[string]answer{"GET /v1/audit-logs": {do: func(w http.ResponseWriter, r *http.Request, _ string) {
		queries++
		for i := range queries + 1 {
			fmt.Fprintf(w, `{"id":"evt_%d","time":"2027-01-01T00:00:0%dZ","action":"a%d","outcome":"success","actor":{"type":"system"}}`+"\n", i, i, i)
		}
		if queries == 3 {
			end()
		}
	}}})
}

// tail shows each event once, however often it is returned, and an interrupt is
// its normal end.
func TestAuditTail(t *testing.T) {
	for _, format := range []string{"", "--json"} {
		ctx, cancel := context.WithCancel(t.Context())
		s := tailServer(t, cancel)
		var out, errs bytes.Buffer
		code := Execute(ctx, Config{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Env: func(string) (string, bool) { return "", false }},
			strings.Fields("audit tail --server "+s.URL+" --token pgop_x --interval 1ms --user u "+format))
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if format == "" {
			if !strings.HasPrefix(lines[0], "TIME") {
				t.Errorf("no head: %q", lines[0])
			}
			lines = lines[1:]
		}
		// The third answer may be cut by the interrupt.
		if code != 0 || errs.Len() > 0 || len(lines) < 3 || len(lines) > 4 || len(s.calls) != 3 {
			t.Fatalf("exit code %d after %d queries: %s%s", code, len(s.calls), out.String(), errs.String())
		}
		for i, line := range lines {
			if want := map[string]string{"": fmt.Sprintf(" a%d ", i), "--json": fmt.Sprintf(`{"id":"evt_%d"`, i)}[format]; !strings.Contains(line, want) {
				t.Errorf("line %d is %q", i, line)
			}
		}
		// A query starts before the newest event, for events that come late.
		for i, want := range []string{"", "start_date=2026-12-31T23%3A59%3A51Z", "start_date=2026-12-31T23%3A59%3A52Z"} {
			if line := s.calls[i].line; !strings.Contains(line, want) || !strings.Contains(line, "user=u") || !strings.Contains(line, "format=ndjson") {
				t.Errorf("query %d is %s", i, line)
			}
		}
	}
}

func TestAuditTailFails(t *testing.T) {
	s := start(t, map[string]answer{"GET /v1/audit-logs": {body: "{\"id\":1}\n"}})
	testFailures(t, s, []failure{
		{args: "audit tail --interval 0s", code: 2, err: "--interval 0s: must be more than zero"},
		{args: "audit tail --since -1s", code: 2, err: "--since -1s: must not be negative"},
		{args: "audit tail --json", code: 1, err: "read the server's answer"},
	})
	s.answers["GET /v1/audit-logs"] = answer{body: `{"id":"` + strings.Repeat("x", maxLine) + `"}`}
	testFailures(t, s, []failure{{args: "audit tail --json", code: 1, err: "too long"}})
}

// Events before the overlap are forgotten, so that a tail of any length needs
// bounded memory.
func TestShownEvents(t *testing.T) {
	s := newShownEvents()
	if _, ok := s.next(); ok {
		t.Error("there is a next query before the first event")
	}
	for i, sec := range []int{0, 5, 11, 12} {
		if e := eventAt(i, sec); !s.add(e) || s.add(e) {
			t.Errorf("event %d is not shown exactly once", i)
		}
	}
	from, ok := s.next()
	if want := eventAt(0, 2).Time; !ok || !from.Equal(want) {
		t.Errorf("next query from %s, want %s", from, want)
	}
	if len(s.at) != 3 {
		t.Errorf("%d events are remembered", len(s.at))
	}
	if s.add(eventAt(1, 5)) {
		t.Error("an event within the overlap is shown twice")
	}
}

// audit rotate-key shows the keys.
func TestAuditRotateKey(t *testing.T) {
	s := start(t, map[string]answer{"POST /v1/audit-logs/rotate-key": {body: `{"keys":[{"id":"ask_1","public_key":"cA==","created_at":"2027-01-01T00:00:00Z"},` +
		`{"id":"ask_2","public_key":"cQ==","created_at":"2027-02-01T00:00:00Z","endorsed_by":"ask_1","endorsement":"cg=="}]}`}})
	got := s.run(t, "", "audit", "rotate-key")
	if lines := strings.Split(got.out, "\n"); got.code != 0 || !strings.Contains(got.out, "ask_2") || !strings.HasSuffix(strings.TrimSpace(lines[2]), "ask_1") {
		t.Errorf("%+v", got)
	}
}
