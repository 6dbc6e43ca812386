package cli

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// recoveryKey is a public key of age's, and recoverySecret begins as a private one does.
const (
	recoveryKey    = "age1xl9qn7xhypd003z4rhdk6ru6l6ct5q3d4cjwh5wx26f3tlk2me4qu8n5cd"
	recoverySecret = "AGE-SECRET-KEY-1X"
)

// backupServer serves content as the backup, and breaks off after it if cutAfter.
func backupServer(t *testing.T, content *string, cutAfter *bool) *server {
	return start(t, map[string]answer{"GET /v1/backup": {do: func(w http.ResponseWriter, _ *http.Request, _ string) {
		io.WriteString(w, *content)
		if *cutAfter {
			cut(w)
		}
	}}})
}

func (s *server) backup(t *testing.T, env map[string]string, args ...string) result {
	t.Helper()
	return perfgate(t, "", env, append([]string{"backup", "--server", s.URL, "--token", "pgop_x"}, args...)...)
}

// The passphrase comes from the file, else from the environment. A backup has
// mode 0600, and one without a passphrase is warned about.
func TestBackup(t *testing.T) {
	content, broken := "content", false
	s := backupServer(t, &content, &broken)
	dir := t.TempDir()
	secret := put(t, dir, "secret", []byte("file\r\nmore"))
	path := filepath.Join(dir, "out.backup")
	for _, tt := range []struct {
		name   string
		args   []string
		env    map[string]string
		holds  string
		report string
	}{
		{"plain", nil, nil, "content", "7 bytes\n"},
		{"passphrase of the environment", nil, map[string]string{passphraseEnv: "env"}, "env<content>", "12 bytes\n"},
		{"recipients", []string{"--recipient", recoveryKey}, map[string]string{passphraseEnv: ""}, recoveryKey + "<content>", "71 bytes\n"},
		{"passphrase of a file", []string{"--passphrase-file", secret}, map[string]string{passphraseEnv: "env"}, "file<content>", "13 bytes\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := s.backup(t, tt.env, append(tt.args, "--force", path)...)
			raw, err := os.ReadFile(path)
			if got.code != 0 || err != nil || string(raw) != tt.holds || got.out != tt.report {
				t.Errorf("%+v; the file holds %q: %v", got, raw, err)
			}
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%v, %v", info, err)
			}
			if warned := strings.Contains(got.err, "not encrypted"); warned != (tt.holds == content) {
				t.Errorf("stderr %q", got.err)
			}
			if got := s.backup(t, tt.env, tt.args...); got.code != 0 || got.out != tt.holds {
				t.Errorf("to stdout: %+v", got)
			}
			if tt.name == "recipients" {
				return // a public key opens nothing
			}
			if got := s.backup(t, tt.env, append(tt.args, "verify", path)...); got.code != 0 || got.out != tt.report {
				t.Errorf("verify: %+v", got)
			}
		})
	}
	if got := s.backup(t, nil, "--json", "--force", path); got.out != "{\"bytes\":7}\n" {
		t.Errorf("%+v", got)
	}
	noFiles(t, dir, ".*")
}

// An incomplete or damaged backup gets no name, and an earlier file keeps it.
func TestBackupFails(t *testing.T) {
	for _, tt := range []struct {
		name, content string
		broken        bool
		err           string
	}{
		{"damaged", "cont", false, "backup: read it back: the backup is damaged"},
		{"cut", "cont", true, "broke off"},
		{"cut after the last byte", "content", true, "broke off"},
	} {
		for name, env := range map[string]map[string]string{"": nil, " and encrypted": {passphraseEnv: "env"}} {
			t.Run(tt.name+name, func(t *testing.T) {
				content, broken := tt.content, tt.broken
				s := backupServer(t, &content, &broken)
				dir := t.TempDir()
				path := put(t, dir, "out.backup", []byte("earlier"))
				if got := s.backup(t, env, "--force", path); got.code != 1 || got.out != "" || !strings.Contains(got.err, tt.err) {
					t.Errorf("%+v", got)
				}
				if raw, err := os.ReadFile(path); err != nil || string(raw) != "earlier" {
					t.Errorf("%q, %v", raw, err)
				}
				noFiles(t, dir, ".*")
				got := s.backup(t, env)
				if wantCode := map[bool]int{true: 1}[broken]; got.code != wantCode {
					t.Errorf("to stdout: %+v", got)
				}
				if broken && strings.HasSuffix(got.out, ">") {
					t.Errorf("an incomplete backup is sealed: %q", got.out)
				}
			})
		}
	}
}

func TestBackupRefused(t *testing.T) {
	s := start(t, map[string]answer{"GET /v1/backup": {status: 403, body: `{"error":{"code":"forbidden","message":"Operators only."}}`}})
	dir := t.TempDir()
	empty := put(t, dir, "empty", []byte("\nsecond line"))
	testFailures(t, s, []failure{
		{args: "backup " + filepath.Join(dir, "out"), code: 1, err: "perfgate: backup: Operators only. (forbidden)\n"},
		{args: "backup " + filepath.Join(dir, "no", "out"), code: 1, err: "no such file or directory"},
		{args: "backup a b", code: 2, err: "accepts at most 1 arg"},
		{args: "backup --passphrase-file", code: 2, err: "needs an argument"},
		{args: "backup --passphrase-file /nonexistent x", code: 1, err: "read passphrase: open /nonexistent: no such file"},
		{args: "backup --passphrase-file " + empty + " x", code: 1, err: `the first line of "` + empty + `" is empty`},
		{args: "backup --recipient age1x " + filepath.Join(dir, "out"), code: 2, err: "recipient 1: must be the public key"},
		{args: "backup --recipient " + recoverySecret + " " + filepath.Join(dir, "out"), code: 2, err: "this is the private one"},
		{args: "backup --passphrase-file " + empty + " --recipient " + recoveryKey + " x", code: 2, err: "either with a passphrase or for recipients"},
		{args: "backup verify --identity " + empty + " x", code: 1, err: "read identity " + empty + ": must be what age-keygen writes"},
		{args: "backup verify --identity /nonexistent x", code: 1, err: "read identity"},
		{args: "backup verify", code: 2, err: "accepts 1 arg"},
		{args: "backup verify /nonexistent", code: 1, err: "read backup: open /nonexistent: no such file"},
		{args: "backup verify " + empty, code: 1, err: "the backup is damaged"},
		{args: "backup verify --passphrase-file /nonexistent " + empty, code: 1, err: "read passphrase"},
		{args: "backup verify -", stdin: "cont", code: 1, err: "the backup is damaged"},
	})
	noFiles(t, dir, ".*")
	noFiles(t, dir, "out")
	if got := perfgate(t, "content", nil, "backup", "verify", "-", "--json"); got.code != 0 || got.out != "{\"bytes\":7}\n" {
		t.Errorf("from stdin: %+v", got)
	}
}

// A file that exists keeps its content unless it is to be replaced, also one that was
// made while the backup was under way.
func TestBackupKeepsFiles(t *testing.T) {
	content, broken := "content", false
	s := backupServer(t, &content, &broken)
	dir := t.TempDir()
	path := put(t, dir, "out.backup", []byte("earlier"))
	if got := s.backup(t, nil, path); got.code != 1 || !strings.Contains(got.err, "exists") || !strings.Contains(got.err, "--force") || s.received() != "" {
		t.Errorf("%+v after %s", got, s.received())
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Join(dir, "nowhere"), link); err != nil {
		t.Fatal(err)
	}
	if got := s.backup(t, nil, link); got.code != 1 || !strings.Contains(got.err, "exists") {
		t.Errorf("a link: %+v", got)
	}
	late := filepath.Join(dir, "late")
	serve := s.answers["GET /v1/backup"].do
	s.answers["GET /v1/backup"] = answer{do: func(w http.ResponseWriter, r *http.Request, body string) {
		put(t, dir, "late", []byte("meanwhile"))
		serve(w, r, body)
	}}
	if got := s.backup(t, nil, late); got.code != 1 || !strings.Contains(got.err, "exists") {
		t.Errorf("made meanwhile: %+v", got)
	}
	for file, want := range map[string]string{path: "earlier", late: "meanwhile"} {
		if raw, err := os.ReadFile(file); err != nil || string(raw) != want {
			t.Errorf("%s holds %q, %v", file, raw, err)
		}
	}
	noFiles(t, dir, ".*")
}
