// Package proxy is the enforcing reverse proxy: it finds the route of a request,
// asks admit whether it may pass, charges it, and carries it to one of the
// route's upstreams and the answer back, streaming both ways.
//
// The order of things is the order of [Proxy.ServeHTTP]; a request that is
// refused at one step never reaches the next, and no upstream sees a byte of it.
// What the client asked for is judged as it stands and refused when it is
// ambiguous (dot segments, encoded slashes); it is never normalised, because an
// upstream that normalises differently would then see another request than the
// one that was judged.
//
// A [Table] of routes is immutable. [Proxy.Reload] swaps in a whole new one;
// requests that are under way finish on the old one.
//
// Bytes are moved behind one seam, [Forwarder]. Today that is net/http with
// httputil.ReverseProxy; everything else here does not care.
//
// Assumptions: the listener in front sets DisableGeneralOptionsHandler (so that
// "OPTIONS *" arrives here) and bounds the time and size of request heads; it
// sets no ReadTimeout or WriteTimeout, which would end streams.
package proxy
