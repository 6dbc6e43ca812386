package local

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/logtest"
	"github.com/perfgate/perfgate/store/losstest"
	"github.com/perfgate/perfgate/store/pack"
)

// filled is a directory in which a node left events and usage, in its log or in
// tables, after a stop or a crash.
func filled(t *testing.T, tables, crashed bool) vfs.FS {
	t.Helper()
	mem := crashable(t)
	l := ticking(t, Config{FS: mem})
	for i := range 100 {
		l.Observe(admitted(day0.Add(time.Duration(i)*time.Second), "default", "key_a"))
		if i%10 == 9 {
			must(t, l.Flush())
		}
	}
	if tables {
		must(t, l.db.Flush())
	}
	if crashed {
		after := mem.CrashClone(vfs.CrashCloneCfg{})
		must(t, l.Close())
		return after
	}
	must(t, l.Close())
	must(t, pack.SyncDir(mem, "data/local")) // a log that was removed and comes back is not needed, and proves nothing
	return mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))})
}

// crashable is a file system with a data directory that survives.
func crashable(t *testing.T) *losstest.Mem {
	t.Helper()
	mem := losstest.NewMem()
	must(t, mem.MkdirAll("data", 0o700))
	must(t, pack.SyncDir(mem, ""))
	return mem
}

// copied is a file system of its own with the files of from.
func copied(t *testing.T, from vfs.FS) vfs.FS {
	t.Helper()
	to := vfs.NewMem()
	must(t, to.MkdirAll("data/local", 0o700))
	must(t, vfs.CopyAcrossFS(from, "data/local"+SealSuffix, to, "data/local"+SealSuffix))
	for _, name := range list(t, from, "data/local") {
		must(t, vfs.CopyAcrossFS(from, path.Join("data/local", name), to, path.Join("data/local", name)))
	}
	return to
}

func list(t *testing.T, fs vfs.FS, dir string) []string {
	t.Helper()
	names, err := fs.List(dir)
	must(t, err)
	return names
}

// flip changes one bit of a file.
func flip(t *testing.T, fs vfs.FS, name string, at int) {
	t.Helper()
	f, err := fs.OpenReadWrite(name, vfs.WriteCategoryUnspecified)
	must(t, err)
	b := make([]byte, 1)
	_, err = f.ReadAt(b, int64(at))
	must(t, err)
	b[0] ^= 1 << (at % 8)
	_, err = f.WriteAt(b, int64(at))
	must(t, err)
	must(t, f.Close())
}

// wait polls until cond holds.
func wait(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !cond(); {
		if time.Now().After(deadline) {
			t.Fatalf("still waiting: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// reports checks everything that l says of its only loss, and that it works.
func reports(t *testing.T, l *Local, h *logtest.Log, reason string, kept bool) {
	t.Helper()
	losses := l.Losses()
	if len(losses) != 1 || l.LossCount() != 1 || !strings.Contains(losses[0].Reason, reason) || (losses[0].Kept != "") != kept {
		t.Fatalf("losses %+v (%d), want one for %q, remains kept: %v", losses, l.LossCount(), reason, kept)
	}
	if kept && len(list(t, l.cfg.FS, path.Join("data", losses[0].Kept))) == 0 {
		t.Errorf("%s is empty", losses[0].Kept)
	}
	if !h.Has("data was damaged") || !h.Has("kept_in="+cmp.Or(losses[0].Kept, `""`)) {
		t.Error("the log does not say so")
	}
	if w := l.Warning(losses[0].Time.Add(time.Hour)); !strings.Contains(w, losses[0].Reason) || l.Warning(losses[0].Time.Add(warnFor+1)) != "" {
		t.Errorf("warning %q", w)
	}
	l.Observe(admitted(day0, "default", "key_b"))
	events := collect(t, l, store.EventQuery{Account: store.Operators, Action: ActionLost})
	if len(events) != 1 {
		t.Fatalf("%d events of the loss", len(events))
	}
	e := events[0]
	if e.Outcome != store.Failed || e.Actor.Type != store.ActorSystem || e.Actor.ID != "node1" || e.Request != nil ||
		!strings.Contains(string(e.Changes), losses[0].Kept) || !strings.Contains(string(e.Changes), `"reason":`) {
		t.Errorf("%+v %s", e, e.Changes)
	}
	if n := total(t, l, StepDay); n < 1 {
		t.Error("nothing is counted after the loss")
	}
}

// Any one bit that differs after a clean stop is found, and so is any in the synced
// part of the logs after a crash but its last two records: nothing is lost without a report.
func TestFlippedBit(t *testing.T) {
	for _, tables := range []bool{false, true} {
		for _, crashed := range []bool{false, true} {
			base := filled(t, tables, crashed)
			names := list(t, base, "data/local")
			current := "" // the manifest in use
			for _, name := range names {
				if rest, ok := strings.CutPrefix(name, "marker.manifest."); ok {
					_, current, _ = strings.Cut(rest, ".")
				}
			}
			for _, name := range names {
				info, err := base.Stat(path.Join("data/local", name))
				must(t, err)
				size := int(info.Size())
				last := size - 1
				if crashed && path.Ext(name) == ".log" {
					// Flush wrote ten records alike. The last proves nothing, and what it says
					// was synced before it may lack the record before; see disk.CheckLogs.
					last -= size / 5
				}
				for _, at := range []int{0, size / 3, size / 2, last * 9 / 10, last} {
					manifest := strings.HasPrefix(name, "MANIFEST-")
					if size < 16 || strings.HasPrefix(name, "OPTIONS") || manifest && (name != current || crashed && at > 0) {
						continue // not in use, or not needed
					}
					t.Run(fmt.Sprintf("tables=%v/crashed=%v/%s@%d", tables, crashed, name, at), func(t *testing.T) {
						fs := copied(t, base)
						flip(t, fs, path.Join("data/local", name), at)
						h := &logtest.Log{}
						l := ticking(t, Config{FS: fs, Logger: slog.New(slog.NewTextHandler(h, nil))})
						wait(t, "the damage to be found", func() bool { return l.LossCount() > 0 && !l.damage.pending() })
						reports(t, l, h, "", true)
					})
				}
			}
		}
	}
}

// Files, or all of them, may be missing.
func TestMissingFiles(t *testing.T) {
	remove := func(pattern string) func(t *testing.T, fs vfs.FS) {
		return func(t *testing.T, fs vfs.FS) {
			n := 0
			for _, name := range list(t, fs, "data/local") {
				if ok, _ := path.Match(pattern, name); ok {
					must(t, fs.Remove(path.Join("data/local", name)))
					n++
				}
			}
			if n == 0 {
				t.Fatalf("no file is like %q", pattern)
			}
		}
	}
	for _, c := range []struct {
		name   string
		break_ func(*testing.T, vfs.FS)
		reason string
		kept   bool
	}{
		{"manifest", remove("MANIFEST-*"), "MANIFEST", true},
		{"marker", remove("marker.manifest*"), "no manifest", true},
		{"format", remove("marker.format-version*"), "", true},
		{"tables", remove("*.sst"), "0000", true},
		{"everything", remove("*"), "missing or has no manifest", false},
		{"directory", func(t *testing.T, fs vfs.FS) { must(t, fs.RemoveAll("data/local")) }, "missing or has no manifest", false},
		{"replaced by a file", func(t *testing.T, fs vfs.FS) {
			must(t, fs.RemoveAll("data/local"))
			f, err := fs.Create("data/local", vfs.WriteCategoryUnspecified)
			must(t, err)
			must(t, f.Close())
		}, "", true},
	} {
		for _, crashed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/crashed=%v", c.name, crashed), func(t *testing.T) {
				fs := copied(t, filled(t, true, crashed))
				c.break_(t, fs)
				h := &logtest.Log{}
				l := ticking(t, Config{FS: fs, Logger: slog.New(slog.NewTextHandler(h, nil))})
				if c.name == "replaced by a file" {
					if len(l.Losses()) != 1 {
						t.Errorf("losses %+v", l.Losses())
					}
					return
				}
				reports(t, l, h, c.reason, c.kept)
				must(t, l.Close())
				l = ticking(t, Config{FS: fs})
				if len(l.Losses()) != 1 || l.LossCount() != 0 {
					t.Errorf("after another start: %+v, %d new", l.Losses(), l.LossCount())
				}
			})
		}
	}
}

// Damage that a query meets is set aside while the node runs: the observations made
// meanwhile and the last uses in memory go on in the new data.
func TestDamageWhileRunning(t *testing.T) {
	fs := vfs.NewMem()
	h := &logtest.Log{}
	l := ticking(t, Config{FS: fs, Logger: slog.New(slog.NewTextHandler(h, nil))})
	for i := range 50 {
		l.Observe(admitted(day0.Add(time.Duration(i)*time.Second), "default", "key_a"))
	}
	l.Observe(admitted(day0, "default", "key_once"))
	must(t, l.Flush())
	must(t, l.db.Flush())
	damaged := 0
	for _, name := range list(t, fs, "data/local") {
		if path.Ext(name) == ".sst" {
			flip(t, fs, path.Join("data/local", name), 200)
			damaged++
		}
	}
	if damaged != 1 {
		t.Fatalf("%d tables", damaged)
	}
	for range l.Events(store.EventQuery{}) { // the block may be in the cache: then the scrub finds it
	}
	for _, table := range l.scrub.tables() {
		l.scrub.check(table)
	}
	wait(t, "the damaged data to be set aside", func() bool { return l.LossCount() == 1 && !l.damage.pending() })
	if u, ok := l.LastUsed("key_a"); !ok || !u.At.Equal(day0.Add(49*time.Second)) {
		t.Errorf("last use %v %v", u, ok)
	}
	reports(t, l, h, ".sst", true)
	must(t, l.Close())
	l = ticking(t, Config{FS: fs})
	for key, at := range map[store.KeyID]time.Time{"key_a": day0.Add(49 * time.Second), "key_once": day0} {
		if u, ok := l.LastUsed(key); !ok || !u.At.Equal(at) {
			t.Errorf("last use of %s after another start: %v %v", key, u, ok)
		}
	}
}

// A stream over data that is damaged ends with an error, and holds the replacement
// up no longer than its consumer takes.
func TestDamageDuringStream(t *testing.T) {
	l := ticking(t, Config{})
	for i := range 10 {
		l.Observe(admitted(day0.Add(time.Duration(i)*time.Second), "default", "key_a"))
	}
	seen, ended := 0, false
	for _, err := range l.Events(store.EventQuery{}) {
		if err != nil {
			if ended = true; !errors.Is(err, errReplacing) || seen != 1 {
				t.Errorf("after %d events: %v", seen, err)
			}
			continue
		}
		seen++
		l.damage.hurt(errDamaged)
		if err := l.replace(); err != nil || l.LossCount() != 0 {
			t.Errorf("replaced during a stream: %v", err)
		}
		if _, err := l.Mark("x"); !errors.Is(err, errReplacing) {
			t.Errorf("a call meanwhile: %v", err)
		}
	}
	if !ended {
		t.Errorf("the stream went on for %d events", seen)
	}
	wait(t, "the data to be set aside", func() bool { return l.LossCount() == 1 && !l.damage.pending() })
	if _, err := l.Mark("x"); err != nil {
		t.Error(err)
	}
}

// At most three directories are kept aside, the newest ones, and as many losses
// are remembered.
func TestDamagedDirectoriesAreBounded(t *testing.T) {
	fs := vfs.NewMem()
	now := day0
	var newest string
	for range maxDamaged + 2 {
		now = now.Add(time.Hour)
		l := ticking(t, Config{FS: fs, Clock: func() time.Time { return now }})
		must(t, l.Close())
		for _, name := range list(t, fs, "data/local") {
			if strings.HasPrefix(name, "MANIFEST-") {
				must(t, fs.Remove(path.Join("data/local", name)))
			}
		}
		newest = "local" + damagedInfix + now.Add(time.Hour).Format(damagedTime)
	}
	now = now.Add(time.Hour)
	l := ticking(t, Config{FS: fs, Clock: func() time.Time { return now }})
	kept := 0
	for _, name := range list(t, fs, "data") {
		if strings.HasPrefix(name, "local"+damagedInfix) {
			kept++
		}
	}
	losses := l.Losses()
	if kept != maxDamaged || len(losses) != maxDamaged || losses[maxDamaged-1].Kept != newest {
		t.Errorf("%d directories, losses %+v; want the newest %s", kept, losses, newest)
	}
	if _, err := fs.Stat(path.Join("data", newest)); err != nil {
		t.Error(err)
	}
}
