package cli

import (
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

// noCommand are the calls of the API without a command, each with the reason. Every other
// call has one.
var noCommand = map[string]string{
	"signIn":             "a session is a browser's; commands send a token",
	"session":            "a session is a browser's; commands send a token",
	"signOut":            "a session is a browser's; commands send a token",
	"setPassword":        "people set their own password in the dashboard",
	"newSecondFactor":    "people set their own second factor in the dashboard",
	"setSecondFactor":    "people set their own second factor in the dashboard",
	"removeSecondFactor": "people set their own second factor in the dashboard",
	"setupPage":          "a page, opened with a link",
	"setup":              "a page, opened with a link",
	"openSessionLink":    "a page, opened with a link",
	"sessionLinkPage":    "a page, opened with a link",
	"signInOIDC":         "a page, opened with a link",
	"signInOIDCCallback": "a page, opened with a link",
	"keyNodes":           "shows a wait while it goes on; keys revoke prints the nodes that it waited for",
	"livez":              "health asks /readyz",
	"securityTxt":        "a page for the public",
	"openAPI":            "a page for programs",
	"metrics":            "a page for programs",
}

// Every call of the description is made by a command, or stands in noCommand.
func TestEveryCallHasACommand(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromFile("../openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{} // by method and path
	s := start(t, nil)
	s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/livez" && r.URL.Path != "/openapi.yaml" { // of a diagnosis
			seen[r.Method+" "+r.URL.Path] = true
		}
		setType(w, r)
		if strings.HasSuffix(r.URL.Path, "/report") {
			io.WriteString(w, `{"report":{}}`)
			return
		}
		io.WriteString(w, whatever)
	})
	for args, stdin := range everyCommand {
		if args == "audit tail" {
			continue // does not end, and makes the call of audit list
		}
		s.run(t, stdin, strings.Fields(args)...)
	}
	for _, args := range []string{"health", "keys revoke-leaked"} {
		s.run(t, "pk_live_x", strings.Fields(args)...)
	}
	argument := regexp.MustCompile(`\\\{[a-z]+\\\}`)
	stale := maps.Clone(noCommand)
	calls := 0
	for path, item := range doc.Paths.Map() {
		pattern := regexp.MustCompile("^" + argument.ReplaceAllString(regexp.QuoteMeta(path), "[^/]+") + "$")
		for method, op := range item.Operations() {
			calls++
			made := slices.ContainsFunc(slices.Collect(maps.Keys(seen)), func(line string) bool {
				m, p, _ := strings.Cut(line, " ")
				return m == method && (p == path || pattern.MatchString(p) && doc.Paths.Value(p) == nil)
			})
			reason := noCommand[op.OperationID]
			delete(stale, op.OperationID)
			if made == (reason != "") {
				t.Errorf("%s (%s %s): made by a command: %v; noCommand says %q", op.OperationID, method, path, made, reason)
			}
		}
	}
	if len(stale) > 0 || calls < 80 {
		t.Errorf("%d calls were read; noCommand has others: %v", calls, stale)
	}
}
