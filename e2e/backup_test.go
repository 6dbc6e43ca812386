package e2e

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// A backup of a running server becomes another server: keys work there, what was
// revoked after it is said to be back, and an audit export takes it away again.
func TestBackupAndRestore(t *testing.T) {
	s := start(t, options{args: []string{"--demo"}})
	env := []string{"PERFGATE_SERVER=" + s.admin, "PERFGATE_TOKEN=" + s.operator}
	cli := func(want int, more []string, args ...string) (string, string) {
		t.Helper()
		out, errs, code := perfgate(t, append(env, more...), "", args...)
		if code != want {
			t.Fatalf("perfgate %v: exit code %d, want %d\n%s%s", args, code, want, out, errs)
		}
		return out, errs
	}
	key := func(name string) (id, secret string) {
		r := s.manage(201, "POST", "/v1/keys", map[string]any{"name": name, "type": "live"})
		return r.json["id"].(string), r.json["key"].(string)
	}
	_, kept := key("kept")
	id, revoked := key("revoked")
	dir := t.TempDir()
	plain, sealed, audit := filepath.Join(dir, "plain.backup"), filepath.Join(dir, "sealed.backup"), filepath.Join(dir, "audit.ndjson")
	pass := []string{"PERFGATE_BACKUP_PASSPHRASE=correct horse"}
	if out, errs := cli(0, nil, "backup", plain); !strings.Contains(errs, "not encrypted") || !strings.Contains(out, "whole") {
		t.Errorf("%s%s", out, errs)
	}
	if _, errs := cli(0, pass, "backup", sealed); strings.Contains(errs, "not encrypted") {
		t.Errorf("%s", errs)
	}
	if raw, err := os.ReadFile(sealed); err != nil || strings.Contains(string(raw), id) {
		t.Errorf("the encrypted backup can be read: %v", err)
	}
	s.manage(200, "POST", "/v1/keys/"+id+"/revoke", map[string]any{"reason": "leaked"})
	cli(0, nil, "audit", "export", "--format", "ndjson", "--output", audit)
	before := s.manage(200, "GET", "/v1/cluster", nil).json["cluster_id"]

	cli(0, nil, "backup", "verify", plain)
	cli(1, nil, "backup", "verify", sealed)
	cli(1, []string{"PERFGATE_BACKUP_PASSPHRASE=wrong"}, "backup", "verify", sealed)
	if out, _ := cli(0, pass, "backup", "verify", "--json", sealed); !json.Valid([]byte(out)) {
		t.Errorf("%s", out)
	}

	for name, c := range map[string]struct {
		args  []string
		says  string
		works bool
	}{
		"without an audit export": {[]string{plain}, "no audit export", true},
		"with one":                {[]string{sealed, "--audit", audit}, "were revoked again", false},
	} {
		t.Run(name, func(t *testing.T) {
			data := filepath.Join(t.TempDir(), "data")
			out, errs, code := perfgate(t, pass, "", append([]string{"restore", "--data-dir", data}, c.args...)...)
			if code != 0 || !strings.Contains(errs, "GOOD AGAIN") || !strings.Contains(errs, c.says) || !strings.Contains(out, "perfgate serve") {
				t.Fatalf("exit code %d\n%s%s", code, out, errs)
			}
			if listed := strings.Contains(out, id); listed == c.works {
				t.Errorf("names the revoked key: %v\n%s", listed, out)
			}
			// The operator's token is the old one; the file is not in a backup.
			if err := os.WriteFile(filepath.Join(data, "operator.token"), []byte(s.operator), 0o600); err != nil {
				t.Fatal(err)
			}
			r := start(t, options{data: data, args: []string{"--demo"}})
			if after := r.manage(200, "GET", "/v1/cluster", nil).json["cluster_id"]; after == before {
				t.Errorf("the cluster is still %v", after)
			}
			if got := r.verify(kept); got != "" {
				t.Errorf("a key of the backup: %s", got)
			}
			if got := r.verify(revoked); (got == "") != c.works {
				t.Errorf("the key that was revoked afterwards: %q", got)
			}
			if left, err := os.ReadDir(data); err != nil || regexp.MustCompile("RESTORING").MatchString(entryNames(left)) {
				t.Errorf("%v, %v", left, err)
			}
			// A second restore replaces nothing, with the node running or not.
			if _, errs, code := perfgate(t, pass, "", "restore", "--data-dir", data, plain); code != 2 || !strings.Contains(errs, "in use") {
				t.Errorf("exit code %d, %s", code, errs)
			}
			if code := r.stop(startTimeout); code != 0 {
				t.Fatalf("exit code %d", code)
			}
			if _, errs, code := perfgate(t, pass, "", "restore", "--data-dir", data, plain); code != 2 || !strings.Contains(errs, "not empty") {
				t.Errorf("exit code %d, %s", code, errs)
			}
			if _, errs, code := perfgate(t, nil, "", "recover", "--data-dir", data); code != 0 || !strings.Contains(errs, "nothing to recover") {
				t.Errorf("exit code %d, %s", code, errs)
			}
			r.run()
			if got := r.verify(kept); got != "" {
				t.Errorf("after refused restores: %s", got)
			}
		})
	}

	// A damaged file changes nothing.
	raw, err := os.ReadFile(plain)
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)/2] ^= 1
	bad := filepath.Join(dir, "bad.backup")
	if err := os.WriteFile(bad, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "never")
	if _, errs, code := perfgate(t, nil, "", "restore", "--data-dir", data, bad); code != 1 || !strings.Contains(errs, "damaged") {
		t.Errorf("exit code %d, %s", code, errs)
	}
	if _, err := os.Stat(data); !os.IsNotExist(err) {
		t.Errorf("a damaged backup made a directory: %v", err)
	}
}

// verify is the code that a key is refused with; "" if it is good, be its bucket
// empty or not.
func (s *server) verify(key string) string {
	s.t.Helper()
	r := s.manage(200, "POST", "/v1/keys/verify", map[string]any{"key": key, "consume": false})
	code, _ := r.json["code"].(string)
	if r.json["valid"] == true || code == "requests_per_minute" {
		return ""
	}
	return code
}

func entryNames(list []os.DirEntry) string {
	var b strings.Builder
	for _, e := range list {
		b.WriteString(e.Name() + " ")
	}
	return b.String()
}

// A restored node treats its buckets as after a crash: what the lost time may
// have used is not there a second time.
func TestRestoredBucketsBeginEmpty(t *testing.T) {
	s := start(t, options{args: []string{"--demo"}})
	k := s.manage(201, "POST", "/v1/keys", map[string]any{"name": "n", "type": "live", "limits": map[string]any{"requests_per_minute": 60, "burst": 60}})
	path := filepath.Join(t.TempDir(), "b.backup")
	data := filepath.Join(t.TempDir(), "data")
	env := []string{"PERFGATE_SERVER=" + s.admin, "PERFGATE_TOKEN=" + s.operator}
	for _, args := range [][]string{{"backup", path}, {"restore", path, "--data-dir", data}} {
		if out, errs, code := perfgate(t, env, "", args...); code != 0 {
			t.Fatalf("%v: %s%s", args, out, errs)
		}
	}
	if err := os.WriteFile(filepath.Join(data, "operator.token"), []byte(s.operator), 0o600); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	r := start(t, options{data: data, args: []string{"--demo"}})
	admitted := 0
	for range 30 {
		if v := r.manage(200, "POST", "/v1/keys/verify", map[string]any{"key": k.json["key"]}); v.json["valid"] == true {
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
	deadline := time.Now().Add(startTimeout)
	var found []string
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for len(found) == 0 && time.Now().Before(deadline) {
		found, _ = filepath.Glob(filepath.Join(dir, "perfgate-cl_*.backup"))
		<-look.C
	}
	if len(found) != 1 {
		t.Fatalf("%v\n%s", found, s.log)
	}
	if out, errs, code := perfgate(t, []string{"PERFGATE_BACKUP_PASSPHRASE=secret"}, "", "backup", "verify", found[0]); code != 0 {
		t.Errorf("%s%s", out, errs)
	}
	if strings.Contains(s.log.String(), "not encrypted") {
		t.Error("it warns of a backup that is not encrypted")
	}
	resp, err := httpClient.Get(s.admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	metrics := string(raw)
	if !regexp.MustCompile(`perfgate_backup_last_success_timestamp_seconds [1-9]`).MatchString(metrics) || !strings.Contains(metrics, "perfgate_backup_failures_total 0") {
		t.Errorf("the metrics do not tell of it")
	}
}
