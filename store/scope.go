package store

import (
	"slices"
	"strings"
)

// Scope is a bit set of the scopes that perfgate itself knows; custom scopes
// are in [Extra.Custom].
type Scope uint8

// The built-in scopes. Their bits are in the rows of keys.
const (
	ScopeRead Scope = 1 << iota
	ScopeWrite
	ScopeVerify
	ScopeLimit
	ScopeAdmin
)

// DefaultScopes are those of a key that is created without any.
const DefaultScopes = ScopeRead | ScopeWrite

// scopeNames names the built-in scopes in the order of their bits.
var scopeNames = [...]string{"read", "write", "verify", "limit", "admin"}

// ScopeNamed returns the built-in scope called name; 0 if it is a custom one.
func ScopeNamed(name string) Scope {
	for i, s := range scopeNames {
		if s == name {
			return 1 << i
		}
	}
	return 0
}

// Names lists the scopes of the set in the order of their bits.
func (s Scope) Names() []string { return s.AppendNames(nil) }

// AppendNames appends the scopes of the set in the order of their bits.
func (s Scope) AppendNames(names []string) []string {
	for i, name := range scopeNames {
		if s&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return names
}

// SplitScopes sorts scopes into the built-in ones and the custom rest.
func SplitScopes(scopes []string) (builtin Scope, custom []string) {
	for _, name := range scopes {
		if s := ScopeNamed(name); s != 0 {
			builtin |= s
		} else {
			custom = append(custom, name)
		}
	}
	return builtin, custom
}

// ScopeNames lists r's scopes: the built-in ones in the order of their bits, then
// the custom ones.
func (r *Record) ScopeNames() []string {
	return append(r.Scopes.AppendNames(make([]string, 0, len(r.Custom)+2)), r.Custom...)
}

// builtinScopes are the names of each set of built-in scopes, with spaces between them.
var builtinScopes = func() (texts [1 << len(scopeNames)]string) {
	for s := range texts {
		texts[s] = strings.Join(Scope(s).Names(), " ")
	}
	return texts
}()

// ScopeText is the list of [Record.ScopeNames] with spaces between them.
func (r *Record) ScopeText() string {
	if len(r.Custom) == 0 {
		return builtinScopes[int(r.Scopes)%len(builtinScopes)] // there are no other bits
	}
	return strings.Join(r.ScopeNames(), " ")
}

// HasScope reports whether r has the scope called name, built-in or custom.
func (r *Record) HasScope(name string) bool {
	if s := ScopeNamed(name); s != 0 {
		return r.Scopes&s != 0
	}
	_, ok := slices.BinarySearch(r.Custom, name)
	return ok
}
