package mesh

import (
	"context"
	"errors"
	"net"
	"runtime"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
)

func TestAdvertise(t *testing.T) {
	bound := func(s string) net.Addr { return net.TCPAddrFromAddrPort(must(resolve(context.Background(), s))) }
	for _, c := range []struct{ conf, listen, bound, want string }{
		{"", "10.0.0.1:7000", "10.0.0.1:7000", "10.0.0.1:7000"},
		{"", "10.0.0.1:0", "10.0.0.1:4242", "10.0.0.1:4242"},
		{"", "node1:0", "10.0.0.1:4242", "node1:4242"},
		{"", "[::1]:0", "[::1]:4242", "[::1]:4242"},
		{"gate.example:9", ":7000", "[::]:7000", "gate.example:9"},
		{"gate.example:0", ":7000", "[::]:7000", "gate.example:7000"},
		{"gate.example", ":7000", "[::]:7000", ""},
		{"0.0.0.0:7000", ":7000", "[::]:7000", ""},
		{":7000", ":7000", "[::]:7000", ""},
		{"host:http", ":7000", "[::]:7000", ""},
	} {
		got, err := advertise(c.conf, c.listen, bound(c.bound))
		if string(got) != c.want || (err != nil) != (c.want == "") {
			t.Errorf("advertise %q, listen %q: got %q, %v; want %q", c.conf, c.listen, got, err, c.want)
		}
	}
	ip := func(s string) net.Addr { return &net.IPNet{IP: net.ParseIP(s)} }
	for _, c := range []struct {
		addrs []net.Addr
		only4 bool
		want  string
	}{
		{[]net.Addr{ip("127.0.0.1"), ip("::1"), ip("fe80::1"), ip("fd00::1"), ip("10.1.1.1"), ip("10.2.2.2")}, false, "10.1.1.1"},
		{[]net.Addr{ip("127.0.0.1"), ip("169.254.1.1"), ip("fd00::1")}, false, "fd00::1"},
		{[]net.Addr{ip("127.0.0.1"), ip("fd00::1")}, true, "127.0.0.1"},
		{nil, false, "127.0.0.1"},
	} {
		if got := outside(c.addrs, c.only4); got != c.want {
			t.Errorf("of %v: got %q, want %q", c.addrs, got, c.want)
		}
	}
}

// TCP and UDP have one number, also where UDP's is taken at first.
func TestOnePort(t *testing.T) {
	m := start(t, nil, "a")
	if m.Addr().(*net.TCPAddr).Port != m.packets.LocalAddr().(*net.UDPAddr).Port {
		t.Errorf("TCP at %v, UDP at %v", m.Addr(), m.packets.LocalAddr())
	}
	if _, err := Open(context.Background(), Config{Listen: m.Advertise(), NodeID: "b", Secret: secret}); err == nil {
		t.Error("two nodes have one port")
	}
	busy := &busyUDP{fail: 3}
	again := start(t, nil, "c", func(c *Config) { c.Net = busy })
	if again.Addr().(*net.TCPAddr).Port != again.packets.LocalAddr().(*net.UDPAddr).Port || busy.fail != 0 {
		t.Error("the ports differ")
	}
	if _, err := Open(context.Background(), Config{Listen: "127.0.0.1:0", NodeID: "b", Secret: secret[:31]}); err == nil || !strings.Contains(err.Error(), "cluster secret") {
		t.Errorf("a short secret: %v", err)
	}
}

// busyUDP finds the first ports taken.
type busyUDP struct {
	osNet
	fail int
}

func (b *busyUDP) ListenPacket(network, addr string) (net.PacketConn, error) {
	if b.fail > 0 {
		b.fail--
		other, err := b.osNet.ListenPacket(network, addr)
		if err != nil {
			return nil, err
		}
		defer other.Close()
	}
	return b.osNet.ListenPacket(network, addr)
}

// No goroutine is left after Close.
func TestClose(t *testing.T) {
	before := runtime.NumGoroutine()
	ca := newAuthority(t, "c1")
	a, b := start(t, ca, "a", echoes), start(t, ca, "b", echoes)
	ga, gb := gossips(t, a), gossips(t, b)
	if _, err := ga.Join(within(t, patience), []string{b.Advertise()}); err != nil {
		t.Fatal(err)
	}
	running := make(chan struct{})
	go func() {
		defer close(running)
		ga.Run(context.Background(), func() []string { return []string{b.Advertise()} })
	}()
	for _, m := range []*Mesh{a, b} {
		if _, err := m.Call(within(t, patience), a.Advertise(), "a", "/", nil); err != nil {
			t.Fatal(err)
		}
	}
	waiting := must(b.RaftLayer(nil).Dial(raft.ServerAddress(a.Advertise()), patience))
	defer waiting.Close()
	stranger := must(net.Dial("tcp", a.Advertise()))
	defer stranger.Close()
	ga.Close()
	<-running
	for range 2 {
		if err := errors.Join(ga.Close(), gb.Close(), a.Close(), b.Close()); err != nil {
			t.Error(err)
		}
	}
	if _, err := a.Call(within(t, patience), b.Advertise(), "", "/", nil); !errors.Is(err, ErrClosed) || !errors.As(err, new(*NotSent)) {
		t.Errorf("a call: %v", err)
	}
	if _, err := a.Ask(within(t, patience), b.Advertise(), "poll", nil); !errors.Is(err, ErrClosed) {
		t.Errorf("a question: %v", err)
	}
	soon(t, "all goroutines end", func() bool { return runtime.NumGoroutine() <= before })
}

// The end of the context that a mesh was opened with closes it.
func TestOpenContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	m, err := Open(ctx, Config{Listen: "127.0.0.1:0", NodeID: "a", Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := m.RaftLayer(nil).Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v", err)
	}
	m.Close()
}
