// Package loop waits for many connections of TCP on one goroutine, with an epoll of its own
// (Linux), and runs the work on them as coroutines. It knows nothing of HTTP.
//
// # Why
//
// A goroutine for each connection costs a switch for each wait, by way of the runtime's poller
// and scheduler, and a stack that has left the processor's cache. A [Loop] takes all events that are
// there at once, and its few coroutines run on stacks that were used just before.
//
// # Two pollers
//
// A [Conn] belongs to the runtime's poller or to one loop. [Loop.Land] gives it to the loop, where
// it waits without a goroutine. When octets come, a [Task] serves it, and may wait for one
// upstream's connection, which it has by Use. For everything else that waits, the task leaves
// the loop: its connections move back to the runtime's poller, and it goes on as a goroutine of
// its own, where it stands. It leaves by itself if it has to wait for its client, cannot
// write at once, has made maxSteps reads and writes, or has been under way for stayTicks
// ticks. Whoever would wait for anything else calls Leave before.
//
// The epoll is itself in the runtime's poller, so a loop that waits blocks no thread.
//
// # Events
//
// They are edge-triggered: there is one for octets that come after a read which found none. The
// loop keeps what it has not acted upon: more says that there was an event since the last read
// of a client began, hup that its end has come, for good. A client with either is read again
// before it waits. A read that is short has emptied the socket, unless hup is set; one that
// fills its room calls More. An upstream is read until it has nothing before it is waited for.
//
// # Goroutines and locks
//
// Each loop has one goroutine, and each task that has left another one. Only the loop's goroutine
// changes its table and tasks, and closes descriptors that it has: Close of a Conn leaves that to
// the inbox. Conn.mu is held for single steps, and when a connection moves; Loop.mu for the
// inbox, without Conn.mu.
//
// # Bounds
//
// A loop has as many tasks as connections under way, and keeps as many spare ones as were needed
// within a second. The table has a place for each connection.
package loop
