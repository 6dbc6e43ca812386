package local

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/chain"
	"github.com/perfgate/perfgate/store/chaintest"
)

var signer = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))

// exported reads what q selects with its proof, and verifies both.
func exported(t testing.TB, l *Local, q store.EventQuery, kept ...chain.HeadFile) (*chain.Report, []*store.Event) {
	t.Helper()
	log, err := l.OpenEventLog()
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	v := chain.NewVerifier()
	var list []*store.Event
	for e, err := range log.Events(q) {
		if err != nil {
			t.Fatal(err)
		}
		v.Add(chaintest.RecordOf(e), e.Hash)
		list = append(list, e)
	}
	heads := make([]*chain.Head, len(log.Streams))
	for i, s := range log.Streams {
		heads[i] = headOf(s)
	}
	p := chain.Proof{Version: chain.Version, Order: "asc", Keys: []chain.Key{chain.NewKey(signer, nil, day0)}}
	if q.Newest {
		p.Order = "desc"
	}
	if !q.From.IsZero() {
		p.From = q.From.UnixMilli()
	}
	for part, err := range log.Proof(q, heads) {
		switch {
		case err != nil:
			t.Fatal(err)
		case part.Chain != nil:
			p.Chains = append(p.Chains, *part.Chain)
		default:
			c := &p.Chains[len(p.Chains)-1]
			c.Segments = append(c.Segments, *part.Shown)
		}
	}
	return v.Verify(&p, chain.Trust{Kept: kept}), list
}

// eventRow is the row of an event whose key begins with a prefix.
func eventRow(t *testing.T, l *Local, prefix []byte) (key, value []byte) {
	t.Helper()
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: prefix})
	must(t, err)
	defer it.Close()
	if !it.First() || !bytes.HasPrefix(it.Key(), prefix) {
		t.Fatalf("no row begins with %x", prefix)
	}
	return bytes.Clone(it.Key()), bytes.Clone(it.Value())
}

func headOf(s *Sealed) *chain.Head {
	h := &chain.Head{Stream: s.Stream, Node: "n1", Number: 1, Time: day0, Seq: s.Seq, Begin: s.Begin, Accounts: int64(len(s.Accounts)), Root: s.Root()}
	h.Sign(signer)
	return h
}

func keptHead(t *testing.T, l *Local, account store.AccountID) chain.HeadFile {
	t.Helper()
	log, err := l.OpenEventLog()
	must(t, err)
	defer log.Close()
	s := log.Streams[0]
	a, _ := s.Account(account)
	path, err := chain.PathTo(s.Accounts, a.Account)
	must(t, err)
	return chain.HeadFile{Account: a.Account, Keys: []chain.Key{chain.NewKey(signer, nil, day0)},
		Data: []chain.KeptHead{{Head: *headOf(s), State: &a.State, Since: a.Since, Path: &path}}}
}

// written is a Local whose events have the times of a clock that the test moves.
func written(t testing.TB, fs vfs.FS, now *time.Time, cfg Config) *Local {
	t.Helper()
	cfg.FS, cfg.Clock = fs, func() time.Time { return *now }
	cfg.stamp = func(uint64) uint64 { return uint64(now.Truncate(time.Millisecond).UnixNano()) }
	return open(t, cfg)
}

// some writes n events of three accounts and of none, over some minutes.
func some(t *testing.T, l *Local, now *time.Time, n int) {
	t.Helper()
	for i := range n {
		o := admitted(now.Add(-14*time.Second), []store.AccountID{"default", "acct_a", "acct_b", ""}[i%4], store.KeyID(fmt.Sprint("key_", i%5)))
		o.Trail = Trail{Path: "/v1/\xff\xfe", Upstream: "http://u:1", Attempts: 2, Errors: "upstream_timeout"}
		if i%4 == 3 {
			o = denial(*now, "", "invalid_key", 401)
		}
		l.Observe(o)
		*now = now.Add(time.Duration(i%9) * time.Second)
		if i%9 == 0 {
			must(t, l.Flush())
		}
	}
}

// Every account's events are proven, in both orders, with filters and times, over restarts
// and a crash that leaves unsealed events.
func TestEventLogProof(t *testing.T) {
	now := day0.Add(time.Hour)
	mem := crashable(t)
	l := written(t, mem, &now, Config{})
	some(t, l, &now, 150)
	kept := keptHead(t, l, "acct_a")
	some(t, l, &now, 60)
	check := func(l *Local, name string) {
		t.Helper()
		for _, q := range []store.EventQuery{
			{}, {Newest: true}, {Key: "key_2"}, {Key: "key_2", Newest: true}, {From: day0.Add(time.Hour + 5*time.Minute)}, {To: day0.Add(time.Hour + 150*time.Second)},
			{From: day0.Add(time.Hour + 200*time.Second), To: day0.Add(time.Hour + 300*time.Second), Key: "key_1"}, {Action: "none"},
		} {
			for _, q.Account = range []store.AccountID{"default", "acct_a", "acct_b", ""} {
				var keep []chain.HeadFile
				if q.Account == "acct_a" {
					keep = append(keep, kept)
				}
				r, list := exported(t, l, q, keep...)
				if len(r.Findings) > 0 || r.Proven != len(list) || q == (store.EventQuery{Account: q.Account}) && (len(list) < 50 || r.Compared != len(keep)) {
					t.Errorf("%s: %+v: %d events: %+v", name, q, len(list), r)
				}
			}
		}
	}
	check(l, "at first")
	some(t, l, &now, 30)
	must(t, l.Flush())
	crashed := written(t, mem.CrashClone(vfs.CrashCloneCfg{}), &now, Config{})
	check(crashed, "after a crash")
	must(t, l.Close())
	l = written(t, mem, &now, Config{})
	some(t, l, &now, 10)
	check(l, "after a restart")
}

// The time of an event is that of its writing, with its beginning beside it; it does not go
// back with a clock that was a little ahead.
func TestTimeOfWriting(t *testing.T) {
	now := day0.Add(time.Hour + 300*time.Microsecond)
	l := open(t, Config{Clock: func() time.Time { return now }})
	l.cfg.stamp = nil
	l.Observe(admitted(now.Add(-14*time.Second), "default", "key_a"))
	must(t, l.Flush())
	now = now.Add(-5 * time.Second)
	l.Observe(admitted(now, "default", "key_b"))
	list := collect(t, l, store.EventQuery{Account: "default"})
	if len(list) != 2 || !list[0].Time.Equal(day0.Add(time.Hour)) || !list[1].Time.Equal(list[0].Time) ||
		!list[0].Request.StartedAt.Equal(day0.Add(time.Hour-14*time.Second)) || !list[1].Request.StartedAt.Equal(day0.Add(time.Hour-5*time.Second)) {
		t.Errorf("%+v", list)
	}
	now = now.Add(-time.Hour) // it was an hour ahead
	l.Observe(admitted(now, "default", "key_c"))
	if list := collect(t, l, store.EventQuery{Account: "default", To: day0.Add(time.Minute)}); len(list) != 1 {
		t.Errorf("after a clock was set back: %d events", len(list))
	}
}

// Events that expired, and those that an account lost for want of room, leave a gap at the
// beginning that the proof counts.
func TestEventLogGap(t *testing.T) {
	now := day0
	keep := 24 * time.Hour
	l := written(t, vfs.NewMem(), &now, Config{Retention: func(store.AccountID) time.Duration { return keep }})
	some(t, l, &now, 120)
	now = now.Add(24 * time.Hour)
	some(t, l, &now, 90)
	must(t, l.Flush())
	now = day0.Add(24*time.Hour + 25*time.Minute)
	trim := func() {
		t.Helper()
		must(t, l.w.trim(now))
	}
	trim()
	gap := uint64(0)
	for _, account := range []store.AccountID{"default", "acct_a"} {
		r, list := exported(t, l, store.EventQuery{Account: account})
		if len(r.Findings) > 0 || r.Proven != len(list) || len(list) == 0 || r.Chains[0].Before == 0 {
			t.Errorf("%s: %d events: %+v", account, len(list), r)
		}
		gap = r.Chains[0].Before
	}
	// A cut within a bucket lies between two segments.
	prefix := accountPrefix(nil, bucketOf(nanos(day0.Add(24*time.Hour+15*time.Minute))), store.AccountID("acct_a"))
	to, at, err := l.between(prefix, nanos(day0.Add(24*time.Hour+16*time.Minute)))
	must(t, err)
	must(t, l.w.remove(prefix[:1], to))
	must(t, l.w.gone("acct_a", at))
	must(t, l.w.commit(0))
	if r, list := exported(t, l, store.EventQuery{Account: "acct_a"}); len(r.Findings) > 0 || r.Proven != len(list) || r.Chains[0].Before <= gap {
		t.Errorf("after a cut: %d events: %+v", len(list), r)
	}
}

// Rows that somebody changes, takes out or puts back in the database of a node are found,
// and the first bad event is named. A whole database that is put back is found by a head
// that was kept, or that Raft has.
func TestEventLogTampering(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	now := day0
	l := written(t, vfs.NewMem(), &now, Config{})
	some(t, l, &now, 200)
	_, list := exported(t, l, store.EventQuery{Account: "acct_a"})
	kept := keptHead(t, l, "acct_a")
	rows := func(e *store.Event) (key, value []byte) {
		return eventRow(t, l, eventKey(nil, e.Account, uint64(e.Time.UnixNano()), e.Seq))
	}
	put := func(key, value []byte) {
		if value == nil {
			must(t, l.db.Delete(key, pebble.Sync))
		} else {
			must(t, l.db.Set(key, value, pebble.Sync))
		}
	}
	for range 40 {
		i := rnd.IntN(len(list) - 1)
		key, value := rows(list[i])
		other, second := rows(list[i+1])
		changed := slices.Clone(value)
		changed[len(changed)-30] ^= 1 // of the path or the upstream
		for name, c := range map[string]struct{ first, second []byte }{
			"flip": {changed, second}, "drop": {nil, second}, "swap": {second, value},
		} {
			put(key, c.first)
			put(other, c.second)
			r, _ := exported(t, l, store.EventQuery{Account: "acct_a"}, kept)
			put(key, value)
			put(other, second)
			want := list[i].ID
			if name == "drop" {
				want = list[max(0, i-1)].ID // the last before the missing one
				if i == 0 {
					want = list[1].ID
				}
			}
			if len(r.Findings) == 0 || r.Findings[0].ID != want {
				t.Errorf("%s of event %d: %+v, want %s", name, i, r.Findings, want)
			}
		}
	}
	// The end is cut off: the last segments and their events.
	last := list[len(list)-20]
	prefix := accountPrefix(nil, bucketOf(uint64(last.Time.UnixNano())), ownerOf(last.Account, false))
	to, _, err := l.between(prefix, uint64(last.Time.UnixNano()))
	must(t, err)
	must(t, l.db.DeleteRange(to, prefixEnd(prefix), pebble.Sync))
	must(t, l.db.DeleteRange(sealsOf(to), sealsOf(prefixEnd(prefix)), pebble.Sync))
	if r, _ := exported(t, l, store.EventQuery{Account: "acct_a"}, kept); len(r.Findings) == 0 {
		t.Error("a chain without its end is whole")
	}
}

// Events of a version that did not chain stay readable, without a hash.
func TestUnchainedEvents(t *testing.T) {
	fs := vfs.NewMem()
	now := day0
	l := written(t, fs, &now, Config{})
	some(t, l, &now, 20)
	must(t, l.Flush())
	for _, row := range []byte{rowSeal, rowSeal + 1, rowChain} {
		must(t, l.db.DeleteRange([]byte{row}, []byte{row + 1}, pebble.Sync))
	}
	must(t, l.db.Set(beginRow, binary.BigEndian.AppendUint64(nil, 21), pebble.Sync))
	l.w.chains.of = map[owner]*accountChain{}
	must(t, l.w.loadChains())
	some(t, l, &now, 20)
	r, list := exported(t, l, store.EventQuery{Account: "acct_a"})
	if len(r.Findings) > 0 || r.Unchained != 5 || r.Proven != 5 || len(list) != 10 || list[0].Hash != "" || list[9].Hash == "" {
		t.Errorf("%d events: %+v", len(list), r)
	}
}
