package recovery

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/node/datadir"
	"github.com/perfgate/perfgate/node/replica/replicatest"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/seal"
)

// forgeries change a ledger so that it is not the cluster's any more.
var forgeries = map[string]func(text string) string{
	"another account": func(text string) string { return strings.ReplaceAll(text, "acct_a", "acct_b") },
	"without its end": func(text string) string { before, _, _ := strings.Cut(text, `{"ledger"`); return before },
	"a line is gone":  func(text string) string { return text[strings.Index(text, "\n")+1:] },
	"a cut line":      func(text string) string { return text[:30] },
	"a byte":          func(text string) string { return strings.Replace(text, `"signature":"`, `"signature":"A`, 1) },
	"an entry beside the signature": func(text string) string {
		first, _, _ := strings.Cut(text, "\n")
		return strings.Replace(text, `{"ledger"`, strings.ReplaceAll(first, "ers_a", "ers_b")+` {"ledger"`, 1)
	},
	"zeros": func(text string) string { return strings.Repeat("\x00", len(text)) },
}

// A ledger that the cluster did not sign ends a restore, which names it. Given by the operator it
// counts, with a warning.
func TestForgedLedger(t *testing.T) {
	t.Parallel()
	for name, forge := range forgeries {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			r, file := erasedAfter(t, dir)
			kept(t, keeper(dir, r))
			path := filepath.Join(dir, ledgerName("c1"))
			genuine, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			text := forge(string(genuine))
			writeText(t, path, text)
			args := []string{file, "--data-dir", filepath.Join(dir, "data"), "--json"}
			if _, _, err = restored(t, args...); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "move it away") || !strings.Contains(err.Error(), "nothing was changed") {
				t.Errorf("a restore: %v", err)
			}
			if name != "another account" {
				return
			}
			_, errs, err := restored(t, append(args, "--erasures", path)...)
			if err != nil || !strings.Contains(errs, "was changed") || !strings.Contains(errs, "because --erasures names it") {
				t.Errorf("a restore by it: %v\n%s", err, errs)
			}
		})
	}
}

// A ledger that is damaged or forged is set aside, and made again from the state; then a restore
// accepts it.
func TestDamagedLedgerIsMadeAgain(t *testing.T) {
	t.Parallel()
	for name, forge := range forgeries {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			r, file := erasedAfter(t, dir)
			b := keeper(dir, r)
			kept(t, b)
			path := filepath.Join(dir, ledgerName("c1"))
			genuine, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			text := forge(string(genuine))
			writeText(t, path, text)
			kept(t, b)
			if again, err := os.ReadFile(path); err != nil || string(again) != string(genuine) {
				t.Errorf("the ledger: %q, %v; was %q", again, err, genuine)
			}
			aside, err := os.ReadFile(path + ".damaged")
			if unsigned := name == "without its end"; unsigned != os.IsNotExist(err) || !unsigned && string(aside) != text {
				t.Errorf("aside: %q, %v", aside, err)
			}
			if out, errs, err := restored(t, file, "--data-dir", filepath.Join(dir, "data"), "--json"); err != nil || !strings.Contains(out, `"ers_a"`) {
				t.Errorf("%v: %s%s", err, out, errs)
			}
		})
	}
}

// Nine damaged ledgers are kept, and the newest.
func TestDamagedLedgersAreBounded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r, _ := erasedAfter(t, dir)
	b := keeper(dir, r)
	for range maxAside + 3 {
		writeText(t, filepath.Join(dir, ledgerName("c1")), "damaged")
		kept(t, b)
	}
	if names, err := filepath.Glob(filepath.Join(dir, "*.damaged*")); err != nil || len(names) != maxAside {
		t.Errorf("%q, %v", names, err)
	}
}

// A ledger that cannot be written is counted, and written as soon as it can be.
func TestLedgerThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r, _ := erasedAfter(t, dir)
	folder := filepath.Join(dir, "backups")
	b := keeper(folder, r)
	b.KeepLedger()
	if b.KeepLedger(); !b.Behind() || b.Ledger.failures.Load() != 2 {
		t.Fatalf("without its folder: behind %v, %d failures", b.Behind(), b.Ledger.failures.Load())
	}
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	kept(t, b)
	if raw, err := os.ReadFile(filepath.Join(folder, ledgerName("c1"))); err != nil || !bytes.Contains(raw, []byte("ers_a")) {
		t.Errorf("%s, %v", raw, err)
	}
}

// A ledger is genuine after the key was rotated, for a backup that knows the key of before; one
// of a cluster with another key is not.
func TestLedgerByALaterKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r, file := erasedAfter(t, dir)
	in(t, r, store.DefaultAccount, &store.AuditKey{Seed: bytes.Repeat([]byte{8}, 32)})
	kept(t, keeper(dir, r))
	path := filepath.Join(dir, ledgerName("c1"))
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var l ledger
	signed, err := l.readFile(path, seal.With{})
	if err != nil || signed.seal == nil || len(signed.seal.Keys) != 2 || signed.seal.Key != signed.seal.Keys[1].ID {
		t.Fatalf("%s, %v", raw, err)
	}
	if err := signed.check("c1", signed.seal.Keys[:1]); err != nil {
		t.Errorf("by the key before: %v", err)
	}
	signed.seal.Keys[1].Signature = signed.seal.Signature
	if err := signed.check("c1", signed.seal.Keys[:1]); err == nil {
		t.Error("by a key that the one before did not endorse: it is genuine")
	}
	if out, errs, err := restored(t, file, "--data-dir", filepath.Join(dir, "data"), "--json"); err != nil || !strings.Contains(out, `"ers_a"`) {
		t.Errorf("%v: %s%s", err, out, errs)
	}
}

// A recovery from a copy that does not know of an erasure repeats it, by a ledger in the folder
// of the backups or one that is named; a forged one ends it. Without any, it warns.
func TestRecoverErasesAgain(t *testing.T) {
	t.Parallel()
	for _, source := range []string{"nothing", "folder", "environment", "file", "forged"} {
		t.Run(source, func(t *testing.T) {
			t.Parallel()
			folder, dir := t.TempDir(), t.TempDir()
			later, _ := erasedAfter(t, folder)
			kept(t, keeper(folder, later))
			path := filepath.Join(folder, ledgerName("c1"))
			r := replicatest.At(t, vfs.Default, dir)
			twoAccounts(t, r)
			id := r.Identity().ID
			replicatest.Shut(t, r)
			appendLogAt(t, vfs.Default, filepath.Join(dir, datadir.LogDir), raft.Log{Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(three(id))})
			args, env := []string{"--data-dir", dir, "--yes", "--json"}, map[string]string{}
			switch source {
			case "folder":
				args = append(args, "--backup-dir", folder)
			case "environment":
				env[backupDirEnv] = folder
			case "file":
				args = append(args, "--erasures", path)
			case "forged":
				raw, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				writeText(t, path, forgeries["a line is gone"](string(raw)))
				if _, _, err := runOffline(t, RecoverFlags(), RecoverCommand, nil, append(args, "--backup-dir", folder)...); err == nil || !strings.Contains(err.Error(), path) {
					t.Errorf("a forged ledger: %v", err)
				}
			}
			out, errs, err := runOffline(t, RecoverFlags(), RecoverCommand, env, args...)
			if err != nil {
				t.Fatal(err)
			}
			var report recoverReport
			if err := json.Unmarshal([]byte(out), &report); err != nil || !report.Recovered {
				t.Fatalf("%s, %v", out, err)
			}
			again := startEncrypted(t, dir)
			defer replicatest.Shut(t, again)
			if source == "nothing" || source == "forged" {
				if len(report.Erased) > 0 || !strings.Contains(errs, "COMES BACK") || !replicatest.Holds(t, again, 0) {
					t.Fatalf("the test proves nothing: %s%s", out, errs)
				}
				return
			}
			if len(report.Erased) != 1 || report.Erased[0].Account != "acct_a" || !strings.Contains(errs, "erased again") || strings.Contains(errs, "COMES BACK") {
				t.Errorf("%s%s", out, errs)
			}
			if c := again.Store().Cell("acct_a"); c != nil && c.Load() != nil {
				t.Error("the erased account is back")
			}
			if !replicatest.Holds(t, again, 1) {
				t.Error("the key of another account is gone")
			}
			// The node carries it out: its files may hold more than the state.
			if open, err := again.Store().Erasures().Open(); err != nil || len(open) != 1 || open[0].ID != "ers_a" || open[0].State != store.ErasureRunning {
				t.Errorf("open: %+v, %v", open, err)
			}
			if e, err := again.Store().Erasures().Get("ers_b"); err != nil || e.State != store.ErasureCancelled {
				t.Errorf("the cancelled erasure: %+v, %v", e, err)
			}
		})
	}
}
