// Package e2e drives the built binary from outside: what is shown here holds
// for whoever runs `perfgate serve`, not for its packages alone. The Go tests
// need nothing but Go; e2e/clients holds the checks with clients that others
// wrote (make e2e).
package e2e
