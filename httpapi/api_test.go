package httpapi

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/limiter"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/local"
)

const operatorToken = "pgop_test_operator_token_0123456789"

// fakeBackend is a cluster of one without a log: commands go straight into the
// store, through their wire form.
type fakeBackend struct {
	mu       sync.Mutex
	store    *store.Store
	index    uint64
	held     chan struct{} // when hold is set, gets a token for each Propose that waits
	hold     chan struct{} // when set, Propose waits for it to be closed
	proposed atomic.Int64
	fail     error
	ready    error
	partial  bool // a node does not confirm
	leader   string
}

func (b *fakeBackend) Propose(ctx context.Context, cmd *store.Command) (Receipt, error) {
	b.proposed.Add(1)
	if b.hold != nil {
		b.held <- struct{}{}
		<-b.hold
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail != nil {
		return Receipt{}, b.fail
	}
	return b.apply(cmd)
}

func (b *fakeBackend) apply(cmd *store.Command) (Receipt, error) {
	b.index++
	answer := b.store.ApplyBatch([]*raft.Log{{Index: b.index, Type: raft.LogCommand, Data: cmd.Encode()}})[0]
	result, ok := answer.(store.Result)
	if !ok {
		return Receipt{}, fmt.Errorf("apply: %v", answer)
	}
	rv := Revocation{Index: result.Index, Effective: !b.partial, Nodes: []RevocationAck{{Name: "n1", How: "applied"}}}
	if b.partial {
		rv.Nodes = append(rv.Nodes, RevocationAck{Name: "n2", How: "unconfirmed"})
	}
	return Receipt{Result: result, Revocation: rv}, nil
}

func (b *fakeBackend) Linearize(context.Context) error { return nil }
func (b *fakeBackend) Ready() error                    { return b.ready }
func (b *fakeBackend) TransferLeadership(_ context.Context, to string, _ store.Actor) error {
	b.leader = to
	return b.fail
}
func (b *fakeBackend) RemoveNode(_ context.Context, name string, _ store.Actor) (Revocation, error) {
	if name != "n2" {
		return Revocation{}, fault.New(fault.NotFound)
	}
	return Revocation{Index: 7, Effective: !b.partial}, b.fail
}
func (b *fakeBackend) Cluster(context.Context) ClusterStatus {
	return ClusterStatus{ClusterID: "c", Leader: cmp.Or(b.leader, "n1"), Term: 1, Healthy: true, Reasons: []string{},
		Nodes: []NodeStatus{{Name: "n1", Role: "leader", State: "ready", AppliedIndex: b.index, Version: "test"}}}
}

// grants gives every month what it asks for.
type grants struct{}

func (grants) Await(_ context.Context, m *limiter.Meter, _ store.AccountID, _ store.KeyType, key store.KeyID, wants []limiter.Want) {
	for _, w := range wants {
		if w.Seed {
			m.Seed(string(key), w.Policy, w.Month, 0)
		}
		if w.Units > 0 {
			m.Credit(string(key), w.Policy, w.Month, w.Units, w.Units)
		}
	}
}
func (g grants) Ask(m *limiter.Meter, a store.AccountID, t store.KeyType, k store.KeyID, w []limiter.Want) {
	g.Await(context.Background(), m, a, t, k, w)
}

// rig is an API on real stores, with both its listeners.
type rig struct {
	t       testing.TB
	api     *API
	store   *store.Store
	local   *local.Local
	backend *fakeBackend
	admin   *httptest.Server
	proxy   *httptest.Server
	doc     *openapi3.T
	now     atomic.Int64 // the clock's, nanoseconds: it moves only when a test moves it
	next    atomic.Int64 // requests that reached what is behind the proxy listener
	log     bytes.Buffer
}

// The validator knows NDJSON as text.
func TestMain(m *testing.M) {
	openapi3filter.RegisterBodyDecoder("application/x-ndjson", openapi3filter.PlainBodyDecoder)
	os.Exit(m.Run())
}

func newRig(t testing.TB, change ...func(*Config)) *rig {
	t.Helper()
	r := &rig{t: t}
	logger := slog.New(slog.NewJSONHandler(&syncWriter{w: &r.log}, nil))
	var err error
	r.store, err = store.Open(store.Config{FS: vfs.NewMem(), Dir: "state", Logger: logger})
	must(t, err)
	start := time.Now().UTC().Truncate(time.Millisecond)
	clock := func() (time.Time, int64) {
		return start.Add(time.Duration(r.now.Load())), r.now.Load() + int64(time.Hour)
	}
	r.local, err = local.Open(local.Config{FS: vfs.NewMem(), Dir: "local", Node: "n1", Logger: logger, Clock: func() time.Time { now, _ := clock(); return now }})
	must(t, err)
	r.backend = &fakeBackend{store: r.store}
	_, err = r.backend.apply(&store.Command{At: start, Actor: store.Actor{Type: store.ActorSystem, ID: "n1"}, Init: &store.Init{
		ClusterID: "c", Pepper: store.Hash{1, 2, 3}, OperatorToken: sha256.Sum256([]byte(operatorToken)), DefaultTier: "enterprise",
	}})
	must(t, err)
	gate := admit.NewGate(admit.Config{Store: r.store, Grants: grants{}, Clock: clock, Buckets: limiter.NewBuckets(1000), Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	cfg := Config{
		Store: r.store, Local: r.local, Gate: gate, Backend: r.backend, Logger: logger,
		Registry: prometheus.NewRegistry(), SelfService: true, Clock: clock,
		SecurityTxt: SecurityTxt{Contact: []string{"mailto:security@example.com"}, Expires: time.Now().Add(time.Hour)},
	}
	for _, f := range change {
		f(&cfg)
	}
	r.api, err = New(cfg)
	must(t, err)
	r.admin = httptest.NewServer(r.api.Admin())
	r.proxy = httptest.NewServer(r.api.Proxy(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.next.Add(1)
		w.Header().Set("X-Next", "1")
		w.WriteHeader(http.StatusTeapot)
	})))
	loader := openapi3.NewLoader()
	r.doc, err = loader.LoadFromData(OpenAPI())
	must(t, err)
	t.Cleanup(func() {
		r.admin.Close()
		r.proxy.Close()
		r.local.Close()
		r.store.Close()
	})
	return r
}

type syncWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (s *syncWriter) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.Write(b)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// RoundTrip sends r and checks the answer against openapi.yaml and against what
// holds for every answer.
func (g *rig) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil || resp.Header.Get("X-Next") != "" {
		return resp, err
	}
	raw, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(raw))
	if err != nil {
		return resp, nil // a stream that broke off: the test looks at it
	}
	if err := g.check(r, resp, raw); err != nil {
		return nil, fmt.Errorf("%s %s answered %d against the description: %w\n%.2000s", r.Method, r.URL, resp.StatusCode, err, raw)
	}
	return resp, nil
}

func (g *rig) check(r *http.Request, resp *http.Response, raw []byte) error {
	h := resp.Header
	id := h.Get("X-Request-Id")
	if !isToken(id) {
		return fmt.Errorf("X-Request-Id is %q", id)
	}
	if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Cache-Control") != "no-store" || h.Get("Access-Control-Allow-Origin") != "" {
		return fmt.Errorf("security headers are %v", h)
	}
	if resp.StatusCode >= 300 && resp.StatusCode < 400 {
		return errors.New("it redirects")
	}
	if resp.StatusCode >= 400 && r.URL.Path != "/readyz" && r.Method != http.MethodHead {
		var d struct{ Error fault.Body }
		if err := json.Unmarshal(raw, &d); err != nil {
			return err
		}
		if d.Error.Code.Status() != resp.StatusCode || d.Error.Type != d.Error.Code.Type() || d.Error.RequestID != id {
			return fmt.Errorf("the fault does not fit its answer: %+v", d.Error)
		}
		if d.Error.Code == fault.Internal {
			return fmt.Errorf("an internal error; the log says %s", g.log.String())
		}
		if (d.Error.RetryAfter > 0) != (h.Get("Retry-After") != "") {
			return errors.New("Retry-After and retry_after disagree")
		}
	}
	rt, _, _ := g.api.routes.find(r)
	var op *openapi3.Operation
	var path string
	item := &openapi3.PathItem{}
	if rt != nil {
		path = rt.path
		item = g.doc.Paths.Value(path)
		op = item.GetOperation(rt.method)
	} else {
		op = g.doc.Paths.Value("/v1/keys").Get // any: its 4XX is everybody's
	}
	return openapi3filter.ValidateResponse(r.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{
			Request: r, Route: &routers.Route{Spec: g.doc, Path: path, PathItem: item, Method: r.Method, Operation: op},
		},
		Status: resp.StatusCode, Header: h, Body: io.NopCloser(bytes.NewReader(raw)),
		Options: &openapi3filter.Options{IncludeResponseStatus: true},
	})
}

// answer is a response read to its end.
type answer struct {
	status int
	header http.Header
	body   string
	json   map[string]any
	err    error // of reading the body
}

// do sends one request. token "" sends no credential. headers come in pairs.
func (g *rig) do(base, method, path, token, body string, headers ...string) answer {
	g.t.Helper()
	var payload io.Reader
	if body != "" {
		payload = strings.NewReader(body)
	}
	r, err := http.NewRequest(method, base+path, payload)
	must(g.t, err)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := g.RoundTrip(r)
	if err != nil {
		g.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	a := answer{status: resp.StatusCode, header: resp.Header, body: string(raw), err: err}
	if strings.Contains(resp.Header.Get("Content-Type"), "json") && json.Valid(raw) {
		d := json.NewDecoder(bytes.NewReader(raw))
		d.UseNumber()
		d.Decode(&a.json)
	}
	return a
}

// op is do as operator on the admin listener.
func (g *rig) op(method, path, body string, headers ...string) answer {
	g.t.Helper()
	return g.do(g.admin.URL, method, path, operatorToken, body, headers...)
}

// want fails unless a has the status and, for a fault, the code.
func (a answer) want(t testing.TB, status int, code ...fault.Code) answer {
	t.Helper()
	if a.status != status {
		t.Fatalf("status %d, want %d: %.500s", a.status, status, a.body)
	}
	if len(code) > 0 && a.code() != string(code[0]) {
		t.Fatalf("code %q, want %q: %.500s", a.code(), code[0], a.body)
	}
	return a
}

func (a answer) code() string {
	e, _ := a.json["error"].(map[string]any)
	s, _ := e["code"].(string)
	return s
}

func (a answer) message() string {
	e, _ := a.json["error"].(map[string]any)
	s, _ := e["message"].(string)
	return s
}

func (a answer) text(name string) string {
	s, _ := a.json[name].(string)
	return s
}

// key creates a key with the scopes and returns its id and secret.
func (g *rig) key(kind string, scopes ...string) (id, secret string) {
	g.t.Helper()
	body, _ := json.Marshal(map[string]any{"name": "test key", "type": kind, "scopes": scopes})
	a := g.op("POST", "/v1/keys", string(body)).want(g.t, 201)
	return a.text("id"), a.text("key")
}

// client is an operator's typed client whose answers are checked too.
func (g *rig) client() *client.Client {
	c, err := client.New(g.admin.URL, operatorToken)
	must(g.t, err)
	c.HTTP = &http.Client{Transport: g}
	return c
}

// members are the names in an answer, sorted.
func (a answer) members() []string {
	var names []string
	for n := range a.json {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}
