package store

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
)

func memberOf(id, name, address string) *MemberPut {
	return &MemberPut{Member: Member{ID: id, Name: name, Address: address, Level: Level}}
}

func secretOf(n byte) []byte { return bytes.Repeat([]byte{n}, gossipKey) }

// The life of members, step by step: the answer, the names of those who remain and
// the events.
func TestMemberLife(t *testing.T) {
	h := begun(t)
	for i, c := range []struct {
		change Change
		why    Reason // of the refusal; "" is none
		names  string
		event  string // the newest one
	}{
		{&ClusterOpen{CA: []byte{1}, CAKey: []byte{2}, Gossip: secretOf(1)}, "", "[]", "cluster.open c1"},
		{&ClusterOpen{CA: []byte{1}, CAKey: []byte{2}, Gossip: secretOf(1)}, Conflict, "[]", "cluster.open c1"},
		{memberOf("b", "beta", "h:1"), "", "[beta]", "cluster.join beta"},
		{memberOf("a", "alpha", "h:2"), "", "[alpha beta]", "cluster.join alpha"},
		{memberOf("a", "alpha", "h:2"), "", "[alpha beta]", "cluster.join alpha"}, // nothing new, no event
		{memberOf("c", "alpha", "h:3"), Conflict, "[alpha beta]", "cluster.join alpha"},
		{memberOf("a", "alpha", "h:9"), "", "[alpha beta]", "cluster.update alpha"},
		{memberOf("a", "omega", "h:9"), "", "[beta omega]", "cluster.update omega"},
		{&MemberRemove{ID: "a", Gossip: []byte{1}}, InvalidValue, "[beta omega]", "cluster.update omega"},
		{&MemberRemove{ID: "x", Gossip: secretOf(2)}, NotFound, "[beta omega]", "cluster.update omega"},
		{&MemberRemove{ID: "a", Gossip: secretOf(2)}, "", "[beta]", "cluster.remove omega"},
		{&MemberRemove{ID: "a", Gossip: secretOf(3)}, NotFound, "[beta]", "cluster.remove omega"},
		{memberOf("a", "omega", "h:9"), Conflict, "[beta]", "cluster.remove omega"},
		{memberOf("d", "omega", "h:9"), "", "[beta omega]", "cluster.join omega"}, // the name is free again
	} {
		r := h.do(&Command{Change: c.change})
		if (r.Refusal == nil) != (c.why == "") || r.Refusal != nil && r.Refusal.Reason != c.why {
			t.Fatalf("step %d: %+v, want %q", i, r.Refusal, c.why)
		}
		names := []string{}
		for _, m := range h.Members() {
			names = append(names, m.Name)
			if m.JoinedAt.IsZero() || !m.Removed.IsZero() {
				t.Errorf("step %d: %+v", i, m)
			}
		}
		newest := ""
		for e, err := range h.Events(EventQuery{Account: DefaultAccount}) {
			if err != nil {
				t.Fatal(err)
			}
			newest = e.Action + " " + e.Target
		}
		if fmt.Sprint(names) != c.names || newest != c.event {
			t.Errorf("step %d: %v, %s; want %s, %s", i, names, newest, c.names, c.event)
		}
	}
}

// A removed node stays refused for as long as its certificate may be valid, and the
// removed ones are bounded: the oldest are forgotten.
func TestRemovedMembersAreForgotten(t *testing.T) {
	list := []Member{{ID: "here"}}
	for i := range maxRemoved + 5 {
		list = append(list, Member{ID: fmt.Sprint(i), Removed: epoch.Add(removedKept-1).AddDate(0, 0, -i%20)})
	}
	list = append(list, Member{ID: "old", Removed: epoch.AddDate(0, 0, -80)}, Member{ID: "last", Removed: epoch.Add(-1)})
	now := epoch.Add(removedKept - 1)
	kept := dropForgotten(slices.Clone(list), now)
	removed := 0
	has := map[string]bool{}
	for _, m := range kept {
		has[m.ID] = true
		if !m.Removed.IsZero() {
			removed++
		}
	}
	if removed != maxRemoved || !has["here"] || has["old"] || has["last"] {
		t.Errorf("%d removed members, has here %v, old %v, last %v", removed, has["here"], has["old"], has["last"])
	}
	edge := []Member{{ID: "a", Removed: epoch}}
	for kept, want := range map[bool]int{true: 1, false: 0} {
		at := epoch.Add(removedKept)
		if !kept {
			at = at.Add(1)
		}
		if got := dropForgotten(slices.Clone(edge), at); len(got) != want {
			t.Errorf("at %v after the removal: %d", at.Sub(epoch), len(got))
		}
	}
}

// A cluster has a bounded number of members, and two gossip keys.
func TestMembersAreBounded(t *testing.T) {
	h := begun(t)
	h.must(&Command{Change: &ClusterOpen{CA: []byte{1}, CAKey: []byte{2}, Gossip: secretOf(0)}})
	for i := range maxMembers {
		h.must(&Command{Change: memberOf(fmt.Sprint("id", i), fmt.Sprint("n", i), "h:1")})
	}
	h.refused(LimitReached, &Command{Change: memberOf("one", "more", "h:1")})
	h.must(&Command{Change: memberOf("id0", "n0", "h:2")}) // a change is no addition
	h.must(&Command{Change: &MemberRemove{ID: "id0", Gossip: secretOf(1)}})
	h.must(&Command{Change: memberOf("one", "more", "h:1")})
	h.must(&Command{Change: &MemberRemove{ID: "id1", Gossip: secretOf(2)}})
	if keys := h.settled.Load().Gossip; len(keys) != gossipKeys || !bytes.Equal(keys[0], secretOf(2)) || !bytes.Equal(keys[1], secretOf(1)) {
		t.Errorf("gossip keys %v", keys)
	}
}

// Operator tokens are replaced as a set: those left out are not accepted any more.
func TestOperatorTokens(t *testing.T) {
	h := begun(t)
	if got := h.OperatorTokens(); !slices.Equal(got, []Hash{{2}}) {
		t.Fatalf("at the beginning: %v", got)
	}
	for _, set := range [][]Hash{{{3}}, {{4}, {5}}, make([]Hash, maxOperatorTokens), {{2}}} {
		c := &OperatorTokens{Hashes: set}
		h.must(&Command{Change: c})
		if got := h.OperatorTokens(); !slices.Equal(got, set) {
			t.Errorf("%d tokens: %v", len(set), got)
		}
	}
	h.refused(InvalidValue, &Command{Change: &OperatorTokens{}})
	h.refused(InvalidValue, &Command{Change: &OperatorTokens{Hashes: make([]Hash, maxOperatorTokens+1)}})
	h.reopen()
	if got := h.OperatorTokens(); !slices.Equal(got, []Hash{{2}}) {
		t.Errorf("after refusals and a restart: %v", got)
	}
}
