package ui

import (
	"slices"
	"strings"
	"testing"
)

// Every form and every download has a command, or a reason why it has none.
func TestEveryActionHasACommand(t *testing.T) {
	known := map[string]bool{}
	for _, r := range (&UI{}).routes() {
		known[r.pattern] = true
		_, shown := commandsOf[r.pattern]
		_, without := noCommand[r.pattern]
		acts := strings.HasPrefix(r.pattern, "POST ") || slices.ContainsFunc([]string{"/export", "/report", "/receipt", "/data"}, func(end string) bool { return strings.HasSuffix(r.pattern, end) })
		if acts != (shown != without) {
			t.Errorf("%s: add it to commandsOf, or to noCommand with the reason", r.pattern)
		}
	}
	for pattern := range commandsOf {
		if !known[pattern] {
			t.Errorf("commandsOf: there is no page %s", pattern)
		}
	}
}
