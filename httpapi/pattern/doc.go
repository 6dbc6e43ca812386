// Package pattern is the one grammar of route patterns: of the paths of
// configured routes and of the routes that a key is restricted to. It is the
// syntax of http.ServeMux without hosts, and of plain path prefixes:
//
//	/v1/models          whole segments as a prefix: /v1/models and /v1/models/x, not /v1/modelsx
//	GET /v1/models      that one path (HEAD too)
//	/v1/files/          that subtree, and /v1/files itself
//	/v1/files/{id}      one segment, not empty
//	/v1/files/{rest...} the rest
//	/v1/files/{$}       /v1/files/ alone;  /v1/files{$}  /v1/files alone
//
// The idea: meaning and validity are apart. [Compile] gives every string a
// meaning, for some that of matching nothing. [Parse] is Compile for strings that
// are also well formed; a configured route must be. The routes of a key are
// compiled without that check, because keys are stored for years and the rights
// of a stored key must not depend on how strict a later version is. See
// docs/decisions/045-one-grammar.md.
//
// Paths are matched percent-encoded, as they were sent, so that an encoded slash
// does not divide segments and nothing is decoded twice. Segments are compared
// after decoding. Unlike ServeMux there are no redirects, and repeated slashes
// in a path match as one: otherwise //admin/x would slip past a route for /admin/
// to a less strict one.
//
// A [Pattern] and a [Set] are immutable, and so is a [Tree] once it is filled. Matching
// takes time linear in the length of the path and allocates only for segments that are
// percent-encoded; a Tree finds a pattern among many in about the same time.
// The package is pure: it starts no goroutines, takes no locks and reads
// nothing but its arguments.
package pattern
