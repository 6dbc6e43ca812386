package mesh

import (
	"bytes"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/memberlist"
)

// quietMembers is a Members without a network, for the table of members.
func quietMembers() *Members {
	return &Members{wake: make(chan struct{}, 1), table: map[string]entry{}}
}

func gossipNode(id string, meta ...byte) *memberlist.Node {
	return &memberlist.Node{Name: id, Addr: net.IPv4(10, 0, 0, 1), Port: 7946, Meta: meta}
}

// The table follows memberlist: the first byte of the data tells a member that
// leaves from one that dies.
func TestRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := quietMembers()
		began := time.Now()
		for _, step := range []struct {
			node  *memberlist.Node
			state State
			want  Member
		}{
			{gossipNode("b", here, 'x'), Alive, Member{State: Alive, Meta: []byte("x"), Since: began}},
			{gossipNode("b", here, 'y'), Alive, Member{State: Alive, Meta: []byte("y"), Since: began}},
			{gossipNode("b", here, 'y'), Dead, Member{State: Dead, Meta: []byte("y"), Since: began.Add(2 * time.Second)}},
			{gossipNode("b", here), Alive, Member{State: Alive, Meta: []byte{}, Since: began.Add(3 * time.Second)}},
			{gossipNode("b", leaving), Alive, Member{State: Alive, Meta: []byte{}, Since: began.Add(3 * time.Second)}},
			{gossipNode("b", leaving), Dead, Member{State: Left, Meta: []byte{}, Since: began.Add(5 * time.Second)}},
			{gossipNode("b"), Dead, Member{State: Dead, Since: began.Add(6 * time.Second)}},
		} {
			g.record(step.node, step.state)
			got := g.List()
			if len(got) != 1 || got[0].ID != "b" || got[0].Addr != "10.0.0.1:7946" || got[0].State != step.want.State ||
				!bytes.Equal(got[0].Meta, step.want.Meta) || !got[0].Since.Equal(step.want.Since) {
				t.Errorf("%v %v: %+v, want %+v", step.node.Meta, step.state, got, step.want)
			}
			time.Sleep(time.Second) // virtual
		}
	})
}

// Changes of one member are reported once, with its latest state, in the order of
// the first one. The dead are forgotten after a while, the living never.
func TestEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := quietMembers()
		g.record(gossipNode("b", here), Alive)
		g.record(gossipNode("c", here), Alive)
		g.record(gossipNode("b", here), Dead)
		if len(g.wake) != 1 {
			t.Error("there is no signal")
		}
		got := g.takeEvents()
		if len(got) != 2 || got[0].ID != "b" || got[0].State != Dead || got[1].ID != "c" {
			t.Errorf("events %+v", got)
		}
		if got := g.takeEvents(); len(got) != 0 {
			t.Errorf("events are reported twice: %+v", got)
		}
		time.Sleep(deadMemory) // virtual
		g.record(gossipNode("d", here), Alive)
		if view(g) != "b:dead c:alive d:alive" {
			t.Errorf("after %v: %s", deadMemory, view(g))
		}
		time.Sleep(time.Nanosecond)
		g.record(gossipNode("d", here), Alive)
		if view(g) != "c:alive d:alive" {
			t.Errorf("later: %s", view(g))
		}
	})
}

// From any keys in the ring, SetKeys leaves exactly the given ones, the first of
// them encrypting.
func TestSetKeys(t *testing.T) {
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 0))
	ring, err := memberlist.NewKeyring([][]byte{key(0)}, key(0))
	if err != nil {
		t.Fatal(err)
	}
	g := &Members{ring: ring}
	for range 1000 {
		var keys [][]byte
		for _, b := range rnd.Perm(6)[:1+rnd.IntN(5)] {
			keys = append(keys, key(byte(b)))
		}
		if err := g.SetKeys(keys); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		got := slices.Clone(ring.GetKeys())
		if !bytes.Equal(ring.GetPrimaryKey(), keys[0]) {
			t.Fatalf("seed %d: key %d encrypts, want %d", seed, ring.GetPrimaryKey()[0], keys[0][0])
		}
		slices.SortFunc(got, bytes.Compare)
		slices.SortFunc(keys, bytes.Compare)
		if !slices.EqualFunc(got, keys, bytes.Equal) {
			t.Fatalf("seed %d: the ring holds %v, want %v", seed, got, keys)
		}
	}
	before := len(ring.GetKeys())
	for _, bad := range [][][]byte{nil, {}, {key(2)[:16]}, {key(2), nil}} {
		if g.SetKeys(bad) == nil || len(ring.GetKeys()) != before {
			t.Errorf("keys %v are accepted", bad)
		}
	}
}

func TestNewMembersRefuses(t *testing.T) {
	m := start(t, newAuthority(t, "c1"), "a")
	for _, c := range []MembersConfig{
		{},
		{Keys: [][]byte{key(1)[:31]}},
		{Keys: [][]byte{key(1)}, Meta: make([]byte, MaxMeta+1)},
	} {
		if g, err := NewMembers(m, c); err == nil {
			g.Close()
			t.Errorf("%+v is accepted", c)
		}
	}
}

// memberlist's lines reach the log at the debug level only, without its own
// prefix.
func TestGossipLog(t *testing.T) {
	for _, c := range []struct {
		level slog.Level
		line  string
		want  string
	}{
		{slog.LevelDebug, "[ERR] memberlist: no ack\n", `msg="no ack" from=memberlist`},
		{slog.LevelDebug, "without a level\n", `msg="without a level" from=memberlist`},
		{slog.LevelDebug, "x] memberlist: y", `msg="x] memberlist: y" from=memberlist`},
		{slog.LevelInfo, "[ERR] memberlist: no ack\n", ""},
	} {
		var out strings.Builder
		l := &gossipLog{slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: c.level}))}
		if n, err := l.Write([]byte(c.line)); n != len(c.line) || err != nil {
			t.Errorf("%q: %d, %v", c.line, n, err)
		}
		if got := out.String(); !strings.Contains(got, c.want) || c.want == "" && got != "" {
			t.Errorf("%q: %s", c.line, got)
		}
	}
}

// A removed node is refused by its name, and a message is copied.
func TestDelegate(t *testing.T) {
	var heard []byte
	m := &Mesh{conf: Config{Denied: func(id string) bool { return id == "x" }}}
	d := delegate{&Members{mesh: m, conf: MembersConfig{Message: func(b []byte) { heard = b }}}}
	if err := d.NotifyAlive(gossipNode("x")); !errors.Is(err, ErrDenied) {
		t.Errorf("a removed node: %v", err)
	}
	if err := d.NotifyAlive(gossipNode("b")); err != nil {
		t.Error(err)
	}
	buf := []byte("hello")
	d.NotifyMsg(buf)
	copy(buf, "xxxxx")
	if string(heard) != "hello" {
		t.Errorf("the message became %q", heard)
	}
}
