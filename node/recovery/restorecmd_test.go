package recovery

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
	"github.com/spf13/pflag"

	"github.com/perfgate/perfgate/node/config"
	"github.com/perfgate/perfgate/node/config/configtest"
	"github.com/perfgate/perfgate/node/datadir"
	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/node/replica/replicatest"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/seal"
)

func init() { syscall.Umask(0o077) } // as main does

// runOffline runs an offline command the way that main does.
func runOffline(t *testing.T, flags *pflag.FlagSet, run func(Console, *pflag.FlagSet, []string) error, env map[string]string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	c := Console{In: strings.NewReader("y\n"), Out: &out, Err: &errs, Env: func(name string) (string, bool) { v, ok := env[name]; return v, ok }}
	err = run(c, flags, flags.Args())
	return out.String(), errs.String(), err
}

func restored(t *testing.T, args ...string) (stdout, stderr string, err error) {
	return runOffline(t, RestoreFlags(), RestoreCommand, nil, args...)
}

func writeText(t *testing.T, path string, data string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Both forms of an export are read, and other files are refused.
func TestLostTime(t *testing.T) {
	t.Parallel()
	since := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	event := func(minute int, action, key, more string) string {
		return fmt.Sprintf(`{"id":"evt_1","time":%q,"action":%q,"outcome":"success","key_id":%q,"target":%q%s}`,
			since.Add(time.Duration(minute)*time.Minute).Format(time.RFC3339Nano), action, key, key, more)
	}
	events := []string{
		event(-1, "key.revoke", "key_before", ""),
		event(1, "key.revoke", "key_a", `,"changes":{"before":{},"after":{"revoked_at":"2027-01-01T00:01:00Z"}}`),
		event(2, "key.revoke", "key_refused", `,"outcome2":1`),
		event(3, "request", "key_b", ""),
		event(4, "key.rotate", "key_cut", `,"changes":{"before":{},"after":{"revoked_at":"2027-01-01T00:04:00Z"}}`),
		event(5, "key.rotate", "key_over", `,"changes":{"before":{},"after":{"overlap_ends_at":"2027-01-01T01:00:00Z"}}`),
		event(6, "key.rotate", "key_still", `,"changes":{"before":{},"after":{"overlap_ends_at":"2027-01-09T00:00:00Z"}}`),
		event(7, "key.update", "key_c", ""),
		event(-7, "key.update", "key_d", ""),
		event(8, "account.delete", "", ""),
		event(9, "key.create", "key_e", ""),
	}
	events[2] = strings.Replace(events[2], `"outcome":"success"`, `"outcome":"denied"`, 1)
	list := strings.Join(events, ",")
	for name, c := range map[string]struct{ in, says string }{
		"json":         {in: `{"data":[` + list + `],"next_cursor":null}` + "\n"},
		"ndjson":       {in: strings.Join(events, "\n") + "\n"},
		"spaced":       {in: "\n { \"data\" : [ " + list + " ] , \"next_cursor\" : null }"},
		"a page":       {in: `{"data":[` + list + `],"next_cursor":"x"}`, says: "one page"},
		"cut":          {in: `{"data":[` + list, says: "cut short"},
		"cut later":    {in: `{"data":[` + list + `]`, says: "cut short"},
		"cut line":     {in: events[1] + "\n" + events[2][:20], says: "event 2"},
		"csv":          {in: "id,seq\n", says: "must be the JSON"},
		"anybody's":    {in: `{"a":1}`, says: "event 1 has no time"},
		"nothing":      {in: ""},
		"an empty one": {in: `{"data":[],"next_cursor":null}`},
	} {
		var l lostTime
		err := l.read(strings.NewReader(c.in), since, since.Add(24*time.Hour))
		if c.says != "" {
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !strings.Contains(c.in, "key_a") {
			continue
		}
		for _, id := range []store.KeyID{"key_before", "key_a", "key_cut", "key_over"} {
			if !l.revoked[id] {
				t.Errorf("%s: %s is not revoked", name, id)
			}
		}
		if len(l.revoked) != 4 || l.total != 3 || l.others[0].Target != "key_still" || l.others[1].Target != "key_c" || l.others[2].Action != "account.delete" {
			t.Errorf("%s: %v, %d: %+v", name, l.revoked, l.total, l.others)
		}
	}
}

// More keys than one command may name are revoked by the next ones.
func TestManyRevocations(t *testing.T) {
	t.Parallel()
	r := &restoration{Revoke: map[store.AccountID][]store.KeyID{"a": make([]store.KeyID, store.ResetKeys+1), "b": make([]store.KeyID, 2*store.ResetKeys)}, At: time.Now()}
	n := 0
	for i, c := range r.commands() {
		if got, err := store.DecodeCommand(c.Encode()); err != nil || got.Actor != restoreActor {
			t.Fatal(err)
		}
		if i == 0 {
			n += len(c.Change.(*store.ClusterReset).Revoke)
			continue
		}
		ids := c.Change.(*store.KeyRevokeBulk).IDs
		if n += len(ids); len(ids) > store.ResetKeys || c.Account == "" {
			t.Errorf("%d keys of %q", len(ids), c.Account)
		}
	}
	if n != 3*store.ResetKeys+1 {
		t.Errorf("%d keys", n)
	}
}

// backupFiles are a backup of a populated node in dir, and one of it that is sealed
// with the passphrase "right".
func backupFiles(t *testing.T, dir string) (plain, sealed string) {
	t.Helper()
	from := replicatest.At(t, replicatest.Memory(t), "data")
	defer replicatest.Shut(t, from)
	populated(t, from)
	raw := backupOf(t, from, time.Now())
	var out bytes.Buffer
	w, _, err := seal.To{Passphrase: "right", Work: 2}.Seal(&out)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(raw); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return writeText(t, filepath.Join(dir, "b.backup"), string(raw)), writeText(t, filepath.Join(dir, "sealed.backup"), out.String())
}

// A backup that cannot be restored is refused, and nothing is made.
func TestRestoreCommandRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, closed := backupFiles(t, dir)
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	wrong := writeText(t, filepath.Join(dir, "wrong"), "wrong\n")
	damaged := writeText(t, filepath.Join(dir, "damaged"), string(raw[:len(raw)-1]))
	never := filepath.Join(dir, "never")
	for name, c := range map[string]struct {
		args []string
		says string
		code int
	}{
		"no file":        {nil, "must name one FILE", 2},
		"two files":      {[]string{file, file}, "must name one FILE", 2},
		"a missing file": {[]string{filepath.Join(dir, "none")}, "read the backup", 1},
		"cut":            {[]string{damaged}, "damaged", 1},
		"no passphrase":  {[]string{closed}, "encrypted", 1},
		"wrong one":      {[]string{closed, "--passphrase-file", wrong}, "with another passphrase", 1},
		"no export":      {[]string{file, "--audit", filepath.Join(dir, "none")}, "audit export", 1},
		"a bad export":   {[]string{file, "--audit", wrong}, "must be the JSON", 1},
	} {
		_, _, err := restored(t, append(c.args, "--data-dir", never)...)
		code := configtest.ExitCode(err)
		if err == nil || !strings.Contains(err.Error(), c.says) || code != c.code {
			t.Errorf("%s: exit code %d, %v", name, code, err)
		}
		if _, err := os.Stat(never); !errors.Is(err, os.ErrNotExist) {
			t.Fatalf("%s: a directory was made", name)
		}
	}
}

// A directory with anything of a node's in it stays as it is.
func TestRestoreCommandKeepsData(t *testing.T) {
	t.Parallel()
	file, _ := backupFiles(t, t.TempDir())
	for _, name := range []string{"node-id", "raftlog", "state", "snapshots", "local", "encryption.key", "anything"} {
		full := t.TempDir()
		path := writeText(t, filepath.Join(full, name), "precious")
		_, _, err := restored(t, file, "--data-dir", full)
		if err == nil || !strings.Contains(err.Error(), "not empty") || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
		entries, _ := os.ReadDir(full)
		if got, err := os.ReadFile(path); err != nil || string(got) != "precious" || len(entries) > 2 { // LOCK
			t.Errorf("%s: %q, %v, %v", name, got, err, entries)
		}
	}
}

// encrypted is the file system of the encrypted files in dir.
func encrypted(t testing.TB, dir string) vfs.FS {
	t.Helper()
	files, err := openFiles(&config.Config{Node: config.Node{DataDir: dir}})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// startEncrypted starts the replica in dir as a node does.
func startEncrypted(t testing.TB, dir string) *replica.Replica {
	t.Helper()
	c := replicatest.Config(t, vfs.Default, dir)
	files := encrypted(t, dir)
	c.Encrypt = func(vfs.FS) vfs.FS { return files }
	return replicatest.Start(t, c)
}

// A backup for a recovery key is restored with its private part, and with nothing else.
func TestRestoreCommandWithAnIdentity(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	plain, _ := backupFiles(t, dir)
	raw, err := os.ReadFile(plain)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	var to seal.To
	for _, name := range []string{"one", "other"} {
		id, err := age.GenerateX25519Identity()
		if err != nil {
			t.Fatal(err)
		}
		to.Recipients = append(to.Recipients, id.Recipient().String())
		names = append(names, writeText(t, filepath.Join(dir, name), "# a comment\n"+id.String()+"\n"))
	}
	foreign := to.Recipients[1]
	to.Recipients = to.Recipients[:1]
	var out bytes.Buffer
	w, _, err := to.Seal(&out)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(raw)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	file := writeText(t, filepath.Join(dir, "recipient.backup"), out.String())
	for says, args := range map[string][]string{
		"the private part of one of them is needed (--identity FILE)": nil,
		"for other recovery keys than the given identity":             {"--identity", names[1]},
		"must be what age-keygen writes":                              {"--identity", writeText(t, filepath.Join(dir, "public"), foreign)},
	} {
		data := filepath.Join(dir, "never")
		if _, _, err := restored(t, append([]string{file, "--data-dir", data}, args...)...); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
		if _, err := os.Stat(data); !os.IsNotExist(err) {
			t.Errorf("%q left a directory: %v", says, err)
		}
	}
	report, _, err := restored(t, file, "--identity", names[0], "--data-dir", filepath.Join(dir, "data"), "--json")
	if err != nil || !strings.Contains(report, `"encrypted": true`) && !strings.Contains(report, `"encrypted":true`) {
		t.Errorf("%s, %v", report, err)
	}
}

func TestRestoreCommandOfASealedFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, closed := backupFiles(t, dir)
	right := writeText(t, filepath.Join(dir, "right"), "right\r\nmore")
	data := filepath.Join(dir, "a", "data")
	out, errs, err := restored(t, closed, "--passphrase-file", right, "--data-dir", data, "--json")
	if err != nil {
		t.Fatal(err)
	}
	var report restoreReport
	if err := json.Unmarshal([]byte(out), &report); err != nil || report.Backup.Census.Active != 49 || report.Months != "as_in_backup" || report.Audited || len(report.Warnings) < 3 || !report.Backup.Encrypted {
		t.Errorf("%s: %v", out, err)
	}
	if !strings.Contains(errs, "49 keys are active now") {
		t.Errorf("%s", errs)
	}
	err = filepath.WalkDir(data, func(path string, d os.DirEntry, err error) error {
		if info, e := d.Info(); err == nil && (e != nil || info.Mode().Perm()&0o077 != 0) {
			t.Errorf("%s is open to others: %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	r := startEncrypted(t, data)
	if r.Store().ClusterID() != report.ClusterID || r.Identity().ID != report.NodeID || !replicatest.Holds(t, r, 7) || r.Store().ResetAt().IsZero() {
		t.Errorf("cluster %s, node %s, want %+v", r.Store().ClusterID(), r.Identity().ID, report)
	}
	replicatest.Shut(t, r)
}

func TestRecoverCommand(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	recovers := func(args ...string) (string, string, error) {
		return runOffline(t, RecoverFlags(), RecoverCommand, map[string]string{"PERFGATE_DATA_DIR": dir}, args...)
	}
	if _, _, err := recovers("--yes"); err == nil || !strings.Contains(err.Error(), "no node's data") {
		t.Errorf("an empty directory: %v", err)
	}
	if _, _, err := recovers("--yes", "--data-dir", filepath.Join(dir, "none")); err == nil {
		t.Error("a missing directory")
	}
	r := replicatest.At(t, vfs.Default, dir)
	replicatest.Begin(t, r)
	replicatest.Must(t, r, replicatest.CreateKey(1))
	id := r.Identity().ID
	replicatest.Shut(t, r)
	if _, errs, err := recovers("--yes"); err != nil || !strings.Contains(errs, "nothing to recover") {
		t.Errorf("a lone node: %s%v", errs, err)
	}
	appendLogAt(t, encrypted(t, dir), filepath.Join(dir, datadir.LogDir), raft.Log{Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(three(id))})
	if _, errs, err := recovers(); err == nil || !strings.Contains(err.Error(), "--yes") || !strings.Contains(errs, "ARE LOST") {
		t.Errorf("without a terminal: %s%v", errs, err)
	}
	out, errs, err := recovers("--yes", "--json")
	var report recoverReport
	if e := json.Unmarshal([]byte(out), &report); err != nil || e != nil || !report.Recovered || report.From != "c1" || len(report.Voters) != 3 || report.LastIndex == 0 {
		t.Errorf("%s%s%v, %v", out, errs, err, e)
	}
	r = startEncrypted(t, dir)
	if r.Store().ClusterID() != report.ClusterID || !replicatest.Holds(t, r, 1) {
		t.Errorf("cluster %s", r.Store().ClusterID())
	}
	replicatest.Shut(t, r)
}

// A restore gives back the rights that any change took but a revocation, which it
// repeats, and a change of members, which a restored cluster does not have.
func TestTakesAway(t *testing.T) {
	t.Parallel()
	for action, want := range map[string]bool{
		"key.update": true, "key.rotate": true, "allowlist.update": true, "account.update": true, "account.delete": true,
		"tier.update": true, "tier.delete": true, "operator_tokens.update": true,
		"key.revoke": false, "key.create": false, "key.import": false, "account.create": false, "tier.create": false,
		"cluster.remove": false, "cluster.restore": false, "cluster.join": false, "request": false, "key.read": false, "": false,
	} {
		if takesAway(action) != want {
			t.Errorf("%q takes a right away: %v", action, !want)
		}
	}
	for _, action := range store.ActionsThatTake() {
		if takesAway(action) == (action == "key.revoke" || strings.HasPrefix(action, "cluster.")) {
			t.Errorf("%q takes a right away: %v", action, takesAway(action))
		}
	}
}
