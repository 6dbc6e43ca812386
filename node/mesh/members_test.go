package mesh

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
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

func TestMembers(t *testing.T) {
	ca := newAuthority(t, "c1")
	var mu sync.Mutex
	var events []string
	heard := map[string]string{}
	tell := func(id string) func(*MembersConfig) {
		return func(c *MembersConfig) {
			c.Meta = []byte("meta of " + id)
			c.tune = func(m *memberlist.Config) { m.DeadNodeReclaimTime = time.Millisecond }
			c.Message = func(b []byte) {
				mu.Lock()
				defer mu.Unlock()
				heard[id] += string(b)
			}
			if id == "a" {
				c.Event = func(m Member) {
					mu.Lock()
					defer mu.Unlock()
					events = append(events, m.ID+":"+string(m.State)+":"+string(m.Meta))
				}
			}
		}
	}
	ms := map[string]*Mesh{}
	gs := map[string]*Members{}
	for _, id := range []string{"a", "b", "c"} {
		ms[id] = start(t, ca, id)
		gs[id] = gossips(t, ms[id], tell(id))
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	first := []string{ms["a"].Advertise(), ms["b"].Advertise()}
	addrs := func() []string { return first }
	for _, id := range []string{"b", "c"} {
		wg.Go(func() { gs[id].Run(ctx, addrs) })
	}
	for _, g := range gs {
		sees(t, g, "a:alive b:alive c:alive")
	}
	for _, m := range gs["a"].List() {
		if m.Addr != ms[m.ID].Advertise() || string(m.Meta) != "meta of "+m.ID {
			t.Errorf("node a knows %+v", m)
		}
	}
	// Datagrams may be lost, on loopback too if the machine is busy.
	soon(t, "the others hear a message", func() bool {
		if err := gs["a"].Send(bytes.Repeat([]byte("m"), MaxMessage)); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		defer mu.Unlock()
		return len(heard["b"]) >= MaxMessage && len(heard["c"]) >= MaxMessage && heard["a"] == ""
	})
	if err := gs["a"].Send(make([]byte, MaxMessage+1)); err == nil {
		t.Error("a long message is sent")
	}
	if err := gs["c"].SetMeta(bytes.Repeat([]byte("y"), MaxMeta)); err != nil {
		t.Fatal(err)
	}
	soon(t, "node a is told of c's new data", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return slices.Contains(events, "c:alive:"+strings.Repeat("y", MaxMeta))
	})

	// c dies without a word, and comes back at another address.
	gs["c"].Close()
	ms["c"].Close()
	was := time.Now()
	sees(t, gs["a"], "a:alive b:alive c:dead")
	t.Logf("a death is known after %v", time.Since(was))
	ms["c"] = start(t, ca, "c")
	gs["c"] = gossips(t, ms["c"], tell("c"))
	wg.Go(func() { gs["c"].Run(ctx, addrs) })
	for _, g := range gs {
		sees(t, g, "a:alive b:alive c:alive")
	}
	if m := gs["a"].List()[2]; m.Addr != ms["c"].Advertise() {
		t.Errorf("node c is at %s; node a knows %s", ms["c"].Advertise(), m.Addr)
	}

	// b takes its leave.
	if err := gs["b"].Leave(5 * time.Second); err != nil {
		t.Fatal(err)
	}
	gs["b"].Close()
	for _, id := range []string{"a", "c"} {
		sees(t, gs[id], "a:alive b:left c:alive")
	}
	if err := gs["b"].Leave(time.Second); err != nil {
		t.Errorf("leave after close: %v", err)
	}
}

// The gossip key changes while the nodes talk; who does not know it is not heard.
func TestGossipKeys(t *testing.T) {
	ca := newAuthority(t, "c1")
	var mu sync.Mutex
	heard := 0
	a := gossips(t, start(t, ca, "a"), func(c *MembersConfig) {
		c.Message = func([]byte) { mu.Lock(); heard++; mu.Unlock() }
	})
	b := gossips(t, start(t, ca, "b"))
	if _, err := b.Join(within(t, 5*time.Second), []string{a.mesh.Advertise()}); err != nil {
		t.Fatal(err)
	}
	sees(t, a, "a:alive b:alive")
	talk := func() {
		t.Helper()
		mu.Lock()
		was := heard
		mu.Unlock()
		soon(t, "a hears b", func() bool {
			b.Send([]byte("x"))
			mu.Lock()
			defer mu.Unlock()
			return heard > was
		})
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { // so that keys change under the eyes of those who read them
		for {
			select {
			case <-stop:
				return
			default:
				b.Send([]byte("x"))
				time.Sleep(time.Millisecond)
			}
		}
	})
	talk()
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
		talk()
	}
	close(stop)
	wg.Wait()
	if s := view(a); s != "a:alive b:alive" {
		t.Errorf("node a sees %q", s)
	}
	old := gossips(t, start(t, ca, "old"))
	if _, err := old.Join(within(t, 5*time.Second), []string{a.mesh.Advertise()}); err == nil {
		t.Error("a node with the old key joined")
	}
	for _, bad := range [][][]byte{nil, {key(2)[:16]}} {
		if a.SetKeys(bad) == nil {
			t.Errorf("keys %v are taken", bad)
		}
	}
}

// A removed node that still has the gossip key gets in by no other's word.
func TestGossipOfTheRemoved(t *testing.T) {
	ca := newAuthority(t, "c1")
	var denied denies
	denied.deny("x")
	a := gossips(t, start(t, ca, "a", denied.into))
	b, x := gossips(t, start(t, ca, "b")), gossips(t, start(t, ca, "x"))
	for _, g := range []*Members{a, x} {
		if _, err := b.Join(within(t, 5*time.Second), []string{g.mesh.Advertise()}); err != nil {
			t.Fatal(err)
		}
	}
	sees(t, b, "a:alive b:alive x:alive")
	if _, err := x.Join(within(t, 5*time.Second), []string{a.mesh.Advertise()}); err == nil {
		t.Error("the removed node joined")
	}
	sees(t, a, "a:alive b:alive")
}

// Packets that are no gossip, too long, or too many hurt nobody.
func TestGossipGarbage(t *testing.T) {
	ca := newAuthority(t, "c1")
	a, b := gossips(t, start(t, ca, "a")), gossips(t, start(t, ca, "b"))
	udp := must(osNet{}.ListenPacket("udp", "127.0.0.1:0"))
	defer udp.Close()
	for i := range 2 * packetQueue {
		udp.WriteTo(bytes.Repeat([]byte{byte(i)}, i%3000), a.mesh.packets.LocalAddr())
	}
	if _, err := b.Join(within(t, 5*time.Second), []string{a.mesh.Advertise()}); err != nil {
		t.Fatal(err)
	}
	sees(t, a, "a:alive b:alive")
	if _, err := a.mesh.gossip.WriteTo(make([]byte, maxPacket+1), b.mesh.Advertise()); err == nil {
		t.Error("a long packet is sent")
	}
}
