package apitest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/getkin/kin-openapi/openapi3"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/perfgate/perfgate/httpapi"
	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/h1"
	"github.com/perfgate/perfgate/httpapi/manage"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/limiter"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/insight"
	"github.com/perfgate/perfgate/store/local"
)

// OperatorToken is the operator token of every [Rig].
const OperatorToken = "pgop_test_operator_token_0123456789"

// Rig is an API on real stores, with both its listeners.
type Rig struct {
	T       testing.TB // of the running test; a subtest sets its own
	API     *httpapi.API
	Config  httpapi.Config // that API was made of
	Store   *store.Store
	Local   *local.Local
	Backend *Backend
	Admin   *Endpoint
	Proxy   *Endpoint
	Doc     *openapi3.T  // openapi.yaml
	Now     atomic.Int64 // of the clock, nanoseconds: it moves only when a test moves it
	Next    atomic.Int64 // requests on the proxy listener that the API left to the proxy
	Log     Log

	// Unchecked leaves answers unchecked against Doc, which takes milliseconds for each; a
	// test with many calls sets it.
	Unchecked bool

	// What all nodes found and know of keys, beside this node's usage.
	Findings []insight.Finding
	Profiles map[store.KeyID]insight.Profile

	calls *rest.Table // of Doc
}

// Log holds the lines that were logged.
type Log struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (l *Log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// Must ends the test if err is not nil.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// New starts a rig with the changes made to its configuration; it ends with t.
func New(t testing.TB, change ...func(*httpapi.Config)) *Rig {
	t.Helper()
	g := &Rig{T: t}
	logger := slog.New(slog.NewJSONHandler(&g.Log, nil))
	start := time.Now().UTC().Truncate(time.Millisecond)
	clock := func() (time.Time, int64) {
		return start.Add(time.Duration(g.Now.Load())), g.Now.Load() + int64(time.Hour)
	}
	g.openStores(start, clock, logger)
	gate := admit.NewGate(admit.Config{Store: g.Store, Grants: &granter{backend: g.Backend, clock: clock, logger: logger}, Clock: clock, Buckets: limiter.NewBuckets(1000), Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	g.Config = httpapi.Config{
		Store: g.Store, Local: g.Local, Audit: g.AuditLog(), Observed: g.Observed(), Gate: gate, Routes: everything{}, Backend: g.Backend, Logger: logger,
		Registry: prometheus.NewRegistry(), SelfService: true, Clock: clock,
		Browsers:    httpapi.Browsers{SignIn: rest.SignIn{Idle: 30 * time.Minute, Max: 12 * time.Hour}},
		SecurityTxt: manage.SecurityTxt{Contact: []string{"mailto:security@example.com"}, Expires: time.Now().Add(time.Hour)},
	}
	for _, f := range change {
		f(&g.Config)
	}
	var err error
	g.API, err = httpapi.New(g.Config)
	Must(t, err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); g.API.Run(ctx) }()
	t.Cleanup(func() { stop(); <-ended })
	g.Admin = Serve(t, g.API.Admin())
	g.Proxy = Serve(t, g.API.Proxy(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		g.Next.Add(1)
		w.Header().Set(nextHeader, "1")
		w.WriteHeader(http.StatusTeapot)
	})))
	g.describe()
	return g
}

// everything is a proxy with one route that takes every request.
type everything struct{}

func (everything) Judge(*h1.Request) ([]admit.Demand, *fault.Error) {
	return []admit.Demand{{Units: 1}}, nil
}

func (everything) Requires(string) bool { return true }
func (everything) Meets(string) bool    { return true }

func (g *Rig) openStores(start time.Time, clock func() (time.Time, int64), logger *slog.Logger) {
	t := g.T
	t.Helper()
	var err error
	g.Store, err = store.Open(store.Config{FS: vfs.NewMem(), Dir: "state", Routes: admit.CompileRoutes, Logger: logger})
	Must(t, err)
	t.Cleanup(func() { g.Store.Close() })
	g.Local, err = local.Open(local.Config{FS: vfs.NewMem(), Dir: "local", Node: "n1", Logger: logger, Clock: func() time.Time { now, _ := clock(); return now }})
	Must(t, err)
	t.Cleanup(func() { g.Local.Close() })
	g.Backend = &Backend{store: g.Store}
	_, err = g.Backend.Apply(&store.Command{At: start, Actor: store.Actor{Type: store.ActorSystem, ID: "n1"}, Change: &store.Init{
		ClusterID: "c", Pepper: store.Hash{1, 2, 3}, OperatorToken: sha256.Sum256([]byte(OperatorToken)), DefaultTier: "enterprise",
	}})
	Must(t, err)
}

// Frame returns a frame over the rig's parts, for tests of routes of their own.
func (g *Rig) Frame() *rest.Frame {
	g.T.Helper()
	c := &g.Config
	f, err := rest.New(rest.Config{
		Store: c.Store, Gate: c.Gate, Backend: c.Backend, Observer: c.Local, Logger: c.Logger,
		Registry: prometheus.NewRegistry(), Bodies: c.Bodies, Client: c.Client, Clock: c.Clock, SignIn: c.SignIn,
	})
	Must(g.T, err)
	return f
}

// Key creates a key with the scopes and returns its id and secret.
func (g *Rig) Key(kind string, scopes ...string) (id, secret string) {
	g.T.Helper()
	body, _ := json.Marshal(map[string]any{"name": "test key", "type": kind, "scopes": scopes})
	a := g.Op("POST", "/v1/keys", string(body)).Want(g.T, 201)
	return a.Text("id"), a.Text("key")
}

// Client returns an operator's typed client; its answers are checked too.
func (g *Rig) Client() *client.Client {
	g.T.Helper()
	c, err := client.New(g.Admin.URL, OperatorToken)
	Must(g.T, err)
	c.HTTP = &http.Client{Transport: g}
	return c
}

// Events are the audit events that match a query such as "?action=key.create".
func (g *Rig) Events(query string) []client.Event {
	g.T.Helper()
	sep := "?"
	if strings.Contains(query, "?") {
		sep = "&"
	}
	a := g.Op("GET", "/v1/audit-logs"+query+sep+"order=asc", "").Want(g.T, 200)
	var doc struct{ Data []client.Event }
	Must(g.T, json.Unmarshal([]byte(a.Body), &doc))
	return doc.Data
}
