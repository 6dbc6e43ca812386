package store

import (
	"crypto/sha256"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/hashicorp/raft"
)

// benchKeys is how many keys the benchmarks of look-ups begin with. The figures
// that perfgate aims at are for 1,000,000 (hits) and 10,000,000 (cold, unknown):
//
//	go test ./store -run - -bench Lookup -store.keys 10000000 -store.dir /var/tmp/bench
var (
	benchKeys = flag.Int("store.keys", 50_000, "keys that look-up benchmarks run over")
	benchDir  = flag.String("store.dir", "", "where look-up benchmarks keep their database for the next run; by default they throw it away")
)

func benchHash(i int) Hash {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(i))
	return sha256.Sum256(b[:])
}

func benchKey(i int) Key {
	h := benchHash(i)
	return Key{
		ID: KeyID(fmt.Sprintf("key_%022d", i)), Hash: h, Account: DefaultAccount, Type: Live,
		Name: "Server " + strconv.Itoa(i), Environment: "production", Scopes: []string{"read", "write"},
		Hint: fmt.Sprintf("pk_live_%x…%x", h[:2], h[2:4]), Life: Life{CreatedAt: epoch, CreatedBy: "op"},
	}
}

// filled opens a store with n keys. They are written as rows, past apply: ten
// million commands would take minutes and prove nothing here.
func filled(b *testing.B, n int) *Store {
	b.Helper()
	dir := *benchDir
	if dir == "" {
		dir = b.TempDir()
	}
	cache := pebble.NewCache(128 << 20)
	defer cache.Unref()
	s, err := Open(Config{Dir: filepath.Join(dir, fmt.Sprint("keys-", n)), Cache: cache, CacheBytes: 1 << 30})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	if s.Initialized() {
		return s
	}
	s.Apply(&raft.Log{Index: 1, Type: raft.LogCommand, Data: (&Command{
		At: epoch, Change: &Init{ClusterID: "c", DefaultTier: "free"},
	}).Encode()})
	batch := s.db.NewBatch()
	for i := range n {
		k := benchKey(i)
		k.Created, k.Modified = uint64(i+2), uint64(i+2)
		row := keyRow(k.Account, k.Created, 0)
		batch.Set(row, packKey(nil, &k), nil)
		batch.Set(named(rowKeyID, k.ID), row, nil)
		batch.Set(hashRow(nil, &k.Hash), packRecord(nil, &k), nil)
		if i%10_000 == 9_999 {
			if err := batch.Commit(pebble.NoSync); err != nil {
				b.Fatal(err)
			}
			batch = s.db.NewBatch()
		}
	}
	if err := batch.Commit(pebble.NoSync); err != nil {
		b.Fatal(err)
	}
	if err := s.db.Flush(); err != nil {
		b.Fatal(err)
	}
	// As after some life and a restart: nearly everything in the lowest level.
	if err := s.db.Compact(b.Context(), []byte{0}, []byte{0xff}, true); err != nil {
		b.Fatal(err)
	}
	return s
}

// BenchmarkLookupHit is one hot key.
func BenchmarkLookupHit(b *testing.B) {
	s := filled(b, 1_000)
	h := benchHash(7)
	b.ReportAllocs()
	for b.Loop() {
		if r, err := s.Lookup(h); r == nil || err != nil {
			b.Fatal(r, err)
		}
	}
}

// BenchmarkLookupRandomHit is random over all keys, each cached; it reports
// the memory that a cached key takes.
func BenchmarkLookupRandomHit(b *testing.B) {
	n := min(*benchKeys, 1_000_000)
	s := filled(b, n)
	hashes := make([]Hash, n)
	for i := range hashes {
		hashes[i] = benchHash(i)
	}
	before := heap()
	for i := range hashes {
		s.Lookup(hashes[i])
	}
	bytes := float64(heap()-before) / float64(n)
	if s.cache.len() != n {
		b.Fatalf("%d of %d cached", s.cache.len(), n)
	}
	pick := rand.New(rand.NewPCG(1, 2))
	order := make([]uint32, 1<<20)
	for i := range order {
		order[i] = uint32(pick.IntN(n))
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; b.Loop(); i++ {
		if r, _ := s.Lookup(hashes[order[i&(len(order)-1)]]); r == nil {
			b.Fatal("missed")
		}
	}
	b.ReportMetric(bytes, "B/key")
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkLookupUnknown is a made-up key with a right checksum.
func BenchmarkLookupUnknown(b *testing.B) {
	s := filled(b, *benchKeys)
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; b.Loop(); i++ {
		if r, err := s.Lookup(benchHash(-1 - i)); r != nil || err != nil {
			b.Fatal(r, err)
		}
	}
}

// BenchmarkLookupCold is a known key that is not cached: the page cache is as
// the run leaves it. Percentiles are of single look-ups.
func BenchmarkLookupCold(b *testing.B) {
	s := filled(b, *benchKeys)
	pick := rand.New(rand.NewPCG(3, 4))
	var took []time.Duration
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		h := benchHash(pick.IntN(*benchKeys))
		begun := time.Now()
		e, err := s.readRecord(&h)
		took = append(took, time.Since(begun))
		if e == nil || err != nil {
			b.Fatal(e, err)
		}
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds()), "p50-ns")
	b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds()), "p99-ns")
}

// BenchmarkKey is a key read by its id, for the management API.
func BenchmarkKey(b *testing.B) {
	s := filled(b, *benchKeys)
	pick := rand.New(rand.NewPCG(3, 4))
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		if k, err := s.Key(benchKey(pick.IntN(*benchKeys)).ID); k == nil || err != nil {
			b.Fatal(k, err)
		}
	}
}

// BenchmarkApplyCreate applies creations in batches of 64, as Raft hands them
// over under load, on a real disk.
func BenchmarkApplyCreate(b *testing.B) { benchApply(b, false) }

// BenchmarkApplyCreatePrinted is the same with the fingerprint of what is applied.
func BenchmarkApplyCreatePrinted(b *testing.B) { benchApply(b, true) }

func benchApply(b *testing.B, printed bool) {
	cache := pebble.NewCache(64 << 20)
	defer cache.Unref()
	s, err := Open(Config{Dir: b.TempDir(), Cache: cache})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	s.Apply(&raft.Log{Index: 1, Type: raft.LogCommand, Data: (&Command{At: epoch, Change: &Init{ClusterID: "c", DefaultTier: "free"}}).Encode()})
	if printed {
		s.Apply(&raft.Log{Index: 2, Type: raft.LogCommand, Data: (&Command{At: epoch, Change: &FingerprintBegin{}}).Encode()})
	}
	logs := make([]*raft.Log, b.N)
	for i := range logs {
		c := &Command{
			At: epoch.Add(time.Duration(i) * time.Millisecond), Actor: Actor{Type: ActorOperator, ID: "op"}, Account: DefaultAccount,
			IP: "192.0.2.7", Agent: "curl/8.5.0", Request: CommandRequest{RequestInfo: RequestInfo{ID: "req_0123456789abcdef", Method: "POST", Route: "/v1/keys"}},
			Change: &KeyCreate{Key: benchKey(i)},
		}
		logs[i] = &raft.Log{Index: uint64(i + 3), Type: raft.LogCommand, Data: c.Encode()}
	}
	b.ReportAllocs()
	b.ResetTimer()
	for batch := range slices.Chunk(logs, 64) {
		for _, answer := range s.ApplyBatch(batch) {
			if r, ok := answer.(Result); !ok || r.Refusal != nil {
				b.Fatal(answer)
			}
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "creates/s")
}

// BenchmarkEvents streams an account's audit events.
func BenchmarkEvents(b *testing.B) {
	s := filled(b, 1_000)
	batch := s.db.NewBatch()
	e := Event{
		Time: epoch, EventType: EventCreate, Action: "key.create", Actor: Actor{Type: ActorOperator, ID: "op"},
		KeyID: "key_0123456789012345678901", Target: "key_0123456789012345678901", Outcome: Success, IP: "192.0.2.7",
		UserAgent: "curl/8.5.0", Request: &EventRequest{RequestInfo: RequestInfo{ID: "req_0123456789abcdef", Method: "POST", Route: "/v1/keys"}},
		Changes: []byte(strings.Repeat(`{"before":null,"after":{"name":"Server"}}`, 4)),
	}
	const n = 20_000
	for i := range n {
		batch.Set(eventRow("acct_events", epoch, uint64(i), 0), packEvent(nil, &e, nil), nil)
	}
	if err := batch.Commit(pebble.NoSync); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		seen := 0
		for _, err := range s.Events(EventQuery{Account: "acct_events"}) {
			if err != nil {
				b.Fatal(err)
			}
			seen++
		}
		if seen != n {
			b.Fatal(seen)
		}
	}
	b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "events/s")
}

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(m.Run())
}
