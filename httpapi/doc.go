// Package httpapi is everything that perfgate speaks over HTTP on its own
// behalf: the management API, health, metrics and well-known pages.
//
// A handler decodes strictly, validates, settles whatever is not deterministic
// and proposes one [store.Command]; what apply answers is what the client gets.
// The enforcing proxy is in httpapi/proxy, the decision that both share in
// httpapi/admit.
package httpapi
