package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// passphrase encrypts the backups of these tests.
var passphrase = []string{"PERFGATE_BACKUP_PASSPHRASE=correct horse"}

// cli is the environment of commands against the server, and more.
func (s *server) cli(more ...string) []string {
	return append([]string{"PERFGATE_SERVER=" + s.admin, "PERFGATE_TOKEN=" + s.operator}, more...)
}

// restored starts a server on data that was restored from s. The operator's token is
// the old one: the file is not in a backup.
func (s *server) restored(t *testing.T, data string) *server {
	t.Helper()
	if err := os.WriteFile(filepath.Join(data, "operator.token"), []byte(s.operator), 0o600); err != nil {
		t.Fatal(err)
	}
	return start(t, options{data: data, args: []string{"--demo"}})
}

// succeeds runs a command that must exit with 0.
func succeeds(t *testing.T, env []string, args ...string) (stdout, stderr string) {
	t.Helper()
	stdout, stderr, code := perfgate(t, env, "", args...)
	if code != 0 {
		t.Fatalf("perfgate %v: exit code %d\n%s%s", args, code, stdout, stderr)
	}
	return stdout, stderr
}

// fails runs a command that must exit with code and name the reason.
func fails(t *testing.T, code int, reason string, env []string, args ...string) {
	t.Helper()
	if out, errs, got := perfgate(t, env, "", args...); got != code || !strings.Contains(errs, reason) {
		t.Errorf("perfgate %v: exit code %d, want %d with %q\n%s%s", args, got, code, reason, out, errs)
	}
}

// backups are files of a server with two keys, one of which was revoked after them.
type backups struct {
	s                    *server
	plain, sealed, audit string // paths
	kept, revoked, id    string // the keys, and the id of the revoked one
	cluster              any    // the cluster's id
}

func makeBackups(t *testing.T) *backups {
	t.Helper()
	s, dir := start(t, options{args: []string{"--demo"}}), t.TempDir()
	b := &backups{s: s, plain: filepath.Join(dir, "plain.backup"), sealed: filepath.Join(dir, "sealed.backup"), audit: filepath.Join(dir, "audit.ndjson")}
	b.kept, _ = s.create(nil)
	b.revoked, b.id = s.create(nil)
	if out, errs := succeeds(t, s.cli(), "backup", b.plain); !strings.Contains(errs, "not encrypted") || !strings.Contains(out, "whole") {
		t.Errorf("%s%s", out, errs)
	}
	if _, errs := succeeds(t, s.cli(passphrase...), "backup", b.sealed); strings.Contains(errs, "not encrypted") {
		t.Errorf("%s", errs)
	}
	s.manage(200, "POST", "/v1/keys/"+b.id+"/revoke", map[string]any{"reason": "leaked"})
	succeeds(t, s.cli(), "audit", "export", "--format", "ndjson", "--output", b.audit)
	b.cluster = s.manage(200, "GET", "/v1/cluster", nil).JSON["cluster_id"]
	return b
}

// A backup of a running server becomes another server: keys work there, and a key
// that was revoked after it is reported as good again, unless an audit export tells
// of the revocation.
func TestBackupAndRestore(t *testing.T) {
	b := makeBackups(t)
	t.Run("verify", b.verify)
	t.Run("without an audit export", func(t *testing.T) { b.restore(t, "no audit export", true, b.plain) })
	t.Run("with one", func(t *testing.T) { b.restore(t, "were revoked again", false, b.sealed, "--audit", b.audit) })
	t.Run("damaged", b.damaged)
}

// verify checks the files without a server.
func (b *backups) verify(t *testing.T) {
	if raw, err := os.ReadFile(b.sealed); err != nil || strings.Contains(string(raw), b.id) {
		t.Errorf("the encrypted backup can be read: %v", err)
	}
	succeeds(t, nil, "backup", "verify", b.plain)
	fails(t, 1, "", nil, "backup", "verify", b.sealed)
	fails(t, 1, "", []string{"PERFGATE_BACKUP_PASSPHRASE=wrong"}, "backup", "verify", b.sealed)
	if out, _ := succeeds(t, passphrase, "backup", "verify", "--json", b.sealed); !json.Valid([]byte(out)) {
		t.Errorf("%s", out)
	}
}

// restore makes a server of a backup. The report has to name the reason, and works
// tells whether the revoked key is good there.
func (b *backups) restore(t *testing.T, reason string, works bool, args ...string) {
	data := filepath.Join(t.TempDir(), "data")
	out, errs := succeeds(t, passphrase, append([]string{"restore", "--data-dir", data}, args...)...)
	if !strings.Contains(errs, "WORK AGAIN") || !strings.Contains(errs, reason) || !strings.Contains(out, "perfgate serve") {
		t.Fatalf("%s%s", out, errs)
	}
	if listed := strings.Contains(out, b.id); listed == works {
		t.Errorf("names the revoked key: %v\n%s", listed, out)
	}
	r := b.s.restored(t, data)
	if after := r.manage(200, "GET", "/v1/cluster", nil).JSON["cluster_id"]; after == b.cluster {
		t.Errorf("the cluster is still %v", after)
	}
	if got := r.verify(b.kept); got != "" {
		t.Errorf("a key of the backup: %s", got)
	}
	if got := r.verify(b.revoked); (got == "") != works {
		t.Errorf("the key that was revoked afterwards: %q", got)
	}
	if left, err := filepath.Glob(filepath.Join(data, "*RESTORING*")); err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
	}
	// A second restore replaces nothing, with the node running or not.
	fails(t, 2, "in use", passphrase, "restore", "--data-dir", data, b.plain)
	if code := r.stop(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	fails(t, 2, "not empty", passphrase, "restore", "--data-dir", data, b.plain)
	if _, errs := succeeds(t, nil, "recover", "--data-dir", data); !strings.Contains(errs, "nothing to recover") {
		t.Errorf("%s", errs)
	}
	r.run()
	if got := r.verify(b.kept); got != "" {
		t.Errorf("after refused restores: %s", got)
	}
}

// damaged restores a file in which one bit differs: it changes nothing.
func (b *backups) damaged(t *testing.T) {
	raw, err := os.ReadFile(b.plain)
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)/2] ^= 1
	dir := t.TempDir()
	bad, data := filepath.Join(dir, "bad.backup"), filepath.Join(dir, "never")
	if err := os.WriteFile(bad, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	fails(t, 1, "damaged", nil, "restore", "--data-dir", data, bad)
	if _, err := os.Stat(data); !os.IsNotExist(err) {
		t.Errorf("a damaged backup made a directory: %v", err)
	}
}

// verify is the code that a key is refused with; "" if it is good, be its bucket
// empty or not.
func (s *server) verify(key string) string {
	s.t.Helper()
	r := s.manage(200, "POST", "/v1/keys/verify", map[string]any{"key": key, "consume": false})
	code, _ := r.JSON["code"].(string)
	if r.JSON["valid"] == true || code == "requests_per_minute" {
		return ""
	}
	return code
}

// A restored node treats its buckets as after a crash: units that the lost time may
// have used are not there a second time.
func TestRestoredBucketsBeginEmpty(t *testing.T) {
	s := start(t, options{args: []string{"--demo"}})
	k := s.manage(201, "POST", "/v1/keys", map[string]any{"name": "n", "type": "live", "limits": map[string]any{"requests_per_minute": 60, "burst": 60}})
	dir := t.TempDir()
	path, data := filepath.Join(dir, "b.backup"), filepath.Join(dir, "data")
	succeeds(t, s.cli(), "backup", path)
	succeeds(t, nil, "restore", path, "--data-dir", data)
	began := time.Now()
	r := s.restored(t, data)
	admitted := 0
	for range 30 {
		if v := r.manage(200, "POST", "/v1/keys/verify", map[string]any{"key": k.JSON["key"]}); v.JSON["valid"] == true {
			admitted++
		}
	}
	if most := int(time.Since(began).Seconds()) + 1; admitted > most {
		t.Errorf("%d calls were admitted in %v; the bucket gains one a second and begins empty", admitted, time.Since(began))
	}
}

// A server with a folder for backups fills it by itself.
func TestScheduledBackup(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "backups")
	s := start(t, options{config: "[backup]\ndir = \"" + dir + "\"\nevery = \"1h\"\nkeep = 2\n", args: []string{"--demo"}, env: []string{"PERFGATE_BACKUP_PASSPHRASE=secret"}})
	var found []string
	waitFor(t, "a backup", func() bool {
		found, _ = filepath.Glob(filepath.Join(dir, "perfgate-cl_*.backup"))
		return len(found) > 0
	})
	if len(found) != 1 {
		t.Fatalf("%v\n%s", found, s.Output())
	}
	succeeds(t, []string{"PERFGATE_BACKUP_PASSPHRASE=secret"}, "backup", "verify", found[0])
	if strings.Contains(s.Output(), "not encrypted") {
		t.Error("it warns of a backup that is not encrypted")
	}
	metrics := string(do(t, "GET", s.admin+"/metrics", nil, nil).Raw)
	if !regexp.MustCompile(`perfgate_backup_last_success_timestamp_seconds [1-9]`).MatchString(metrics) || !strings.Contains(metrics, "perfgate_backup_failures_total 0") {
		t.Errorf("the metrics do not report it")
	}
}
