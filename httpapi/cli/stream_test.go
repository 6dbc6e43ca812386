package cli

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// An import of any length goes in pieces, and lines keep their numbers.
func TestImport(t *testing.T) {
	s := start(t, map[string]answer{"POST /v1/keys/import": {do: func(w http.ResponseWriter, r *http.Request, body string) {
		var data []string
		n := 0
		for line := range strings.Lines(body) {
			switch n++; {
			case strings.TrimSpace(line) == "":
			case strings.Contains(line, "bad"):
				data = append(data, fmt.Sprintf(`{"line":%d,"id":null,"error":{"code":"conflict","message":"It exists."}}`, n))
			default:
				data = append(data, fmt.Sprintf(`{"line":%d,"id":"key_%d","error":null}`, n, n))
			}
		}
		fmt.Fprintf(w, `{"data":[%s],"next_cursor":null}`, strings.Join(data, ","))
	}}})
	var in strings.Builder
	for i := range importLines + 10 {
		switch i {
		case 4, importLines + 2:
			in.WriteString("bad\n")
		case 5:
			in.WriteString("\n")
		default:
			in.WriteString("{}\n")
		}
	}
	got := s.call(t, in.String(), "keys", "import")
	if got.code != 1 || len(s.calls) != 2 || got.out != "10007 keys imported, 2 lines refused\n" {
		t.Errorf("exit code %d after %d calls, %q", got.code, len(s.calls), got.out)
	}
	for _, want := range []string{"line 5: It exists. (conflict)", "line 10003: It exists."} {
		if !strings.Contains(got.err, want) {
			t.Errorf("stderr %q lacks %q", got.err, want)
		}
	}
	if ct := s.calls[0].header.Get("Content-Type"); ct != "application/x-ndjson" {
		t.Errorf("Content-Type %q", ct)
	}
	path := put(t, t.TempDir(), "keys", []byte("{}"))
	if got := s.call(t, "", "keys", "import", path); got.code != 0 || got.out != "1 keys imported, 0 lines refused\n" {
		t.Errorf("%+v", got)
	}
	if got := s.call(t, "\n\n", "keys", "import"); got.code != 1 || len(s.calls) != 0 || !strings.Contains(got.err, "no line") {
		t.Errorf("nothing to import: %+v", got)
	}
	if got := s.call(t, strings.Repeat("x", importLine+1), "keys", "import"); got.code != 1 || !strings.Contains(got.err, "line 1 is longer") {
		t.Errorf("a long line: %+v", got)
	}
}

// A file appears under its name when it is whole.
func TestExport(t *testing.T) {
	broken := false
	s := start(t, map[string]answer{"GET /v1/audit-logs": {do: func(w http.ResponseWriter, r *http.Request, _ string) {
		io.WriteString(w, "first\n")
		w.(http.Flusher).Flush()
		if broken {
			panic(http.ErrAbortHandler)
		}
	}}})
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	path := filepath.Join(t.TempDir(), "out.csv")
	if got := s.call(t, "", "audit", "export", "--format", "csv", "--output", path); got.code != 0 || s.calls[0].line != "GET /v1/audit-logs?format=csv" {
		t.Fatalf("%+v", got)
	}
	if raw, err := os.ReadFile(path); err != nil || string(raw) != "first\n" {
		t.Errorf("%q, %v", raw, err)
	}
	os.Remove(path)
	broken = true
	if got := s.call(t, "", "audit", "export", "-o", path); got.code != 1 || !strings.Contains(got.err, "broke off") {
		t.Errorf("a stream that breaks off: %+v", got)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// tail shows each event once, however often it is asked for.
func TestTail(t *testing.T) {
	asked := 0
	ctx, cancel := context.WithCancel(t.Context())
	s := start(t, map[string]answer{"GET /v1/audit-logs": {do: func(w http.ResponseWriter, r *http.Request, _ string) {
		asked++
		for i := range asked + 1 {
			fmt.Fprintf(w, `{"id":"evt_%d","time":"2027-01-01T00:00:0%dZ","action":"a%d"}`+"\n", i, i, i)
		}
		if asked == 3 {
			cancel()
		}
	}}})
	var out, errs bytes.Buffer
	code := Execute(ctx, Config{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Env: func(string) (string, bool) { return "", false }},
		[]string{"audit", "tail", "--server", s.URL, "--token", "pgop_x", "--json", "--interval", "1ms"})
	if code != 0 || strings.Count(out.String(), "evt_0") != 1 || strings.Count(out.String(), "evt_2") != 1 || asked != 3 {
		t.Errorf("exit code %d after %d questions: %s%s", code, asked, out.String(), errs.String())
	}
	if q := s.calls[2].line; !strings.Contains(q, "start_date=2026-12-31T23%3A59%3A52Z") {
		t.Errorf("the third question is %s", q)
	}
}

// A self-signed server is believed when its certificate is given or lies in the
// local data directory, and otherwise not.
func TestTLS(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `{"status":"ok"}`)
	}))
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS13}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	dir, empty := t.TempDir(), t.TempDir()
	cert := put(t, dir, certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	junk := put(t, dir, "junk", []byte("junk"))
	address := strings.TrimPrefix(s.URL, "https://")
	for _, tt := range []struct {
		args []string
		env  map[string]string
		err  string
	}{
		{[]string{"cluster", "status", "--server", s.URL, "--data-dir", empty}, nil, "certificate"},
		{[]string{"cluster", "status", "--server", s.URL, "--data-dir", empty, "--ca-file", cert}, nil, ""},
		{[]string{"cluster", "status", "--server", s.URL, "--data-dir", empty, "--insecure-skip-verify"}, nil, ""},
		{[]string{"cluster", "status", "--server", s.URL, "--data-dir", dir}, nil, ""},
		{[]string{"cluster", "status", "--server", s.URL, "--ca-file", junk}, nil, "there is no certificate"},
		// As in a container: the node's own settings say where it listens.
		{[]string{"cluster", "status"}, map[string]string{adminEnv: ":" + address[strings.LastIndex(address, ":")+1:], dataDirEnv: dir}, ""},
		{[]string{"health"}, map[string]string{adminEnv: address, dataDirEnv: empty}, ""},
		{[]string{"health", "--server", s.URL, "--data-dir", empty}, nil, ""},
	} {
		env := map[string]string{tokenEnv: "pgop_x"}
		for k, v := range tt.env {
			env[k] = v
		}
		got := perfgate(t, "", env, tt.args...)
		if tt.err == "" && got.code != 0 || tt.err != "" && (got.code != 1 || !strings.Contains(got.err, tt.err)) {
			t.Errorf("%v: %+v, want %q", tt.args, got, tt.err)
		}
	}
}

// A certificate left over from another time does not lead to TLS.
func TestPlainBesideCertificate(t *testing.T) {
	s := start(t, map[string]answer{"GET /readyz": {body: `{"status":"ok"}`}})
	dir := t.TempDir()
	put(t, dir, certFile, []byte("old"))
	env := map[string]string{adminEnv: strings.TrimPrefix(s.URL, "http://"), dataDirEnv: dir}
	if got := perfgate(t, "", env, "health"); got.code != 0 {
		t.Errorf("%+v", got)
	}
}
