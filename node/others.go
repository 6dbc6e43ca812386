package node

import (
	"context"
	"fmt"
	"net"
	"slices"

	"github.com/perfgate/perfgate/node/config"
)

// joins reports whether cluster.join leads to another node than this one. A node without
// others must keep what it has: nobody could give it back. The name of an address is
// looked up, since it may be this machine's in any spelling; one that is not found counts
// as another node's, which is the case of a cluster whose resolver is down. When ctx has ended
// no name is found, which says nothing.
func joins(ctx context.Context, c *config.Cluster) (bool, error) {
	if c.Listen == "" {
		return false, nil
	}
	here := thisMachine(nil)
	others := slices.ContainsFunc(c.Join, func(peer string) bool { return !c.Own(peer) && !here.answers(ctx, peer, c) })
	if err := ctx.Err(); err != nil {
		return false, fmt.Errorf("look up whether cluster.join leads to other nodes: %w; start the node again", err)
	}
	return others, nil
}

// answers reports whether peer, a HOST:PORT, is the address of this machine's node with
// the configuration c: by its port, and by all addresses of its host.
func (m machine) answers(ctx context.Context, peer string, c *config.Cluster) bool {
	host, port, err := net.SplitHostPort(peer)
	if err != nil {
		return false
	}
	_, listens, _ := net.SplitHostPort(c.Listen)
	_, advertised, _ := net.SplitHostPort(c.Advertise)
	if port != listens && port != advertised {
		return false
	}
	if m.called(host) {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupHost(ctx, host) // an address stands for itself
	if err != nil || len(addrs) == 0 {
		return false
	}
	bound, _, _ := net.SplitHostPort(c.Listen)
	return !slices.ContainsFunc(addrs, func(addr string) bool {
		// Nodes that share a machine and a port have an address each.
		return !m.owns(addr) || port == listens && !config.Overlap(net.JoinHostPort(addr, port), net.JoinHostPort(bound, listens))
	})
}
