package cluster

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/perfgate/perfgate/node/mesh"
)

// Members that gossip heard of before the peers knew its list are known as soon as
// they do: gossip tells of each change once.
func TestPeersFromTheBeginningOfGossip(t *testing.T) {
	c := led(t, 3)
	for range 10 {
		m, err := mesh.Open(context.Background(), mesh.Config{
			Listen: "127.0.0.1:0", NodeID: c.self.ID, Secret: []byte(strings.Repeat("s", 32)),
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		c.mesh = m
		p := &peers{node: c.node, ctx: ctx}
		p.keepGossip([][]byte{bytes.Repeat([]byte{1}, 32)})
		if _, ok := p.alive()[c.self.ID]; !ok {
			t.Error("a member that gossip lists is not known")
		}
		cancel()
		if err := errors.Join(p.members.Load().Close(), m.Close()); err != nil {
			t.Error(err)
		}
		p.tasks.Wait()
	}
	c.mesh = nil
}
