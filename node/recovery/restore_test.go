package recovery

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/perfgate/perfgate/node/datadir"
	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/node/replica/replicatest"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/backup"
	"github.com/perfgate/perfgate/store/losstest"
	"github.com/perfgate/perfgate/store/pack"
	"github.com/perfgate/perfgate/store/seal"
	"github.com/perfgate/perfgate/store/snapshot"
)

// backupOf is a backup of r's state.
func backupOf(tb testing.TB, r *replica.Replica, at time.Time) []byte {
	tb.Helper()
	return headed(tb, r, backup.Header{Node: "n1", Version: "test", CreatedAt: at})
}

// headed is a backup of r with a header.
func headed(tb testing.TB, r *replica.Replica, h backup.Header) []byte {
	tb.Helper()
	b, err := backup.Begin(r.Store(), h)
	if err != nil {
		tb.Fatal(err)
	}
	defer b.Close()
	var out bytes.Buffer
	if _, err := b.WriteTo(&out); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

// rowsIn are all rows of a state.
func rowsIn(tb testing.TB, s *store.Store) map[string]string {
	tb.Helper()
	d, err := s.Dump()
	if err != nil {
		tb.Fatal(err)
	}
	defer d.Close()
	r, err := snapshot.NewReader(d)
	if err != nil {
		tb.Fatal(err)
	}
	rows := map[string]string{}
	for {
		row, value, err := r.Next()
		if err == io.EOF {
			return rows
		}
		if err != nil {
			tb.Fatal(err)
		}
		rows[string(row)] = string(value)
	}
}

// populated begins a cluster with keys 0 to 49, of which 1 is revoked, a result
// of a repeatable request and a month in use.
func populated(tb testing.TB, r *replica.Replica) {
	replicatest.Begin(tb, r)
	for n := range 50 {
		c := replicatest.CreateKey(n)
		c.Once = &store.Once{Scope: sha256.Sum256([]byte{byte(n)})}
		replicatest.Must(tb, r, c)
	}
	replicatest.Must(tb, r, revoke(1))
	replicatest.Must(tb, r, &store.Command{At: time.Now(), Change: &store.Grant{Node: "n1", Asks: []store.GrantAsk{
		{Account: store.DefaultAccount, Type: store.Live, Month: store.Month(time.Now()), Want: 10},
	}}})
}

func revoke(n int) *store.Command {
	return &store.Command{
		At: time.Now(), Account: store.DefaultAccount, Actor: store.Actor{Type: store.ActorOperator, ID: "op"},
		Change: &store.KeyRevoke{ID: replicatest.KeyID(n)},
	}
}

func state(tb testing.TB, r *replica.Replica, n int) store.KeyState {
	tb.Helper()
	k, err := r.Store().Key(replicatest.KeyID(n))
	if err != nil || k == nil {
		tb.Fatalf("key %d: %v", n, err)
	}
	return k.State(time.Now())
}

// restoreInto restores raw into dir of fs, with a plan for it.
func restoreInto(fs vfs.FS, dir string, raw []byte, p *restorePlan) error {
	re := &restoration{
		FS: fs, Files: fs, Dir: dir, Logger: slog.New(slog.DiscardHandler), At: time.Now().UTC(),
		Rows: rowsOf(bytes.NewReader(raw), seal.With{}, p.unseen), Applied: p.report.Backup.Applied, Revoke: p.revoke,
		Reset: store.ClusterReset{ClusterID: "c2", Kind: store.ResetRestore, From: p.report.Backup.ClusterID, Reason: p.reason()},
	}
	_, err := re.run()
	return err
}

func planned(tb testing.TB, raw []byte, count bool, exports ...string) *restorePlan {
	tb.Helper()
	p, err := planRestore(bytes.NewReader(raw), seal.With{}, exports, count, time.Now().UTC())
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// events are the default account's, by action.
func eventsOf(tb testing.TB, r *replica.Replica, action string) (list []*store.Event) {
	tb.Helper()
	for e, err := range r.Store().Events(store.EventQuery{Account: store.DefaultAccount, Action: action}) {
		if err != nil {
			tb.Fatal(err)
		}
		list = append(list, e)
	}
	return list
}

// auditOf writes the first n revocations of a node as an audit export.
func auditOf(t *testing.T, from *replica.Replica, n int) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "audit.ndjson")
	var lines []string
	for _, e := range eventsOf(t, from, "key.revoke")[:n] {
		line, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, string(line))
	}
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// checkReport checks the words of a restore of 50 keys, of which key 2 was revoked
// later if an audit export says so.
func checkReport(t *testing.T, p *restorePlan, reason string, taken time.Time, audited bool) {
	t.Helper()
	active := 49 - map[bool]int{true: 1}[audited]
	said := strings.Join(p.report.Warnings, "\n") + reason
	for _, s := range []string{taken.Format(time.RFC3339), "WORK AGAIN", fmt.Sprintf("%d keys are active", active), fmt.Sprintf("at that time: %d are active", active)} {
		if !strings.Contains(said, s) {
			t.Errorf("it does not say %q:\n%s", s, said)
		}
	}
	if told := strings.Contains(said, "no audit export"); told == audited {
		t.Errorf("it says that no audit export was given: %v", told)
	}
	if audited && !slices.Equal(p.report.Revoked, []store.KeyID{replicatest.KeyID(2)}) {
		t.Errorf("revoked: %v", p.report.Revoked)
	}
}

// compareRows compares the rows of a backup with those restored from it, except for
// settings, results of repeatable calls and the restore's own event; and but for key
// 2 if the restore revoked it.
func compareRows(t *testing.T, before, after map[string]string, revoked bool) {
	t.Helper()
	for row, value := range before {
		if row[0] == 's' || row[0] == 'o' || row[0] == 'x' || revoked && strings.Contains(value, string(replicatest.KeyID(2))) || revoked && row[0] == 'h' {
			continue
		}
		if after[row] != value {
			t.Errorf("row %q was %q, is %q", row, value, after[row])
		}
		delete(after, row)
	}
	maps.DeleteFunc(after, func(row, value string) bool {
		return row[0] == 's' || strings.Contains(value, "cluster.restore") || revoked && (strings.Contains(value, string(replicatest.KeyID(2))) || row[0] == 'h')
	})
	if len(after) > 0 {
		t.Errorf("rows that nobody backed up: %q", after)
	}
}

// A restored node starts with the state of the backup, as another cluster; changes
// after the backup are undone and reported.
func TestRestore(t *testing.T) {
	t.Parallel()
	from := replicatest.At(t, replicatest.Memory(t), "data")
	defer replicatest.Shut(t, from)
	populated(t, from)
	taken := time.Now().UTC()
	raw := backupOf(t, from, taken)
	before := rowsIn(t, from.Store())
	replicatest.Must(t, from, revoke(2))
	replicatest.Must(t, from, revoke(3))
	replicatest.Must(t, from, replicatest.CreateKey(50))

	export := auditOf(t, from, 2) // the revocations of keys 1 and 2
	for _, audited := range []bool{false, true} {
		t.Run(fmt.Sprintf("with an audit export: %v", audited), func(t *testing.T) {
			fs := replicatest.Memory(t)
			var exports []string
			if audited {
				exports = []string{export}
			}
			p := planned(t, raw, false, exports...)
			if err := restoreInto(fs, "data", raw, p); err != nil {
				t.Fatal(err)
			}
			if kind, err := replica.ReadLine(fs, "data/"+datadir.FoundingFile); kind != datadir.Restored {
				t.Errorf("the new cluster is complete: %q, %v", kind, err)
			}
			r := replicatest.At(t, fs, "data")
			defer replicatest.Shut(t, r)
			if r.Store().ClusterID() != "c2" || r.Identity().ID == from.Identity().ID {
				t.Errorf("cluster %s, node %s", r.Store().ClusterID(), r.Identity().ID)
			}
			if r.Store().Pepper() != from.Store().Pepper() || !slices.Equal(r.Store().OperatorTokens(), from.Store().OperatorTokens()) {
				t.Error("the pepper or the operator tokens changed")
			}
			want := map[bool]store.KeyState{false: store.Active, true: store.Revoked}[audited]
			if state(t, r, 1) != store.Revoked || state(t, r, 2) != want || state(t, r, 3) != store.Active || state(t, r, 4) != store.Active || replicatest.Holds(t, r, 50) {
				t.Errorf("keys 1 to 4 are %s, %s, %s, %s; 50 is there: %v", state(t, r, 1), state(t, r, 2), state(t, r, 3), state(t, r, 4), replicatest.Holds(t, r, 50))
			}
			resets := eventsOf(t, r, "cluster.restore")
			if len(resets) != 1 || resets[0].Actor.Type != store.ActorSystem || resets[0].Target != "c2" || resets[0].Seq <= from.LastIndex() {
				t.Fatalf("%+v", resets)
			}
			checkReport(t, p, resets[0].Reason, taken, audited)
			after := rowsIn(t, r.Store())
			compareRows(t, before, after, audited)
			// It goes on: writes, a restart, and another look.
			replicatest.Must(t, r, replicatest.CreateKey(50))
			replicatest.Shut(t, r)
			r = replicatest.At(t, fs, "data")
			defer replicatest.Shut(t, r)
			if !replicatest.Holds(t, r, 50) || r.Store().ClusterID() != "c2" || len(eventsOf(t, r, "cluster.restore")) != 1 {
				t.Error("after a restart it is another one")
			}
		})
	}
}

// The power fails at every step of a restore: the directory is then refused by a
// node and completed by the next restore, or it is whole.
func TestRestorePowerLoss(t *testing.T) {
	t.Parallel()
	from := replicatest.At(t, replicatest.Memory(t), "data")
	defer replicatest.Shut(t, from)
	populated(t, from)
	raw := backupOf(t, from, time.Now())
	p := planned(t, raw, false)

	mem := losstest.NewMem()
	fs := &powerLoss{mem: mem}
	fs.FS = errorfs.Wrap(mem, errorfs.InjectorFunc(fs.before))
	if err := errors.Join(fs.MkdirAll("data", 0o700), pack.SyncDir(fs, ""), restoreInto(fs, "data", raw, p)); err != nil {
		t.Fatal(err)
	}
	clones := append(fs.clones, mem.CrashClone(vfs.CrashCloneCfg{}))
	whole, begun := 0, 0
	for i, clone := range clones {
		_, broken := clone.Stat("data/" + datadir.RestoringFile)
		names, _ := clone.List("data")
		switch {
		case broken != nil && len(names) > 0:
			whole++
		case broken == nil:
			begun++
			if i%3 > 0 {
				continue // each takes a tenth of a second
			}
			if err := restoreInto(clone, "data", raw, p); err != nil {
				t.Errorf("step %d: the next restore fails: %v", i, err)
				continue
			}
		default:
			continue // nothing yet
		}
		r := replicatest.At(t, clone, "data")
		if r.Store().ClusterID() != "c2" || !replicatest.Holds(t, r, 49) || state(t, r, 1) != store.Revoked {
			t.Errorf("step %d of %d: the directory is not whole: %v", i, len(clones), names)
		}
		replicatest.Shut(t, r)
	}
	if whole == 0 || begun < 20 {
		t.Errorf("of %d steps %d left a broken-off restore and %d a whole one", len(clones), begun, whole)
	}
}

// A node does not start from the remains of an interrupted restore.
func TestBrokenOffRestoreIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, datadir.RestoringFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := datadir.Open(dir); err == nil || !strings.Contains(err.Error(), "interrupted") {
		t.Errorf("%v", err)
	}
	lock, err := datadir.Acquire(dir) // Open released it
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Release()
	if name, err := datadir.Occupant(dir); name != "" || err != nil {
		t.Errorf("the next restore is refused: %q, %v", name, err)
	}
}

// Months count the most that the minute's limits can have let through, and no more
// than the month's limit; without that, the counts of the backup.
func TestRestoreCountsMonths(t *testing.T) {
	t.Parallel()
	from := replicatest.At(t, replicatest.Memory(t), "data")
	defer replicatest.Shut(t, from)
	replicatest.Begin(t, from)
	limits := &store.Limits{PerMinute: new(int64(10)), PerMonth: new(int64(1_000_000))}
	now := time.Now().UTC()
	for n, k := range map[int]store.Key{
		0: {Limits: limits},
		1: {Limits: &store.Limits{PerMinute: limits.PerMinute, PerMonth: new(int64(20))}},
		2: {MonthlyBudget: new(5 * store.MoneyUnit)},
	} {
		c := replicatest.CreateKey(n)
		made := &c.Change.(*store.KeyCreate).Key
		made.Limits, made.MonthlyBudget = k.Limits, k.MonthlyBudget
		replicatest.Must(t, from, c)
	}
	month := store.Month(now)
	replicatest.Must(t, from, &store.Command{At: now, Change: &store.Grant{Node: "n1", Asks: []store.GrantAsk{
		{Account: store.DefaultAccount, Type: store.Live, Key: replicatest.KeyID(0), Month: month, Want: 7},
		{Account: store.DefaultAccount, Type: store.Live, Month: month, Want: 7},
	}}})
	from.Linearize(context.Background())
	begins := time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC)
	taken := now.Add(-10 * time.Minute)
	minutes := now.Sub(taken).Minutes()
	if taken.Before(begins) {
		minutes = now.Sub(begins).Minutes()
	}
	raw := backupOf(t, from, taken)
	for _, count := range []bool{false, true} {
		fs := replicatest.Memory(t)
		p := planned(t, raw, count)
		if err := restoreInto(fs, "data", raw, p); err != nil {
			t.Fatal(err)
		}
		r := replicatest.At(t, fs, "data")
		got := func(key store.KeyID, budget bool) int64 {
			n, err := r.Store().Granted(store.DefaultAccount, store.Live, key, budget, month)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		a, b, c, all := got(replicatest.KeyID(0), false), got(replicatest.KeyID(1), false), got(replicatest.KeyID(2), true), got("", false)
		if !count && (a != 7 || b != 0 || c != 0 || all != 7) {
			t.Errorf("as in the backup: %d, %d, %d, %d", a, b, c, all)
		}
		low := 7 + 10 + int64(10*minutes)
		if count && (a < low || a > low+5 || b != 20 || c != int64(5*store.MoneyUnit) || all <= 7) {
			t.Errorf("counted: %d (want %d), %d, %d, %d", a, low, b, c, all)
		}
		if count != (p.unseen != nil && p.unseen.Raised > 0) || !strings.Contains(p.reason(), map[bool]string{true: "the most that could have been used", false: "is not counted"}[count]) {
			t.Errorf("raised: %+v; %s", p.unseen, p.reason())
		}
		replicatest.Shut(t, r)
	}
}
