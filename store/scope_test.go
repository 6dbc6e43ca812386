package store

import (
	"slices"
	"strings"
	"testing"
)

// The names of the built-in scopes are in keys, in configurations and in the
// public API, and their bits in the rows of keys: neither may change.
func TestBuiltinScopes(t *testing.T) {
	for name, scope := range map[string]Scope{"read": 1, "write": 2, "verify": 4, "limit": 8, "admin": 16} {
		if ScopeNamed(name) != scope || !slices.Equal(scope.Names(), []string{name}) {
			t.Errorf("%s is %d, and %d is %v", name, ScopeNamed(name), scope, scope.Names())
		}
	}
	for _, name := range []string{"", "Read", "chat"} {
		if s := ScopeNamed(name); s != 0 {
			t.Errorf("%q is the built-in scope %d", name, s)
		}
	}
	if got := DefaultScopes.Names(); !slices.Equal(got, []string{"read", "write"}) {
		t.Errorf("a key that is created without scopes gets %v", got)
	}
	builtin, custom := SplitScopes([]string{"chat", "admin", "read", "Admin"})
	if builtin != ScopeAdmin|ScopeRead || !slices.Equal(custom, []string{"chat", "Admin"}) {
		t.Errorf("split into %v and %v", builtin.Names(), custom)
	}
	r := Record{Scopes: ScopeRead, Extra: &Extra{Custom: []string{"chat", "images"}}}
	for name, want := range map[string]bool{"read": true, "write": false, "chat": true, "images": true, "video": false} {
		if r.HasScope(name) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
	for s := range Scope(1) << len(scopeNames) {
		for _, custom := range [][]string{nil, {"chat"}, {"chat", "images"}} {
			r := Record{Scopes: s, Extra: &Extra{Custom: custom}}
			if got, want := r.ScopeText(), strings.Join(r.ScopeNames(), " "); got != want {
				t.Errorf("the text of %v and %v is %q, want %q", s.Names(), custom, got, want)
			}
		}
	}
}
