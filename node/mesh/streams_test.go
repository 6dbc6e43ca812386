package mesh

import (
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// pipe returns a connection of a mesh and the peer's end of it.
func pipe(m *Mesh) (c *conn, peer net.Conn) {
	raw, peer := net.Pipe()
	return &conn{Conn: raw, raw: raw, mesh: m}, peer
}

// closed reports whether the other end of a pipe is closed.
func closed(t *testing.T, peer net.Conn) bool {
	t.Helper()
	peer.SetReadDeadline(time.Now().Add(time.Millisecond)) // fails if the pipe is closed
	_, err := peer.Read(make([]byte, 1))
	return errors.Is(err, io.EOF)
}

// A connection that is not accepted in time is closed, and so is one that comes
// after the listener was closed.
func TestStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := new(Mesh)
		s := newStreams(m)
		var peers []net.Conn
		for range waiting {
			c, peer := pipe(m)
			s.put(c)
			peers = append(peers, peer)
		}
		began := time.Now()
		c, peer := pipe(m)
		s.put(c) // one too many
		if d := time.Since(began); d != waitTimeout || !closed(t, peer) {
			t.Errorf("one connection too many waits %v, closed %v", d, closed(t, peer))
		}
		if c, err := s.Accept(); err != nil || c == nil || closed(t, peers[0]) {
			t.Errorf("accept: %v, %v", c, err)
		}
		c, peer = pipe(m)
		s.put(c) // there is room again
		if closed(t, peer) {
			t.Error("a connection is closed although there is room")
		}
		if err := errors.Join(s.Close(), s.Close()); err != nil {
			t.Error(err)
		}
		c, peer = pipe(m)
		s.put(c)
		if !closed(t, peer) {
			t.Error("a closed listener keeps a connection")
		}
	})
}

// Direct connects to the named node only, and the other side learns which node
// came.
func TestDirect(t *testing.T) {
	ca := newAuthority(t, "c1")
	a, b := start(t, ca, "a"), start(t, ca, "b")
	out, err := a.Direct(within(t, patience), b.Advertise(), "b")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	in, peer, err := b.AcceptDirect()
	if err != nil || peer != "a" {
		t.Fatalf("from %q: %v", peer, err)
	}
	defer in.Close()
	if _, err := out.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	var got [5]byte
	if _, err := io.ReadFull(in, got[:]); err != nil || string(got[:]) != "hello" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := a.Direct(within(t, patience), b.Advertise(), "c"); !errors.Is(err, ErrOtherNode) {
		t.Errorf("another node: %v", err)
	}
	b.Close()
	if _, _, err := b.AcceptDirect(); err == nil {
		// The connection that was refused by a may have come first.
		if _, _, err = b.AcceptDirect(); !errors.Is(err, ErrClosed) {
			t.Errorf("after close: %v", err)
		}
	}
	if _, err := a.Direct(within(t, patience), b.Advertise(), "b"); !errors.Is(err, ErrUnreachable) {
		t.Errorf("to a closed node: %v", err)
	}
}
