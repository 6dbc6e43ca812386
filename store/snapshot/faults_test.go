package snapshot

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/perfgate/perfgate/store/losstest"
)

// Any write of a received snapshot may fail: then Close or Write says so, nothing of
// it is left, and the one before it stays. After a success it survives a power loss.
func TestFaultsWhileReceiving(t *testing.T) {
	failed := errors.New("the disk failed")
	stream := encode(map[string]string{"a": "1", "b": "2"})
	for n := 0; ; n++ {
		mem := losstest.NewMem()
		steps, hit, armed := 0, false, false
		fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if !armed || op.Kind.ReadOrWrite() != errorfs.OpIsWrite || op.Kind == errorfs.OpRemoveAll || op.Kind == errorfs.OpRemove {
				return nil
			}
			if steps++; steps == n+1 {
				hit = true
				return failed
			}
			return nil
		}))
		b := begin(t, fs)
		b.set("x", "1")
		first := b.take(10, 10)
		armed = true
		sink, err := b.Create(1, 20, 3, config, 2, nil)
		if err == nil {
			if _, err = sink.Write(stream); err != nil {
				err = errors.Join(err, sink.Cancel())
			} else {
				err = sink.Close()
			}
		}
		armed = false
		if hit != errors.Is(err, failed) {
			t.Fatalf("step %d failed: %v, and the call returned %v", n, hit, err)
		}
		want := 1
		if err == nil {
			want = 2
		}
		// A failure after the meta file was renamed may leave either.
		if got := len(b.ids()); got != want {
			t.Errorf("step %d: %d snapshots, want %d (%v)", n, got, want, err)
		}
		c := &bench{TB: t, fs: mem.CrashClone(vfs.CrashCloneCfg{})}
		c.reopen()
		if ids := c.ids(); len(ids) < want || ids[len(ids)-1] != first {
			t.Errorf("step %d: after a power loss %v, want %d", n, ids, want)
		}
		if !hit {
			if n < 5 {
				t.Fatalf("only %d steps", n)
			}
			return
		}
	}
}

// A sink ends once: later calls change nothing.
func TestSinkEndsOnce(t *testing.T) {
	b := begin(t, vfs.NewMem())
	stream := encode(map[string]string{"a": "1"})
	for _, c := range []struct {
		name   string
		end    []func(*Sink) error
		listed bool
	}{
		{"close, close", []func(*Sink) error{(*Sink).Close, (*Sink).Close}, true},
		{"close, cancel", []func(*Sink) error{(*Sink).Close, (*Sink).Cancel}, true},
		{"cancel, close", []func(*Sink) error{(*Sink).Cancel, (*Sink).Close}, false},
		{"cancel, cancel", []func(*Sink) error{(*Sink).Cancel, (*Sink).Cancel}, false},
	} {
		k := b.create(100)
		if _, err := k.Write(stream); err != nil {
			t.Fatal(err)
		}
		for i, end := range c.end {
			if err := end(k); err != nil {
				t.Errorf("%s: call %d: %v", c.name, i, err)
			}
		}
		ids := b.ids()
		if listed := len(ids) > 0 && ids[0] == k.ID(); listed != c.listed {
			t.Errorf("%s: listed is %v", c.name, listed)
		}
		if _, err := b.fs.Stat("snapshots/" + k.ID()); errors.Is(err, os.ErrNotExist) == c.listed {
			t.Errorf("%s: on disk: %v", c.name, err)
		}
	}
}

// Snapshots are listed by index, then term, newest first; a reader that is closed
// twice holds its snapshot once.
func TestOrderAndPins(t *testing.T) {
	b := begin(t, vfs.NewMem())
	b.set("a", "1")
	low := b.take(10, 10)
	stream := encode(map[string]string{"a": "1"})
	put := func(index, term uint64) string {
		k, err := b.Create(1, index, term, config, 2, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := k.Write(stream); err != nil {
			t.Fatal(err)
		}
		if err := k.Close(); err != nil {
			t.Fatal(err)
		}
		return k.ID()
	}
	_, one, err := b.Open(low)
	if err != nil {
		t.Fatal(err)
	}
	_, two, err := b.Open(low)
	if err != nil {
		t.Fatal(err)
	}
	later, sooner := put(20, 9), put(20, 3)
	if got := fmt.Sprint(b.ids()); got != fmt.Sprint([]string{later, sooner, low}) {
		t.Errorf("listed %v", got)
	}
	_, raw := b.read(low) // beside both
	if got, err := io.ReadAll(two); err != nil || string(got) != string(raw) {
		t.Errorf("a second reader: %d bytes of %d, %v", len(got), len(raw), err)
	}
	for range 2 {
		if err := one.Close(); err != nil {
			t.Error(err)
		}
	}
	if n := len(b.ids()); n != 3 {
		t.Errorf("a snapshot with a reader was removed: %d are left", n)
	}
	if err := two.Close(); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(b.ids()); got != fmt.Sprint([]string{later, sooner}) {
		t.Errorf("after the last reader: %v", got)
	}
	if _, _, err := b.Open(low); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a removed snapshot: %v", err)
	}
	if n := len(b.checkpoints.open); n != 0 {
		t.Errorf("%d checkpoints are open without a reader", n)
	}
	if index, _, ok, err := b.Newest(); index != 20 || !ok || err != nil {
		t.Errorf("newest: %d %v %v", index, ok, err)
	}
}

// Two streams of one checkpoint are alike and of the announced size, each with the
// snapshot's index in front, not the state's.
func TestCheckpointStreams(t *testing.T) {
	b := begin(t, vfs.NewMem())
	for i := range 3000 {
		b.set(fmt.Sprintf("k%05d", i), string(make([]byte, 100)))
	}
	id := b.take(50, 40)
	_, first := b.read(id)
	_, second := b.read(id)
	if string(first) != string(second) {
		t.Error("two readings of a checkpoint differ")
	}
	index, rows, err := decode(first)
	if index != 50 || len(rows) != 3000 || err != nil {
		t.Errorf("index %d, %d rows, %v", index, len(rows), err)
	}
	_, src, err := b.Open(id)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, src, 1000); err != nil { // a reader that stops early
		t.Error(err)
	}
	if err := src.Close(); err != nil {
		t.Error(err)
	}
}

// Raft ends snapshots of its own and of a leader in two goroutines. Both remove old ones,
// and neither misses one that the other has removed.
func TestSnapshotsThatEndTogether(t *testing.T) {
	b := begin(t, vfs.NewMem())
	raw := encode(map[string]string{"key": "value"})
	var both sync.WaitGroup
	for from := range uint64(2) {
		both.Go(func() {
			for i := from + 10; i < 300; i += 2 {
				k, err := b.Create(1, i, 3, config, 2, nil)
				if err == nil {
					_, err = k.Write(raw)
				}
				if err == nil {
					err = k.Close()
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	both.Wait()
	if strings.Contains(b.log.String(), "level=ERROR") {
		t.Error(b.log.String())
	}
	if ids := b.ids(); len(ids) != retain {
		t.Errorf("%q are left, want %d", ids, retain)
	}
}
