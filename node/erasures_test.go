package node

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/node/config/configtest"
	"github.com/perfgate/perfgate/node/datadir"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/local"
)

// filesWith lists the files of the data directory that hold a text, decrypted. Tables are
// compressed, but a text of random characters is in them as it is.
func filesWith(t *testing.T, n *loneNode, text string) (found []string) {
	t.Helper()
	fs := n.replica.FS()
	var walk func(string)
	walk = func(path string) {
		names, err := fs.List(path)
		if err != nil {
			f, err := fs.Open(path)
			if err != nil {
				return // removed meanwhile
			}
			raw, err := io.ReadAll(f)
			f.Close()
			if err != nil {
				t.Logf("read %s: %v", path, err)
			}
			if bytes.Contains(raw, []byte(text)) {
				found = append(found, path)
			}
			return
		}
		for _, name := range names {
			walk(fs.PathJoin(path, name))
		}
	}
	for _, name := range []string{datadir.LogDir, datadir.StateDir, datadir.SnapshotDir, datadir.LocalDir} {
		walk(filepath.Join(n.config.Node.DataDir, name))
	}
	return found
}

// An erasure that is due is carried out by the node: afterwards no file holds the addresses,
// agents and names of the account, neither the log nor a snapshot, and the data key of
// before is no longer used for any of them.
func TestErasureReachesAllFiles(t *testing.T) {
	t.Parallel()
	dir, backups := t.TempDir(), t.TempDir()
	n := startLone(t, dir, "--config", configtest.File(t, "[backup]\ndir = \""+backups+"\"\n"))
	const agent, name = "Qx7zKp2mVt9wLr4b", "Hj5nYc8sDf3gTq6a"
	do := func(account store.AccountID, c store.Change) {
		t.Helper()
		cmd := &store.Command{Account: account, Agent: agent, IP: "192.0.2.77", At: time.Now(), Actor: store.Actor{Type: store.ActorUser, ID: "usr_a", Name: name}, Change: c}
		if r, err := n.proposeGrant(t.Context(), cmd); err != nil || r.Refusal != nil {
			t.Fatalf("%v, %+v", err, r.Refusal)
		}
	}
	do("acct_a", &store.AccountCreate{Account: store.Account{ID: "acct_a", Tier: "pro"}})
	do("acct_a", &store.KeyCreate{Key: store.Key{ID: "key_a", Hash: store.Hash{1}, Hint: "h", Type: store.Live, Name: "k", Scopes: []string{"read"}}})
	for range 5 {
		n.local.Observe(&local.Observation{Account: "acct_a", Key: "key_a", Method: "GET", Status: 200, Client: netip.MustParseAddr("192.0.2.77"), UserAgent: agent, Action: name, Management: true})
	}
	if err := n.local.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := n.replica.Raft().Snapshot().Error(); err != nil {
		t.Fatal(err)
	}
	if err := n.rollLogs(); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{agent, name} {
		if got := filesWith(t, n, text); len(got) < 3 {
			t.Fatalf("before, %s is in %q alone: the test proves nothing", text, got)
		}
	}
	keys, err := n.vault.Status()
	if err != nil {
		t.Fatal(err)
	}
	before := keys.DataKeys[0].ID

	if status, _ := n.get(t, n.adminListener, "/v1/backup", n.token(t)); status != 200 {
		t.Fatalf("a backup: %d", status)
	}
	do("acct_a", &store.ErasureSchedule{ID: "ers_a", EffectiveAt: time.Now()})
	e := erased(t, n, "ers_a")
	if len(e.Nodes) != 1 || e.Nodes[0].Log <= e.Index || e.Nodes[0].Name != n.config.Node.Name {
		t.Fatalf("%+v", e)
	}
	// The receipt names the backup that was sent, and a restore finds the erasure.
	if b := e.Nodes[0].Backups; len(b) == 0 || !strings.Contains(b[len(b)-1], "sent to op_") {
		t.Errorf("backups with the data: %q", b)
	}
	ledger, err := os.ReadFile(filepath.Join(backups, "perfgate-"+n.store.ClusterID()+".erasures"))
	if err != nil || !strings.Contains(string(ledger), `"ers_a"`) {
		t.Errorf("the ledger beside the backups: %s, %v", ledger, err)
	}
	for _, text := range []string{agent, name} {
		if got := filesWith(t, n, text); len(got) > 0 {
			t.Errorf("afterwards, %s is in %q", text, got)
		}
	}
	if keys, err = n.vault.Status(); err != nil {
		t.Fatal(err)
	}
	for _, k := range keys.DataKeys {
		if k.ID == before && (k.Current || k.Files > 3) { // manifests are open until the next start
			t.Errorf("%d files are encrypted with the key of before", k.Files)
		}
	}
	if k, err := n.store.Key("key_a"); err != nil || k == nil {
		t.Errorf("the key: %v, %v", k, err)
	}
	// The disk of the backups may be gone. The folder cannot be removed while the node is
	// writing the ledger into it.
	for deadline := time.Now().Add(time.Minute); ; {
		err := errors.Join(os.RemoveAll(backups), os.WriteFile(backups, nil, 0o600))
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited until the folder of the backups is a file: %v", err)
		}
	}
	do("acct_a", &store.ErasureSchedule{ID: "ers_b", EffectiveAt: time.Now()})
	e = erased(t, n, "ers_b")
	if b := e.Nodes[0].Backups; len(b) == 0 || !strings.Contains(b[0], "could not be read") || !n.background.backups.Behind() {
		t.Errorf("without the folder of the backups: %+v, ledger behind: %v", e, n.background.backups.Behind())
	}
	if text := n.out.String(); strings.Count(text, "the ledger of erasures beside the backups cannot be written") != 1 {
		t.Errorf("the log: %s", text)
	}
}

// erased waits until an erasure is done.
func erased(t *testing.T, n *loneNode, id store.ErasureID) *store.Erasure {
	t.Helper()
	for deadline := time.After(2 * time.Minute); ; {
		changed := n.replica.Changed()
		e, err := n.store.Erasures().Get(id)
		if err != nil {
			t.Fatal(err)
		}
		if e.State == store.ErasureDone {
			return e
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("waited until the erasure %s is done: %+v; %s", id, e, n.out)
		}
	}
}
