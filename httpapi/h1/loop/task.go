package loop

import (
	"errors"
	"iter"
)

// errIdle is returned to one who waits for a connection of a loop that has no task.
var errIdle = errors.New("loop: nobody waits for an idle connection")

// soon is a time before a deadline: a wait that may end by one is no loop's, which looks at
// the clock every tick.
const soon = 4 * tick

// Task is work on a loop: a coroutine, which runs on the loop's goroutine until it waits for
// its upstream. It may go on as a goroutine of its own: see Leave.
type Task struct {
	loop  *Loop // nil once it has left
	next  func() (struct{}, bool)
	stop  func()
	yield func(struct{}) bool

	client   *Conn
	upstream *Conn // nil: none
	onLeave  func()

	state state
	waits *Conn // the connection that it waits for
	ticks int   // since it began
	steps int   // reads and writes since then
	index int   // in loop.active
}

type state uint8

const (
	over    state = iota // it can begin again
	waiting              // for a connection
	left                 // the loop
)

func newTask(l *Loop) *Task {
	t := &Task{loop: l}
	t.next, t.stop = iter.Pull(t.run)
	return t
}

// run is the coroutine.
func (t *Task) run(yield func(struct{}) bool) {
	t.yield = yield
	for {
		again := t.client.ready(t)
		if t.loop == nil {
			return
		}
		for again && (t.client.more || t.client.hup) {
			t.client.more = false
			if again = t.client.ready(t); t.loop == nil {
				return
			}
		}
		if !again {
			t.client.ready = nil // it was closed, or has another owner
		}
		t.state = over
		if !yield(struct{}{}) {
			return
		}
	}
}

// Left reports whether the task has left its loop.
func (t *Task) Left() bool { return t.loop == nil }

// OnLeave has f called when the task has left its loop, by the task.
func (t *Task) OnLeave(f func()) { t.onLeave = f }

// Drained says that a read found neither octets of the client nor an end.
func (t *Task) Drained() { t.client.hup = false }

// More says that there may be octets of the client that were not read.
func (t *Task) More() { t.client.more = true }

// Leave makes the task a goroutine of its own, which may wait, and moves its connections to
// the runtime's poller. It must be called by the task.
func (t *Task) Leave() {
	if t.loop == nil {
		return
	}
	t.loop.release(t)
	t.yield(struct{}{})
	t.hasLeft()
}

func (t *Task) hasLeft() {
	if f := t.onLeave; f != nil {
		t.onLeave = nil
		f()
	}
}

// Use gives the task the connection to its upstream, which no other uses, and moves it to the
// loop. It reports whether it could.
func (t *Task) Use(c *Conn) bool {
	if t.loop == nil || c.loop != nil && c.loop != t.loop {
		return false
	}
	if c.loop == nil {
		if t.loop.adopt(c) != nil {
			return false
		}
		t.loop.enter(c)
	}
	t.upstream = c
	c.mu.Lock()
	c.task = t
	c.mu.Unlock()
	return true
}

// Unuse takes it back.
func (c *Conn) Unuse() {
	if c.task == nil {
		return
	}
	if c.task.upstream == c {
		c.task.upstream = nil
	}
	c.mu.Lock()
	c.task = nil
	c.mu.Unlock()
}

// Loop is the loop that has the connection; nil if none has.
func (c *Conn) Loop() *Loop { return c.loop }

// Closed reports whether Close was called.
func (c *Conn) Closed() bool { return c.closed.Load() }

// Loop is the task's; nil if it has left.
func (t *Task) Loop() *Loop { return t.loop }

// wait waits for an event of c, on the loop if that is its upstream.
func (t *Task) wait(c *Conn) {
	if c != t.upstream || c.endsSoon() {
		t.Leave()
		return
	}
	t.state, t.waits = waiting, c
	t.yield(struct{}{})
	t.waits = nil
	if t.loop == nil {
		t.hasLeft()
	}
}

// maxSteps bounds the reads and writes of a task on its loop: a long answer must not keep the
// other connections waiting.
const maxSteps = 64

// tired counts a step, and has the task leave its loop after the last one.
func (t *Task) tired() bool {
	if t == nil {
		return false
	}
	if t.steps++; t.steps <= maxSteps {
		return false
	}
	t.Leave()
	return true
}

// endsSoon reports whether the deadline for reading is near.
func (c *Conn) endsSoon() bool {
	c.mu.Lock()
	due := c.readDue
	c.mu.Unlock()
	return !due.IsZero() && due.Sub(c.loop.now) < soon
}
