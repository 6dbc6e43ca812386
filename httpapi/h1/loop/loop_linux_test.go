package loop

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// A connection is served again and again, whether its octets came before it landed or later.
func TestLand(t *testing.T) {
	l := start(t)
	peer, c := pair(t)
	ended := make(chan error, 1)
	io.WriteString(peer, "early")
	if err := l.Land(c, 0, shout(c, ended)); err != nil {
		t.Fatal(err)
	}
	expect(t, peer, "EARLY")
	for range 100 {
		io.WriteString(peer, "later")
		expect(t, peer, "LATER")
	}
	peer.Close()
	if err := within(t, "the end", ended); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	other, oc := pair(t)
	if err := l.Land(oc, 0, shout(oc, ended)); err != nil {
		t.Fatal(err)
	}
	io.WriteString(other, "after")
	expect(t, other, "AFTER") // the loop has closed the first one by now
	if len(ended) > 0 {
		t.Error("the end was told of twice")
	}
}

// Octets that come together with the end of the direction are served, and then the end is
// noticed, although one event tells of both.
func TestHalfClose(t *testing.T) {
	l := start(t)
	for range 50 {
		peer, c := pair(t)
		ended := make(chan error, 1)
		if err := l.Land(c, 0, shout(c, ended)); err != nil {
			t.Fatal(err)
		}
		io.WriteString(peer, "last")
		peer.CloseWrite()
		expect(t, peer, "LAST")
		if err := within(t, "the end", ended); !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		if n, err := peer.Read(make([]byte, 1)); err != io.EOF {
			t.Fatal(n, err)
		}
	}
}

// While a task waits for its upstream, others are served.
func TestOthersAreServed(t *testing.T) {
	l := start(t)
	peer, c := pair(t)
	upPeer, up := pair(t)
	other, oc := pair(t)
	tasks := make(chan *Task, 10)
	if err := l.Land(c, 0, asking(c, up, func(t *Task) { tasks <- t })); err != nil {
		t.Fatal(err)
	}
	if err := l.Land(oc, 0, shout(oc, make(chan error, 1))); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		io.WriteString(peer, "question")
		expect(t, upPeer, "question")
		io.WriteString(other, "meanwhile")
		expect(t, other, "MEANWHILE")
		io.WriteString(upPeer, "answer")
		expect(t, peer, "answer")
	}
}

// A task that waits for long leaves the loop, with its connections, and goes on. It may then
// wait for anything.
func TestLongWait(t *testing.T) {
	l := start(t)
	peer, c := pair(t)
	upPeer, up := pair(t)
	left := make(chan *Task, 1)
	note := func(task *Task) { task.OnLeave(func() { left <- task }) }
	if err := l.Land(c, 0, asking(c, up, note)); err != nil {
		t.Fatal(err)
	}
	io.WriteString(peer, "question")
	expect(t, upPeer, "question")
	task := within(t, "the task to leave", left)
	if task.Loop() != nil || c.Loop() != nil || up.Loop() != nil {
		t.Error("a connection is still the loop's")
	}
	io.WriteString(upPeer, "answer")
	expect(t, peer, "answer")
	io.WriteString(peer, "more")
	got := make([]byte, 4)
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "more" {
		t.Errorf("%q, %v", got, err)
	}
}

// A peer that does not read keeps nobody else waiting, and gets all of what was sent.
func TestSlowReader(t *testing.T) {
	l := start(t)
	peer, c := pair(t)
	other, oc := pair(t)
	text := strings.Repeat("0123456789abcdef", 1<<20) // more than sockets hold
	sent := make(chan error, 1)
	err := l.Land(c, 0, func(task *Task) bool {
		if _, err := receive(c); err != nil {
			return errors.Is(err, errNone)
		}
		err := send(c, text)
		if !task.Left() {
			err = errors.New("the task has not left")
		}
		c.Close()
		sent <- err
		return false
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Land(oc, 0, shout(oc, make(chan error, 1))); err != nil {
		t.Fatal(err)
	}
	io.WriteString(peer, "go")
	for range 20 {
		io.WriteString(other, "meanwhile")
		expect(t, other, "MEANWHILE")
	}
	if got, err := io.ReadAll(peer); err != nil || string(got) != text {
		t.Errorf("%d octets, %v", len(got), err)
	}
	if err := within(t, "the end of the task", sent); err != nil {
		t.Error(err)
	}
}

// An upstream that another goroutine closes ends the wait for it.
func TestCloseWakes(t *testing.T) {
	l := start(t)
	peer, c := pair(t)
	upPeer, up := pair(t)
	if err := l.Land(c, 0, asking(c, up, func(*Task) {})); err != nil {
		t.Fatal(err)
	}
	io.WriteString(peer, "question")
	expect(t, upPeer, "question")
	up.Close()
	expect(t, peer, "error")
	if _, err := upPeer.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the upstream's connection: %v", err)
	}
}

// A connection that waits is closed by Close, by the end of the loop, and after its idle time;
// its owner is told once.
func TestEndsOfWaits(t *testing.T) {
	for name, end := range map[string]func(l *Loop, c *Conn){
		"Close":            func(_ *Loop, c *Conn) { c.Close() },
		"Close, twice":     func(_ *Loop, c *Conn) { c.Close(); c.Close() },
		"end of the loop":  func(l *Loop, _ *Conn) { l.Close() },
		"the idle timeout": func(*Loop, *Conn) {},
	} {
		t.Run(name, func(t *testing.T) {
			l := start(t)
			peer, c := pair(t)
			ended := make(chan error, 2)
			idle := time.Duration(0)
			if name == "the idle timeout" {
				idle = time.Millisecond
			}
			if err := l.Land(c, idle, shout(c, ended)); err != nil {
				t.Fatal(err)
			}
			if idle == 0 {
				io.WriteString(peer, "x")
				expect(t, peer, "X")
			}
			end(l, c)
			if err := within(t, "the end", ended); !errors.Is(err, net.ErrClosed) {
				t.Error(err)
			}
			if _, err := peer.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("the peer: %v", err)
			}
			if len(ended) > 0 {
				t.Error("the owner is told twice")
			}
		})
	}
}

// A loop that has ended takes no connection, which stays as it is.
func TestLandTooLate(t *testing.T) {
	l := start(t)
	peer, c := pair(t)
	gone := make(chan error, 1)
	_, first := pair(t)
	if err := l.Land(first, 0, shout(first, gone)); err != nil {
		t.Fatal(err)
	}
	l.Close()
	within(t, "the end of the loop", gone)
	if err := l.Land(c, 0, shout(c, gone)); err == nil {
		t.Fatal("the loop took a connection")
	}
	io.WriteString(peer, "text")
	got := make([]byte, 4)
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "text" {
		t.Errorf("%q, %v", got, err)
	}
}

// A deadline that was set on the loop holds after it.
func TestDeadlineAfterLeaving(t *testing.T) {
	l := start(t)
	peer, c := pair(t)
	result := make(chan error, 1)
	err := l.Land(c, 0, func(*Task) bool {
		if _, err := receive(c); err != nil {
			return errors.Is(err, errNone)
		}
		c.SetReadDeadline(time.Now().Add(time.Millisecond))
		_, err := await(c)
		result <- err
		return false
	})
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(peer, "x")
	if err := within(t, "the deadline", result); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
}

// A task with many steps leaves, so that a long answer keeps nobody waiting.
func TestManySteps(t *testing.T) {
	l := start(t)
	peer, c := pair(t)
	steps := make(chan int, 1)
	err := l.Land(c, 0, func(task *Task) bool {
		if _, err := receive(c); err != nil {
			return errors.Is(err, errNone)
		}
		n := 0
		for !task.Left() && send(c, "x") == nil {
			n++
		}
		steps <- n
		return false
	})
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(peer, "x")
	if n := within(t, "the end of the task", steps); n > maxSteps {
		t.Errorf("%d steps", n)
	}
}
