package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
	"github.com/perfgate/perfgate/store/losstest"
	"pgregory.net/rapid"
)

type bench struct {
	testing.TB
	fs  vfs.FS
	db  *pebble.DB
	log bytes.Buffer
	*Store
}

func options(fs vfs.FS) *pebble.Options {
	return &pebble.Options{FS: fs, FormatMajorVersion: pebble.FormatNewest, Logger: silent{}}
}

type silent struct{}

func (silent) Infof(string, ...any)         {}
func (silent) Errorf(string, ...any)        {}
func (silent) Fatalf(f string, args ...any) { panic(fmt.Sprintf(f, args...)) }

func begin(tb testing.TB, fs vfs.FS) *bench {
	tb.Helper()
	db, err := pebble.Open("state", options(fs))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { db.Close() })
	b := &bench{TB: tb, fs: fs, db: db}
	b.reopen()
	return b
}

func (b *bench) reopen() {
	b.Helper()
	s, err := Open(Config{
		FS: b.fs, Dir: "snapshots", Options: func() *pebble.Options { return options(b.fs) },
		Logger: slog.New(slog.NewTextHandler(&b.log, nil)),
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Store = s
}

func (b *bench) set(key, value string) {
	b.Helper()
	if err := b.db.Set([]byte(key), []byte(value), pebble.NoSync); err != nil {
		b.Fatal(err)
	}
}

var config = raft.Configuration{Servers: []raft.Server{{Suffrage: raft.Voter, ID: "n1", Address: "alone"}}}

func (b *bench) create(index uint64) *Sink {
	b.Helper()
	k, err := b.Create(1, index, 3, config, 2, nil)
	if err != nil {
		b.Fatal(err)
	}
	return k.(*Sink)
}

// take takes a snapshot of db at index, the state being at applied.
func (b *bench) take(index, applied uint64) string {
	b.Helper()
	if err := b.db.Checkpoint("new", pebble.WithFlushedWAL()); err != nil {
		b.Fatal(err)
	}
	k := b.create(index)
	if err := k.Adopt("new", applied); err != nil {
		b.Fatal(err)
	}
	if err := k.Close(); err != nil {
		b.Fatal(err)
	}
	return k.ID()
}

func (b *bench) ids() []string {
	b.Helper()
	metas, err := b.List()
	if err != nil {
		b.Fatal(err)
	}
	out := []string{}
	for _, m := range metas {
		out = append(out, m.ID)
	}
	return out
}

// read returns the whole stream of a snapshot.
func (b *bench) read(id string) (*raft.SnapshotMeta, []byte) {
	b.Helper()
	m, src, err := b.Open(id)
	if err != nil {
		b.Fatal(err)
	}
	raw, err := io.ReadAll(src)
	if err := errors.Join(err, src.Close()); err != nil {
		b.Fatal(err)
	}
	if int64(len(raw)) != m.Size {
		b.Fatalf("the stream has %d bytes, %d were announced", len(raw), m.Size)
	}
	return m, raw
}

func decode(raw []byte) (index uint64, rows map[string]string, err error) {
	r, err := NewReader(bytes.NewReader(raw))
	if err != nil {
		return 0, nil, err
	}
	rows = map[string]string{}
	for {
		k, v, err := r.Next()
		if err == io.EOF {
			return r.Index(), rows, nil
		}
		if err != nil {
			return 0, nil, err
		}
		rows[string(k)] = string(v)
	}
}

func TestCheckpointToStream(t *testing.T) {
	b := begin(t, vfs.NewMem())
	want := map[string]string{}
	for i := range 5000 {
		k, v := fmt.Sprintf("k%06d", i*7919%5000), strings.Repeat("v", i%100)
		want[k] = v
		b.set(k, v)
	}
	id := b.take(120, 100)
	b.set("k000001", "later")
	m, raw := b.read(id)
	if m.Index != 120 || m.Term != 3 || m.Version != 1 || m.ConfigurationIndex != 2 || fmt.Sprint(m.Configuration) != fmt.Sprint(config) {
		t.Errorf("meta: %+v", m)
	}
	index, got, err := decode(raw)
	if err != nil || index != 120 {
		t.Fatalf("index %d, %v", index, err)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Error("the rows of the stream are not those of the checkpoint")
	}
	if i, a, ok, err := b.Newest(); i != 120 || a != 100 || !ok || err != nil {
		t.Errorf("Newest: %d %d %v %v", i, a, ok, err)
	}

	// Another node receives the same rows, at the index that Raft gives it.
	other := begin(t, vfs.NewMem())
	k := other.create(130)
	if _, err := io.Copy(k, bytes.NewReader(raw)); err != nil {
		t.Fatal(err)
	}
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	_, again := other.read(k.ID())
	if !bytes.Equal(again[headerSize:], raw[headerSize:]) {
		t.Error("the stream changed on its way")
	}
	if index, _, err := decode(again); err != nil || index != 130 {
		t.Errorf("received at index %d, %v; want 130", index, err)
	}
	if i, a, _, _ := other.Newest(); i != 130 || a != 130 {
		t.Errorf("a received snapshot reaches to %d, its state to %d; want 130 for both", i, a)
	}
}

func TestNewestTwoStay(t *testing.T) {
	b := begin(t, vfs.NewMem())
	b.set("a", "1")
	first := b.take(10, 10)
	_, reader, err := b.Open(first)
	if err != nil {
		t.Fatal(err)
	}
	second, third := b.take(20, 20), b.take(30, 30)
	if got := fmt.Sprint(b.ids()); got != fmt.Sprint([]string{third, second, first}) {
		t.Fatalf("an open snapshot was removed: %v", got)
	}
	if raw, err := io.ReadAll(reader); err != nil || len(raw) == 0 {
		t.Fatal(err)
	}
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(b.ids()); got != fmt.Sprint([]string{third, second}) {
		t.Fatalf("kept %v", got)
	}
	names, err := b.fs.List("snapshots")
	if err != nil || len(names) != 2 {
		t.Fatalf("left on disk: %v, %v", names, err)
	}
}

func TestUnfinishedAndDamaged(t *testing.T) {
	fs := vfs.NewMem()
	b := begin(t, fs)
	b.set("a", "1")
	good := b.take(10, 10)
	bad := b.take(20, 20)
	unfinished := b.create(30)
	if _, err := unfinished.Write([]byte("half")); err != nil {
		t.Fatal(err)
	}
	cancelled := b.create(40)
	if err := cancelled.Cancel(); err != nil {
		t.Fatal(err)
	}
	flip(t, fs, "snapshots/"+bad+"/meta", 20)

	b.reopen()
	if got := fmt.Sprint(b.ids()); got != fmt.Sprint([]string{good}) {
		t.Errorf("usable: %v, want %v", got, good)
	}
	if !strings.Contains(b.log.String(), bad) || !strings.Contains(b.log.String(), unfinished.ID()) {
		t.Errorf("the log does not name both:\n%s", b.log.String())
	}
	if _, err := fs.Stat("snapshots/" + unfinished.ID()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the unfinished one is still there: %v", err)
	}
	if _, err := fs.Stat("snapshots/" + bad); err != nil {
		t.Errorf("the damaged one was removed before anybody could look at it: %v", err)
	}
}

func flip(tb testing.TB, fs vfs.FS, name string, at int64) {
	tb.Helper()
	f, err := fs.OpenReadWrite(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		tb.Fatal(err)
	}
	var c [1]byte
	if _, err := f.ReadAt(c[:], at); err != nil {
		tb.Fatal(err)
	}
	c[0] ^= 1
	if _, err := f.WriteAt(c[:], at); err != nil {
		tb.Fatal(err)
	}
	if err := f.Close(); err != nil {
		tb.Fatal(err)
	}
}

func TestRefusedContent(t *testing.T) {
	b := begin(t, vfs.NewMem())
	b.set("a", "1")
	_, raw := b.read(b.take(50, 50))
	if err := b.db.Checkpoint("new", pebble.WithFlushedWAL()); err != nil {
		t.Fatal(err)
	}
	ahead := b.create(60)
	if err := ahead.Adopt("new", 61); err == nil {
		t.Error("a checkpoint that is ahead of its index was accepted")
	}
	if err := ahead.Close(); err == nil {
		t.Error("a snapshot without content was finished")
	}
	for what, stream := range map[string][]byte{
		"nothing": {}, "cut": raw[:len(raw)-1], "longer": append(raw[:len(raw):len(raw)], 0),
		"a flipped bit": flipped(raw, len(raw)/2), "another header": flipped(raw, 3),
	} {
		k := b.create(60)
		if _, err := k.Write(stream); err != nil {
			t.Fatal(err)
		}
		if err := k.Close(); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", what, err)
		}
	}
	old := b.create(49)
	if _, err := old.Write(raw); err != nil {
		t.Fatal(err)
	}
	if err := old.Close(); err == nil {
		t.Error("rows that reach beyond the snapshot's index were accepted")
	}
	if n := len(b.ids()); n != 1 {
		t.Errorf("%d snapshots, want the first alone", n)
	}
}

func flipped(raw []byte, at int) []byte {
	out := bytes.Clone(raw)
	out[at] ^= 4
	return out
}

// TestPowerLossWhileTaking cuts the power after every file operation that could
// matter: a snapshot that is listed afterwards can be read whole, and one that was finished is
// listed.
func TestPowerLossWhileTaking(t *testing.T) {
	fs := losstest.NewMem()
	b := begin(t, fs)
	for i := range uint64(6) {
		b.set(fmt.Sprintf("k%d", i), "v")
		b.take(10*i+10, 10*i+10)
		after := fs.CrashClone(vfs.CrashCloneCfg{})
		c := &bench{TB: t, fs: after}
		c.reopen()
		if ids := c.ids(); len(ids) != int(min(i+1, 2)) {
			t.Fatalf("after %d snapshots a power loss leaves %v", i+1, ids)
		}
		_, raw := c.read(c.ids()[0])
		if _, rows, err := decode(raw); err != nil || len(rows) != int(i)+1 {
			t.Fatalf("%d rows, %v; want %d", len(rows), err, i+1)
		}
	}
}

func TestStreamRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.MapOf(rapid.StringN(1, 20, 40), rapid.StringN(0, 2000, 4000)).Draw(t, "rows")
		raw := encode(want)
		_, got, err := decode(raw)
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("%v: got %v", err, got)
		}
		at := rapid.IntRange(0, len(raw)-1).Draw(t, "at")
		if _, _, err := decode(flipped(raw, at)); !errors.Is(err, ErrDamaged) {
			t.Fatalf("bit flipped at %d of %d: %v", at, len(raw), err)
		}
	})
}

func encode(rows map[string]string) []byte {
	keys := make([]string, 0, len(rows))
	for k := range rows {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	var e encoder
	out := header(7)
	for _, k := range keys {
		if e.add([]byte(k), []byte(rows[k])) {
			out = e.frame(out)
		}
	}
	return e.end(out)
}

func FuzzReader(f *testing.F) {
	f.Add(encode(map[string]string{}))
	f.Add(encode(map[string]string{"a": "1", "b": ""}))
	f.Fuzz(func(t *testing.T, raw []byte) {
		_, rows, err := decode(raw)
		if err != nil {
			return
		}
		if _, again, err := decode(encode(rows)); err != nil || fmt.Sprint(again) != fmt.Sprint(rows) {
			t.Fatalf("%v: %v became %v", err, rows, again)
		}
	})
}

func FuzzMeta(f *testing.F) {
	f.Add([]byte("{}\n00000000\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if m, err := decodeMeta(raw); err == nil && m.Format != metaFormat {
			t.Fatalf("format %d was accepted", m.Format)
		}
	})
}
