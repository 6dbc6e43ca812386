package cli

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/perfgate/perfgate/store/seal"
)

// server is a fake of perfgate's management API. It answers from a table and
// records every call.
type server struct {
	*httptest.Server
	answers map[string]answer // by method and escaped path, "GET /v1/keys"

	mu    sync.Mutex
	calls []request
}

// request is one call that a server received.
type request struct {
	line   string // method, path and query
	body   string
	header http.Header
}

// String returns the call as tables of tests write it: method, path and query,
// the body if there is one, and the If-Match header.
func (r request) String() string {
	line := r.line
	if r.body != "" {
		line += " " + r.body
	}
	if m := r.header.Get("If-Match"); m != "" {
		line += " If-Match " + m
	}
	return line
}

type answer struct {
	status int // 0 is 200
	etag   string
	body   string
	do     func(w http.ResponseWriter, r *http.Request, body string) // instead of the other fields
}

func start(t *testing.T, answers map[string]answer) *server {
	t.Helper()
	s := &server{answers: answers}
	s.Server = httptest.NewUnstartedServer(s)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Start()
	t.Cleanup(s.Close)
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	s.calls = append(s.calls, request{r.Method + " " + r.URL.RequestURI(), string(body), r.Header})
	s.mu.Unlock()
	w.Header().Set("X-Request-Id", "req-1")
	setType(w, r)
	a, ok := s.answers[r.Method+" "+r.URL.EscapedPath()]
	switch {
	case !ok:
		w.WriteHeader(http.StatusNotFound)
		io.WriteString(w, `{"error":{"type":"invalid_request","code":"not_found","message":"No such route or endpoint."}}`)
		return
	case a.do != nil:
		a.do(w, r, string(body))
		return
	}
	if a.etag != "" {
		w.Header().Set("ETag", a.etag)
	}
	if a.status != 0 {
		w.WriteHeader(a.status)
	}
	io.WriteString(w, a.body)
}

// setType sets the type of an answer as perfgate does.
func setType(w http.ResponseWriter, r *http.Request) {
	t := "application/json"
	switch r.URL.Path {
	case "/v1/backup":
		t = "application/octet-stream"
	case auditPath:
		t = first(map[string]string{"ndjson": "application/x-ndjson", "csv": "text/csv"}[r.URL.Query().Get("format")], t)
	}
	w.Header().Set("Content-Type", t)
}

// received returns the calls since the last run, one per line.
func (s *server) received() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var lines []string
	for _, c := range s.calls {
		lines = append(lines, c.String())
	}
	return strings.Join(lines, "\n")
}

// cut ends a response in the middle, as a server that crashes does.
func cut(w http.ResponseWriter) {
	w.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

// result is the outcome of one run of the command line.
type result struct {
	code     int
	out, err string
}

// perfgate runs the command line with stdin and an environment.
func perfgate(t *testing.T, stdin string, env map[string]string, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	code := Execute(t.Context(), Config{
		Version: "1.2.3", Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &errs,
		Env:     func(name string) (string, bool) { v, ok := env[name]; return v, ok },
		Archive: fakeArchive(),
	}, args)
	return result{code, out.String(), errs.String()}
}

// run runs the command line against s with a token.
func (s *server) run(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	s.mu.Lock()
	s.calls = nil
	s.mu.Unlock()
	return perfgate(t, stdin, map[string]string{serverEnv: s.URL, tokenEnv: "pgop_token"}, args...)
}

// commandTest is one run of a command that succeeds.
type commandTest struct {
	args  string // separated by blanks
	stdin string
	calls string // that the server receives; see [request.String]
	out   string // stdout
	err   string // stderr
}

// testCommands runs commands against s, and each of them once more with --json,
// which must make the same calls.
func testCommands(t *testing.T, s *server, tests []commandTest) {
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			got := s.run(t, tt.stdin, strings.Fields(tt.args)...)
			if got.code != 0 {
				t.Fatalf("exit code %d: %s", got.code, got.err)
			}
			if calls := s.received(); calls != tt.calls {
				t.Errorf("calls\n%s\nwant\n%s", calls, tt.calls)
			}
			if out := trimLines(got.out); out != tt.out {
				t.Errorf("stdout\n%s\nwant\n%s", out, tt.out)
			}
			if err := trimLines(got.err); err != tt.err {
				t.Errorf("stderr %q, want %q", err, tt.err)
			}
			for _, c := range s.calls {
				if h := c.header; h.Get("Authorization") != "Bearer pgop_token" || h.Get("User-Agent") != "perfgate-cli/1.2.3" || h.Get("X-Perf-Account") != "" {
					t.Errorf("%s: header %v", c.line, h)
				}
			}
			last := s.calls[len(s.calls)-1]
			want := s.answers[strings.SplitN(last.line, "?", 2)[0]].body
			if want == "" {
				return // computed
			}
			got = s.run(t, tt.stdin, append([]string{"--json"}, strings.Fields(tt.args)...)...)
			if got.code != 0 || got.out != want+"\n" {
				t.Errorf("with --json: exit code %d, %s%s\nwant\n%s", got.code, got.out, got.err, want)
			}
			if calls := s.received(); calls != tt.calls {
				t.Errorf("calls with --json\n%s\nwant\n%s", calls, tt.calls)
			}
		})
	}
}

// trimLines removes the blanks at the end of lines, and the last line end.
func trimLines(s string) string {
	lines := strings.Split(strings.TrimSuffix(s, "\n"), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}

// failure is one run that fails.
type failure struct {
	args  string // separated by blanks
	stdin string
	code  int
	err   string // in stderr
}

// testFailures runs commands that must fail and print nothing on stdout.
func testFailures(t *testing.T, s *server, tests []failure) {
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			got := s.run(t, tt.stdin, strings.Fields(tt.args)...)
			if got.code != tt.code || !strings.Contains(got.err, tt.err) || got.out != "" {
				t.Errorf("exit code %d, stdout %q, stderr %q; want %d and %q", got.code, got.out, got.err, tt.code, tt.err)
			}
			for line := range strings.Lines(got.err) {
				if asJSON := strings.Contains(tt.args, "--json"); !asJSON && !strings.HasPrefix(line, "perfgate: ") || asJSON && !strings.HasPrefix(line, `{"error":{`) {
					t.Errorf("line %q does not name the program", line)
				}
			}
			if strings.Contains(got.err, "pgop_") {
				t.Errorf("stderr contains the token: %q", got.err)
			}
		})
	}
}

// put writes a file and returns its path.
func put(t *testing.T, dir, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// noFiles fails the test if a directory contains files that match a pattern.
func noFiles(t *testing.T, dir, pattern string) {
	t.Helper()
	if left, _ := filepath.Glob(filepath.Join(dir, pattern)); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// fakeReport is the report of fakeArchive.
type fakeReport struct {
	Bytes int `json:"bytes"`
}

func (r fakeReport) String() string { return fmt.Sprintf("%d bytes\n", r.Bytes) }

// fakeArchive writes the passphrase, or the recipients, before a backup and a mark after it.
// The only valid backup is "content".
func fakeArchive() Archive {
	return Archive{
		Seal: func(to seal.To, w io.Writer) (io.WriteCloser, seal.With, error) {
			secret := to.Passphrase + strings.Join(to.Recipients, ",")
			_, err := io.WriteString(w, secret+"<")
			return fakeSeal{w}, seal.With{Passphrase: secret}, err
		},
		Verify: func(r io.Reader, with seal.With) (fmt.Stringer, error) {
			raw, err := io.ReadAll(r)
			if err != nil {
				return nil, err
			}
			want := "content"
			if with.Passphrase != "" {
				want = with.Passphrase + "<content>"
			}
			if string(raw) != want {
				return nil, fmt.Errorf("the backup is damaged")
			}
			return fakeReport{len(raw)}, nil
		},
	}
}

type fakeSeal struct{ io.Writer }

func (s fakeSeal) Close() error { _, err := io.WriteString(s.Writer, ">"); return err }
