// Package httpapi is the HTTP API that perfgate serves on its own behalf: the
// management calls, health, metrics and well-known pages. This package holds the
// route table, which states for each call how it is reached, and the handlers of
// the two listeners over it. The frame that all calls share is in httpapi/rest,
// their handlers are in httpapi/manage.
//
// # Ways in
//
// The admin listener serves every route, for operator tokens and keys. The proxy
// listener serves the probes, security.txt and, with self service, the pairs of
// method and path that are open to keys there; the rest is proxied traffic.
//
// The enforcing proxy is in httpapi/proxy; the decision that both share is in
// httpapi/admit. The description of the API is openapi.yaml in this directory.
//
// The package starts no goroutines and has no locks.
package httpapi
