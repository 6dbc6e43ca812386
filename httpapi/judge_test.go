package httpapi_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/perfgate/perfgate/httpapi"
	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/door"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/proxy"
	"github.com/perfgate/perfgate/store/local"
)

// gateway is a whole proxy listener, with an upstream behind it.
type gateway struct {
	*apitest.Rig
	addr  string
	envoy *grpc.ClientConn // to the door for Envoy
	ended chan struct{}    // gets a token for each of the first 100 requests that end
}

// Observe implements [proxy.Observer].
func (g *gateway) Observe(o *local.Observation) {
	g.Local.Observe(o)
	select {
	case g.ended <- struct{}{}:
	default:
	}
}

func newGateway(t *testing.T, routes ...proxy.Route) *gateway {
	t.Helper()
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if cost := r.URL.Query().Get("cost"); cost != "" {
			w.Header().Set("X-Cost", cost)
		}
		io.Copy(io.Discard, r.Body)
	}))
	t.Cleanup(up.Close)
	for i := range routes {
		if routes[i].Upstreams == nil {
			routes[i].Upstreams = []string{up.URL}
		}
	}
	table, err := proxy.Compile(routes, os.LookupEnv)
	apitest.Must(t, err)
	var p *proxy.Proxy
	var gate *admit.Gate
	g := &gateway{ended: make(chan struct{}, 100)}
	g.Rig = apitest.New(t, func(c *httpapi.Config) {
		p = proxy.New(proxy.Config{
			Settings: proxy.Settings{Table: table}, Gate: c.Gate, Observer: g, Logger: slog.New(slog.DiscardHandler),
		})
		c.Routes, gate = p, c.Gate
	})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if left := p.Drain(ctx); left > 0 {
			t.Errorf("%d requests have not ended when the stores are closed", left)
		}
	})
	d := door.NewForwardAuth(p, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")})
	g.envoy = dialDoor(t, p, gate)
	g.addr = apitest.ServeLane(t, d.Handler(g.API.Proxy(p)), d.Lane(g.API.Lane(p.Serve))).Listener.Addr().String()
	return g
}

// begin sends the lines of one request as they are.
func (g *gateway) begin(t *testing.T, method, host, target, key string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", g.addr)
	apitest.Must(t, err)
	t.Cleanup(func() { conn.Close() })
	apitest.Must(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", method, target, host, key)
	return conn
}

// send sends the lines of one request as they are, and returns the status and the
// code of the answer, "" if the upstream gave it.
func (g *gateway) send(t *testing.T, method, host, target, key string) (status int, code string) {
	t.Helper()
	conn := g.begin(t, method, host, target, key)
	defer conn.Close()
	buffer := bufio.NewReader(conn)
	res, err := http.ReadResponse(buffer, &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%q %q: %v", method, target, err)
	}
	defer res.Body.Close()
	var body struct {
		Error struct{ Code string }
	}
	raw, _ := io.ReadAll(res.Body)
	_ = json.Unmarshal(raw, &body)     // net/http's own refusals are text
	_, _ = io.Copy(io.Discard, buffer) // until the connection ends: then the request is counted, too
	return res.StatusCode, body.Error.Code
}

// verify returns the code of a verdict, "" if the key passes.
func (g *gateway) verify(t *testing.T, q map[string]any) string {
	t.Helper()
	body, err := json.Marshal(q)
	apitest.Must(t, err)
	a := g.Op("POST", "/v1/keys/verify", string(body)).Want(t, 200)
	if a.JSON["valid"] != (a.JSON["code"] == nil) {
		t.Errorf("%s", a.Body)
	}
	return a.Text("code")
}

// ask asks as nginx, Traefik or Caddy do, and returns the answer with its code, "" if the request
// may pass.
func (g *gateway) ask(t *testing.T, query string, header map[string]string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+g.addr+"/forward-auth"+query, nil)
	apitest.Must(t, err)
	for name, value := range header {
		if name == "Host" {
			r.Host = value
		} else {
			r.Header.Set(name, value)
		}
	}
	res, err := http.DefaultTransport.RoundTrip(r)
	apitest.Must(t, err)
	defer res.Body.Close()
	var body struct {
		Error struct{ Code string }
	}
	raw, err := io.ReadAll(res.Body)
	apitest.Must(t, err)
	_ = json.Unmarshal(raw, &body)
	return res, body.Error.Code
}

// judged is a request that all doors judge.
type judged struct {
	name, method, host, target, key string
	want                            fault.Code // "" is served
}

// cases are requests with keys of an account.
func cases(t *testing.T, g *gateway, account string) []judged {
	t.Helper()
	create := func(scopes, more string) apitest.Answer {
		return g.Op("POST", "/v1/keys", `{"name":"n","type":"live","scopes":[`+scopes+`]`+more+`}`, "X-Perf-Account", account).Want(t, 201)
	}
	plain, reader := create(`"read","write"`, "").Text("key"), create(`"read"`, "").Text("key")
	root, admin := create(`"read","write","root"`, "").Text("key"), create(`"admin"`, "").Text("key")
	narrow := create(`"read","write"`, `,"routes":["GET /files/","/strict"],"max_cost_per_call":0.1`).Text("key")
	gone := create(`"read"`, "")
	g.Op("POST", "/v1/keys/"+gone.Text("id")+"/revoke", "", "X-Perf-Account", account).Want(t, 200)
	out := []judged{
		{"served", "GET", "h", "/files/a", plain, ""},
		{"with a query", "GET", "h", "/files/a?x=../..", plain, ""},
		{"a double slash", "GET", "h", "//files//a", plain, ""},
		{"an encoded slash where it is allowed", "GET", "h", "/slash/a%2fb", plain, ""},
		{"an encoded slash", "GET", "h", "/files/a%2fb", plain, fault.InvalidRequest},
		{"no route", "GET", "h", "/nothing", plain, fault.NotFound},
		{"no route, and no key either", "GET", "h", "/nothing", "x", fault.NotFound},
		{"another case", "GET", "h", "/Files/a", plain, fault.NotFound},
		{"another method", "DELETE", "h", "/posts", plain, fault.MethodNotAllowed},
		{"another method's case", "post", "h", "/posts", plain, fault.MethodNotAllowed},
		{"a common method in another case", "get", "h", "/files/a", plain, fault.MethodNotAllowed},
		{"a method of its own", "Foo", "h", "/files/a", plain, ""},
		{"a method that is never proxied", "TRACE", "h", "/files/a", plain, fault.MethodNotAllowed},
		{"a method that is none", "GE[T", "h", "/files/a", plain, fault.InvalidRequest},
		{"HEAD as GET", "HEAD", "h", "/get", plain, ""},
		{"a scope of the route", "GET", "h", "/strict/x", plain, fault.InsufficientScope},
		{"a scope of the route that it has", "GET", "h", "/strict/x", root, ""},
		{"a scope of the host's route", "GET", "strict.example", "/files/a", plain, fault.InsufficientScope},
		{"that host with a port", "GET", "STRICT.example.:8080", "/files/a", plain, fault.InsufficientScope},
		{"a host that is none", "GET", "strict.example:80:80", "/files/a", root, fault.InvalidRequest},
		{"a write without the scope", "POST", "h", "/posts", reader, fault.InsufficientScope},
		{"a key's own routes", "GET", "h", "/files/a", narrow, ""},
		{"a key's own routes: the method", "PUT", "h", "/files/a", narrow, fault.RouteNotAllowed},
		{"a key's own routes: the route comes after its scope", "GET", "h", "/strict", narrow, fault.InsufficientScope},
		{"dearer than the key may spend", "GET", "h", "/files/dear", narrow, fault.CostAboveLimit},
		{"more units than the limit holds", "GET", "h", "/huge", plain, fault.RequestsPerMinute},
		{"a revoked key", "GET", "h", "/files/a", gone.Text("key"), fault.KeyRevoked},
		{"a malformed key", "GET", "h", "/files/a", "nonsense", fault.MalformedKey},
		{"a key in the query", "GET", "h", "/files/a?k=" + plain, root, fault.KeyInQuery},
		{"a key in the path", "GET", "h", "/files/" + plain, root, fault.InvalidRequest},
		{"a fragment", "GET", "h", "/files/a#b", plain, fault.InvalidRequest},
		{"a management call without the scope", "GET", "h", "/v1/keys", plain, fault.InsufficientScope},
		{"a management call", "GET", "h", "/v1/keys", admin, ""},
		{"not a management call", "PUT", "h", "/v1/keys", plain, fault.NotFound},
	}
	list, err := os.ReadFile("pattern/testdata/ambiguous-paths.txt")
	apitest.Must(t, err)
	for path := range strings.Lines(string(list) + "/a\x00b\n/a b\n/a\tb\n/%00\n") {
		path = strings.TrimSuffix(path, "\n")
		out = append(out, judged{"ambiguous", "GET", "h", path, plain, fault.InvalidRequest})
	}
	return out
}

// The proxy, POST /v1/keys/verify, /forward-auth and both services of gRPC give one verdict on
// every request.
func TestVerifyJudgesAsTheProxy(t *testing.T) {
	g := newGateway(t,
		proxy.Route{Path: "/files/"}, proxy.Route{Path: "/posts", Methods: []string{"POST"}}, proxy.Route{Path: "GET /get"},
		proxy.Route{Path: "/files/dear", Cost: "0.5"}, proxy.Route{Path: "/strict", Require: []string{"root"}}, proxy.Route{Path: "/huge", Units: new(int64(900_000))},
		proxy.Route{Path: "/files/", Host: "strict.example", Require: []string{"root"}}, proxy.Route{Path: "/slash/", AllowEncodedSlash: true},
	)
	for _, c := range cases(t, g, "default") {
		status, got := g.send(t, c.method, c.host, c.target, c.key)
		if got != string(c.want) && !(got == "" && status == 400 && c.want == fault.InvalidRequest) {
			t.Errorf("%s: %s %q is served with %d %s, want %q", c.name, c.method, c.target, status, got, c.want)
		}
		q := map[string]any{"key": c.key, "method": c.method, "host": c.host, "path": c.target, "consume": false}
		if got := g.verify(t, q); got != string(c.want) {
			t.Errorf("%s: %s %q is verified as %q, want %q", c.name, c.method, c.target, got, c.want)
		}
		if strings.HasPrefix(c.target, "/v1/") {
			continue // a call of this listener, and no route of others
		}
		status, got = g.check(t, message(c.method, c.host, c.target, c.key))
		if (got != string(c.want) || (got == "") != (status == 200)) && !(c.method == "HEAD" && got == "") {
			t.Errorf("%s: %s %q at Check: %d %s, want %q", c.name, c.method, c.target, status, got, c.want)
		}
		if got := g.limited(t, c.method, c.host, c.target, c.key); got != (status != 200) {
			t.Errorf("%s: %s %q at ShouldRateLimit: over the limit is %v, want %q", c.name, c.method, c.target, got, c.want)
		}
		if strings.ContainsAny(c.target, "\x00\t") {
			continue // no header can hold it
		}
		for query, names := range map[string][3]string{"": {"X-Forwarded-Method", "X-Forwarded-Uri", "X-Forwarded-Host"}, "?nginx=1": {"X-Original-Method", "X-Original-Uri", "Host"}} {
			if query != "" && strings.Contains(c.host, ":80:80") {
				continue // the listener itself refuses it
			}
			res, got := g.ask(t, query, map[string]string{names[0]: c.method, names[1]: c.target, names[2]: c.host, "X-Forwarded-For": "192.0.2.1", "Authorization": "Bearer " + c.key})
			if got == "" && c.method == "HEAD" && res.StatusCode == 200 {
				continue
			}
			if got != string(c.want) || (got == "") != (res.StatusCode == 200) || (got == "") != (res.Header.Get("X-Perf-Key-Id") != "") {
				t.Errorf("%s: %s %q at /forward-auth%s: %d %s, want %q", c.name, c.method, c.target, query, res.StatusCode, got, c.want)
			}
		}
	}
}

// Without a path a verdict is about no route, but a method or a host with which the proxy
// serves nothing is none that is valid.
func TestVerifyJudgesMethodAndHostAlone(t *testing.T) {
	g := newGateway(t, proxy.Route{Path: "/files/"})
	_, key := g.Key("live", "read", "write")
	for _, c := range []struct {
		method, host string
		want         fault.Code
	}{
		{"", "", ""},
		{"GET", "", ""},
		{"", "h", ""},
		{"GET", "H.example.:8080", ""},
		{"Foo", "", ""},
		{"get", "", fault.MethodNotAllowed},
		{"TRACE", "", fault.MethodNotAllowed},
		{"GE[T", "", fault.InvalidRequest},
		{"", "h:80:80", fault.InvalidRequest},
		{"", "h,evil", fault.InvalidRequest},
		{"GET", "h%2e", fault.InvalidRequest},
		{"", "h.....", fault.InvalidRequest},
		{"", "x y", fault.InvalidRequest},
		{"", key, fault.InvalidRequest},
	} {
		q := map[string]any{"key": key, "consume": false}
		if c.method != "" {
			q["method"] = c.method
		}
		if c.host != "" {
			q["host"] = c.host
		}
		if got := g.verify(t, q); got != string(c.want) {
			t.Errorf("method %q, host %q: %q, want %q", c.method, c.host, got, c.want)
		}
		if q["path"] = "/files/a"; g.verify(t, q) != string(c.want) {
			t.Errorf("method %q, host %q with a path: %q, want %q", c.method, c.host, g.verify(t, q), c.want)
		}
	}
}

// A verdict charges the units of the route, as a request does.
func TestVerifyChargesTheUnitsOfTheRoute(t *testing.T) {
	g := newGateway(t, proxy.Route{Path: "/seven", Units: new(int64(7))}, proxy.Route{Path: "/open", Public: true}, proxy.Route{Path: "/v1/"})
	create := func() string {
		return g.Op("POST", "/v1/keys", `{"name":"n","type":"live","limits":{"requests_per_minute":20}}`).Want(t, 201).Text("key")
	}
	sent, asked := create(), create()
	for i, want := range []fault.Code{"", "", fault.RequestsPerMinute} {
		if _, got := g.send(t, "GET", "h", "/seven", sent); got != string(want) {
			t.Errorf("request %d: %q, want %q", i, got, want)
		}
		if got := g.verify(t, map[string]any{"key": asked, "path": "/seven"}); got != string(want) {
			t.Errorf("verdict %d: %q, want %q", i, got, want)
		}
	}
	for _, c := range []struct {
		q    map[string]any
		want fault.Code
	}{
		{map[string]any{"key": asked, "path": "/seven", "units": 6}, ""},
		{map[string]any{"key": asked}, fault.RequestsPerMinute},
		{map[string]any{"key": asked, "path": "/open"}, ""},
		{map[string]any{"key": asked, "path": "/open", "units": 6}, ""},
		{map[string]any{"key": "x", "path": "/open"}, fault.MalformedKey},
		{map[string]any{"key": asked, "method": "CONNECT"}, fault.MethodNotAllowed},
		{map[string]any{"key": asked, "path": "/nothing"}, fault.NotFound},
		{map[string]any{"key": asked, "path": "/v1/keys"}, fault.InsufficientScope}, // GET and POST are management calls
	} {
		if got := g.verify(t, c.q); got != string(c.want) {
			t.Errorf("%v: %q, want %q", c.q, got, c.want)
		}
	}
}

// Where a response reports the cost and nothing bounds it, a verdict asks for the same
// room in the budget as a request does.
func TestVerifyReservesWhatWasSeen(t *testing.T) {
	g := newGateway(t, proxy.Route{Path: "/asked", Cost: "header:X-Cost"})
	key := g.Op("POST", "/v1/keys", `{"name":"n","type":"live","monthly_budget":1}`).Want(t, 201).Text("key")
	for i, want := range []fault.Code{"", fault.BudgetExceeded} {
		for range 2 { // a verdict takes nothing
			if got := g.verify(t, map[string]any{"key": key, "path": "/asked"}); got != string(want) {
				t.Errorf("verdict %d: %q, want %q", i, got, want)
			}
		}
		if _, got := g.send(t, "GET", "h", "/asked?cost=0.6", key); got != string(want) {
			t.Errorf("request %d: %q, want %q", i, got, want)
		}
	}
}

// Perfgate's own calls come before a route that covers them, and only they do. They
// cost nothing, and neither does a call that nobody serves.
func TestOwnCallsAndTheRoutes(t *testing.T) {
	covered, bare := newGateway(t, proxy.Route{Path: "/v1/"}), newGateway(t, proxy.Route{Path: "/other"})
	for _, c := range []struct {
		method, target string
		covered, bare  int // status, with a key that may not manage
	}{
		{"GET", "/v1/keys", 403, 403},
		{"POST", "/v1/keys", 403, 403},
		{"GET", "/v1/usage", 200, 200},
		{"PUT", "/v1/keys", 200, 404},
		{"DELETE", "/v1/keys/key_1", 200, 404},
		{"GET", "/v1/keyz", 200, 404},
		{"POST", "/v1/keys/key_1/revok", 200, 404},
		{"GET", "/v1/accounts", 200, 404}, // not on this listener
	} {
		for g, want := range map[*gateway]int{covered: c.covered, bare: c.bare} {
			id, key := g.Key("live", "read", "write")
			status, _ := g.send(t, c.method, "h", c.target, key)
			apitest.Must(t, g.Local.Flush())
			u := g.Op("GET", "/v1/usage?group_by=key&key="+id, "").Want(t, 200)
			served := want == 200 && c.target != "/v1/usage"
			if billed := strings.Contains(u.Body, `"billable":1`); status != want || billed != served {
				t.Errorf("%s %s: %d, want %d; billed %v: %s", c.method, c.target, status, want, billed, u.Body)
			}
		}
	}
}

// The list of own calls is that of the listener.
func TestOnProxy(t *testing.T) {
	for _, selfService := range []bool{true, false} {
		g := apitest.New(t, func(c *httpapi.Config) { c.SelfService = selfService })
		listed := map[httpapi.Pair]bool{}
		for _, p := range httpapi.OnProxy(selfService) {
			listed[p] = true
		}
		for _, rt := range g.API.Routes() {
			path, body := sample(rt, "key_1")
			before := g.Next.Load()
			g.Do(g.Proxy.URL, rt.Method, path, "", body)
			if taken := g.Next.Load() == before; taken != listed[httpapi.Pair{Method: rt.Method, Path: rt.Path}] {
				t.Errorf("%s %s: taken %v", rt.Method, rt.Path, taken)
			}
		}
	}
}
