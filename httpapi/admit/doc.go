// Package admit decides whether a request may pass: by credential, client
// address, key, scopes, route and limits. The proxy, the management API and the
// verify call all ask here, so that they cannot disagree.
//
// The idea: one pure function, decide, judges an immutable view of key and
// account in a fixed order of steps, and the first that fails answers. [Gate]
// adds the effects, only as far as the order allows: the key is looked up once
// its form is right and the node may serve; a failed authentication is counted
// once it is decided; limits are charged last, all or none.
//
//   - [Gate.Client] finds the client's address behind trusted proxies.
//   - [Gate.Check] parses and hashes the credential, which goes no further, looks
//     the key up and decides.
//   - [Gate.Charge] takes units and the reserve of a budget; [Gate.Settle] puts the
//     actual cost in place of the reserve.
//   - [Gate.Still] decides again right before an upstream is written to.
//   - [Gate.Verify] and [Gate.RateLimit] answer the calls of those names.
//
// The steps are numbered as in docs/reference.md: 1 route, 2 one credential, 3 its
// form, 4 the node may serve, 5 the key is known and active, 6 address, 7 scopes
// and routes, 8 browser policy, 9 cost, 10 limits. Step 1 is the router's, 9 the proxy's.
//
// A gate starts no goroutines. Its configuration is immutable. The table of failed
// authentications has sharded locks and the meters have their own; no two locks
// are held at a time.
package admit
