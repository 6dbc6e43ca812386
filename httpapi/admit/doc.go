// Package admit decides whether a request may pass: credential, client address,
// key, scopes, route, limits. The decision is one pure function over an
// immutable view; around it, [Gate] adds the clocks, the bound on failed
// authentications and the charging of limits. The proxy, the management API and
// the verify call all ask here, so that they cannot disagree.
package admit
