package cli

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// An export gets its name once its last line is there, and names the nodes that are not in it.
func TestAccountsExport(t *testing.T) {
	body := ""
	s := start(t, nil)
	s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/account/data" || r.Header.Get("X-Perf-Account") != "acct_1" {
			t.Errorf("%s for %q", r.URL, r.Header.Get("X-Perf-Account"))
		}
		w.Header().Set("Content-Type", "application/x-ndjson")
		io.WriteString(w, body)
	})
	const first, end = `{"type":"export","data":{}}` + "\n", `{"type":"end","data":{"lines":1,"missing":[{"node":"n3","reason":"timeout"}]}}` + "\n"
	file := filepath.Join(t.TempDir(), "a.ndjson")
	for _, cut := range []string{"", first, first + end[:20], first + end[:len(end)-1]} {
		body = cut
		got := s.run(t, "", "accounts", "export", "--account", "acct_1", "-o", file)
		if _, err := os.Stat(file); got.code != 1 || !strings.Contains(got.err, "broke off") || !os.IsNotExist(err) {
			t.Errorf("%q: %+v, %v", cut, got, err)
		}
	}
	body = strings.Repeat(first, 5000) + end
	got := s.run(t, "", "accounts", "export", "--account", "acct_1", "-o", file)
	raw, err := os.ReadFile(file)
	if got.code != 0 || err != nil || string(raw) != body || !strings.Contains(got.err, "node n3 did not answer") {
		t.Errorf("%+v, %d bytes, %v", got, len(raw), err)
	}
	if got := s.run(t, "", "accounts", "export", "--account", "acct_1"); got.out != body {
		t.Errorf("to stdout: %d bytes", len(got.out))
	}
}
