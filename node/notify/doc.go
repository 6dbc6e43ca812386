// Package notify delivers the notices that wait in the replicated state to the endpoints
// of webhooks.
//
// The state holds what is to be sent, since a notice is queued by the command that causes
// it. The leader alone sends. It notes outcomes in the state, so that another leader goes
// on where it stopped: a notice whose outcome was not noted is sent again with the same id.
// A delivery is therefore made at least once, after any crash.
//
// # Order and failures
//
// An endpoint has one attempt under way at a time, at its oldest delivery that is due, so
// a healthy one gets its notices in order. After a failure the delivery waits, longer
// each time, and the endpoint waits with it for the first three attempts: a short outage does not
// change the order. From then on, others are tried in between, so that one notice which the
// endpoint refuses does not hold back the rest, and an endpoint that is gone is tried
// ever less often. After 72 hours, a delivery is given up.
//
// # Goroutines
//
// [Sender.Run] is one goroutine, which owns the table of lines and starts one goroutine
// for each endpoint with something to send, 64 at most. They hand their outcome back
// over a channel. No lock is taken.
package notify
