package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/httpapi/apikey"
)

// Keys that a commit once added are found with commit, file and line, whatever the branch,
// also where they were removed long ago or lie in a binary file.
func TestScanHistory(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed")
	}
	dir := t.TempDir()
	git := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-C", dir, "-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "init.defaultBranch=main"}, args...)...)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	first, second, third := apikey.New(apikey.LivePrefix), apikey.New(apikey.LivePrefix), apikey.New(apikey.TestPrefix)
	git("init", "-q")
	put(t, dir, "env", []byte("A=1\nKEY="+first+"\n--- a/x\n+++ b/y\n"))
	git("add", ".")
	git("commit", "-qm", "Add "+third)
	one := git("rev-parse", "HEAD")[:12]
	put(t, dir, "env", []byte("A=1\nKEY=$KEY\n"))
	git("commit", "-qam", "Remove it")
	git("checkout", "-qb", "other")
	put(t, dir, "d/b.bin", append([]byte{0, 1, 2, '\n', 0}, second...))
	git("add", ".")
	git("commit", "-qm", "Add a binary file")
	two := git("rev-parse", "HEAD")[:12]
	git("checkout", "-q", "main")
	got := perfgate(t, "", nil, "scan", "--history", dir)
	want := fmt.Sprintf("%s@%s:d/b.bin:2:%s\n%s@%s:env:2:%s\n", dir, two, apikey.Hint(second), dir, one, apikey.Hint(first))
	if got.code != 1 || got.out != want || !strings.Contains(got.err, "found 2 keys in 2 files") {
		t.Errorf("%d\n%s%s\nwant\n%s", got.code, got.out, got.err, want)
	}
	if got := perfgate(t, "", nil, "scan", dir); strings.Contains(got.out, apikey.Hint(first)) {
		t.Errorf("without the history: %s", got.out)
	}
	if got := perfgate(t, "", nil, "scan", "--history", t.TempDir()); got.code != 1 || !strings.Contains(got.err, "git log") {
		t.Errorf("no repository: %+v", got)
	}
}

// A key in a line that is longer than the buffer is found wherever the buffer cuts it.
func TestScanLongPatches(t *testing.T) {
	key := apikey.New(apikey.LivePrefix)
	for cut := range apikey.Len + 2 {
		text := "commit 0123456789abcdef\n+++ b/f\n@@ -3,1 +7,2 @@\n-" + strings.Repeat("x", 2*scanBuffer) + key + "\n+" +
			strings.Repeat("y", scanBuffer-cut) + key + strings.Repeat("z", scanBuffer) + "\n+" + key + "\n"
		var out bytes.Buffer
		s := &scan{app: &app{Config: Config{Stdout: &out, Stderr: io.Discard}}, buf: make([]byte, scanBuffer)}
		s.patches("r", strings.NewReader(text))
		want := fmt.Sprintf("r@0123456789ab:f:7:%s\nr@0123456789ab:f:8:%[1]s\n", apikey.Hint(key))
		if out.String() != want {
			t.Fatalf("cut %d: %s, want %s", cut, out.String(), want)
		}
	}
}

// With --check each key is shown with its id and state, and with --revoke it is revoked in
// its own account; each key is asked about once.
func TestScanChecks(t *testing.T) {
	alive, dead, foreign := apikey.New(apikey.LivePrefix), apikey.New(apikey.LivePrefix), apikey.New(apikey.TestPrefix)
	verdicts := map[string]string{
		alive:   `{"valid":false,"code":"ip_not_allowed","key_id":"key_1","account":"acct_7"}`,
		dead:    `{"valid":false,"code":"key_revoked","key_id":"key_2","account":"default"}`,
		foreign: `{"valid":false,"code":"invalid_key","key_id":null,"account":null}`,
	}
	s := start(t, map[string]answer{
		"POST /v1/keys/verify": {do: func(w http.ResponseWriter, _ *http.Request, body string) {
			var in struct {
				Key     string
				Consume *bool
			}
			if err := json.Unmarshal([]byte(body), &in); err != nil || in.Consume == nil || *in.Consume {
				t.Errorf("%s", body)
			}
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, verdicts[in.Key])
		}},
		"POST /v1/keys/key_1/revoke": {body: `{"id":"key_1","name":"n","state":"revoked"}`},
	})
	dir := t.TempDir()
	file := put(t, dir, "f", []byte(alive+"\n"+dead+"\n"+foreign+"\n"+alive+"\n"))
	lines := func(state string) string {
		return fmt.Sprintf("%s:1:%s key_1 %s\n%[1]s:2:%[4]s key_2 revoked\n%[1]s:3:%[5]s unknown\n%[1]s:4:%[2]s key_1 %[3]s\n", file, apikey.Hint(alive), state, apikey.Hint(dead), apikey.Hint(foreign))
	}
	got := s.run(t, "", "scan", "--check", dir)
	if calls := len(s.take()); got.code != 1 || got.out != lines("alive") || calls != 3 {
		t.Errorf("%d calls, %+v\nwant\n%s", calls, got, lines("alive"))
	}
	got = s.run(t, "", "scan", "--revoke", dir)
	if got.code != 1 || got.out != lines("revoked now") || !strings.Contains(got.err, "revoked 1 of them now") {
		t.Errorf("%+v\nwant\n%s", got, lines("revoked now"))
	}
	revoked := 0
	for _, c := range s.take() {
		if strings.HasSuffix(c.line, "/revoke") {
			revoked++
			if c.header.Get("X-Perf-Account") != "acct_7" || !strings.Contains(c.body, "found by perfgate scan in "+filepath.ToSlash(file)+":1") || strings.Contains(c.body, alive) {
				t.Errorf("%s %v", c.body, c.header)
			}
		}
	}
	if revoked != 1 {
		t.Errorf("revoked %d times", revoked)
	}
	if got := s.run(t, "", "scan", "--json", "--check", file); !strings.HasPrefix(got.out, fmt.Sprintf(`{"path":%q,"line":1,"hint":%q,"key_id":"key_1","state":"alive"}`, file, apikey.Hint(alive))) {
		t.Errorf("%s", got.out)
	}
	s.answers["POST /v1/keys/verify"] = answer{status: 503, body: `{"error":{"type":"unavailable","code":"no_leader","message":"There is no leader."}}`}
	if got := s.run(t, "", "scan", "--check", file); got.code != 1 || !strings.Contains(got.err, "There is no leader.") || !strings.Contains(got.out, "unchecked") {
		t.Errorf("%+v", got)
	}
	if strings.Contains(got.out+got.err, alive) {
		t.Error("a key is printed")
	}
}

// take returns the calls since the last one, and forgets them.
func (s *server) take() []request {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := s.calls
	s.calls = nil
	return calls
}
