package httpapi

import (
	"cmp"
	"context"
	_ "embed"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/httpapi/bodies"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/h1"
	"github.com/perfgate/perfgate/httpapi/manage"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/httpapi/signin"
	"github.com/perfgate/perfgate/httpapi/ui"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/local"
)

// openAPI describes the API (OpenAPI 3.1, YAML); it is served as it is.
//
//go:embed openapi.yaml
var openAPI []byte

// Backend is the node as the API sees it.
type Backend interface {
	rest.Backend
	manage.Node
}

// Routes are the routes of the proxy, for the calls that verify a key or warn of
// settings that no route looks at.
type Routes interface {
	admit.Routes
	manage.RouteTable
}

// Config holds the parts of an [API]. Store, Local, Audit, Observed, Gate, Routes, Backend, Logger
// and Registry are required.
type Config struct {
	Store    *store.Store
	Local    *local.Local
	Gate     *admit.Gate
	Audit    manage.AuditLogs
	Observed manage.Observed
	Routes   Routes // the proxy's
	Backend  Backend
	Logger   *slog.Logger
	Registry *prometheus.Registry // read by /metrics; the API's own metrics go in too

	Source    Source // of backups
	Residency manage.Residency

	// SelfService lets keys make the calls marked OnProxy on the proxy listener.
	SelfService bool
	// MetricsOpen serves /metrics without a credential: the admin listener is on
	// loopback.
	MetricsOpen bool
	SecurityTxt manage.SecurityTxt
	Browsers

	// WebhookWait is how long a test call of a webhook waits for its outcome.
	WebhookWait time.Duration
	// WebhookPrivate are the ranges besides the public ones to which webhooks may go.
	WebhookPrivate []netip.Prefix

	// Bodies is the memory for the bodies of calls; nil is one of [bodies.Max] bytes.
	Bodies *bodies.Memory
	// Client finds the client's address on the admin listener, which has trusted
	// proxies of its own; nil takes the gate's.
	Client func(*http.Request) netip.Addr
	// Clock reads wall and monotonic time (nanoseconds); nil is the machine's.
	Clock func() (time.Time, int64)
}

// Source tells where a backup comes from.
type Source struct {
	Node, Version string          // this node's and perfgate's
	Voters        func() []string // the ids of the cluster's voters; nil leaves them out
}

// Browsers are the settings of what people at browsers use.
type Browsers struct {
	SignIn    rest.SignIn
	OIDC      *signin.OIDC // nil: no provider
	Dashboard Dashboard
}

// Dashboard are the settings of the pages for browsers; see [ui.Config].
type Dashboard struct {
	Proxy string // the origin of the proxy listener on this machine: "http://127.0.0.1:8080"
	Facts func() Facts
	Opens func(scopes, routes []string) []Opening
}

// Facts are what the dashboard knows of its node's settings.
type Facts = ui.Facts

// Opening tells for one route of the proxy which calls a key may make.
type Opening = ui.Opening

// Check is a line of the dashboard about the node's machine.
type Check = ui.Check

// API answers the management calls. It is immutable after New and safe for concurrent use.
// [API.Run] must run beside it.
type API struct {
	frame       *rest.Frame
	routes      *rest.Table
	leaks       *manage.Leaks
	dashboard   *ui.UI // of the admin listener
	selfService bool
}

// New returns the API over cfg and registers its metrics.
func New(cfg Config) (*API, error) {
	frame, err := rest.New(rest.Config{
		Store: cfg.Store, Gate: cfg.Gate, Backend: cfg.Backend, Observer: cfg.Local,
		Logger: cfg.Logger, Registry: cfg.Registry, Bodies: cfg.Bodies, Client: cfg.Client, Clock: cfg.Clock, SignIn: cfg.SignIn,
	})
	if err != nil {
		return nil, err
	}
	metrics := promhttp.HandlerFor(cfg.Registry, promhttp.HandlerOpts{ErrorLog: promLog{cfg.Logger}})
	a := &API{frame: frame, selfService: cfg.SelfService}
	t := newTopics(&cfg, listened{a, cfg.Routes}, metrics)
	a.routes, a.leaks = rest.NewTable(t.routes()...), t.leaks
	a.dashboard, err = ui.New(ui.Config{
		API: a.calls(), Logger: cfg.Logger, Proxy: cfg.Dashboard.Proxy, Facts: cfg.Dashboard.Facts, Opens: cfg.Dashboard.Opens,
		Hosts: cfg.SignIn.Hosts, Provider: providerOf(cfg.OIDC), Client: cfg.Client, Clock: wall(cfg.Clock),
		Ready: func() bool { return cfg.Backend.Ready() == nil },
	})
	return a, err
}

// providerOf is the host of the provider that people sign in with; "" if there is none.
func providerOf(o *signin.OIDC) string {
	if o == nil {
		return ""
	}
	u, err := url.Parse(o.Issuer())
	if err != nil {
		return ""
	}
	return u.Host
}

// wall is the time of day of clock; nil for the machine's.
func wall(clock func() (time.Time, int64)) func() time.Time {
	if clock == nil {
		return nil
	}
	return func() time.Time { now, _ := clock(); return now }
}

// Run does the work that calls leave behind, until ctx ends.
func (a *API) Run(ctx context.Context) { a.leaks.Run(ctx) }

// promLog hands a failed collection to the log.
type promLog struct{ log *slog.Logger }

func (l promLog) Println(v ...any) { l.log.Warn("collect metrics", "error", fmt.Sprint(v...)) }

// Admin serves the admin listener: all calls, for operator tokens, keys and people who are
// signed in, and the dashboard on the other paths.
func (a *API) Admin() http.Handler {
	calls := a.calls()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rt, _, allow := a.routes.Find(r.Method, r.URL)
		switch {
		case rt == nil && allow == "" && a.dashboard.Takes(r):
			a.dashboard.ServeHTTP(w, r)
		case rt != nil && strings.HasPrefix(rt.Path, "/signin/"): // the button of the page that signs in leads there
			a.dashboard.Linked(w, r, calls)
		default:
			calls.ServeHTTP(w, r)
		}
	})
}

// calls serves all calls.
func (a *API) calls() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rt, param, allow := a.routes.Find(r.Method, r.URL)
		switch {
		case rt != nil:
			a.frame.Serve(w, r, rt, param, true)
		case allow != "":
			a.frame.Refuse(w, r, &fault.Error{Code: fault.MethodNotAllowed, Allow: allow, Message: a.instead(r)})
		default:
			a.frame.Refuse(w, r, fault.New(fault.NotFound))
		}
	})
}

// instead is the message to a DELETE on a path that has none, where the thing is revoked
// by another call; "" otherwise.
func (a *API) instead(r *http.Request) string {
	if r.Method != http.MethodDelete {
		return ""
	}
	u := *r.URL
	u.Path += "/revoke"
	if rt, _, _ := a.routes.Find(http.MethodPost, &u); rt != nil {
		return "DELETE is not allowed on this path: a key is not deleted, so that its history stays. To end it for good: POST " + rt.Path + "."
	}
	return ""
}

// Proxy serves the proxy listener: the health and security.txt pages and, with
// SelfService, exactly the method-path pairs that the route table opens to keys
// there. Everything else, another method on the same path included, goes to next.
func (a *API) Proxy(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rt, param, _ := a.routes.Find(r.Method, r.URL)
		if rt == nil || !a.takenFromProxy(rt, r.Method) {
			next.ServeHTTP(w, r)
			return
		}
		a.frame.Serve(w, r, rt, param, false)
	})
}

func (a *API) takenFromProxy(rt *rest.Route, method string) bool {
	switch {
	case rt.Access&rest.OnProxy == 0:
		return false
	case rt.Access&(rest.Open|rest.Optional) == rest.Open:
		return true
	}
	return a.selfService && method == rt.Method // HEAD is not GET here
}

// listened are the routes of the whole proxy listener: the pairs that the API takes
// there, and the proxy's behind them.
type listened struct {
	api   *API
	proxy admit.Routes
}

// Judge implements [admit.Routes].
func (l listened) Judge(r *h1.Request) ([]admit.Demand, *fault.Error) {
	methods := []string{r.Method}
	if r.Method == "" {
		methods = []string{get, post, put, patch, del}
	}
	var own []admit.Demand
	for _, method := range methods {
		if rt, _, _ := l.api.routes.Find(method, targetOf(r)); rt != nil && l.api.takenFromProxy(rt, method) {
			own = append(own, admit.Demand{Rule: admit.Rule{Scope: rt.Scope, Management: true, Public: rt.Access&rest.Open != 0}})
		}
	}
	if r.Method != "" && len(own) > 0 {
		return own, nil
	}
	others, f := l.proxy.Judge(r)
	if f != nil && len(own) > 0 {
		return own, nil
	}
	return append(own, others...), f
}

// targetOf is the path of r, as net/url has it.
func targetOf(r *h1.Request) *url.URL {
	u := &url.URL{Path: r.Path}
	if strings.IndexByte(r.Path, '%') >= 0 {
		// A path that cannot be decoded is none of ours.
		u, _ = url.ParseRequestURI(r.Path)
	}
	return cmp.Or(u, &url.URL{})
}

// Lane serves the requests of HTTP/1.1 on the proxy listener that are for the proxy, by
// next. It is nil for those that Proxy serves itself.
func (a *API) Lane(next func(*h1.Exchange)) func(*h1.Request) func(*h1.Exchange) {
	return func(r *h1.Request) func(*h1.Exchange) {
		if a.routes.Begins(r.Path) {
			if rt, _, _ := a.routes.Find(r.Method, targetOf(r)); rt != nil && a.takenFromProxy(rt, r.Method) {
				return nil
			}
		}
		return next
	}
}

// Pair is a method and a path with its variable segment in braces.
type Pair struct{ Method, Path string }

// OnProxy lists the pairs that an API with or without self service takes on the
// proxy listener.
func OnProxy(selfService bool) (pairs []Pair) {
	a := &API{selfService: selfService}
	for _, rt := range new(topics).routes() {
		if a.takenFromProxy(rt, rt.Method) {
			pairs = append(pairs, Pair{rt.Method, rt.Path})
		}
	}
	return pairs
}
