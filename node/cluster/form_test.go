package cluster

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
)

// answers are those of other nodes, by address; nil does not answer.
type answers map[string]any

func (a answers) ask(_ context.Context, addr, kind string, _ any) ([]byte, error) {
	v, ok := a[addr+" "+kind]
	if !ok {
		v = a[addr]
	}
	switch v := v.(type) {
	case nil:
		return nil, errors.New("connection refused")
	case error:
		return nil, v
	default:
		return json.Marshal(v)
	}
}

// A node without a state begins a cluster only if it is the first of all nodes and
// all see the same nodes; joins the one cluster that it finds; else waits, and gives
// the reason.
func TestFormingDecisions(t *testing.T) {
	all := []string{"a", "b", "c"}
	node := func(id string, expect int, seen ...string) info { return info{ID: id, Expect: expect, Seen: seen} }
	member := func(id, cluster string) info { return info{ID: id, ClusterID: cluster} }
	granted := joinAnswer{ClusterID: "cl_1", CA: []byte("ca"), Cert: []byte("cert")}
	for _, c := range []struct {
		name    string
		self    string
		expect  int
		answers answers
		begin   bool
		joins   string // id of the cluster
		waits   string // part of the reason
	}{
		{"all agree, and this is the first", "a", 3, answers{"1": node("a", 3), "2": node("b", 3, all...), "3": node("c", 3, all...)}, true, "", ""},
		{"all agree, and another is the first", "b", 3, answers{"1": node("a", 3, all...), "2": node("b", 3), "3": node("c", 3, all...)}, false, "", "another one begins the cluster"},
		{"one does not answer, though a majority does", "a", 3, answers{"1": node("a", 3), "2": node("b", 3, all...)}, false, "", "3: connection refused"},
		{"one has not seen all", "a", 3, answers{"1": node("a", 3), "2": node("b", 3, all...), "3": node("c", 3)}, false, "", "3 does not see the same nodes yet"},
		{"one expects another number", "a", 3, answers{"1": node("a", 3), "2": node("b", 2, all...), "3": node("c", 3, all...)}, false, "", "2 expects 2 nodes and this one 3"},
		{"two addresses of one node", "a", 3, answers{"1": node("a", 3), "2": node("b", 3, "a", "b"), "3": node("b", 3, "a", "b")}, false, "", "leads to 2 different nodes"},
		{"two clusters", "a", 3, answers{"1": node("a", 3), "2": member("b", "cl_1"), "3": member("c", "cl_2")}, false, "", "different clusters: 2 to cl_1, 3 to cl_2"},
		{"a cluster, though one is down", "a", 3, answers{"1": node("a", 3), "2": member("b", "cl_1"), "2 join": granted}, false, "cl_1", ""},
		{"a member that points to its leader", "a", 3, answers{"1": node("a", 3), "2": member("b", "cl_1"), "2 join": joinAnswer{Leader: "3"}, "3": member("c", "cl_1"), "3 join": granted}, false, "cl_1", ""},
		{"a leader that is never found", "a", 3, answers{"1": node("a", 3), "2": member("b", "cl_1"), "2 join": joinAnswer{Leader: "2"}}, false, "", "its leader is changing"},
		{"a cluster that refuses", "a", 3, answers{"1": node("a", 3), "2": member("b", "cl_1"), "2 join": errors.New("too old")}, false, "", "2 does not admit this node: too old"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &former{self: selfReport{ID: c.self}, join: []string{"1", "2", "3"}, expect: c.expect, ask: c.answers.ask, say: newTroubles(slog.New(slog.DiscardHandler))}
			found, begin, why := f.round(t.Context())
			joins := ""
			if found != nil {
				joins = found.creds.ClusterID
			}
			if begin != c.begin || joins != c.joins || (c.waits == "") != (why == "") || !strings.Contains(why, c.waits) {
				t.Errorf("begins %v, joins %q, waits because %q", begin, joins, why)
			}
		})
	}
}

// Others learn which nodes a node has seen only while all of its list answer.
func TestSeenIsOfTheLastRound(t *testing.T) {
	a := answers{"1": info{ID: "a", Expect: 2}, "2": info{ID: "b", Expect: 2}}
	f := &former{self: selfReport{ID: "a", Name: "n1"}, join: []string{"1", "2"}, expect: 2, ask: a.ask}
	if got := f.answer(); len(got.Seen) != 0 || got.Name != "n1" || got.Expect != 2 {
		t.Errorf("before the first round: %+v", got)
	}
	f.round(t.Context())
	if got := f.answer().Seen; strings.Join(got, " ") != "a b" {
		t.Errorf("after a whole round: %v", got)
	}
	delete(a, "2")
	f.round(t.Context())
	if got := f.answer().Seen; len(got) != 0 {
		t.Errorf("after a round with a gap: %v", got)
	}
}

// The request that asks for membership, as every version since the first sends it.
func TestJoinRequestOnTheWire(t *testing.T) {
	raw, err := json.Marshal(joinRequest{selfReport: selfReport{ID: "a", Boot: 2, Name: "n1", Address: "h:1", Version: "v", Level: 2, State: "starting"}, CSR: []byte("x")})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"id":"a","boot":2,"term":0,"applied":0,"name":"n1","address":"h:1","version":"v","level":2,"state":"starting","lease":0,"wall":"0001-01-01T00:00:00Z","csr":"eA=="}`
	if string(raw) != want {
		t.Errorf("got  %s\nwant %s", raw, want)
	}
	for _, c := range []struct {
		v    any
		want string
	}{
		{info{ID: "a", Name: "n1"}, `{"id":"a","name":"n1"}`},
		{info{ID: "a", Name: "n1", ClusterID: "cl_1", Expect: 3, Seen: []string{"a"}, Leader: "h:1", Removed: true}, `{"id":"a","name":"n1","cluster_id":"cl_1","expect":3,"seen":["a"],"leader":"h:1","removed":true}`},
		{joinAnswer{Leader: "h:1"}, `{"leader":"h:1"}`},
		{report{Boot: 1, Term: 2, Applied: 3, Left: true}, `{"boot":1,"term":2,"applied":3,"left":true}`},
		{settling{Index: 7, Takes: true}, `{"index":7,"takes":true}`},
		{handover{Transfer: true, To: "n2"}, `{"transfer":true,"to":"n2","actor":{"type":"","id":""}}`},
	} {
		if raw, err := json.Marshal(c.v); err != nil || string(raw) != c.want {
			t.Errorf("got  %s, %v\nwant %s", raw, err, c.want)
		}
	}
}
