package snapshot

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"
)

// crafted is a stream of the given frames, each a list of keys, with right checksums.
func crafted(claimed int, frames ...[]string) []byte {
	var e encoder
	out := header(7)
	for _, keys := range frames {
		for _, k := range keys {
			e.add([]byte(k), []byte("v"))
		}
		out = e.frame(out)
	}
	if claimed >= 0 {
		e.n = uint64(claimed)
	}
	return e.end(out)
}

// A stream whose checksums are right may still be wrong: each fault is named.
func TestCraftedStreams(t *testing.T) {
	oversized := binary.BigEndian.AppendUint32(header(7), maxFrame+1)
	oversized = append(oversized, 0, 0, 0, 0)
	row := []byte{200, 1, 'a'} // a key longer than its frame
	torn := binary.BigEndian.AppendUint32(header(7), uint32(len(row)))
	torn = binary.BigEndian.AppendUint32(torn, crc32.Checksum(row, castagnoli))
	torn = append(torn, row...)
	two := crafted(-1, []string{"a", "b"}, []string{"c"})
	for _, c := range []struct {
		name  string
		raw   []byte
		fault string // "" is none
	}{
		{"in order", crafted(-1, []string{"a", "b"}, []string{"c"}), ""},
		{"empty", crafted(-1), ""},
		{"an empty key", crafted(-1, []string{"", "a"}), ""},
		{"a row twice", crafted(-1, []string{"a", "a"}), "out of order"},
		{"descending", crafted(-1, []string{"b", "a"}), "out of order"},
		{"descending over frames", crafted(-1, []string{"b"}, []string{"a"}), "out of order"},
		{"fewer rows than it says", crafted(3, []string{"a", "b"}), "number of rows"},
		{"more rows than it says", crafted(1, []string{"a", "b"}), "number of rows"},
		{"a frame that is too large", oversized, "frame of"},
		{"a row beyond its frame", torn, "row 0"},
		{"without an end", two[:len(two)-16], "too early"},
		{"nothing", nil, "too early"},
		{"half a header", header(7)[:10], "too early"},
		{"two streams", append(bytes.Clone(two), two...), "after its end"},
		{"another magic", append([]byte("PGROWS2\n"), two[8:]...), "header"},
	} {
		_, _, err := decode(c.raw)
		if c.fault == "" && err != nil || c.fault != "" && (!errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), c.fault)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.fault)
		}
	}
}

// Every stream that was cut is damaged, wherever; so is one whose frames changed
// places.
func TestCutStream(t *testing.T) {
	whole := crafted(-1, []string{"a", "b"}, []string{"c", "d"})
	for n := range whole {
		if _, _, err := decode(whole[:n]); !errors.Is(err, ErrDamaged) {
			t.Errorf("%d of %d bytes: %v", n, len(whole), err)
		}
	}
	size := (len(whole) - headerSize - 16) / 2
	first, second := whole[headerSize:headerSize+size], whole[headerSize+size:headerSize+2*size]
	exchanged := slices.Concat(whole[:headerSize], second, first, whole[headerSize+2*size:])
	if _, _, err := decode(exchanged); !errors.Is(err, ErrDamaged) {
		t.Errorf("exchanged frames: %v", err)
	}
	// A read error of the disk is not damage.
	failed := errors.New("input/output error")
	r, err := NewReader(iotest.TimeoutReader(bytes.NewReader(whole)))
	if err == nil {
		for err == nil {
			_, _, err = r.Next()
		}
	}
	if errors.Is(err, ErrDamaged) {
		t.Errorf("a read error: %v", err)
	}
	if _, err := NewReader(iotest.ErrReader(failed)); !errors.Is(err, failed) || errors.Is(err, ErrDamaged) {
		t.Errorf("a read error in the header: %v", err)
	}
}

// A Writer writes the stream that a checkpoint of the same rows gives, in frames of
// bounded size, and reports the faults of its target.
func TestWriter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows := rapid.MapOf(rapid.StringN(1, 20, 40), rapid.StringN(0, 30_000, 60_000)).Draw(t, "rows")
		var out bytes.Buffer
		w, err := NewWriter(&out, 7)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range slices.Sorted(maps.Keys(rows)) {
			if err := w.Add([]byte(k), []byte(rows[k])); err != nil {
				t.Fatal(err)
			}
			if len(w.enc.rows) >= frameSize {
				t.Fatalf("%d bytes are held back", len(w.enc.rows))
			}
		}
		if err := w.Close(); err != nil || !bytes.Equal(out.Bytes(), encode(rows)) {
			t.Fatalf("%v: %d bytes, want %d", err, out.Len(), len(encode(rows)))
		}
	})
	full := errors.New("no space")
	if _, err := NewWriter(failing{full}, 7); !errors.Is(err, full) {
		t.Errorf("header: %v", err)
	}
	w := &Writer{w: failing{full}}
	if err := w.Add([]byte("a"), make([]byte, frameSize)); !errors.Is(err, full) {
		t.Errorf("frame: %v", err)
	}
	if err := w.Close(); !errors.Is(err, full) {
		t.Errorf("end: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// A meta file is read as it was written, only in its own directory and only whole.
func TestMetaRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &meta{
			Format: metaFormat, ID: "x", Index: rapid.Uint64().Draw(t, "index"), Term: rapid.Uint64().Draw(t, "term"), Version: 1,
			ConfigurationIndex: rapid.Uint64().Draw(t, "configuration"), Applied: rapid.Uint64().Draw(t, "applied"),
			Size: rapid.Int64().Draw(t, "size"), Servers: []server{{rapid.String().Draw(t, "id"), rapid.String().Draw(t, "address"), 1}},
		}
		fs := vfs.NewMem()
		for _, dir := range []string{"s/x", "s/y"} {
			if err := errors.Join(fs.MkdirAll(dir, 0o700), writeMeta(fs, dir, m)); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := readMeta(fs, "s/x"); err != nil || fmt.Sprint(got.raft()) != fmt.Sprint(m.raft()) || got.Applied != m.Applied {
			t.Fatalf("%+v, %v; want %+v", got, err, m)
		}
		if _, err := readMeta(fs, "s/y"); !errors.Is(err, ErrDamaged) {
			t.Fatalf("in another directory: %v", err)
		}
	})
	for name, line := range map[string]string{
		"a later format": `{"format":3,"id":"x"}`, "an unknown member": `{"format":1,"id":"x","more":1}`, "no JSON": `{`,
	} {
		raw := fmt.Appendf(nil, "%s\n%08x\n", line, crc32.Checksum([]byte(line), castagnoli))
		if _, err := decodeMeta(raw); err == nil || strings.Contains(name, "later") != strings.Contains(err.Error(), "newer version") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
