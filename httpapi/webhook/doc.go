// Package webhook signs notices and posts them to endpoints. It knows no state: what to
// send, and when to try again, is decided by its callers.
//
// # Targets
//
// An endpoint's URL is chosen by a customer, so a sender inside a private network must not
// be talked into reaching what is private there. The address is checked at the time of each
// connection, after names are resolved and right before the system call (the dialer's
// Control hook), so that a name which resolves differently each time gains nothing.
// Redirects are not followed, and no proxy is used. Only addresses of the public Internet
// are reached, and those that the operator lists.
//
// The package starts no goroutines of its own and takes no locks; a [Sender] may be used
// from any goroutine.
package webhook
