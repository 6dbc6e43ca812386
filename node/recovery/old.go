package recovery

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/perfgate/perfgate/node/mesh"
)

// oldCluster is the cluster that a restore or a recovery replaces, as the backup or the
// data directory knows it. While it runs, a second cluster beside it would admit the
// same keys and count their months and budgets once more.
type oldCluster struct {
	id    string
	cas   [][]byte // empty: nobody can tell its nodes from others, and none is asked
	peers []oldPeer
	here  int // voters that are there without being asked and are no peers: this node

	nonvoters map[string]bool // of the peers, by id
}

// oldPeer is a node of the old cluster.
type oldPeer struct{ id, name, addr string }

func (p oldPeer) String() string {
	if p.name == "" {
		return fmt.Sprintf("node %s (%s)", p.id, p.addr)
	}
	return fmt.Sprintf("%s (%s)", p.name, p.addr)
}

// running returns the peers that answer as nodes of the old cluster, and whether they
// are a majority of the voters. It takes some seconds where hosts do not answer.
func (o *oldCluster) running(ctx context.Context) (there []oldPeer, majority bool) {
	if len(o.cas) == 0 {
		return nil, false
	}
	found := make([]bool, len(o.peers))
	var all sync.WaitGroup
	for i, p := range o.peers {
		all.Go(func() {
			id, err := mesh.Probe(ctx, p.addr, o.id, o.cas)
			found[i] = err == nil && id == p.id
		})
	}
	all.Wait()
	voters, answering := o.here, 0
	for i, p := range o.peers {
		votes := !o.nonvoters[p.id]
		if votes {
			voters++
		}
		if found[i] {
			there = append(there, p)
			if votes {
				answering++
			}
		}
	}
	return there, answering > 0 && answering+o.here > voters/2
}

// names lists peers for people.
func names(peers []oldPeer) string {
	var out []string
	for _, p := range peers {
		out = append(out, p.String())
	}
	return strings.Join(out, ", ")
}
