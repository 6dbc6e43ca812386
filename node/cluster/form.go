package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/perfgate/perfgate/node/datadir"
	"github.com/perfgate/perfgate/node/mesh"
)

// How a node without any state finds its place.
const (
	pollEvery   = 500 * time.Millisecond
	pollTimeout = 4 * time.Second
	joinWait    = 15 * time.Second // for a leader to let this node in
	patience    = 2 * time.Second  // before the wait is logged
)

// The kinds of join requests: all that a node may ask which has proved the
// cluster secret and nothing else.
const (
	askInfo = "info"
	askJoin = "join"
)

// info is exchanged by nodes before one of them is a member.
type info struct {
	ID        string   `json:"id"`
	Name      string   `json:"name"`
	ClusterID string   `json:"cluster_id,omitzero"` // "" while it has none
	Expect    int      `json:"expect,omitzero"`
	Seen      []string `json:"seen,omitzero"`    // of a node without a cluster: the ids behind its list, itself included; none unless all answered
	Leader    string   `json:"leader,omitzero"`  // address
	Removed   bool     `json:"removed,omitzero"` // the asker was a member of this cluster, and was removed
}

// joinRequest asks for membership.
type joinRequest struct {
	selfReport
	CSR []byte `json:"csr"`
}

// joinAnswer is its answer.
type joinAnswer struct {
	// Leader is where to ask again; the rest is then empty.
	Leader    string `json:"leader,omitzero"`
	ClusterID string `json:"cluster_id,omitzero"`
	CA        []byte `json:"ca,omitzero"`
	Cert      []byte `json:"cert,omitzero"`
	// Founding is the kind of founding that is under way; see [founding]. A node that
	// founds the cluster gets its operator token.
	Founding      string `json:"founding,omitzero"`
	OperatorToken string `json:"operator_token,omitzero"`
}

// place is where a node without any state belongs.
type place struct {
	creds    *mesh.Credentials // nil: it is to begin a cluster
	founding string            // see [founding]
	token    string            // the operator's, "" if the node does not get it
}

// former finds out where a node without any state belongs: it begins a cluster
// of its own, joins one, or waits. It never takes a majority for an agreement:
// nodes that were merely late would begin a second cluster (raft #122).
type former struct {
	self    selfReport
	join    []string
	expect  int
	ask     asker
	say     *troubles
	seen    atomic.Pointer[[]string]
	waiting func(string) // told why it waits
	rejoins bool         // it was a member: it joins, and begins nothing
}

// answer tells others about a node that has no cluster.
func (f *former) answer() info {
	i := info{ID: f.self.ID, Name: f.self.Name, Expect: f.expect}
	if seen := f.seen.Load(); seen != nil {
		i.Seen = *seen
	}
	return i
}

// polled is the answer of one address of the list.
type polled struct {
	addr string
	info info
	err  error
}

// asker makes a join request to a node at an address; it is [mesh.Mesh.Ask].
type asker func(ctx context.Context, addr, kind string, in any) ([]byte, error)

// poll asks every address at once.
func poll(ctx context.Context, by asker, self string, addrs []string) []polled {
	out := make([]polled, len(addrs))
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	var all sync.WaitGroup
	for i, addr := range addrs {
		all.Go(func() {
			out[i].addr = addr
			out[i].err = ask(ctx, by, addr, askInfo, info{ID: self}, &out[i].info)
		})
	}
	all.Wait()
	return out
}

// ask makes a join request.
func ask(ctx context.Context, by asker, addr, kind string, in, out any) error {
	got, err := by(ctx, addr, kind, in)
	if err != nil {
		return err
	}
	return json.Unmarshal(got, out) // a newer node may say more
}

// Run returns once it is settled where the node belongs.
func (f *former) Run(ctx context.Context) (*place, error) {
	founder := &place{founding: datadir.Founded}
	if f.expect <= 1 {
		founder.founding = ""
	}
	if len(f.join) == 0 && !f.rejoins {
		return founder, nil
	}
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for began := time.Now(); ; {
		found, begin, why := f.round(ctx)
		if begin {
			found = founder
		}
		switch {
		case found != nil:
			f.say.over("forming")
			return found, nil
		case why != "":
			if f.waiting != nil {
				f.waiting(why)
			}
			if time.Since(began) >= patience { // nodes that start together need a moment
				f.say.say("forming", "waiting to form or join the cluster", "reason", why)
			}
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("form or join a cluster: %w: %s", ctx.Err(), why)
		case <-tick.C:
		}
	}
}

func (f *former) round(ctx context.Context) (found *place, begin bool, why string) {
	answers := poll(ctx, f.ask, f.self.ID, f.join)
	clusters := map[string]string{} // id: address
	for _, a := range answers {
		if a.err == nil && a.info.ClusterID != "" {
			clusters[a.info.ClusterID] = cmp.Or(clusters[a.info.ClusterID], a.addr)
		}
	}
	switch len(clusters) {
	case 0:
	case 1:
		f.seen.Store(nil)
		for _, addr := range clusters {
			found, err := f.enter(ctx, addr)
			if err != nil {
				return nil, false, fmt.Sprintf("%s does not admit this node: %v", addr, err)
			}
			return found, false, ""
		}
	default:
		f.seen.Store(nil)
		return nil, false, "the addresses of cluster.join belong to different clusters: " + mapping(clusters)
	}
	ids, faults := []string{f.self.ID}, []string{}
	for _, a := range answers {
		if a.err != nil {
			faults = append(faults, fmt.Sprintf("%s: %v", a.addr, a.err))
			continue
		}
		ids = append(ids, a.info.ID)
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	if f.rejoins {
		faults = append(faults, "no member of the cluster answers; this node had damaged data, which it set aside, and waits for one")
	}
	if len(faults) > 0 {
		f.seen.Store(nil)
		return nil, false, strings.Join(faults, "; ")
	}
	f.seen.Store(&ids)
	if len(ids) < f.expect {
		return nil, false, fmt.Sprintf("cluster.expect is %d, and cluster.join leads to %d different nodes", f.expect, len(ids))
	}
	for _, a := range answers {
		switch {
		case a.info.ID == f.self.ID:
		case a.info.Expect != f.expect:
			return nil, false, fmt.Sprintf("%s expects %d nodes and this one %d; give both the same cluster.expect", a.addr, a.info.Expect, f.expect)
		case !slices.Equal(a.info.Seen, ids):
			return nil, false, fmt.Sprintf("%s does not see the same nodes yet; give all the same cluster.join", a.addr)
		}
	}
	if ids[0] != f.self.ID {
		return nil, false, "all nodes are there; another one begins the cluster"
	}
	return nil, true, ""
}

// enter asks a member for membership, and its leader if it does not lead itself.
func (f *former) enter(ctx context.Context, addr string) (*place, error) {
	key, err := mesh.NewNodeKey()
	if err != nil {
		return nil, err
	}
	csr, err := mesh.NewRequest(key, f.self.ID)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, joinWait)
	defer cancel()
	for range 3 { // the leader may change meanwhile
		var got joinAnswer
		if err := ask(ctx, f.ask, addr, askJoin, joinRequest{selfReport: f.self, CSR: csr}, &got); err != nil {
			return nil, err
		}
		if got.Leader != "" {
			addr = got.Leader
			continue
		}
		creds := &mesh.Credentials{ClusterID: got.ClusterID, CAs: [][]byte{got.CA}, Cert: got.Cert, Key: key}
		return &place{creds, got.Founding, got.OperatorToken}, nil
	}
	return nil, errors.New("its leader is changing")
}

// mapping writes a small map in order.
func mapping(m map[string]string) string {
	var out []string
	for k, v := range m {
		out = append(out, v+" to "+k)
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}
