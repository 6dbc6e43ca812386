package recovery

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/node/replica/replicatest"
	"github.com/perfgate/perfgate/store/backup"
	"github.com/perfgate/perfgate/store/seal"
)

// scheduled are backups of r into dir, every hour.
func scheduled(t *testing.T, r *replica.Replica, dir string) *Backups {
	t.Helper()
	b := &Backups{
		Dir: dir, Every: time.Hour, Keep: 3, Leads: func() bool { return true }, Cluster: r.Store().ClusterID,
		Logger: slog.New(slog.DiscardHandler),
		Begin: func(at time.Time) (*backup.Backup, error) {
			return backup.Begin(r.Store(), backup.Header{Node: "n1", Version: "test", CreatedAt: at})
		},
	}
	if err := b.Open(); err != nil {
		t.Fatal(err)
	}
	return b
}

func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// firstLook is the time of the first look in the tests of the schedule, and hourly the
// name of the backup so many hours after it.
var firstLook = time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)

func hourly(hour int) string {
	return backup.Name("c1", firstLook.Add(time.Duration(hour)*time.Hour))
}

// verified reads a backup of the schedule.
func verified(t *testing.T, path, passphrase string) *backup.Report {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rep, err := backup.Verify(f, seal.With{Passphrase: passphrase})
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

// One backup an hour is written, also over restarts, and the newest are kept; files of
// others stay.
func TestScheduledBackups(t *testing.T) {
	t.Parallel()
	r := replicatest.At(t, replicatest.Memory(t), "data")
	defer replicatest.Shut(t, r)
	replicatest.Begin(t, r)
	dir := filepath.Join(t.TempDir(), "a", "backups")
	ctx, at, name := t.Context(), firstLook, hourly
	b := scheduled(t, r, dir)
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Fatalf("%v, %v", info, err)
	}
	// Files of another cluster, and other files, stay; so does a file that is being
	// written by another node right now.
	keep := []string{
		backup.Name("c2", at.Add(-100*time.Hour)), "perfgate-c1-yesterday.backup", "notes.txt",
		".perfgate-c2-20250101T000000Z.backup.tmp", "." + name(-1) + ".tmp",
	}
	for _, n := range append(keep, "."+name(-50)+".tmp") {
		if err := os.WriteFile(filepath.Join(dir, n), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		written := at.Add(-50 * time.Hour)
		if n == "."+name(-1)+".tmp" {
			written = at.Add(100 * time.Hour)
		}
		if err := os.Chtimes(filepath.Join(dir, n), written, written); err != nil {
			t.Fatal(err)
		}
	}
	for minute := 0; minute <= 5*60; minute += 10 {
		if minute%60 == 30 {
			b = scheduled(t, r, dir) // a restart
		}
		b.look(ctx, at.Add(time.Duration(minute)*time.Minute))
	}
	want := append([]string{name(3), name(4), name(5)}, keep...)
	slices.Sort(want)
	if got := files(t, dir); !slices.Equal(got, want) {
		t.Errorf("files\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	path := filepath.Join(dir, name(5))
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if rep := verified(t, path, ""); rep.ClusterID != "c1" || rep.Encrypted {
		t.Errorf("%+v", rep)
	}
}

// Only the leader writes backups, and a file of a clock that was wrong holds up
// nothing; a passphrase or a recovery key seals them.
func TestScheduledBackupsOfOthers(t *testing.T) {
	t.Parallel()
	r := replicatest.At(t, replicatest.Memory(t), "data")
	defer replicatest.Shut(t, r)
	replicatest.Begin(t, r)
	dir := t.TempDir()
	ctx, at := t.Context(), firstLook
	b := scheduled(t, r, dir)
	b.look(ctx, at)
	b.Leads = func() bool { return false }
	b.look(ctx, at.Add(10*time.Hour))
	if slices.Contains(files(t, dir), hourly(10)) {
		t.Error("a node that does not lead wrote one")
	}
	b.Leads = func() bool { return true }
	if err := os.Rename(filepath.Join(dir, hourly(0)), filepath.Join(dir, hourly(10_000))); err != nil {
		t.Fatal(err)
	}
	b.To = seal.To{Passphrase: "secret"}
	b.look(ctx, at.Add(11*time.Hour))
	if rep := verified(t, filepath.Join(dir, hourly(11)), "secret"); rep.Sealed != seal.Passphrase {
		t.Errorf("%+v", rep)
	}
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	b.To = seal.To{Recipients: []string{id.Recipient().String()}}
	b.look(ctx, at.Add(12*time.Hour)) // is read back too, by a node that has no private key
	f, err := os.Open(filepath.Join(dir, hourly(12)))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if rep, err := backup.Verify(f, seal.With{Identities: []age.Identity{id}}); err != nil || rep.Sealed != seal.RecoveryKeys {
		t.Errorf("%+v, %v", rep, err)
	}
}

// A failure is counted, told and tried again, and removes nothing.
func TestScheduledBackupFails(t *testing.T) {
	t.Parallel()
	r := replicatest.At(t, replicatest.Memory(t), "data")
	defer replicatest.Shut(t, r)
	replicatest.Begin(t, r)
	dir, at := t.TempDir(), time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	b := scheduled(t, r, dir)
	b.Keep = 1
	b.look(t.Context(), at)
	registry := prometheus.NewRegistry()
	registry.MustRegister(b.Collectors()...)
	metrics := func() string {
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%d failures, last %d", int(families[0].Metric[0].Counter.GetValue()), int(families[1].Metric[0].Gauge.GetValue()))
	}
	good := b.Begin
	b.Begin = func(time.Time) (*backup.Backup, error) { return nil, errors.New("no") }
	for minute := 60; minute <= 70; minute++ {
		b.look(t.Context(), at.Add(time.Duration(minute)*time.Minute))
	}
	if got, want := metrics(), fmt.Sprintf("3 failures, last %d", at.Unix()); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := files(t, dir); len(got) != 1 || got[0] != backup.Name("c1", at) {
		t.Errorf("files %v", got)
	}
	// The folder is gone, as a mount may be: no new one in its place.
	b.Begin = good
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	b.look(t.Context(), at.Add(80*time.Minute))
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) || b.failures.Load() != 4 {
		t.Errorf("%v, %d failures", err, b.failures.Load())
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	b.look(ended, at.Add(2*time.Hour))
	if got := files(t, dir); len(got) != 0 || b.failures.Load() != 4 {
		t.Errorf("broken off by a stop: %v, %d failures", got, b.failures.Load())
	}
	b.look(t.Context(), at.Add(2*time.Hour))
	if got := files(t, dir); len(got) != 1 {
		t.Errorf("files %v", got)
	}
}
