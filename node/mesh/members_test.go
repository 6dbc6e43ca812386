package mesh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
)

func key(b byte) []byte { return bytes.Repeat([]byte{b}, 32) }

func gossips(t testing.TB, m *Mesh, with ...func(*MembersConfig)) *Members {
	t.Helper()
	c := MembersConfig{Keys: [][]byte{key(1)}}
	for _, f := range with {
		f(&c)
	}
	g, err := NewMembers(m, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	return g
}

// view is "a:alive b:dead ...".
func view(g *Members) string {
	var s []string
	for _, m := range g.List() {
		s = append(s, m.ID+":"+string(m.State))
	}
	return strings.Join(s, " ")
}

func sees(t testing.TB, g *Members, want string) {
	t.Helper()
	soon(t, fmt.Sprintf("node %s sees %q, not %q", g.mesh.conf.NodeID, want, view(g)), func() bool { return view(g) == want })
}

// crowd is three nodes that gossip, with everything that they heard.
type crowd struct {
	t   *testing.T
	ca  *authority
	ms  map[string]*Mesh
	gs  map[string]*Members
	run func(*Members) // runs until the test ends

	mu     sync.Mutex        // guards the fields below
	events []string          // of node a: "id:state:meta"
	heard  map[string]string // messages, by node
}

// gather starts nodes a, b and c and waits until each knows the others.
func gather(t *testing.T) *crowd {
	t.Helper()
	c := &crowd{t: t, ca: newAuthority(t, "c1"), ms: map[string]*Mesh{}, gs: map[string]*Members{}, heard: map[string]string{}}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	t.Cleanup(func() { cancel(); wg.Wait() })
	for _, id := range []string{"a", "b", "c"} {
		c.start(id)
	}
	first := []string{c.ms["a"].Advertise(), c.ms["b"].Advertise()}
	c.run = func(g *Members) { wg.Go(func() { g.Run(ctx, func() []string { return first }) }) }
	c.run(c.gs["b"])
	c.run(c.gs["c"])
	c.together()
	return c
}

func (c *crowd) start(id string) {
	c.t.Helper()
	c.ms[id] = start(c.t, c.ca, id)
	c.gs[id] = gossips(c.t, c.ms[id], func(conf *MembersConfig) {
		conf.Meta = []byte("meta of " + id)
		conf.tune = func(m *memberlist.Config) { m.DeadNodeReclaimTime = time.Millisecond }
		conf.Message = func(b []byte) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.heard[id] += string(b)
		}
		if id == "a" {
			conf.Event = func(m Member) {
				c.mu.Lock()
				defer c.mu.Unlock()
				c.events = append(c.events, m.ID+":"+string(m.State)+":"+string(m.Meta))
			}
		}
	})
}

// together waits until every node sees all three.
func (c *crowd) together() {
	c.t.Helper()
	for _, g := range c.gs {
		sees(c.t, g, "a:alive b:alive c:alive")
	}
}

// Members know each other's addresses and data, and hear messages and changes.
func TestMembers(t *testing.T) {
	c := gather(t)
	for _, m := range c.gs["a"].List() {
		if m.Addr != c.ms[m.ID].Advertise() || string(m.Meta) != "meta of "+m.ID {
			t.Errorf("node a knows %+v", m)
		}
	}
	// Datagrams may be lost, on loopback too if the machine is busy.
	soon(t, "the others hear a message", func() bool {
		if err := c.gs["a"].Send(bytes.Repeat([]byte("m"), MaxMessage)); err != nil {
			t.Fatal(err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.heard["b"]) >= MaxMessage && len(c.heard["c"]) >= MaxMessage && c.heard["a"] == ""
	})
	if err := c.gs["a"].Send(make([]byte, MaxMessage+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a long message: %v", err)
	}
	if err := c.gs["c"].SetMeta(bytes.Repeat([]byte("y"), MaxMeta)); err != nil {
		t.Fatal(err)
	}
	soon(t, "node a is told of c's new data", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return slices.Contains(c.events, "c:alive:"+strings.Repeat("y", MaxMeta))
	})
	if err := c.gs["c"].SetMeta(make([]byte, MaxMeta+1)); err == nil {
		t.Error("too much data is published")
	}
}

// A node that dies is noticed, and may come back at another address.
func TestMemberDies(t *testing.T) {
	c := gather(t)
	c.gs["c"].Close()
	c.ms["c"].Close()
	was := time.Now()
	sees(t, c.gs["a"], "a:alive b:alive c:dead")
	t.Logf("a death is known after %v", time.Since(was))
	c.start("c")
	c.run(c.gs["c"])
	c.together()
	if m := c.gs["a"].List()[2]; m.Addr != c.ms["c"].Advertise() {
		t.Errorf("node c is at %s; node a knows %s", c.ms["c"].Advertise(), m.Addr)
	}
}

// A node that leaves is not taken for dead.
func TestMemberLeaves(t *testing.T) {
	c := gather(t)
	if err := c.gs["b"].Leave(5 * time.Second); err != nil {
		t.Fatal(err)
	}
	c.gs["b"].Close()
	for _, id := range []string{"a", "c"} {
		sees(t, c.gs[id], "a:alive b:left c:alive")
	}
	if err := c.gs["b"].Leave(time.Second); err != nil {
		t.Errorf("leave after close: %v", err)
	}
}

// talk waits until the listener has counted another message of g.
func talk(t *testing.T, g *Members, heard *atomic.Int64) {
	t.Helper()
	was := heard.Load()
	soon(t, "a message is heard", func() bool {
		g.Send([]byte("x"))
		return heard.Load() > was
	})
}

// The gossip key changes while the nodes talk. A node without the new key is not
// heard.
func TestGossipKeys(t *testing.T) {
	ca := newAuthority(t, "c1")
	var heard atomic.Int64
	a := gossips(t, start(t, ca, "a"), func(c *MembersConfig) { c.Message = func([]byte) { heard.Add(1) } })
	b := gossips(t, start(t, ca, "b"))
	if _, err := b.Join(within(t, patience), []string{a.mesh.Advertise()}); err != nil {
		t.Fatal(err)
	}
	sees(t, a, "a:alive b:alive")
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { // so that keys change while they are read
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			b.Send([]byte("x"))
			<-tick.C
		}
	})
	defer wg.Wait()
	defer stop()
	talk(t, b, &heard)
	for _, step := range []struct {
		g    *Members
		keys [][]byte
	}{
		{a, [][]byte{key(1), key(3), key(2)}},
		{b, [][]byte{key(1), key(2)}},
		{a, [][]byte{key(2), key(1)}},
		{b, [][]byte{key(2), key(1)}},
		{a, [][]byte{key(2)}},
		{b, [][]byte{key(2)}},
	} {
		if err := step.g.SetKeys(step.keys); err != nil {
			t.Fatal(err)
		}
		if got := step.g.ring.GetKeys(); !slices.EqualFunc(got[:1], step.keys[:1], bytes.Equal) || len(got) != len(step.keys) {
			t.Fatalf("the ring holds %d keys, the first is %d; want %d, %d", len(got), got[0][0], len(step.keys), step.keys[0][0])
		}
		talk(t, b, &heard)
	}
	stop()
	wg.Wait()
	if s := view(a); s != "a:alive b:alive" {
		t.Errorf("node a sees %q", s)
	}
	old := gossips(t, start(t, ca, "old"))
	if _, err := old.Join(within(t, patience), []string{a.mesh.Advertise()}); err == nil {
		t.Error("a node with the old key joined")
	}
}

// A removed node that still has the gossip key does not get in through another node.
func TestGossipOfTheRemoved(t *testing.T) {
	ca := newAuthority(t, "c1")
	var denied denies
	denied.deny("x")
	a := gossips(t, start(t, ca, "a", denied.into))
	b, x := gossips(t, start(t, ca, "b")), gossips(t, start(t, ca, "x"))
	for _, g := range []*Members{a, x} {
		if _, err := b.Join(within(t, patience), []string{g.mesh.Advertise()}); err != nil {
			t.Fatal(err)
		}
	}
	sees(t, b, "a:alive b:alive x:alive")
	if _, err := x.Join(within(t, patience), []string{a.mesh.Advertise()}); err == nil {
		t.Error("the removed node joined")
	}
	sees(t, a, "a:alive b:alive")
}

// Packets that are not gossip, too long, or too many do no harm.
func TestGossipGarbage(t *testing.T) {
	ca := newAuthority(t, "c1")
	a, b := gossips(t, start(t, ca, "a")), gossips(t, start(t, ca, "b"))
	udp := must(osNet{}.ListenPacket("udp", "127.0.0.1:0"))
	defer udp.Close()
	for i := range 2 * packetQueue {
		udp.WriteTo(bytes.Repeat([]byte{byte(i)}, i%3000), a.mesh.packets.LocalAddr())
	}
	if _, err := b.Join(within(t, patience), []string{a.mesh.Advertise()}); err != nil {
		t.Fatal(err)
	}
	sees(t, a, "a:alive b:alive")
	if _, err := a.mesh.gossip.WriteTo(make([]byte, maxPacket+1), b.mesh.Advertise()); err == nil {
		t.Error("a long packet is sent")
	}
}
