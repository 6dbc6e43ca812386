package recovery

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/node/replica/replicatest"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/backup"
	"github.com/perfgate/perfgate/store/chain"
	"github.com/perfgate/perfgate/store/seal"
)

// in makes a change of an account.
func in(t *testing.T, r *replica.Replica, account store.AccountID, change store.Change) {
	t.Helper()
	if got := replicatest.Must(t, r, &store.Command{At: time.Now(), Account: account, Actor: store.Actor{Type: store.ActorUser, ID: "usr_1"}, Change: change}); got.Refusal != nil {
		t.Fatal(got.Refusal)
	}
}

// twoAccounts gives a new node a signing key and the accounts acct_a and acct_b, each with a
// key. An erasure of acct_b is scheduled.
func twoAccounts(t *testing.T, r *replica.Replica) {
	t.Helper()
	replicatest.Begin(t, r)
	in(t, r, store.DefaultAccount, &store.AuditKey{Seed: bytes.Repeat([]byte{7}, 32), First: true})
	for i, id := range []store.AccountID{"acct_a", "acct_b"} {
		in(t, r, store.DefaultAccount, &store.AccountCreate{Account: store.Account{ID: id, Name: "Name of " + string(id), Tier: "free"}})
		k := replicatest.Key(i)
		k.Account = id
		in(t, r, id, &store.KeyCreate{Key: k})
	}
	in(t, r, "acct_b", &store.ErasureSchedule{ID: "ers_b", EffectiveAt: time.Now().Add(time.Hour)})
}

// erasedAfter is a node with twoAccounts, of which acct_a was erased with everything after a
// backup in dir, and the erasure of acct_b was cancelled after it.
func erasedAfter(t *testing.T, dir string) (r *replica.Replica, file string) {
	t.Helper()
	r = replicatest.At(t, replicatest.Memory(t), "data")
	t.Cleanup(func() { replicatest.Shut(t, r) })
	twoAccounts(t, r)
	file = writeText(t, filepath.Join(dir, "b.backup"), string(backupOf(t, r, time.Now())))
	in(t, r, "acct_b", &store.ErasureCancel{ID: "ers_b"})
	in(t, r, "acct_a", &store.ErasureSchedule{ID: "ers_a", Everything: true, EffectiveAt: time.Now()})
	in(t, r, "acct_a", &store.ErasureRun{ID: "ers_a"})
	return r, file
}

// keeper keeps the ledger of a node in dir.
func keeper(dir string, r *replica.Replica) *Backups {
	b := &Backups{Dir: dir, Cluster: r.Store().ClusterID, Logger: slog.New(slog.DiscardHandler)}
	b.Ledger.Erasures, b.Ledger.Sign, b.Ledger.Keys = r.Store().Erasures().All, r.Store().Sign, r.Store().AuditKeys
	return b
}

// kept writes the ledger, which must succeed.
func kept(t *testing.T, b *Backups) {
	t.Helper()
	if b.KeepLedger(); b.Behind() {
		t.Fatal(b.Ledger.said)
	}
}

// An account that was erased after a backup does not come back with it, wherever the
// erasure is known from; without that knowledge the restore warns.
func TestRestoreErasesAgain(t *testing.T) {
	t.Parallel()
	for _, source := range []string{"nothing", "beside", "beside, of another cluster", "ledger", "backup", "receipt", "audit", "audit of operators"} {
		t.Run(source, func(t *testing.T) {
			t.Parallel()
			dir, elsewhere := t.TempDir(), t.TempDir()
			r, file := erasedAfter(t, dir)
			e, err := r.Store().Erasures().Get("ers_a")
			if err != nil {
				t.Fatal(err)
			}
			args := []string{file, "--data-dir", filepath.Join(dir, "data"), "--json"}
			folder := elsewhere
			if strings.HasPrefix(source, "beside") {
				folder = dir
			}
			b := keeper(folder, r)
			if strings.HasSuffix(source, "another cluster") {
				b.Cluster = func() string { return "c9" }
			}
			kept(t, b)
			switch source {
			case "ledger":
				args = append(args, "--erasures", filepath.Join(elsewhere, ledgerName("c1")))
			case "backup":
				args = append(args, "--erasures", writeText(t, filepath.Join(elsewhere, "later.backup"), string(backupOf(t, r, time.Now()))))
			case "receipt":
				text := fmt.Sprintf(`{"id":"ers_a","state":"done","cancelled_at":null,"receipt":{"statement":{"cluster_id":"c1","erasure":{"id":"ers_a","account":"acct_a","everything":true,"state":"done","cancelled_at":null,"erased_at":%q,"nodes":[{"id":"n1","log_from":7}]}},"keys":[]}}`, e.ErasedAt.Format(time.RFC3339Nano))
				args = append(args, "--erasures", writeText(t, filepath.Join(elsewhere, "receipt.json"), text))
			case "audit", "audit of operators":
				account := map[string]string{"audit": `"default"`, "audit of operators": "null"}[source]
				text := fmt.Sprintf(`{"time":%q,"action":"erasure.apply","outcome":"success","account":`+account+`,"target":"ers_a","reason":"acct_a","changes":{"before":{},"after":{"everything":true}}}`, time.Now().Add(time.Hour).Format(time.RFC3339Nano))
				args = append(args, "--audit", writeText(t, filepath.Join(elsewhere, "audit.ndjson"), text+"\n"))
			}
			out, errs, err := restored(t, args...)
			if err != nil {
				t.Fatal(err)
			}
			var report restoreReport
			if err := json.Unmarshal([]byte(out), &report); err != nil {
				t.Fatal(err)
			}
			again := startEncrypted(t, filepath.Join(dir, "data"))
			defer replicatest.Shut(t, again)
			if source == "nothing" {
				if len(report.Erased) > 0 || !strings.Contains(errs, "COME BACK") || !replicatest.Holds(t, again, 0) {
					t.Fatalf("the test proves nothing: %s%s", out, errs)
				}
				return
			}
			if len(report.Erased) != 1 || report.Erased[0].Account != "acct_a" || !report.Erased[0].Everything || report.UndoneN > 0 || !strings.Contains(errs, "erased again") || strings.Contains(errs, "COME BACK") {
				t.Errorf("%s%s", out, errs)
			}
			if c := again.Store().Cell("acct_a"); c != nil && c.Load() != nil {
				t.Error("the erased account is back")
			}
			if !replicatest.Holds(t, again, 1) {
				t.Error("the key of another account is gone")
			}
			for row, value := range rowsIn(t, again.Store()) {
				if strings.Contains(value, "Name of acct_a") && !strings.Contains(value, "account.create") { // see docs/people.md
					t.Errorf("row %q: %s", row, value)
				}
			}
			// The node carries it out: its files hold the backup.
			open, err := again.Store().Erasures().Open()
			if err != nil || len(open) == 0 || open[0].ID != "ers_a" || open[0].State != store.ErasureRunning {
				t.Errorf("open: %+v, %v", open, err)
			}
			if known := source != "receipt" && !strings.HasPrefix(source, "audit"); known != (len(open) == 1) {
				t.Errorf("the cancelled erasure: %+v", open)
			}
		})
	}
}

// A ledger keeps what only it knows, and what a restore of another cluster's backup must not
// use stays out.
func TestLedger(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	state := []*store.Erasure{
		{ID: "ers_1", Account: "acct_a", ErasedAt: at},
		{ID: "ers_2", Account: store.DefaultAccount, ErasedAt: at.Add(1)},
		{ID: "ers_3", Account: "acct_c", State: store.ErasureScheduled},
	}
	b := &Backups{Dir: dir, Cluster: func() string { return "c1" }, Logger: slog.New(slog.DiscardHandler)}
	b.Ledger.Erasures = func() ([]*store.Erasure, error) { return state, nil }
	b.Ledger.Keys = func() []chain.Key { return nil }
	kept(t, b)
	state = []*store.Erasure{{ID: "ers_4", Account: "acct_b", ErasedAt: at.Add(2)}}
	kept(t, b)
	if info, err := os.Stat(filepath.Join(dir, ledgerName("c1"))); err != nil || info.Mode().Perm() != 0o600 || len(files(t, dir)) != 1 {
		t.Errorf("%v, %v, %q", info, err, files(t, dir))
	}
	read := func(cluster string) (ids string) {
		var l ledger
		if err := l.readBeside(dir, nil, cluster, nil, func(id store.AccountID) bool { return id != "acct_b" }); err != nil {
			t.Fatal(err)
		}
		for _, e := range l.list() {
			ids += string(e.ID) + " "
		}
		return ids
	}
	if got := read("c1"); got != "ers_1 ers_2 ers_4 " {
		t.Errorf("of the same cluster: %s", got)
	}
	if got := read("c2"); got != "ers_1 " {
		t.Errorf("of another cluster: %s", got)
	}
	for _, text := range []string{`{"id":"ers_1","account":`, `{"id":"ers_1"}`, `{"a":1}`, "x", backup.Name("c1", at)} {
		var l ledger
		if _, err := l.readFile(writeText(t, filepath.Join(t.TempDir(), "l"), text), seal.With{}); err == nil {
			t.Errorf("%q is read", text)
		}
	}
	writeText(t, filepath.Join(dir, ledgerName("c1")), "{")
	var l ledger
	if err := l.readBeside(dir, nil, "c1", nil, nil); err == nil || !strings.Contains(err.Error(), "repair it") {
		t.Errorf("a damaged ledger: %v", err)
	}
}
