package store

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const day = 24 * time.Hour

// Cluster time by steps, in hours: wall and monotonic clock of a leader, and the
// cluster time after the entry.
func TestClusterTime(t *testing.T) {
	for _, tc := range []struct {
		name  string
		steps [][4]int // term, wall, mono, cluster time
	}{
		{"it follows a good clock", [][4]int{{1, 100, 0, 100}, {1, 101, 1, 101}, {1, 150, 50, 150}}},
		{"a jump is not followed", [][4]int{{1, 100, 0, 100}, {1, 900, 1, 101}, {1, 901, 2, 102}, {1, 103, 3, 103}}},
		{"a jump that lasts for a day is", [][4]int{{1, 100, 0, 100}, {1, 900, 1, 101}, {1, 923, 24, 124}, {1, 924, 25, 924}, {1, 925, 26, 925}}},
		{"two jumps are none that lasts", [][4]int{{1, 100, 0, 100}, {1, 900, 1, 101}, {1, 922, 23, 123}, {1, 990, 24, 124}, {1, 1013, 47, 147}, {1, 1014, 48, 1014}}},
		{"it never goes back", [][4]int{{1, 100, 0, 100}, {1, 50, 1, 100}, {1, 60, 11, 100}, {1, 101, 12, 101}}},
		{"the next leader is not believed at once", [][4]int{{1, 100, 0, 100}, {2, 900, 7000, 100}, {2, 901, 7001, 101}, {3, 102, 5, 101}, {3, 103, 6, 102}}},
		{"what is lost between leaders comes back after a day", [][4]int{{1, 100, 0, 100}, {2, 190, 10, 100}, {2, 213, 33, 123}, {2, 214, 34, 214}}},
		{"stamps out of order", [][4]int{{1, 100, 10, 100}, {1, 102, 12, 102}, {1, 101, 11, 102}, {1, 104, 14, 104}}},
	} {
		var c clock
		for i, s := range tc.steps {
			c = c.next(uint64(s[0]), Stamp{int64(time.Duration(s[1]) * time.Hour), int64(time.Duration(s[2]) * time.Hour)})
			if got := int(time.Duration(c.now) / time.Hour); got != s[3] {
				t.Errorf("%s: step %d: %d, want %d", tc.name, i+1, got, s[3])
			}
		}
	}
}

// Whatever wall clocks do, cluster time never goes back and, where none was steady for
// a day, goes on by no more than leaders have measured.
func TestClusterTimeIsBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c clock
		hours := rapid.Int64Range(0, 23)
		wall := rapid.Int64Range(1, int64(1000*day))
		c = c.next(1, Stamp{Wall: wall.Draw(t, "wall")})
		began, measured := c.now, int64(0)
		term, mono := uint64(1), int64(0)
		for range rapid.IntRange(1, 50).Draw(t, "steps") {
			d := hours.Draw(t, "hours") * int64(time.Hour)
			mono += d
			if rapid.Bool().Draw(t, "new leader") {
				term, mono, d = term+1, hours.Draw(t, "mono"), 0
			}
			measured += d
			before := c
			w := wall.Draw(t, "wall")
			if c.term == term && w-mono-c.offset <= int64(clockSteady) && c.offset-(w-mono) <= int64(clockSteady) {
				w = c.offset + mono + 2*int64(clockSteady) // it is never steady
			}
			c = c.next(term, Stamp{w, mono})
			if c.now < before.now || c.now > began+measured {
				t.Fatalf("%+v after %+v; at most %d", c, before, began+measured)
			}
			if c.now > before.now && c.now > w {
				t.Fatalf("%d is ahead of the wall clock %d", c.now, w)
			}
		}
	})
}

// A stamp stands before the command, which is read as before; no version without stamps
// takes such an entry for a command.
func TestStampedEntry(t *testing.T) {
	wire := samples()["key_create"].Encode()
	s := Stamp{Wall: 1, Mono: -2}
	entry := s.Put(wire)
	if want := append([]byte("\x02\x00\x00\x00\x00\x00\x00\x00\x01\xff\xff\xff\xff\xff\xff\xff\xfe"), wire...); !bytes.Equal(entry, want) {
		t.Errorf("the entry is %q", entry)
	}
	c, err := DecodeEntry(entry)
	if err != nil || c.Stamp != s || !bytes.Equal(c.Encode(), wire) {
		t.Errorf("read as %+v, %v", c, err)
	}
	if c, err := DecodeEntry(wire); err != nil || c.Stamp != (Stamp{}) {
		t.Errorf("without a stamp: %+v, %v", c, err)
	}
	for name, bad := range map[string][]byte{
		"a command": entry[:0], "cut": entry[:stampSize-1], "no command": entry[:stampSize], "twice": s.Put(entry), "an empty stamp": Stamp{}.Put(wire),
	} {
		if c, err := DecodeEntry(bad); err == nil {
			t.Errorf("%s: %+v", name, c)
		}
	}
	if _, err := DecodeCommand(entry); !errors.Is(err, ErrUnknownCommand) {
		t.Errorf("as a command: %v", err)
	}
}

// aged is a state with everything that is kept for a time, made under a good clock.
func aged(t *testing.T) *harness {
	h := begun(t)
	h.leader = &leader{term: 1, mono: 5 * time.Hour}
	h.must(&Command{Change: &AccountUpdate{RetentionDays: ptr(MinRetention)}})
	once := create("a")
	once.Once = &Once{Scope: hashOf("s"), Body: hashOf("b")}
	h.must(once)
	h.must(grantOf(h, Month(h.at), 100))
	h.must(&Command{Change: &MemberPut{Member: Member{ID: "n9", Name: "nine", Address: "h:9", Level: Level}}})
	h.must(&Command{Change: &MemberRemove{ID: "n9", Gossip: make([]byte, gossipKey)}})
	return h
}

// grantOf asks for n units of the default account's month.
func grantOf(_ *harness, month int, n int64) *Command {
	return &Command{Change: &Grant{Node: "n1", Asks: []GrantAsk{{Account: DefaultAccount, Type: Live, Month: month, Want: n}}}}
}

// kept checks that nothing of aged is gone.
func (h *harness) kept(when string) {
	h.Helper()
	if got := actions(h, EventQuery{Account: DefaultAccount, Action: "key.create"}); !slices.Contains(got, "key.create key_a") {
		h.Errorf("%s: the event is gone: %q", when, got)
	}
	repeat := create("again")
	repeat.Once = &Once{Scope: hashOf("s"), Body: hashOf("b")}
	if r := h.do(repeat); !r.Repeat || r.Key.ID != "key_a" {
		h.Errorf("%s: the repeat was carried out: %+v", when, r)
	}
	if n, err := h.Granted(DefaultAccount, Live, "", false, Month(epoch)); n != 100 || err != nil {
		h.Errorf("%s: %d units are granted, %v", when, n, err)
	}
	other := fmt.Sprint("m", h.index)
	h.must(&Command{Change: &MemberPut{Member: Member{ID: other, Name: other, Address: other, Level: Level}}})
	h.must(&Command{Change: &MemberRemove{ID: other, Gossip: make([]byte, gossipKey)}})
	if !h.Removed("n9") {
		h.Errorf("%s: a removed node is forgotten", when)
	}
}

// A clock that is wrong for a while, in either direction and by any time, takes nothing
// away that is kept for a time: neither while it is wrong nor after.
func TestWrongClockDestroysNothing(t *testing.T) {
	for _, wrong := range []time.Duration{31 * day, 130 * day, 20_000 * day, -31 * day, -20_000 * day} {
		for _, elected := range []bool{false, true} {
			h := aged(t)
			if elected {
				h.leader = &leader{term: 2, mono: 900 * time.Hour}
			}
			h.leader.wrong = wrong
			for range 30 {
				h.pass(20 * time.Minute)
				h.must(&Command{Change: &AccountUpdate{Name: ptr(h.at.String())}})
			}
			h.kept("while it is off by " + wrong.String())
			h.leader.wrong = 0
			h.pass(time.Minute)
			h.kept("after it was off by " + wrong.String())
		}
	}
}

// A command with a wrong time of its own takes nothing away, and the objects that it
// makes are kept.
func TestTimeOfCommandDestroysNothing(t *testing.T) {
	h := aged(t)
	at := func(d time.Duration, c *Command) *Command {
		c.At = h.at.Add(d)
		return c
	}
	for i, wrong := range []time.Duration{130 * day, -130 * day} {
		h.must(&Command{Change: &MemberPut{Member: Member{ID: fmt.Sprint("g", i), Name: fmt.Sprint("g", i), Address: "h:1", Level: Level}}})
		h.must(at(wrong, &Command{Change: &MemberRemove{ID: fmt.Sprint("g", i), Gossip: make([]byte, gossipKey)}}))
		repeat := at(wrong, create("again"))
		repeat.Once = &Once{Scope: hashOf("s"), Body: hashOf("b")}
		if r := h.do(repeat); !r.Repeat {
			t.Errorf("%v: a repeat was carried out: %+v", wrong, r)
		}
		first := at(wrong, create(fmt.Sprint("off", i)))
		first.Once = &Once{Scope: hashOf(fmt.Sprint("off", i)), Body: hashOf("b")}
		h.must(first)
		h.pass(time.Hour)
		h.kept(fmt.Sprintf("after a command that is off by %v", wrong))
		if r := h.do(first.again()); !r.Repeat {
			t.Errorf("%v: the repeat of its command was carried out: %+v", wrong, r)
		}
		if got := actions(h, EventQuery{Account: DefaultAccount, Key: KeyID(fmt.Sprint("key_off", i))}); len(got) != 1 {
			t.Errorf("%v: its event: %q", wrong, got)
		}
		if !h.Removed(fmt.Sprint("g", i)) {
			t.Errorf("%v: the node that it removed is forgotten", wrong)
		}
	}
}

// A state that was begun by a clock that was ahead removes nothing that is made after
// the clock was set right.
func TestStateFromTheFuture(t *testing.T) {
	h := empty(t)
	h.leader = &leader{term: 1, wrong: 130 * day}
	h.must(&Command{Change: &Init{ClusterID: "c", DefaultTier: "free"}})
	h.leader.wrong = 0
	for i := range 20 {
		h.pass(time.Hour)
		h.must(create(fmt.Sprint(i)))
	}
	if got := actions(h, EventQuery{Account: DefaultAccount, Action: "key.create"}); len(got) != 20 {
		t.Errorf("%d of 20 events are kept", len(got))
	}
	if r := h.must(grantOf(h, Month(h.at), 1)).Granted[0]; r.N != 1 {
		t.Errorf("the month is not granted: %+v", r)
	}
}

// Good clocks remove old rows, and so does one that stands by its time for a day.
func TestGoodClockRemoves(t *testing.T) {
	h := aged(t)
	for i := range 8 {
		h.pass(day)
		h.must(create(fmt.Sprint("daily", i)))
	}
	h.removed("by a good clock", "key.create key_a")
	h = aged(t)
	h.leader = &leader{term: 2, wrong: 300 * day} // the nodes were off for that long
	h.must(create("b"))
	h.kept("at the start")
	h.pass(day)
	h.must(create("c"))
	h.removed("after a day", "key.create key_a")
	if n, _ := h.Granted(DefaultAccount, Live, "", false, Month(epoch)); n != 0 {
		t.Errorf("%d units of a month long ago are kept", n)
	}
}

func (h *harness) removed(when, event string) {
	h.Helper()
	if got := actions(h, EventQuery{Account: DefaultAccount}); slices.Contains(got, event) {
		h.Errorf("%s: the event is kept: %q", when, got)
	}
	if strings.Contains(dump(h, h.Store), "\""+string(rowOnceAge)) {
		h.Errorf("%s: results are kept", when)
	}
}

// A month is granted from before cluster time to after the leader's wall clock: a
// cluster that was off for long goes on at once, and none is granted whose rows may
// have been removed.
func TestMonthsByClusterTime(t *testing.T) {
	h := aged(t)
	now := Month(h.at)
	granted := func(month int) bool { return h.must(grantOf(h, month, 1)).Granted[0].N > 0 }
	for month, want := range map[int]bool{now - 2: false, now - 1: true, now: true, now + 1: true, now + 2: false} {
		if granted(month) != want {
			t.Errorf("month %+d: granted %v", month-now, !want)
		}
	}
	h.leader = &leader{term: 2, wrong: 130 * day}
	for month, want := range map[int]bool{now - 2: false, now: true, now + 4: true, now + 6: false} {
		if granted(month) != want {
			t.Errorf("month %+d, with a clock that is ahead: granted %v", month-now, !want)
		}
	}
}

// The first stamp of a state from before stamps begins where its sweeps were.
func TestFirstStamp(t *testing.T) {
	h := begun(t)
	h.must(create("a"))
	swept := h.sweep.At
	if !h.ClusterTime().IsZero() {
		t.Error("there is cluster time without a stamp")
	}
	h.leader = &leader{term: 2, wrong: 130 * day}
	h.must(create("b"))
	if got := h.ClusterTime(); !got.Equal(swept) {
		t.Errorf("it begins at %v, the last sweep was at %v", got, swept)
	}
	h.leader = nil // a member of an older version came in between
	h.at = h.at.Add(130 * day)
	h.must(create("c"))
	if got := h.ClusterTime(); !got.Equal(swept) || h.sweep.At.After(swept) {
		t.Errorf("without a stamp it moved to %v, swept at %v", got, h.sweep.At)
	}
	h.reopen()
	if got := h.ClusterTime(); !got.Equal(swept) {
		t.Errorf("after a restart it is %v", got)
	}
	fresh := empty(t)
	fresh.leader = &leader{term: 1}
	fresh.must(&Command{Change: &Init{ClusterID: "c", DefaultTier: "free"}})
	if got := fresh.ClusterTime(); !got.Equal(fresh.at) {
		t.Errorf("in a new state it begins at %v, not at %v", got, fresh.at)
	}
}
