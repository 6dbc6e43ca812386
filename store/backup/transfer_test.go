package backup

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/seal"
)

// The checksum at the end is told apart from the content for any size of document and
// any size of reads.
func TestSummedReader(t *testing.T) {
	raw := take(t, state(t, 40), "")
	want, err := Verify(bytes.NewReader(raw), seal.With{})
	if err != nil {
		t.Fatal(err)
	}
	for name, src := range map[string]io.Reader{
		"one byte": iotest.OneByteReader(bytes.NewReader(raw)), "half": iotest.HalfReader(bytes.NewReader(raw)),
		"data with the end": iotest.DataErrReader(bytes.NewReader(raw)),
	} {
		if got, err := Verify(src, seal.With{}); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		content := rapid.SliceOfN(rapid.Byte(), 0, 100_000).Draw(t, "content")
		var doc bytes.Buffer
		b := Backup{Header: Header{ClusterID: "c"}, rows: io.NopCloser(bytes.NewReader(content))}
		n, err := b.WriteTo(&doc)
		if err != nil || n != int64(doc.Len()) {
			t.Fatalf("%d of %d bytes, %v", n, doc.Len(), err)
		}
		s := &summed{src: iotest.HalfReader(bytes.NewReader(doc.Bytes())), sum: sha256.New()}
		got, err := io.ReadAll(s)
		if err != nil || !bytes.HasSuffix(got, content) || len(got) != doc.Len()-32 || !s.whole || s.n != n {
			t.Fatalf("%d bytes, %v, whole %v", len(got), err, s.whole)
		}
		bad := slices.Clone(doc.Bytes())
		bad[rapid.IntRange(0, len(bad)-1).Draw(t, "at")] ^= 1
		s = &summed{src: bytes.NewReader(bad), sum: sha256.New()}
		if _, err := io.ReadAll(s); !errors.Is(err, errDamaged) || s.whole {
			t.Fatalf("a changed bit: %v", err)
		}
	})
}

// A read error of the source is reported as such; damage is the file's alone.
func TestReadErrors(t *testing.T) {
	s := state(t, 3)
	gone := errors.New("the connection is gone")
	for _, passphrase := range []string{"", "secret"} {
		raw := take(t, s, passphrase)
		for _, at := range []int{0, 5, len(raw) / 2, len(raw) - 1} {
			src := io.MultiReader(bytes.NewReader(raw[:at]), iotest.ErrReader(gone))
			if _, err := Verify(src, seal.With{Passphrase: passphrase}); !errors.Is(err, gone) {
				t.Errorf("sealed %v: the source fails after %d bytes: %v", passphrase != "", at, err)
			}
		}
	}
}

// Write errors end the backup, at every write.
func TestWriteErrors(t *testing.T) {
	s := state(t, 3)
	full := errors.New("no space")
	for n := range 3 {
		b, err := Begin(s, Header{CreatedAt: epoch})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.WriteTo(&limited{n, full}); !errors.Is(err, full) {
			t.Errorf("write %d fails: %v", n, err)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
}

// limited accepts so many writes.
type limited struct {
	left int
	err  error
}

func (l *limited) Write(p []byte) (int, error) {
	if l.left--; l.left < 0 {
		return 0, l.err
	}
	return len(p), nil
}

// There is no backup of nothing, and a header describes the state, not the caller.
func TestBegin(t *testing.T) {
	empty, err := store.Open(store.Config{FS: vfs.NewMem(), Dir: "state"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Begin(empty, Header{}); err == nil || !strings.Contains(err.Error(), "no state yet") {
		t.Errorf("of an empty store: %v", err)
	}
	if err := empty.Close(); err != nil { // it would fail if the dump were still open
		t.Error(err)
	}
	at := time.Date(2026, 5, 1, 2, 0, 0, 0, time.FixedZone("", 7200))
	b, err := Begin(state(t, 2), Header{ClusterID: "another", Level: 99, Applied: 99, Format: 99, Node: "n", CreatedAt: at})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	want := Header{Format: format, ClusterID: "cl_1", Node: "n", Level: store.Level, CreatedAt: at.UTC(), Applied: 4}
	if !reflect.DeepEqual(b.Header, want) {
		t.Errorf("%+v, want %+v", b.Header, want)
	}
}

// Visit shows each row once, in order, with the keys in their state at that time; an
// error of its caller ends it and names the row.
func TestVisit(t *testing.T) {
	raw := take(t, state(t, 5), "")
	visit := func(now time.Time, see func(row, value []byte, k *store.Key) error) (*Report, error) {
		r, err := NewReader(bytes.NewReader(raw), seal.With{})
		if err != nil {
			t.Fatal(err)
		}
		return r.Visit(now, see)
	}
	var rows [][]byte
	var keys []string
	out, err := visit(epoch, func(row, _ []byte, k *store.Key) error {
		rows = append(rows, slices.Clone(row))
		if k != nil {
			keys = append(keys, string(k.ID))
		}
		return nil
	})
	if err != nil || uint64(len(rows)) != out.Rows || !slices.IsSortedFunc(rows, bytes.Compare) || out.Bytes != int64(len(raw)) {
		t.Errorf("%d rows, %+v, %v", len(rows), out, err)
	}
	if len(keys) != 5 || out.Census.Keys != 5 || out.Census.Revoked != 1 || out.Census.Active != 4 || out.Census.Accounts != 1 {
		t.Errorf("keys %v, census %+v", keys, out.Census)
	}
	stop := errors.New("enough")
	seen := 0
	_, err = visit(epoch, func(_, _ []byte, _ *store.Key) error {
		if seen++; seen == 3 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) || seen != 3 || !strings.Contains(err.Error(), "row 3 of the backup") {
		t.Errorf("after %d rows: %v", seen, err)
	}
}

// The report for people has every count of the report.
func TestReportText(t *testing.T) {
	for _, passphrase := range []string{"", "secret"} {
		r, err := Verify(bytes.NewReader(take(t, state(t, 3), passphrase)), seal.With{Passphrase: passphrase})
		if err != nil {
			t.Fatal(err)
		}
		text := r.String()
		sealed := map[bool]string{true: "yes, with a passphrase", false: "no"}[passphrase != ""]
		for _, want := range []string{
			"cluster    cl_1\n", "by n1, perfgate test\n", "index      5\n", "1 accounts, 3 keys (2 active, 0 disabled, 0 expired, 1 revoked)\n",
			"encrypted  " + sealed + "\n", fmt.Sprintf("%d rows, %d bytes\n", r.Rows, r.Bytes),
		} {
			if !strings.Contains(text, want) {
				t.Errorf("without %q:\n%s", want, text)
			}
		}
	}
}

// Names of one cluster sort as their times do.
func TestNamesSort(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(label string) time.Time {
			return time.Unix(rapid.Int64Range(0, 4_000_000_000).Draw(t, label), 0)
		}
		a, b := draw("a"), draw("b")
		if got := strings.Compare(Name("c", a), Name("c", b)); got != a.Compare(b) {
			t.Fatalf("%s and %s compare as %d", Name("c", a), Name("c", b), got)
		}
		if _, at, ok := ParseName(Name("c", a)); !ok || !at.Equal(a) {
			t.Fatalf("%s is read as %v", Name("c", a), at)
		}
	})
}
