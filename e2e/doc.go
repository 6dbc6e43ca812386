// Package e2e drives the built binary from outside: a property that is shown here
// holds for users of `perfgate serve`, not for its packages alone. Each test starts a
// server of its own on free ports; package harness has the processes and the HTTP
// calls. Waits are for events, with generous bounds, since machines are shared.
//
// The Go tests need nothing but Go; e2e/clients holds the checks with foreign clients
// (make e2e), e2e/cluster those with three nodes (make e2e-cluster), and e2e/peers
// measures beside other proxies (make bench-proxy).
package e2e
