package store

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/hashicorp/raft"
)

// printed is a log with keys before and after the beginning of the fingerprint.
func printed(tb testing.TB, keys int) *harness {
	h := begun(tb)
	h.must(create("before"))
	h.must(&Command{Change: &FingerprintBegin{}})
	for i := range keys {
		h.must(create(fmt.Sprintf("k%04d", i)))
	}
	return h
}

// A fingerprint does not depend on how entries are grouped, on restarts, or on whether they
// came by the log or by a snapshot, and it differs where one byte of an entry does.
func TestFingerprints(t *testing.T) {
	from := printed(t, 40)
	want := from.Fingerprint()
	if !want.Begun() || want.Index != from.index {
		t.Fatalf("the fingerprint is %+v at index %d", want, from.index)
	}
	check := func(name string, h *harness) {
		t.Helper()
		if got := h.Fingerprint(); got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
	for _, size := range []int{1, 7, len(from.log)} {
		h := empty(t)
		for at := 0; at < len(from.log); at += size {
			h.ApplyBatch(from.log[at:min(at+size, len(from.log))])
		}
		check(fmt.Sprint("batches of ", size), h)
		h.ApplyBatch(from.log[10:20])
		check("entries again", h)
		h.reopen()
		check("a restart", h)
	}

	const gap = 5 // entries that are no commands
	raw := takeSnapshot(t, from.Store, from.index+gap)
	to := begun(t)
	if err := to.restore(bytes.NewReader(raw), 1<<10); err != nil {
		t.Fatal(err)
	}
	restored := to.Fingerprint()
	if restored.Sum != want.Sum || restored.Index != want.Index+gap {
		t.Errorf("a snapshot: %+v, want %+v and %d entries", restored, want, gap)
	}
	next := &raft.Log{Index: from.index + gap + 1, Type: raft.LogCommand, Data: create("next").Encode()}
	from.Apply(next)
	to.Apply(next)
	if a, b := from.Fingerprint(), to.Fingerprint(); a != b || a.Sum == want.Sum {
		t.Errorf("after the next entry %+v and %+v", a, b)
	}

	other := empty(t)
	for i, l := range from.log {
		l := *l
		if i == 20 {
			l.Data = bytes.Replace(l.Data, []byte("192.0.2"), []byte("192.0.3"), 1)
			l.Data = bytes.Replace(l.Data, []byte("key_k0017"), []byte("key_K0017"), 1)
			if bytes.Equal(l.Data, from.log[i].Data) {
				t.Fatal("the entry was not changed")
			}
		}
		other.Apply(&l)
	}
	if got := other.Fingerprint(); got.Sum == want.Sum || got.Index != want.Index {
		t.Errorf("another entry has the same fingerprint %+v", got)
	}
}

// A node finds the fingerprint of another one that has applied less, as long as it
// remembers that.
func TestFingerprintAt(t *testing.T) {
	h := begun(t)
	if got := h.Fingerprint(); got.Begun() {
		t.Errorf("%+v before the beginning", got)
	}
	h.must(&Command{Change: &FingerprintBegin{}})
	first := h.index
	sums := map[uint64]Hash{}
	for i := range 30 {
		if i%10 == 9 {
			h.Apply(&raft.Log{Index: h.index + 1, Type: raft.LogNoop})
			h.index++
			sums[h.index] = sums[h.index-1]
		}
		h.must(create(fmt.Sprint(i)))
		sums[h.index] = h.Fingerprint().Sum
	}
	for at, want := range sums {
		if got, ok := h.FingerprintAt(at); !ok || got != (Fingerprint{at, want}) {
			t.Errorf("at %d: %+v, %v", at, got, ok)
		}
	}
	for _, at := range []uint64{first - 1, h.index + 1} {
		if got, ok := h.FingerprintAt(at); ok {
			t.Errorf("at %d: %+v", at, got)
		}
	}
	h.reopen()
	if _, ok := h.FingerprintAt(h.index - 1); ok {
		t.Error("a fingerprint from before the restart")
	}
	if got, ok := h.FingerprintAt(h.index); !ok || got.Sum != sums[h.index] {
		t.Errorf("the newest one after a restart: %+v, %v", got, ok)
	}
	var many fingerprints
	for i := range uint64(5 * fingerprintsKept) {
		many.extend(i, []Fingerprint{{Index: i, Sum: Hash{1}}})
	}
	if len(many.list) > 2*fingerprintsKept {
		t.Errorf("%d are kept", len(many.list))
	}
	if _, ok := many.FingerprintAt(4*fingerprintsKept + 1); !ok {
		t.Error("the newest ones are not kept")
	}
}

// A state of an earlier version has the applied index alone.
func TestStateWithoutFingerprint(t *testing.T) {
	h := begun(t)
	h.must(create("a"))
	row, err := h.get(appliedRow)
	if err != nil || len(row) != plainApplied {
		t.Fatalf("the row is %x, %v", row, err)
	}
	h.must(&Command{Change: &FingerprintBegin{}})
	if row, err = h.get(appliedRow); err != nil || len(row) != printedApplied {
		t.Fatalf("the row is %x, %v", row, err)
	}
	if err := h.db.Set(appliedRow, row[:plainApplied], pebble.Sync); err != nil {
		t.Fatal(err)
	}
	h.reopen()
	if got := h.Fingerprint(); got.Begun() || h.Applied() != h.index {
		t.Errorf("%+v at index %d", got, h.Applied())
	}
}

// BenchmarkFingerprint is what an entry of a created key costs.
func BenchmarkFingerprint(b *testing.B) {
	entry := create("a").Encode()
	var f Fingerprint
	var buf []byte
	f.begin(1)
	b.SetBytes(int64(len(entry)))
	b.ReportAllocs()
	for i := range uint64(b.N) {
		buf = f.add(i, entry, buf)
	}
}

// BenchmarkShareOfFingerprint applies batches of 64 creations to two states in turn, of which one
// keeps a fingerprint, and reports how many creations with it there are for one without: by the
// medians of the batches, so that neither other programs nor compactions count.
func BenchmarkShareOfFingerprint(b *testing.B) {
	const size = 64
	var took [2][]time.Duration
	var states [2]*harness
	for i := range states {
		states[i] = begun(b)
	}
	states[1].must(&Command{Change: &FingerprintBegin{}})
	at := [2]uint64{states[0].index, states[1].index}
	for n := range max(b.N, 200) {
		for turn := range 2 {
			i := (n + turn) % 2
			logs := make([]*raft.Log, size)
			for j := range logs {
				at[i]++
				c := &Command{
					At: epoch.Add(time.Duration(n) * time.Millisecond), Actor: Actor{Type: ActorOperator, ID: "op"}, Account: DefaultAccount,
					IP: "192.0.2.7", Agent: "curl/8.5.0", Request: CommandRequest{RequestInfo: RequestInfo{ID: "req_0123456789abcdef", Method: "POST", Route: "/v1/keys"}},
					Change: &KeyCreate{Key: benchKey(n*size + j)},
				}
				logs[j] = &raft.Log{Index: at[i], Type: raft.LogCommand, Data: c.Encode()}
			}
			began := time.Now()
			answers := states[i].ApplyBatch(logs)
			took[i] = append(took[i], time.Since(began))
			for _, answer := range answers {
				if r, ok := answer.(Result); !ok || r.Refusal != nil {
					b.Fatal(answer)
				}
			}
		}
	}
	median := func(list []time.Duration) float64 {
		slices.Sort(list)
		return float64(list[len(list)/2])
	}
	b.ReportMetric(median(took[0])/median(took[1]), "with/without")
	b.ReportMetric(median(took[1])/size, "median-ns/creation")
}
