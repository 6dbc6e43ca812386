package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// --watch shows the answer again and again, also after an error, and ends with its context.
func TestWatch(t *testing.T) {
	for _, args := range []string{"usage --watch=500ms", "cluster status --watch=500ms", "cluster status --watch=500ms --json"} {
		ctx, cancel := context.WithCancel(t.Context())
		n := 0
		s := start(t, nil)
		s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n++
			w.Header().Set("Content-Type", "application/json")
			switch n {
			case 2:
				w.WriteHeader(503)
				io.WriteString(w, `{"error":{"code":"no_leader","message":"There is no leader."}}`)
			case 4:
				cancel()
				<-r.Context().Done()
			default:
				fmt.Fprintf(w, `{"data":[{"time":"2027-01-01T00:00:00Z","requests":%d,"denied":0}],"cluster_id":"round-%d","nodes":[],"leader":"n1","term":1,"healthy":%v}`, 7000+n, n, n != 1)
			}
		})
		var out, errs bytes.Buffer
		env := map[string]string{serverEnv: s.URL, tokenEnv: "pgop_token"}
		code := Execute(ctx, Config{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Env: func(n string) (string, bool) { v, ok := env[n]; return v, ok }}, strings.Fields(args))
		cancel()
		rounds := []string{"7001", "There is no leader. (no_leader)", "7003"}
		if strings.HasPrefix(args, "cluster") {
			rounds = []string{"round-1", "There is no leader. (no_leader)", "round-3"}
		}
		text := out.String()
		for _, want := range rounds {
			_, after, found := strings.Cut(text, want)
			if !found {
				t.Errorf("%s: %q is missing or out of order", args, want)
			}
			text = after
		}
		if code != 0 || errs.Len() > 0 {
			t.Errorf("%s: exit code %d\n%s%s", args, code, out.String(), errs.String())
		}
	}
	s, _ := fixed(t, 503, `{"error":{"code":"no_leader","message":"There is no leader."}}`)
	testFailures(t, s, []failure{
		{args: "usage --watch", code: 1, err: "There is no leader."}, // at once: a wrong server or token is no reason to wait
		{args: "usage --watch=0s", code: 2, err: "must be at least 500ms"},
		{args: "cluster status --watch=1ms", code: 2, err: "must be at least 500ms"},
	})
}
