package store

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
)

// A command of a newer perfgate ends the store and is never skipped.
func TestUnknownCommandHalts(t *testing.T) {
	var fatal []error
	s, err := Open(Config{FS: vfs.NewMem(), Dir: "d", Fatal: func(err error) { fatal = append(fatal, err) }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	h := &harness{TB: t, Store: s, at: epoch}
	good := h.entry(&Command{Change: &Init{ClusterID: "c", DefaultTier: "free"}})
	bad := &raft.Log{Index: 2, Type: raft.LogCommand, Data: []byte("\x09{}")}
	for range 2 {
		for _, answer := range s.ApplyBatch([]*raft.Log{good, bad}) {
			if _, ok := answer.(error); !ok {
				t.Errorf("answer %+v", answer)
			}
		}
	}
	if len(fatal) != 1 || s.Applied() != 0 || s.Initialized() {
		t.Errorf("fatal %v, applied %d", fatal, s.Applied())
	}
}

func TestOtherEntriesAreTolerated(t *testing.T) {
	h := begun(t)
	h.index++
	h.Apply(&raft.Log{Index: h.index, Type: raft.LogConfiguration, Data: []byte("?")})
	if h.Applied() != h.index {
		t.Errorf("applied %d, want %d", h.Applied(), h.index)
	}
	h.must(create("a"))
	before := dump(t, h.Store)
	h.ApplyBatch(h.log) // Raft replays the entries that it is not sure of
	if after := dump(t, h.Store); after != before {
		t.Error("a replay changed something")
	}
}

// script is a log of n random commands on few names, so that they meet.
func script(h *harness, seed uint64, n int) []*raft.Log {
	r := rand.New(rand.NewPCG(seed, seed))
	name := func() string { return string(rune('a' + r.IntN(12))) }
	id := func() KeyID { return KeyID("key_" + name()) }
	account := func() AccountID { return AccountID([]string{"default", "acct_a", "acct_b"}[r.IntN(3)]) }
	logs := []*raft.Log{h.entry(&Command{Change: &Init{ClusterID: "c", DefaultTier: "enterprise"}})}
	for i := range n {
		switch {
		case seed%2 == 0: // as before stamps
		case i == n/4:
			h.leader = &leader{term: 2}
		case i > n/4 && r.IntN(20) == 0:
			h.leader = &leader{term: h.leader.term + 1, wrong: time.Duration(r.IntN(200)-100) * 24 * time.Hour}
		case i > n/4 && r.IntN(25) == 0:
			h.leader.wrong = 0
		}
		h.pass(time.Duration(r.IntN(8)) * time.Hour)
		c := &Command{Account: account()}
		if r.IntN(4) == 0 {
			c.Once = &Once{Scope: hashOf(name()), Body: hashOf("b")}
		}
		switch r.IntN(13) {
		case 0, 1, 2:
			k := newKey(name())
			k.Environment = name()
			c.Change = &KeyCreate{Key: k}
		case 3:
			c.Change = &KeyUpdate{ID: id(), Name: ptr(name()), Disabled: ptr(r.IntN(2) == 0), Metadata: &map[string]string{name(): "x", name(): "y", name(): "z"}}
		case 4:
			to := name() + name()
			c.Change = &KeyRotate{ID: id(), New: KeyID("key_" + to), Hash: hashOf(to), Hint: to, OverlapEndsAt: h.at.Add(time.Duration(r.IntN(20)) * time.Hour), Counts: r.IntN(2) == 0}
		case 5:
			c.Change = &KeyRevoke{ID: id(), Reason: name()}
		case 6:
			c.Change = &KeyRevokeBulk{Environment: ptr(name()), CreatedBefore: h.at.Add(-24 * time.Hour)}
		case 7:
			in := &KeyImport{}
			for range r.IntN(5) {
				in.Keys = append(in.Keys, newKey(name()+name()+name()))
			}
			c.Change = in
		case 8:
			c.Change = &AllowlistSet{Entries: []AllowEntry{{CIDR: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(r.IntN(256)), 0, 0}), 16)}}}
		case 9:
			c.Change = &AccountCreate{Account: Account{ID: account(), Name: name(), RetentionDays: 7 + r.IntN(9)}}
		case 10:
			c.Change = &AccountUpdate{Name: ptr(name()), Limits: limitOf(1+r.Int64N(9), 1+r.Int64N(99))}
		case 11:
			if r.IntN(3) == 0 {
				c.Change = &AccountDelete{}
			} else {
				c.Change = &TierPut{Tier: Tier{Name: "enterprise", Live: *limitOf(1+r.Int64N(9), 50), IPAllowlist: r.IntN(4) > 0}}
			}
		case 12:
			c.Account = ""
			g := &Grant{}
			for range 3 {
				g.Asks = append(g.Asks, GrantAsk{Account: account(), Type: KeyType(r.IntN(2)), Month: Month(h.at) + r.IntN(2), Want: r.Int64N(20), Give: r.Int64N(3)})
			}
			c.Change = g
		}
		logs = append(logs, h.entry(c))
	}
	return logs
}

// The same log leaves the same bytes, however it is cut into batches and
// whenever the process restarts in between.
func TestBatchesDoNotMatter(t *testing.T) {
	for seed := range uint64(12) {
		one := empty(t)
		logs := script(one, seed, 300)
		for _, l := range logs {
			one.Apply(l)
		}
		want := dump(t, one.Store)
		for _, size := range []int{7, len(logs)} {
			other := empty(t)
			for i, batch := range slices.Collect(slices.Chunk(logs, size)) {
				other.ApplyBatch(batch)
				if i%5 == 4 {
					other.reopen()
				}
			}
			if got := dump(t, other.Store); got != want {
				t.Fatalf("seed %d: batches of %d leave other bytes: %s", seed, size, firstDifference(got, want))
			}
			for id, cell := range one.view.cells {
				mirror := other.Cell(id)
				if mirror == nil || fmt.Sprintf("%+v", mirror.Load().Account) == "" || mirror.Load().Limit != cell.Load().Limit {
					t.Fatalf("seed %d: account %s differs in memory", seed, id)
				}
			}
		}
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("\ngot  %s\nwant %s", g[i], w[i])
		}
	}
	return fmt.Sprintf("%d rows, want %d", len(g), len(w))
}

// After any power loss the state is that of exactly the first commands
// up to its applied index, and goes on from there to the same end.
func TestPowerLoss(t *testing.T) {
	ref := empty(t)
	logs := script(ref, 3, 120)
	states := map[uint64]string{}
	for _, l := range logs {
		ref.Apply(l)
		states[l.Index] = dump(t, ref.Store)
	}
	r := rand.New(rand.NewPCG(1, 1))
	seen := map[uint64]bool{}
	for round := range 25 {
		mem := vfs.NewCrashableMem()
		s := openAt(t, mem)
		stop := 1 + r.IntN(len(logs)-1)
		for i, l := range logs[:stop] {
			s.Apply(l)
			if r.IntN(20) == 0 || i == stop/2 {
				if err := s.db.Flush(); err != nil {
					t.Fatal(err)
				}
			}
		}
		crashed := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: r.IntN(101), RNG: r})
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = openAt(t, crashed)
		at := s.Applied()
		seen[at] = true
		if at > 0 && dump(t, s) != states[at] || at == 0 && dump(t, s) != "" {
			t.Fatalf("round %d: applied %d of %d, but the rows are others", round, at, stop)
		}
		s.ApplyBatch(logs)
		if got := dump(t, s); got != states[uint64(len(logs))] {
			t.Fatalf("round %d: from %d on: %s", round, at, firstDifference(got, states[uint64(len(logs))]))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(seen) < 5 {
		t.Errorf("the crashes left only %d different states; they prove nothing", len(seen))
	}
}
