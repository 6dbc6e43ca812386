package pattern

// Set is the compiled routes of one key: a request is allowed that one of them
// covers. It implements store.Routes.
type Set []Pattern

// NewSet compiles the routes of a key.
func NewSet(texts []string) Set {
	s := make(Set, len(texts))
	for i, text := range texts {
		s[i] = Compile(text)
	}
	return s
}

// Allow reports whether a key with these routes may be used for a request. An
// entry allows it if it is the very pattern of route, the configured route that
// matched, or if it covers the request by itself: its path, percent-encoded as
// it was sent, and its method. Each of the three is "" where it is not known;
// with neither a route nor a path known, nothing can be said against a request.
func (s Set) Allow(method, path, route string) bool {
	if path == "" && route == "" {
		return true
	}
	for i := range s {
		p := &s[i]
		if p.text == route || path != "" && path[0] == '/' && p.MatchMethod(method) && p.MatchPath(path) {
			return true
		}
	}
	return false
}
