package node

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/node/config/configtest"
	"github.com/perfgate/perfgate/node/datadir"
	"github.com/perfgate/perfgate/store/ids"
)

// slice is how many bytes of a secret, in any of its forms, may be nowhere.
const slice = 16

// secrets finds secrets in texts: each slice of each form of each is looked for.
type secrets struct {
	parts map[[slice]byte]string // to the kind of the secret
	n     int
}

// add takes a secret. What is before its last "_" is public: a prefix or an id.
func (s *secrets) add(kind, secret string) {
	secret = secret[strings.LastIndexByte(secret, '_')+1:]
	if len(secret) < slice {
		panic("too short to be found: " + kind)
	}
	s.n++
	forms := []string{secret, hex.EncodeToString([]byte(secret)), strings.ToUpper(hex.EncodeToString([]byte(secret)))}
	for shift := range 3 { // where a longer text is in base64, a secret may begin in the middle of a group
		text := base64.RawStdEncoding.EncodeToString(append(make([]byte, shift), secret...))
		forms = append(forms, text[shift+min(shift, 1):len(text)-1]) // whole characters of the secret
	}
	for _, form := range forms {
		for i := range len(form) - slice + 1 {
			s.parts[[slice]byte([]byte(form[i:i+slice]))] = kind
		}
	}
}

// find returns the kinds of secrets of which a slice is in text, with the place of the first.
func (s *secrets) find(text []byte) map[string]int {
	found := map[string]int{}
	for i := range max(0, len(text)-slice+1) {
		if kind, ok := s.parts[[slice]byte(text[i:])]; ok {
			if _, again := found[kind]; !again {
				found[kind] = i
			}
		}
	}
	return found
}

// call sends a request and returns status and body.
func call(t *testing.T, method, url, body string, headers ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(raw)
}

// Of 10,000 secrets no 16 bytes, plain or in hex or base64, are in the data directory, in
// the log at debug level, in metrics, in the audit log, in a backup or in the body of an error.
func TestTenThousandSecrets(t *testing.T) {
	if testing.Short() {
		t.Skip("reads every file of a node several times")
	}
	t.Parallel()
	upstream := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(upstream.Close)
	// Signing secrets and the headers of routes are needed as they are: webhooks are in the
	// state, which is encrypted on the disk and whole in a backup; the others are looked for
	// everywhere.
	known, signing := &secrets{parts: map[[slice]byte]string{}}, &secrets{parts: map[[slice]byte]string{}}
	header := ids.New(ids.New("route_"))
	known.add("header of a route", header)
	dir := t.TempDir()
	n := startLone(t, dir, "--log-level", "debug", "--config", configtest.File(t, "[[proxy.routes]]\npath = \"/\"\nupstreams = [\""+upstream.URL+"\"]\nheaders = { X-Upstream-Key = \""+header+"\" }\n"))
	admin, proxy, token := "http://"+n.adminListener.server.Addr().String(), "http://"+n.proxyListener.server.Addr().String(), n.token(t)
	known.add("operator token", token)
	var errorBodies strings.Builder
	op := func(method, path, body string, headers ...string) map[string]any {
		t.Helper()
		status, text := call(t, method, admin+path, body, append([]string{"Authorization", "Bearer " + token, "Content-Type", "application/json"}, headers...)...)
		var v map[string]any
		if err := json.Unmarshal([]byte(text), &v); err != nil || status >= 400 {
			t.Fatalf("%s %s: %d %s", method, path, status, text)
		}
		return v
	}
	wrong := func(method, url, body string, headers ...string) {
		t.Helper()
		status, text := call(t, method, url, body, headers...)
		if status < 400 {
			t.Fatalf("%s %s: %d", method, url, status)
		}
		errorBodies.WriteString(text)
	}

	// Keys of others, as many as one import takes of them; then our own, used and rotated.
	var lines strings.Builder
	for i := range 8000 {
		key := "imp_" + ids.New(ids.New(""))
		known.add("imported key", key)
		fmt.Fprintf(&lines, "{\"name\":\"k%d\",\"type\":\"live\",\"key\":%q}\n", i, key)
	}
	// The import may take longer than a call waits for it; a repeat settles its outcome.
	for deadline := time.Now().Add(2 * time.Minute); ; {
		status, text := call(t, "POST", admin+"/v1/keys/import", lines.String(), "Authorization", "Bearer "+token, "Content-Type", "application/x-ndjson", "Idempotency-Key", "import")
		if status < 400 {
			var got struct{ Data []any }
			if err := json.Unmarshal([]byte(text), &got); err != nil || len(got.Data) != 8000 {
				t.Fatalf("imported: %d, %v", len(got.Data), err)
			}
			break
		}
		if !strings.Contains(text, `"unknown_outcome"`) || time.Now().After(deadline) {
			t.Fatalf("the import: %d %s", status, text)
		}
	}
	for i := range 200 {
		k := op("POST", "/v1/keys", fmt.Sprintf(`{"name":"n%d","type":"live"}`, i))
		key := k["key"].(string)
		known.add("key", key)
		if status, _ := call(t, "GET", proxy+"/x", "", "Authorization", "Bearer "+key); status != 200 && status != 429 { // the account has spent its minute
			t.Fatalf("a key: %d", status)
		}
		op("POST", "/v1/keys/verify", `{"key":"`+key+`"}`)
		if i%4 == 0 {
			known.add("rotated key", op("POST", "/v1/keys/"+k["id"].(string)+"/rotate", `{"overlap":"0s"}`)["key"].(string))
		}
	}
	for i := range 20 {
		known.add("operator token", op("POST", "/v1/operator-tokens", fmt.Sprintf(`{"name":"t%d"}`, i))["token"].(string))
		if i >= 10 { // the most endpoints of an account
			continue
		}
		signing.add("signing secret", op("POST", "/v1/webhooks", fmt.Sprintf(`{"url":"http://webhooks.test:9/%d","events":["key.created"]}`, i))["secret"].(string))
	}
	for i := range 5 {
		password := ids.New(ids.New("pass_"))
		known.add("password", password)
		email := fmt.Sprintf("u%d@example.com", i)
		setup := op("POST", "/v1/users", `{"email":"`+email+`","role":"viewer"}`)["setup_url"].(string)
		_, setup, _ = strings.Cut(setup, "token=")
		known.add("set-up token", setup)
		op("POST", "/v1/session", `{"token":"`+setup+`","password":"`+password+`"}`)
		link := op("POST", "/v1/session-links", `{}`)["url"].(string)
		_, link, _ = strings.Cut(link, "token=")
		known.add("session link", link)
		guess := ids.New(ids.New("wrong_"))
		known.add("wrong password", guess)
		wrong("POST", admin+"/v1/session", `{"email":"`+email+`","password":"`+guess+`"}`, "Content-Type", "application/json")
	}
	// Credentials that are refused: they may be right elsewhere.
	for i := 0; known.n+signing.n < 10_000; i++ {
		v := ids.New(ids.New("cred_"))
		switch i % 4 {
		case 0:
			v = apikey.New(apikey.LivePrefix)
			fallthrough
		case 1:
			wrong("GET", proxy+"/x", "", "Authorization", "Bearer "+v)
		case 2:
			wrong("GET", admin+"/v1/keys", "", "Authorization", "Bearer "+v)
		case 3:
			wrong("GET", admin+"/v1/keys", "", "Cookie", "perfgate=usr_x."+v)
		}
		known.add("refused credential", v)
	}
	t.Logf("%d secrets", known.n+signing.n)

	if err := n.local.Flush(); err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{"error bodies": errorBodies.String(), "log": n.out.String()}
	for name, path := range map[string]string{"metrics": "/metrics", "audit log": "/v1/audit-logs?format=ndjson", "backup": "/v1/backup"} {
		status, text := call(t, "GET", admin+path, "", "Authorization", "Bearer "+token)
		if status != 200 || len(text) < 1000 {
			t.Fatalf("%s: %d, %d bytes", name, status, len(text))
		}
		texts[name] = text
	}
	if err := n.replica.Raft().Snapshot().Error(); err != nil {
		t.Fatal(err)
	}
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == datadir.OperatorTokenFile {
			return nil // removed meanwhile, or the file that is there to hold it
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return nil
		}
		files++
		for kind, at := range signing.find(raw) {
			t.Errorf("a %s is in %s at %d", kind, path, at)
		}
		// The encryption must not be what hides the others.
		if f, err := n.replica.FS().Open(path); err == nil {
			if plain, err := io.ReadAll(f); err == nil {
				raw = append(raw, plain...)
			}
			f.Close()
		}
		for kind, at := range known.find(raw) {
			t.Errorf("a %s is in %s at %d", kind, path, at)
		}
		return nil
	})
	if err != nil || files < 10 {
		t.Errorf("%d files, %v", files, err)
	}
	for name, text := range texts {
		for kind, at := range known.find([]byte(text)) {
			t.Errorf("a %s is in the %s: …%q…", kind, name, text[max(0, at-60):min(len(text), at+60)])
		}
		if name == "backup" {
			if len(signing.find([]byte(text))) == 0 {
				t.Error("the search finds nothing: a backup holds signing secrets")
			}
			continue
		}
		for kind, at := range signing.find([]byte(text)) {
			t.Errorf("a %s is in the %s: …%q…", kind, name, text[max(0, at-60):min(len(text), at+60)])
		}
	}
}

// The search finds a slice of a secret in each of its forms.
func TestSecretsAreFound(t *testing.T) {
	s := &secrets{parts: map[[slice]byte]string{}}
	const secret = "pk_live_0123456789ABCDEFGHIJKLMNOPQRSTUV1j90KZ"
	s.add("key", secret)
	for form, text := range map[string]string{
		"raw": secret[12:30], "hex": hex.EncodeToString([]byte("xx" + secret[8:20])), "json": `{"a":"` + secret + `"}`,
		"base64": base64.StdEncoding.EncodeToString([]byte("user:" + secret)), "base64, shifted": base64.StdEncoding.EncodeToString([]byte("user:x" + secret)),
		"base64, whole groups": base64.StdEncoding.EncodeToString([]byte(secret)),
	} {
		if len(s.find([]byte("begin "+text+" end"))) == 0 {
			t.Errorf("%s is not found in %s", form, text)
		}
	}
	if len(s.find([]byte("pk_live_0123…STUV and pk_live_0123456789"[:12]+"…"))) > 0 {
		t.Error("a hint counts as a secret")
	}
}
