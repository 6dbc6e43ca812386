package manage

import (
	"fmt"

	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
)

// RouteTable knows the routes of this node's proxy.
type RouteTable interface {
	// Requires reports whether a route requires the scope.
	Requires(scope string) bool
	// Meets reports whether a key with this pattern among its routes may make any
	// request that a route takes.
	Meets(pattern string) bool
}

// maxWarnings bounds the warnings of one import: a reader who has seen so many fixes the
// file and not the lines.
const maxWarnings = 100

// warnOfLines adds the warnings of [Keys.unused] to the lines that were imported. One typo
// is often in every line: each warning stands at the first line that it is true of, and
// each scope and route is looked for once.
func (h *Keys) warnOfLines(lines []importedLine) {
	seenScopes, seenRoutes := map[string]bool{}, map[string]bool{}
	left := maxWarnings
	for i := range lines {
		at := &lines[i]
		if at.ID == nil || at.key == nil {
			continue
		}
		scopes, routes := unseen(seenScopes, at.key.Scopes), unseen(seenRoutes, at.key.Routes)
		found := h.unused(&scopes, &routes)
		at.Warnings = found[:min(len(found), left)]
		if left -= len(at.Warnings); left == 0 {
			return
		}
	}
}

// unseen lists the texts that are not in seen yet, and enters them.
func unseen(seen map[string]bool, texts []string) (fresh []string) {
	for _, s := range texts {
		if !seen[s] {
			seen[s] = true
			fresh = append(fresh, s)
		}
	}
	return fresh
}

// unused warns of scopes and routes of a key that no route of the proxy looks at, which
// are a typo more often than not. They are no fault: the routes may come later, and a
// service may read the scopes of a verdict. nil and empty lists have none.
func (h *Keys) unused(scopes, routes *[]string) (warnings []string) {
	if scopes != nil {
		for _, s := range *scopes {
			if store.ScopeNamed(s) == 0 && !h.Routes.Requires(s) {
				warnings = append(warnings, fmt.Sprintf("no route of this node requires the scope %s", rest.Quote(s, maxScope)))
			}
		}
	}
	if routes != nil {
		for _, r := range *routes {
			if !h.Routes.Meets(r) {
				warnings = append(warnings, fmt.Sprintf("no route of this node takes a request that %s covers", rest.Quote(r, 100)))
			}
		}
	}
	return warnings
}
