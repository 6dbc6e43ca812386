package cli

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// importServer refuses lines that contain "bad" and answers nothing for blank ones.
func importServer(t *testing.T) *server {
	return start(t, map[string]answer{"POST /v1/keys/import": {do: func(w http.ResponseWriter, r *http.Request, body string) {
		var data []string
		n := 0
		for line := range strings.Lines(body) {
			switch n++; {
			case strings.TrimSpace(line) == "":
			case strings.Contains(line, "bad"):
				data = append(data, fmt.Sprintf(`{"line":%d,"id":null,"error":{"code":"conflict","message":"It \u001b[31mexists."}}`, n))
			default:
				data = append(data, fmt.Sprintf(`{"line":%d,"id":"key_%d","error":null}`, n, n))
			}
		}
		fmt.Fprintf(w, `{"data":[%s],"next_cursor":null}`, strings.Join(data, ","))
	}}})
}

// An import of any length is sent in chunks, and lines keep their numbers.
func TestImport(t *testing.T) {
	s := importServer(t)
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
	got := s.run(t, in.String(), "keys", "import")
	if got.code != 1 || len(s.calls) != 2 || got.out != "10007 keys imported, 2 lines refused\n" {
		t.Errorf("exit code %d after %d calls, %q", got.code, len(s.calls), got.out)
	}
	if want := "perfgate: line 5: It ?[31mexists. (conflict)\nperfgate: line 10003: It ?[31mexists. (conflict)\nperfgate: 2 of 10009 lines were not imported\n"; got.err != want {
		t.Errorf("stderr %q", got.err)
	}
	if s.calls[0].body+s.calls[1].body != in.String() {
		t.Error("the chunks are not the input")
	}
	if ct := s.calls[0].header.Get("Content-Type"); ct != "application/x-ndjson" {
		t.Errorf("Content-Type %q", ct)
	}
	got = s.run(t, in.String(), "keys", "import", "--json")
	if got.code != 1 || strings.Count(got.out, "\n") != 2 || strings.Contains(got.err, "line 5") || !strings.Contains(got.out, `"line":5,"id":null`) {
		t.Errorf("--json: exit code %d, %d bytes, %s", got.code, len(got.out), got.err)
	}
}

// --reassign is asked for in every chunk.
func TestImportReassign(t *testing.T) {
	s := importServer(t)
	if got := s.run(t, strings.Repeat("{}\n", importLines+1), "keys", "import", "--reassign"); got.code != 0 || len(s.calls) != 2 {
		t.Fatalf("exit code %d after %d calls: %s", got.code, len(s.calls), got.err)
	}
	for _, c := range s.calls {
		if !strings.HasPrefix(c.String(), "POST /v1/keys/import?reassign=true ") {
			t.Errorf("%.60s", c.String())
		}
	}
}

// A chunk is bounded in bytes too, and never splits a line.
func TestImportBytes(t *testing.T) {
	s := importServer(t)
	line := `{"name":"` + strings.Repeat("x", importLine/2) + "\"}\n"
	n := importBytes/len(line) + 3
	got := s.run(t, strings.Repeat(line, n), "keys", "import")
	if got.code != 0 || len(s.calls) != 2 || got.out != fmt.Sprintf("%d keys imported, 0 lines refused\n", n) {
		t.Errorf("exit code %d after %d calls, %q", got.code, len(s.calls), got.out)
	}
	for _, c := range s.calls {
		if len(c.body) > importBytes+importLine || !strings.HasSuffix(c.body, line) {
			t.Errorf("a chunk of %d bytes ends with %q", len(c.body), c.body[len(c.body)-10:])
		}
	}
}

func TestImportFile(t *testing.T) {
	s := importServer(t)
	path := put(t, t.TempDir(), "keys", []byte("{}"))
	for _, tt := range []struct{ path, stdin string }{{path, ""}, {"-", "{}"}} {
		if got := s.run(t, tt.stdin, "keys", "import", tt.path); got.code != 0 || got.out != "1 key imported, 0 lines refused\n" {
			t.Errorf("%s: %+v", tt.path, got)
		}
	}
}

func TestImportFails(t *testing.T) {
	s := importServer(t)
	testFailures(t, s, []failure{
		{args: "keys import", code: 1, err: "nothing to import: the input has no lines"},
		{args: "keys import", stdin: "\n \n", code: 1, err: "nothing to import"},
		{args: "keys import", stdin: strings.Repeat("x", importLine+1), code: 1, err: "line 1 is longer than 1048576 bytes"},
		{args: "keys import", stdin: "\n\n" + strings.Repeat("x", importLine+1), code: 1, err: "line 3 is longer"},
		{args: "keys import /nonexistent", code: 1, err: "read keys: open /nonexistent: no such file"},
		{args: "keys import a b", code: 2, err: "accepts at most 1 arg"},
	})
	calls := 0
	s.answers["POST /v1/keys/import"] = answer{do: func(w http.ResponseWriter, r *http.Request, _ string) {
		if calls++; calls == 2 {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, `{"error":{"code":"no_leader","message":"There is no leader."}}`)
			return
		}
		fmt.Fprint(w, `{"data":[],"next_cursor":null}`)
	}}
	// The error tells from which line the import can be continued.
	got := s.run(t, strings.Repeat("{}\n", importLines+1), "keys", "import")
	if got.code != 1 || !strings.Contains(got.err, "perfgate: after line 10000: There is no leader. (no_leader)\n") {
		t.Errorf("%+v", got)
	}
}

// The warnings of an import go to stderr, each once, with the number of its first line in
// the whole input; --json shows them where the API does.
func TestImportWarnings(t *testing.T) {
	s := start(t, map[string]answer{"POST /v1/keys/import": {body: `{"data":[{"line":1,"id":"key_1","error":null},` +
		`{"line":2,"id":"key_2","error":null,"warnings":["no route \u001b[31m\"raed\"","no route \"/v1/chta\""]}],"next_cursor":null}`}})
	in := strings.Repeat("{}\n", importLines+1)
	got := s.run(t, in, "keys", "import")
	want := "perfgate: warning: line 2: no route ?[31m\"raed\"\nperfgate: warning: line 2: no route \"/v1/chta\"\n"
	if got.code != 0 || len(s.calls) != 2 || got.err != want {
		t.Errorf("after %d calls: %+v", len(s.calls), got)
	}
	if got := s.run(t, in, "keys", "import", "--json"); got.code != 0 || got.err != "" || strings.Count(got.out, `"warnings"`) != 2 {
		t.Errorf("--json: %+v", got)
	}
}
