package store

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
)

// factsOf writes down all that readers learn of the cluster itself.
func factsOf(s *Store) string {
	var members []string
	for _, m := range s.Members() {
		members = append(members, fmt.Sprint(m.Name, m.Level))
	}
	slices.Sort(members)
	trust := s.Trust()
	return fmt.Sprintf("%s %s pepper %d tokens %d ca %s/%s gossip %d members %v removed %v level %d reset %v",
		s.ClusterID(), s.DefaultTier(), s.Pepper()[0], len(s.OperatorTokens()), trust.CA, trust.CAKey,
		len(trust.Gossip), members, s.RemovedMembers(), s.ClusterLevel(), !s.ResetAt().IsZero())
}

// The facts after each command. They are the same after a restart, and in a store
// that was restored from a snapshot.
func TestFacts(t *testing.T) {
	h := empty(t)
	if got := factsOf(h.Store); got != "  pepper 0 tokens 0 ca / gossip 0 members [] removed [] level 8 reset false" || h.Initialized() {
		t.Errorf("before the first command: %s", got)
	}
	atLevel := func(id string, level int) *MemberPut {
		return &MemberPut{Member: Member{ID: id, Name: id, Address: "h:1", Level: level}}
	}
	for i, c := range []struct {
		change Change
		want   string
	}{
		{&Init{ClusterID: "c1", Pepper: Hash{7}, OperatorToken: Hash{2}, DefaultTier: "pro"},
			"c1 pro pepper 7 tokens 1 ca / gossip 0 members [] removed [] level 8 reset false"},
		{&OperatorTokens{Hashes: []Hash{{3}, {4}}},
			"c1 pro pepper 7 tokens 2 ca / gossip 0 members [] removed [] level 8 reset false"},
		{&ClusterOpen{CA: []byte("C"), CAKey: []byte("K"), Gossip: secretOf(1)},
			"c1 pro pepper 7 tokens 2 ca C/K gossip 1 members [] removed [] level 8 reset false"},
		{atLevel("a", 3), "c1 pro pepper 7 tokens 2 ca C/K gossip 1 members [a3] removed [] level 3 reset false"},
		{atLevel("b", 2), "c1 pro pepper 7 tokens 2 ca C/K gossip 1 members [a3 b2] removed [] level 2 reset false"},
		{atLevel("c", 9), "c1 pro pepper 7 tokens 2 ca C/K gossip 1 members [a3 b2 c9] removed [] level 2 reset false"},
		{&MemberRemove{ID: "b", Gossip: secretOf(2)},
			"c1 pro pepper 7 tokens 2 ca C/K gossip 2 members [a3 c9] removed [b] level 3 reset false"},
		{&MemberRemove{ID: "a", Gossip: secretOf(3)}, // a newer node alone: this program's level is the bound
			"c1 pro pepper 7 tokens 2 ca C/K gossip 2 members [c9] removed [a b] level 8 reset false"},
		{&ClusterReset{ClusterID: "c2", From: "c1", Kind: ResetRestore, OperatorTokens: []Hash{{5}}},
			"c2 pro pepper 7 tokens 1 ca / gossip 0 members [] removed [] level 8 reset true"},
		{&ClusterReset{ClusterID: "c3", From: "c2", Kind: ResetRecover}, // the tokens stay
			"c3 pro pepper 7 tokens 1 ca / gossip 0 members [] removed [] level 8 reset true"},
	} {
		h.must(&Command{Change: c.change})
		if got := factsOf(h.Store); got != c.want || !h.Initialized() {
			t.Errorf("step %d:\ngot  %s\nwant %s", i+1, got, c.want)
		}
		copied := empty(t)
		if err := copied.restore(bytes.NewReader(takeSnapshot(t, h.Store, h.index)), restoreTable); err != nil {
			t.Fatal(err)
		}
		if got := factsOf(copied.Store); got != c.want {
			t.Errorf("step %d, restored:\ngot  %s\nwant %s", i+1, got, c.want)
		}
		h.reopen()
		if got := factsOf(h.Store); got != c.want {
			t.Errorf("step %d, after a restart:\ngot  %s\nwant %s", i+1, got, c.want)
		}
	}
	if at := h.ResetAt(); !at.Equal(h.at) {
		t.Errorf("reset at %v, want %v", at, h.at)
	}
}

// A node's facts can be read after its removal, and only then it counts as removed.
func TestMemberFacts(t *testing.T) {
	h := begun(t)
	h.must(&Command{Change: memberOf("a", "alpha", "h:1")})
	h.must(&Command{Change: memberOf("b", "beta", "h:2")})
	check := func(id string, known, removed bool) {
		t.Helper()
		m, ok := h.Member(id)
		if ok != known || known && (m.ID != id || m.Removed.IsZero() == removed) || h.Removed(id) != removed {
			t.Errorf("%s: %+v, %v, removed %v", id, m, ok, h.Removed(id))
		}
	}
	check("a", true, false)
	check("x", false, false)
	h.must(&Command{Change: &MemberRemove{ID: "a", Gossip: secretOf(1)}})
	check("a", true, true)
	check("b", true, false)
	list := h.Members()
	list[0].Name = "changed" // a list is its caller's
	if m, _ := h.Member("b"); m.Name != "beta" {
		t.Error("the caller of Members changed the store")
	}
}

// Facts compares all that a node says of itself; the times are the store's own.
func TestFactsOfMember(t *testing.T) {
	m := Member{ID: "a", Name: "alpha", Address: "h:1", Region: "eu", Version: "1", Level: 3, JoinedAt: epoch}
	for name, change := range map[string]func(*Member){
		"id": func(m *Member) { m.ID = "b" }, "name": func(m *Member) { m.Name = "b" }, "address": func(m *Member) { m.Address = "h:2" },
		"region": func(m *Member) { m.Region = "" }, "version": func(m *Member) { m.Version = "2" }, "level": func(m *Member) { m.Level = 4 },
		"stale": func(m *Member) { m.Stale = true },
	} {
		o := m
		if change(&o); m.Facts(o) {
			t.Errorf("another %s is the same", name)
		}
	}
	o := m
	o.JoinedAt, o.Removed = epoch.Add(day), epoch.Add(2*day)
	if !m.Facts(o) {
		t.Error("the times make a difference")
	}
}

// The secrets and the facts of members are bounded: the largest are accepted.
func TestMemberBounds(t *testing.T) {
	text := func(n int) string { return string(bytes.Repeat([]byte("x"), n)) }
	bytesOf := func(n int) []byte { return make([]byte, n) }
	put := func(change func(*Member)) Change {
		m := Member{ID: "a", Name: "a", Address: "h:1", Level: levelOfMember}
		change(&m)
		return &MemberPut{Member: m}
	}
	for _, c := range []struct {
		change Change
		field  string // of the refusal; "" is none
	}{
		{&ClusterOpen{CA: nil, CAKey: bytesOf(1), Gossip: bytesOf(gossipKey)}, "ca"},
		{&ClusterOpen{CA: bytesOf(1), CAKey: nil, Gossip: bytesOf(gossipKey)}, "ca"},
		{&ClusterOpen{CA: bytesOf(maxTrust + 1), CAKey: bytesOf(1), Gossip: bytesOf(gossipKey)}, "ca"},
		{&ClusterOpen{CA: bytesOf(1), CAKey: bytesOf(maxTrust + 1), Gossip: bytesOf(gossipKey)}, "ca"},
		{&ClusterOpen{CA: bytesOf(1), CAKey: bytesOf(1), Gossip: bytesOf(gossipKey - 1)}, "gossip"},
		{&ClusterOpen{CA: bytesOf(1), CAKey: bytesOf(1), Gossip: bytesOf(gossipKey + 1)}, "gossip"},
		{&ClusterOpen{CA: bytesOf(maxTrust), CAKey: bytesOf(maxTrust), Gossip: bytesOf(gossipKey)}, ""},
		{put(func(m *Member) { m.ID = text(maxID + 1) }), "id"},
		{put(func(m *Member) { m.ID = text(maxID) }), ""},
		{put(func(m *Member) { m.Name = text(maxID + 1) }), "name"},
		{put(func(m *Member) { m.Address = text(maxAddress + 1) }), "address"},
		{put(func(m *Member) { m.Region = text(maxName + 1) }), "address"},
		{put(func(m *Member) { m.Version = text(maxName + 1) }), "address"},
		{put(func(m *Member) { m.Level = levelOfMember - 1 }), "level"},
		{put(func(m *Member) { m.Name, m.Address, m.Region = text(maxID), text(maxAddress), text(maxName) }), ""},
		{&MemberRemove{ID: "a", Gossip: bytesOf(gossipKey + 1)}, "gossip"},
	} {
		h := begun(t)
		r := h.do(&Command{Change: c.change})
		field := ""
		if r.Refusal != nil {
			field = r.Refusal.Field
		}
		if field != c.field || (r.Refusal == nil) != (c.field == "") {
			t.Errorf("%T %+v: %+v, want a refusal of %q", c.change, c.change, r.Refusal, c.field)
		}
	}
}
