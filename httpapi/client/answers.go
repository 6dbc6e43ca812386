package client

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
)

// ErrForeign is the error of a call whose answer is a success, but none of perfgate's:
// the server is probably another one.
var ErrForeign = errors.New("this is not a perfgate management API")

// shape is enough of the answers to a call to tell perfgate from other servers. Every
// version of perfgate sends these members.
type shape struct {
	call    string   // method and path; {} stands for one segment
	members []string // of the answer
	rows    []string // of each element of data
}

// The members of what several calls answer with.
var (
	page    = []string{"data", "next_cursor"}
	key     = []string{"id", "name", "state"}
	account = []string{"id", "name", "tier"}
	tier    = []string{"name", "live", "test"}
	cluster = []string{"cluster_id", "nodes"}
	keyring = []string{"kek", "data_keys"}
	user    = []string{"id", "email", "role", "state"}
	caller  = []string{"id", "role", "account", "session"}
	session = []string{"id", "kind", "owner"}
	optoken = []string{"id", "name", "state"}
	deleted = []string{"id", "deleted"}
	webhook = []string{"id", "url", "events"}
	sending = []string{"id", "webhook_id", "state"}
	breach  = []string{"id", "title", "state", "action"}
	erasure = []string{"id", "account", "state", "everything"}
	allowed = []string{"entries"}
	event   = []string{"id", "time", "action"}
)

// shapes lists every call that answers in JSON.
var shapes = []shape{
	{"POST /v1/keys", key, nil},
	{"GET /v1/keys", page, key},
	{"GET /v1/keys/{}", key, nil},
	{"PATCH /v1/keys/{}", key, nil},
	{"POST /v1/keys/revoke", []string{"matched", "revoked", "ids"}, nil},
	{"POST /v1/keys/import", page, []string{"line", "id", "error"}},
	{"POST /v1/keys/verify", []string{"valid", "code"}, nil},
	{"GET /v1/keys/{}/nodes", []string{"id", "state", "nodes"}, nil},
	{"POST /v1/keys/{}/rotate", key, nil},
	{"POST /v1/keys/{}/revoke", key, nil},
	{"POST /v1/ratelimit", []string{"allowed", "limit", "remaining", "reset"}, nil},
	{"GET /v1/allowlist", allowed, nil},
	{"PUT /v1/allowlist", allowed, nil},
	{"POST /v1/allowlist/confirm", allowed, nil},
	{"POST /v1/allowlist/revert", allowed, nil},
	{"GET /v1/usage", []string{"data"}, []string{"time", "requests", "denied"}},
	{"GET /v1/usage/keys/{}", []string{"id", "requests", "denied"}, nil},
	{"GET /v1/security/events", []string{"from", "failed_authentications", "anomalies"}, nil},
	{"GET /v1/security/hygiene", []string{"checked", "data", "truncated"}, []string{"key_id", "finding"}},
	{"POST /v1/limits/simulate", []string{"limit", "would_refuse", "lowest_limit"}, nil},
	{"GET /v1/limits", []string{"data"}, []string{"policy", "limit", "remaining"}},
	{"GET /v1/audit-logs", page, event},
	{"POST /v1/audit-logs/rotate-key", []string{"keys"}, nil},
	{"GET /v1/audit-logs/head", []string{"account", "data", "keys", "missing"}, nil},
	{"GET /v1/account", account, nil},
	{"PATCH /v1/account", account, nil},
	{"POST /v1/webhooks", webhook, nil},
	{"GET /v1/webhooks", page, webhook},
	{"GET /v1/webhooks/{}", webhook, nil},
	{"PATCH /v1/webhooks/{}", webhook, nil},
	{"DELETE /v1/webhooks/{}", deleted, nil},
	{"POST /v1/webhooks/{}/rotate-secret", webhook, nil},
	{"POST /v1/webhooks/{}/test", sending, nil},
	{"GET /v1/webhooks/{}/deliveries", page, sending},
	{"POST /v1/webhooks/{}/deliveries/{}/redeliver", sending, nil},
	{"POST /v1/webhooks/{}/redeliver", []string{"queued"}, nil},
	{"DELETE /v1/account/data", erasure, nil},
	{"GET /v1/account/erasures", page, erasure},
	{"GET /v1/account/erasures/{}", erasure, nil},
	{"POST /v1/account/erasures/{}/cancel", erasure, nil},
	{"POST /v1/incidents", breach, nil},
	{"GET /v1/incidents", page, breach},
	{"GET /v1/incidents/{}", breach, nil},
	{"POST /v1/incidents/{}/close", breach, nil},
	{"POST /v1/accounts", account, nil},
	{"GET /v1/accounts", page, account},
	{"GET /v1/accounts/{}", account, nil},
	{"PATCH /v1/accounts/{}", account, nil},
	{"DELETE /v1/accounts/{}", deleted, nil},
	{"POST /v1/tiers", tier, nil},
	{"GET /v1/tiers", page, tier},
	{"GET /v1/tiers/{}", tier, nil},
	{"PATCH /v1/tiers/{}", tier, nil},
	{"DELETE /v1/tiers/{}", deleted, nil},
	{"POST /v1/session", caller, nil},
	{"GET /v1/session", caller, nil},
	{"DELETE /v1/session", deleted, nil},
	{"PUT /v1/session/password", user, nil},
	{"POST /v1/session/second-factor", []string{"secret", "url"}, nil},
	{"PUT /v1/session/second-factor", user, nil},
	{"POST /v1/session/second-factor/remove", user, nil},
	{"GET /v1/sessions", page, session},
	{"DELETE /v1/sessions/{}", deleted, nil},
	{"POST /v1/users", user, nil},
	{"GET /v1/users", page, user},
	{"GET /v1/users/{}", user, nil},
	{"PATCH /v1/users/{}", user, nil},
	{"DELETE /v1/users/{}", deleted, nil},
	{"POST /v1/users/{}/disable", user, nil},
	{"POST /v1/users/{}/reset", user, nil},
	{"POST /v1/session-links", []string{"id", "url", "account"}, nil},
	{"POST /v1/operator-tokens", optoken, nil},
	{"GET /v1/operator-tokens", page, optoken},
	{"DELETE /v1/operator-tokens/{}", deleted, nil},
	{"GET /v1/cluster", cluster, nil},
	{"POST /v1/cluster/transfer-leadership", cluster, nil},
	{"DELETE /v1/cluster/nodes/{}", deleted, nil},
	{"GET /v1/compliance", []string{"data"}, []string{"control", "state", "fact"}},
	{"GET /v1/keyring", keyring, nil},
	{"POST /v1/keyring/rotate-kek", keyring, nil},
	{"POST /v1/keyring/rotate-data", keyring, nil},
	{"POST /v1/keyring/rotate-pepper", keyring, nil},
	{"POST /v1/keyring/finish-pepper", keyring, nil},
	{"GET /livez", []string{"status"}, nil},
	{"GET /readyz", []string{"status"}, nil},
}

// shapeOf finds the shape of a call's answers. path is escaped.
func shapeOf(method, path string) (shape, bool) {
	for _, s := range shapes {
		if m, pattern, _ := strings.Cut(s.call, " "); m == method && matches(pattern, path) {
			return s, true
		}
	}
	return shape{}, false
}

func matches(pattern, path string) bool {
	want, got := strings.Split(pattern, "/"), strings.Split(path, "/")
	if len(want) != len(got) {
		return false
	}
	for i := range want {
		if want[i] != got[i] && want[i] != "{}" {
			return false
		}
	}
	return true
}

// check returns an error unless raw has the members of the shape.
func (s shape) check(raw []byte) error {
	if err := has(raw, "it", s.members); err != nil || s.rows == nil {
		return err
	}
	var list struct{ Data []json.RawMessage }
	if err := json.Unmarshal(raw, &list); err != nil {
		return fmt.Errorf("its data is no array: %w", ErrForeign)
	}
	for _, row := range list.Data {
		if err := has(row, "an element of data", s.rows); err != nil {
			return err
		}
	}
	return nil
}

func has(raw []byte, what string, members []string) error {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(raw, &object); err != nil {
		return fmt.Errorf("%s is no JSON object: %w", what, ErrForeign)
	}
	for _, name := range members {
		if _, ok := object[name]; !ok {
			return fmt.Errorf("%s has no %q: %w", what, name, ErrForeign)
		}
	}
	return nil
}

// read takes the body of the answer to a call as [Client.Do] describes it. Nothing is
// copied out of an answer of another type than perfgate's.
func read(resp *http.Response, path string, out any) error {
	switch out := out.(type) {
	case nil:
		return nil
	case io.Writer:
		body, err := streamed(resp, path)
		if err != nil {
			return err
		}
		if _, err := io.Copy(out, body); err != nil {
			return fmt.Errorf("the answer broke off: %w", err)
		}
		return nil
	}
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if s, ok := shapeOf(resp.Request.Method, path); ok {
		if err := s.check(raw); err != nil {
			return fmt.Errorf("read the answer: %w", err)
		}
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	return nil
}

// listBegins is the beginning of a list in JSON.
const listBegins = `{"data":[`

// reportBegins and pageBegins are the beginnings of a report.
const (
	reportBegins = `{"report":{`
	pageBegins   = "<!doctype html>"
)

// eventStream is the type of a live tail. A server of an earlier version answers with the
// events until now instead.
const eventStream = "text/event-stream"

// streamed is the body of an answer that is copied, if it is of the type and begins as
// perfgate's does.
func streamed(resp *http.Response, path string) (io.Reader, error) {
	want, begins := "", ""
	switch format := resp.Request.URL.Query().Get("format"); {
	case path == "/v1/backup":
		want = "application/octet-stream"
	case path == accountDataPath && resp.Request.Method == http.MethodGet:
		want = "application/x-ndjson"
	case matches("/v1/incidents/{}/report", path):
		want, begins = "application/json", reportBegins
		if resp.Request.Header.Get("Accept") == "text/html" {
			want, begins = "text/html", pageBegins
		}
	case path != "/v1/audit-logs":
		return resp.Body, nil
	case strings.HasPrefix(resp.Header.Get("Content-Type"), eventStream) && resp.Request.Header.Get("Accept") == eventStream:
		want = eventStream
	case format == "ndjson":
		want = "application/x-ndjson"
	case format == "csv":
		want = "text/csv"
	default:
		want, begins = "application/json", listBegins
	}
	header := resp.Header.Get("Content-Type")
	if got, _, _ := mime.ParseMediaType(header); got != want {
		return nil, fmt.Errorf("the answer has the type %q: %w", header, ErrForeign)
	}
	body := bufio.NewReader(resp.Body)
	if head, err := body.Peek(len(begins)); string(head) != begins && (err == nil || errors.Is(err, io.EOF)) {
		return nil, fmt.Errorf("the answer does not begin with %s: %w", begins, ErrForeign)
	}
	return body, nil // one that breaks off so early says so when it is read
}
