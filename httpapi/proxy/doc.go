// Package proxy is the enforcing reverse proxy. It finds the route of a request,
// has admit judge it, charges it, and carries it to one of the route's upstreams
// and the response back, streaming both ways.
//
// # The way of a request
//
// A request goes forward only, through eight steps. One that is refused at a step
// never reaches the next, and no upstream sees a byte of it.
//
//  1. serve.Server, the listener (node/serve), accepts and bounds the connection.
//  2. h1.Server parses the head, or http.Server over HTTP/2.
//  3. [Proxy.Serve], or [Proxy.ServeHTTP] over HTTP/2, → begin takes the time and one
//     view of the settings; both are passed on in the exchange, and so is all that is
//     learned later.
//  4. exchange.findRoute: [admit.Gate.Client] finds the client's address,
//     Table.find refuses ambiguous paths and finds the route. [Proxy.Judge] asks
//     the same for requests that are verified and not sent.
//  5. exchange.check → [admit.Gate.Check]: the credential is parsed and hashed. The
//     raw value goes no further; the key is looked up by its hash, and admit.decide,
//     pure, judges its state, address, scopes, routes, and the browser.
//  6. exchange.charge: admitBody and limitCost, the bounds on the body and on the cost of
//     the call, which is found in the body or put into it; then [admit.Gate.Charge] →
//     limiter.Meter.Take, pure: all of the limits and the budget are charged, or none.
//  7. exchange.forward → lane.send: an upstream is picked, [admit.Gate.Still]
//     looks once more, the request is sent.
//  8. reply.pass: the response is edited and streamed to the client; end settles the
//     cost and reports the request.
//
// Nothing on this way waits for Raft or for the disk, except step 6 where a chunk
// of a month must be fetched, and no lock is shared by all keys.
//
// [Proxy.Decide] takes a request that another proxy forwards through the steps 3 to 8 and
// the last look of step 9.
//
// # Judging and forwarding
//
// The request target is judged as it stands and refused where it is ambiguous
// (dot segments, encoded slashes). It is never normalized, because an upstream
// that normalizes differently would then see another request than the one that
// was judged.
//
// A request is an [h1.Request] and its client a downstream, whatever version of HTTP
// it came by, so there is one way through the steps: stream makes both of what
// net/http has read from HTTP/2. An upstream is called by a transport: [h1.Transport],
// or net/http's for HTTP/2.
//
// # Goroutines and locks
//
// A request is served on its handler's goroutine. A timer watches its idle and
// total time and its age; requests older than a second are entered into streams,
// which has one goroutine while it has any requests, and ends those with a key
// that lost its right, and those that the routes in force refuse. The exchange
// passes between them under exchange.mu and its atomic fields. Lock order:
// exchange.mu before streams.mu, and before life.mu. No lock is held while bytes move.
//
// An exchange is used for another request if no other goroutine can know it: see release.
//
// A [Table] of routes is immutable. [Proxy.Reload] replaces it; requests in
// flight are forwarded by the one they began with, for as long as the new one admits them.
//
// # Assumptions
//
// The listener bounds the time and size of request heads, and lets a request's body be
// read during the answer. It has no bound on the time of a whole body or answer, which
// would end streams.
package proxy
