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

	"github.com/perfgate/perfgate/store/losstest"
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

// picker draws random commands on few names, so that they meet.
type picker struct{ *rand.Rand }

func (p picker) name() string { return string(rune('a' + p.IntN(12))) }

func (p picker) id() KeyID { return KeyID("key_" + p.name()) }

func (p picker) account() AccountID {
	return AccountID([]string{"default", "acct_a", "acct_b"}[p.IntN(3)])
}

// change gives c a random change, proposed at a time.
func (p picker) change(c *Command, at time.Time) {
	switch p.IntN(13) {
	case 0, 1, 2:
		k := newKey(p.name())
		k.Environment = p.name()
		c.Change = &KeyCreate{Key: k}
	case 3:
		c.Change = &KeyUpdate{ID: p.id(), Name: ptr(p.name()), Disabled: ptr(p.IntN(2) == 0), Metadata: &map[string]string{p.name(): "x", p.name(): "y", p.name(): "z"}}
	case 4:
		to := p.name() + p.name()
		c.Change = &KeyRotate{ID: p.id(), New: KeyID("key_" + to), Hash: hashOf(to), Hint: to, OverlapEndsAt: at.Add(time.Duration(p.IntN(20)) * time.Hour), Counts: p.IntN(2) == 0}
	case 5:
		c.Change = &KeyRevoke{ID: p.id(), Reason: p.name()}
	case 6:
		c.Change = &KeyRevokeBulk{Environment: ptr(p.name()), CreatedBefore: at.Add(-24 * time.Hour)}
	case 7:
		in := &KeyImport{}
		for range p.IntN(5) {
			in.Keys = append(in.Keys, newKey(p.name()+p.name()+p.name()))
		}
		c.Change = in
	case 8:
		c.Change = &AllowlistSet{Entries: []AllowEntry{{CIDR: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(p.IntN(256)), 0, 0}), 16)}}}
	case 9:
		c.Change = &AccountCreate{Account: Account{ID: p.account(), Name: p.name(), RetentionDays: 7 + p.IntN(9)}}
	case 10:
		c.Change = &AccountUpdate{Name: ptr(p.name()), Limits: limitOf(1+p.Int64N(9), 1+p.Int64N(99))}
	case 11:
		if p.IntN(3) == 0 {
			c.Change = &AccountDelete{}
		} else {
			c.Change = &TierPut{Tier: Tier{Name: "enterprise", Live: *limitOf(1+p.Int64N(9), 50), IPAllowlist: p.IntN(4) > 0}}
		}
	case 12:
		c.Account = ""
		g := &Grant{}
		for range 3 {
			g.Asks = append(g.Asks, GrantAsk{Account: p.account(), Type: KeyType(p.IntN(2)), Month: Month(at) + p.IntN(2), Want: p.Int64N(20), Give: p.Int64N(3)})
		}
		c.Change = g
	}
}

// script is a log of n random commands.
func script(h *harness, seed uint64, n int) []*raft.Log {
	p := picker{rand.New(rand.NewPCG(seed, seed))}
	logs := []*raft.Log{h.entry(&Command{Change: &Init{ClusterID: "c", DefaultTier: "enterprise"}})}
	for i := range n {
		switch {
		case seed%2 == 0: // as before stamps
		case i == n/4:
			h.leader = &leader{term: 2}
		case i > n/4 && p.IntN(20) == 0:
			h.leader = &leader{term: h.leader.term + 1, wrong: time.Duration(p.IntN(200)-100) * 24 * time.Hour}
		case i > n/4 && p.IntN(25) == 0:
			h.leader.wrong = 0
		}
		h.pass(time.Duration(p.IntN(8)) * time.Hour)
		c := &Command{Account: p.account()}
		if p.IntN(4) == 0 {
			c.Once = &Once{Scope: hashOf(p.name()), Body: hashOf("b")}
		}
		p.change(c, h.at)
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
		mem := losstest.NewMem()
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
