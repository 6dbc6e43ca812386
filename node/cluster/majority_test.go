package cluster

import (
	"slices"
	"testing"

	"github.com/hashicorp/raft"
)

// servers are voters with the letters of ids as ids; nonvoters are in lower case.
func servers(ids string) (out []raft.Server) {
	for _, id := range ids {
		s := raft.Server{ID: raft.ServerID(id), Suffrage: raft.Voter}
		if id >= 'a' {
			s.Suffrage = raft.Nonvoter
		}
		out = append(out, s)
	}
	return out
}

// The majority that counts is that of the voters that are left, of which the leader
// is always there.
func TestMajorityWithoutANode(t *testing.T) {
	for _, c := range []struct {
		name    string
		servers string
		remove  string
		reached string // without the leader, A
		missing []raft.ServerID
	}{
		{"all are there", "ABC", "C", "B", nil},
		{"a live one of three, another is down", "ABC", "C", "", []raft.ServerID{"B"}},
		{"the one of three that is down", "ABC", "B", "C", nil},
		{"the dead one of two", "AB", "B", "", nil},
		{"a live one of five, two are down", "ABCDE", "C", "B", []raft.ServerID{"D", "E"}},
		{"a dead one of five, two are down", "ABCDE", "D", "BC", nil},
		{"a live one of five, one is down", "ABCDE", "B", "CD", nil},
		{"a live one of four, one is down", "ABCD", "B", "C", nil},
		{"a live one of four, two are down", "ABCD", "B", "", []raft.ServerID{"C", "D"}},
		{"a nonvoter counts neither as voter nor as contact", "ABCx", "C", "x", []raft.ServerID{"B"}},
	} {
		reached := map[raft.ServerID]bool{}
		for _, id := range c.reached {
			reached[raft.ServerID(id)] = true
		}
		if got := missingMajority(votersWithout(servers(c.servers), c.remove), "A", reached); !slices.Equal(got, c.missing) {
			t.Errorf("%s: %q are missing, must be %q", c.name, got, c.missing)
		}
	}
}

// The index that a server has is the highest of its answers in the leader's term.
func TestMatches(t *testing.T) {
	entries := func(last uint64) []*raft.Log { return []*raft.Log{{Index: last - 1}, {Index: last}} }
	ok, refused := &raft.AppendEntriesResponse{Success: true}, &raft.AppendEntriesResponse{}
	var m matches
	for i, step := range []struct {
		args *raft.AppendEntriesRequest
		resp *raft.AppendEntriesResponse
		term uint64
		want uint64
	}{
		{&raft.AppendEntriesRequest{Term: 1}, ok, 1, 0}, // a heartbeat
		{&raft.AppendEntriesRequest{Term: 1, PrevLogEntry: 4, Entries: entries(6)}, ok, 1, 6},
		{&raft.AppendEntriesRequest{Term: 1, PrevLogEntry: 6, Entries: entries(9)}, refused, 1, 6},
		{&raft.AppendEntriesRequest{Term: 1, PrevLogEntry: 8}, ok, 1, 8},                      // it had more
		{&raft.AppendEntriesRequest{Term: 1, PrevLogEntry: 3, Entries: entries(5)}, ok, 1, 8}, // late
		{&raft.AppendEntriesRequest{Term: 1, PrevLogEntry: 8}, ok, 2, 0},                      // another term is asked for
		{&raft.AppendEntriesRequest{Term: 2, PrevLogEntry: 7}, ok, 2, 7},                      // its log was cut
		{&raft.AppendEntriesRequest{Term: 1, PrevLogEntry: 9}, ok, 2, 7},
		{&raft.AppendEntriesRequest{Term: 1, PrevLogEntry: 9}, ok, 1, 0},
	} {
		m.note("b", step.args, step.resp)
		if got := m.of("b", step.term); got != step.want {
			t.Errorf("step %d: %d, must be %d", i, got, step.want)
		}
	}
	if got := m.of("c", 2); got != 0 {
		t.Errorf("a server that was never heard has %d", got)
	}
}
