package node

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"

	"github.com/perfgate/perfgate/node/config"
)

// A node whose list of nodes leads to itself alone, in whatever spelling, has no others.
func TestJoins(t *testing.T) {
	mine := []string{"127.0.0.1:7946", "localhost:7946", "[::1]:7946"}
	for _, addr := range thisMachine(nil).addrs {
		mine = append(mine, net.JoinHostPort(addr, "7946"))
	}
	if name, err := os.Hostname(); err == nil {
		mine = append(mine, name+":7946")
	}
	for _, peer := range mine {
		if got, err := joins(t.Context(), &config.Cluster{Listen: ":7946", Join: []string{peer}}); got || err != nil {
			t.Errorf("%s counts as another node: %v, %v", peer, got, err)
		}
	}
	for _, tt := range []struct {
		listen, advertise string
		join              []string
		want              bool
	}{
		{"", "", nil, false},
		{":7946", "", nil, false},
		{":7946", "gw.example:17946", []string{"GW.example:17946"}, false},
		{":7946", "", []string{"127.0.0.1:7947"}, true},
		{":7946", "", []string{"127.0.0.1:7946", "192.0.2.7:7946"}, true},
		{"127.0.0.1:7946", "", []string{"127.0.0.2:7946"}, true}, // two nodes of one machine
		{":7946", "", []string{"no-such-host.invalid:7946"}, true},
	} {
		c := &config.Cluster{Listen: tt.listen, Advertise: tt.advertise, Join: tt.join}
		if got, err := joins(t.Context(), c); got != tt.want || err != nil {
			t.Errorf("listen %q, advertise %q, join %q: other nodes %v, want %v; %v", tt.listen, tt.advertise, tt.join, got, tt.want, err)
		}
	}
}

// A node that is stopped while it starts looks up no name any more. It must not take the name
// that it joins by, which may be its own, for another node's.
func TestJoinsOfAStoppedNode(t *testing.T) {
	stopped, stop := context.WithCancel(t.Context())
	stop()
	for _, peer := range []string{"localhost.example:7946", "gw.example:7946"} {
		got, err := joins(stopped, &config.Cluster{Listen: ":7946", Join: []string{peer}})
		if got || !errors.Is(err, context.Canceled) {
			t.Errorf("%s: other nodes %v, %v", peer, got, err)
		}
	}
}
