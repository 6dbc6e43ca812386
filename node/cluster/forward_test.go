package cluster

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/node/replica/replicatest"
	"github.com/perfgate/perfgate/store"
)

// proposeFrom makes the call of another node to r, with the query that it sends.
func proposeFrom(t *testing.T, r *replica.Replica, query string, raw []byte) reply[wireReceipt] {
	t.Helper()
	w := httptest.NewRecorder()
	(&server{node: &node{r: r}}).servePropose(w, httptest.NewRequest(http.MethodPost, callPropose+query, bytes.NewReader(raw)))
	var out reply[wireReceipt]
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || w.Code != http.StatusOK {
		t.Fatalf("%d %q: %v", w.Code, w.Body, err)
	}
	return out
}

// monthsAsked is a command that is vital and does not wait.
func monthsAsked() *store.Command {
	return &store.Command{At: time.Now(), Actor: store.Actor{Type: store.ActorSystem, ID: "n2"}, Change: &store.Grant{
		Node: "n2", Asks: []store.GrantAsk{{Account: store.DefaultAccount, Type: store.Live, Month: store.Month(time.Now()), Want: 1}},
	}}
}

// TestForwardedQueryIsIgnored: the traits are the command's own; those that an older
// version sends do not count.
func TestForwardedQueryIsIgnored(t *testing.T) {
	t.Parallel()
	r := replicatest.New(t)
	for _, query := range []string{"", "?waits=1", "?takes=1&waits=1"} {
		if out := proposeFrom(t, r, query, monthsAsked().Encode()); out.Fault != nil || len(out.Value.Result.Granted) != 1 {
			t.Errorf("a grant with %q: %+v", query, out)
		}
	}
}

// TestForwardedUnknownCommand: a command that the leader cannot decode does not reach the log,
// where it would stop every node.
func TestForwardedUnknownCommand(t *testing.T) {
	t.Parallel()
	r := replicatest.New(t)
	before := r.LastIndex()
	for _, raw := range []string{
		"",
		"\x01",
		"\x02" + `{"at":"2026-03-01T12:00:00Z","actor":{"type":"system","id":"n"},"account_delete":{}}`,
		"\x01" + `{"at":"2026-03-01T12:00:00Z","actor":{"type":"system","id":"n"},"account_merge":{}}`,
		string(store.Stamp{Wall: 1}.Put(replicatest.CreateKey(1).Encode())), // a leader alone stamps
		"\x01" + `{"at":"2026-03-01T12:00:00Z","actor":{"type":"system","id":"n"},"account_delete":{"force":true}}`,
	} {
		out := proposeFrom(t, r, "?takes=1&waits=1", []byte(raw))
		if out.Fault == nil || out.Fault.Code != "unknown_command" || out.Fault.Retry || out.Fault.Message == "" {
			t.Errorf("%q: %+v", raw, out.Fault)
		}
	}
	if after := r.LastIndex(); after != before {
		t.Errorf("%d entries were appended", after-before)
	}
	replicatest.Must(t, r, replicatest.CreateKey(1)) // and all is well
}
