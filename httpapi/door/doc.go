// Package door has the doors of perfgate for other proxies, which forward requests themselves
// and ask before: [ForwardAuth] for nginx, Traefik and Caddy, [GRPC] for Envoy.
//
// A door translates: the message of its protocol to the request that the client has sent, and the
// decision of the proxy back. It has no policy and keeps nothing, and it starts no goroutines. A
// message that could have been written by the client is refused, so the peers that may ask are
// configured.
package door
