package httpapi_test

import (
	"encoding/json"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	descriptor "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	rls "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	types "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/door"
	"github.com/perfgate/perfgate/httpapi/proxy"
)

// dialDoor serves the door for Envoy, and returns a connection to it.
func dialDoor(t *testing.T, d door.Decider, l door.Limiter) *grpc.ClientConn {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	apitest.Must(t, err)
	g := door.NewGRPC(func() error { return nil }, slog.New(slog.DiscardHandler))
	g.Set(d, l)
	s := grpc.NewServer(grpc.UnaryInterceptor(g.Intercept))
	g.Register(s)
	go func() { _ = s.Serve(ln) }()
	t.Cleanup(s.Stop)
	conn, err := grpc.NewClient("passthrough:"+ln.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	apitest.Must(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn
}

// message is what Envoy sends about a request of 192.0.2.1. Further fields are pairs.
func message(method, host, path, key string, fields ...string) *auth.CheckRequest {
	in := &auth.AttributeContext_HttpRequest{
		Method: method, Host: host, Path: path, Scheme: "https", Protocol: "HTTP/1.1",
		Headers: map[string]string{":method": method, ":path": path, ":authority": host, "accept": "*/*"},
	}
	if key != "" {
		in.Headers["authorization"] = "Bearer " + key
	}
	for i := 0; i < len(fields); i += 2 {
		in.Headers[fields[i]] = fields[i+1]
	}
	return &auth.CheckRequest{Attributes: &auth.AttributeContext{
		Source: &auth.AttributeContext_Peer{Address: &core.Address{Address: &core.Address_SocketAddress{SocketAddress: &core.SocketAddress{
			Address: "192.0.2.1", PortSpecifier: &core.SocketAddress_PortValue{PortValue: 4711},
		}}}},
		Request: &auth.AttributeContext_Request{Http: in},
	}}
}

// check asks about a request, and returns the status and the code of the answer, "" if it may
// pass.
func (g *gateway) check(t *testing.T, q *auth.CheckRequest) (int, string) {
	t.Helper()
	a, err := auth.NewAuthorizationClient(g.envoy).Check(t.Context(), q)
	apitest.Must(t, err)
	if ok := a.GetOkResponse(); ok != nil {
		if a.Status.Code != 0 || !has(ok.Headers, "x-perf-key-id") && strings.HasPrefix(q.Attributes.Request.Http.Headers["authorization"], "Bearer pk") {
			t.Errorf("%v may pass with %v", q, a)
		}
		return 200, ""
	}
	return int(a.GetDeniedResponse().GetStatus().GetCode()), codeOf(a.GetDeniedResponse().GetBody())
}

func codeOf(body string) string {
	var b struct{ Error struct{ Code string } }
	_ = json.Unmarshal([]byte(body), &b) // of HEAD there is none
	return b.Error.Code
}

func has(list []*core.HeaderValueOption, name string) bool { return valueOf(list, name) != "" }

func valueOf(list []*core.HeaderValueOption, name string) string {
	for _, h := range list {
		if h.Header.Key == name {
			return h.Header.Value
		}
	}
	return ""
}

// limited asks the rate limit service about a request.
func (g *gateway) limited(t *testing.T, method, host, path, key string) bool {
	t.Helper()
	a, err := rls.NewRateLimitServiceClient(g.envoy).ShouldRateLimit(t.Context(), &rls.RateLimitRequest{Domain: "d", Descriptors: []*descriptor.RateLimitDescriptor{
		entries("authorization", "Bearer "+key, "method", method, "path", path, "host", host, "remote_address", "192.0.2.1"),
	}})
	apitest.Must(t, err)
	return a.OverallCode != rls.RateLimitResponse_OK
}

// entries is a descriptor of these pairs.
func entries(pairs ...string) *descriptor.RateLimitDescriptor {
	d := new(descriptor.RateLimitDescriptor)
	for i := 0; i < len(pairs); i += 2 {
		d.Entries = append(d.Entries, &descriptor.RateLimitDescriptor_Entry{Key: pairs[i], Value: pairs[i+1]})
	}
	return d
}

// What Envoy gets: the identity of the key for the upstream, in the place of the credential, the
// limits for the client, and the proxy's own refusals. Units are charged once.
func TestEnvoyChecks(t *testing.T) {
	g := newGateway(t, proxy.Route{Path: "/files/", Units: new(int64(2))}, proxy.Route{Path: "/open", Public: true})
	made := g.Op("POST", "/v1/keys", `{"name":"n","type":"live","scopes":["read"],"limits":{"requests_per_minute":6}}`).Want(t, 201)
	key := made.Text("key")
	a, err := auth.NewAuthorizationClient(g.envoy).Check(t.Context(), message("GET", "h", "/files/a", key,
		"x-perf-scopes", "admin", "x-perf-owner", "me", "x_perf_account", "x", "x-copy", key, "x-request-id", "mine", "x-other", "stays"))
	apitest.Must(t, err)
	ok := a.GetOkResponse()
	for name, want := range map[string]string{"x-perf-key-id": made.Text("id"), "x-perf-account": "default", "x-perf-scopes": "read", "x-perf-key-type": "live", "x-request-id": "mine"} {
		if got := valueOf(ok.GetHeaders(), name); got != want {
			t.Errorf("the upstream gets %s: %q, want %q", name, got, want)
		}
	}
	for name, want := range map[string]string{"x-ratelimit-limit": "6", "x-ratelimit-remaining": "4", "x-request-id": "mine", "x-perf-key-id": ""} {
		if got := valueOf(ok.GetResponseHeadersToAdd(), name); got != want {
			t.Errorf("the client gets %s: %q, want %q", name, got, want)
		}
	}
	gone := slices.Sorted(slices.Values(ok.GetHeadersToRemove()))
	if want := []string{"Authorization", "X-Copy", "X-Perf-Max-Cost-Per-Call", "X-Perf-Owner", "X_perf_account"}; !slices.Equal(gone, want) {
		t.Errorf("Envoy removes %q, want %q", gone, want)
	}
	for _, h := range slices.Concat(ok.Headers, ok.ResponseHeadersToAdd) {
		if h.AppendAction != core.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD {
			t.Errorf("%s is added to what the client has sent", h.Header.Key)
		}
	}
	for _, c := range []struct {
		name   string
		q      *auth.CheckRequest
		status int
		code   string
	}{
		{"a wrong key", message("GET", "h", "/files/a", "pk_live_x"), 401, "malformed_key"},
		{"no key", message("GET", "h", "/files/a", ""), 401, "missing_key"},
		{"a scope", message("PUT", "h", "/files/a", key), 403, "insufficient_scope"},
		{"a public route", message("GET", "h", "/open", ""), 200, ""},
		{"the second", message("GET", "h", "/files/a", key), 200, ""},
		{"the third", message("GET", "h", "/files/a", key), 200, ""},
		{"one too many", message("GET", "h", "/files/a", key), 429, "requests_per_minute"},
	} {
		if status, code := g.check(t, c.q); status != c.status || code != c.code {
			t.Errorf("%s: %d %s, want %d %s", c.name, status, code, c.status, c.code)
		}
	}
	a, err = auth.NewAuthorizationClient(g.envoy).Check(t.Context(), message("GET", "h", "/files/a", key))
	apitest.Must(t, err)
	if no := a.GetDeniedResponse(); codes.Code(a.Status.Code) != codes.ResourceExhausted || !has(no.GetHeaders(), "retry-after") || valueOf(no.GetHeaders(), "content-type") != "application/json" {
		t.Errorf("a refusal is %v", a)
	}
}

// A message that tells of no request that the proxy would take is a refusal, never an error:
// Envoy may let requests pass on errors.
func TestEnvoyMessagesThatTellOfNoRequest(t *testing.T) {
	g := newGateway(t, proxy.Route{Path: "/"})
	_, key := g.Key("live", "read")
	change := func(do func(*auth.AttributeContext)) *auth.CheckRequest {
		q := message("GET", "h", "/a", key)
		do(q.Attributes)
		return q
	}
	two := func(a *auth.AttributeContext) {
		a.Request.Http.Headers, a.Request.Http.HeaderMap = nil, &core.HeaderMap{Headers: []*core.HeaderValue{
			{Key: "authorization", RawValue: []byte("Bearer " + key)}, {Key: "authorization", RawValue: []byte("Bearer " + key)},
		}}
	}
	for _, c := range []struct {
		name   string
		q      *auth.CheckRequest
		status int
		code   string
	}{
		{"whole", message("GET", "h", "/a", key), 200, ""},
		{"empty", &auth.CheckRequest{}, 400, "invalid_request"},
		{"of a connection", change(func(a *auth.AttributeContext) { a.Request = nil }), 400, "invalid_request"},
		{"no peer", change(func(a *auth.AttributeContext) { a.Source = nil }), 400, "invalid_request"},
		{"a socket in the file system", change(func(a *auth.AttributeContext) {
			a.Source.Address = &core.Address{Address: &core.Address_Pipe{Pipe: &core.Pipe{Path: "/x"}}}
		}), 400, "invalid_request"},
		{"a field that ends its line", message("GET", "h", "/a", key, "x-a", "b\r\nc: d"), 400, "invalid_request"},
		{"a name that is none", message("GET", "h", "/a", key, "a b", "c"), 400, "invalid_request"},
		{"a long target", message("GET", "h", "/"+strings.Repeat("a", 8<<10), key), 414, "uri_too_long"},
		{"a large head", message("GET", "h", "/a", key, "x-a", strings.Repeat("a", 32<<10)), 431, "headers_too_large"},
		{"two credentials", change(two), 400, "ambiguous_credentials"},
		{"no method", message("", "h", "/a", key), 400, "invalid_request"},
		{"no host", message("GET", "", "/a", key), 400, "invalid_request"},
		{"no path", message("GET", "h", "", key), 400, "invalid_request"},
	} {
		if status, code := g.check(t, c.q); status != c.status || code != c.code {
			t.Errorf("%s: %d %s, want %d %s", c.name, status, code, c.status, c.code)
		}
	}
}

// The peer is the one of Envoy's connection. Where that is a trusted proxy, its header is read.
func TestEnvoyClient(t *testing.T) {
	g := newGateway(t, proxy.Route{Path: "/"})
	g.Op("PATCH", "/v1/accounts/default", `{"tier":"enterprise"}`).Want(t, 200)
	key := g.Op("POST", "/v1/keys", `{"name":"n","type":"live","scopes":["read"],"allowlist":["198.51.100.0/24"]}`).Want(t, 201).Text("key")
	for _, c := range []struct {
		peer, chain string
		want        int
	}{
		{"198.51.100.7", "192.0.2.1", 200},
		{"192.0.2.1", "198.51.100.7", 403},
		{"127.0.0.1", "198.51.100.7", 200},
		{"127.0.0.1", "192.0.2.1, 198.51.100.7", 200},
		{"127.0.0.1", "198.51.100.7, 192.0.2.1", 403},
		{"::ffff:198.51.100.7", "", 200},
	} {
		q := message("GET", "h", "/a", key, "x-forwarded-for", c.chain)
		q.Attributes.Source.Address.GetSocketAddress().Address = c.peer
		if status, code := g.check(t, q); status != c.want || c.want == 403 && code != "ip_not_allowed" {
			t.Errorf("%s by %s: %d %s, want %d", c.chain, c.peer, status, code, c.want)
		}
	}
}

// A descriptor with a limit is a bucket of its own: by domain and entries, in the window that it
// states. One that cannot be is an error.
func TestEnvoyRateLimits(t *testing.T) {
	g := newGateway(t, proxy.Route{Path: "/"})
	service := rls.NewRateLimitServiceClient(g.envoy)
	limited := func(n uint32, unit types.RateLimitUnit, pairs ...string) *descriptor.RateLimitDescriptor {
		d := entries(pairs...)
		d.Limit = &descriptor.RateLimitDescriptor_RateLimitOverride{RequestsPerUnit: n, Unit: unit}
		return d
	}
	hits := func(n uint64, d *descriptor.RateLimitDescriptor) *descriptor.RateLimitDescriptor {
		d.HitsAddend = wrapperspb.UInt64(n)
		return d
	}
	const ok, over = rls.RateLimitResponse_OK, rls.RateLimitResponse_OVER_LIMIT
	for _, c := range []struct {
		name, domain string
		d            *descriptor.RateLimitDescriptor
		want         rls.RateLimitResponse_Code
		left         uint32
	}{
		{"the first", "d", limited(2, types.RateLimitUnit_HOUR, "user", "a"), ok, 1},
		{"the second", "d", limited(2, types.RateLimitUnit_HOUR, "user", "a"), ok, 0},
		{"one too many", "d", limited(2, types.RateLimitUnit_HOUR, "user", "a"), over, 0},
		{"another user", "d", limited(2, types.RateLimitUnit_HOUR, "user", "b"), ok, 1},
		{"another domain", "e", limited(2, types.RateLimitUnit_HOUR, "user", "a"), ok, 1},
		{"other entries that join to the same text", "d", limited(2, types.RateLimitUnit_HOUR, "use", "ra"), ok, 1},
		{"several at once", "f", hits(3, limited(4, types.RateLimitUnit_DAY, "user", "a")), ok, 1},
		{"more than ever", "f", hits(5, limited(4, types.RateLimitUnit_DAY, "user", "b")), over, 0},
		{"a look", "f", hits(0, limited(4, types.RateLimitUnit_DAY, "user", "a")), ok, 1},
		{"a limit of nothing", "f", limited(0, types.RateLimitUnit_SECOND, "user", "c"), over, 0},
		{"no limit", "f", entries("user", "a"), ok, 0},
	} {
		a, err := service.ShouldRateLimit(t.Context(), &rls.RateLimitRequest{Domain: c.domain, Descriptors: []*descriptor.RateLimitDescriptor{c.d}})
		if err != nil || a.OverallCode != c.want || a.Statuses[0].Code != c.want || a.Statuses[0].LimitRemaining != c.left {
			t.Errorf("%s: %v, %v; want %s with %d left", c.name, a, err, c.want, c.left)
		}
	}
	a, err := service.ShouldRateLimit(t.Context(), &rls.RateLimitRequest{Domain: "g", Descriptors: []*descriptor.RateLimitDescriptor{
		limited(1, types.RateLimitUnit_MINUTE, "x", "y"), limited(9, types.RateLimitUnit_MINUTE, "x", "z"), limited(1, types.RateLimitUnit_MINUTE, "x", "y"),
	}})
	if err != nil || a.OverallCode != over || a.Statuses[0].Code != ok || a.Statuses[1].Code != ok || a.Statuses[2].Code != over {
		t.Errorf("three descriptors: %v, %v", a, err)
	}
	many := &rls.RateLimitRequest{Domain: "d"}
	for range 17 {
		many.Descriptors = append(many.Descriptors, entries("a", "b"))
	}
	for name, q := range map[string]*rls.RateLimitRequest{
		"too many": many,
		"a month":  {Domain: "d", Descriptors: []*descriptor.RateLimitDescriptor{limited(1, types.RateLimitUnit_MONTH, "a", "b")}},
		"a domain": {Domain: strings.Repeat("d", 300), Descriptors: []*descriptor.RateLimitDescriptor{limited(1, types.RateLimitUnit_DAY, "a", "b")}},
		"negative": {Domain: "d", Descriptors: []*descriptor.RateLimitDescriptor{{Entries: entries("a", "b").Entries, Limit: limited(1, types.RateLimitUnit_DAY).Limit, IsNegativeHits: true}}},
	} {
		if _, err := service.ShouldRateLimit(t.Context(), q); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A descriptor with a credential tells of a request, which the proxy judges: its limits, and
// whatever else it refuses, with the real status in a header.
func TestEnvoyRateLimitsOfKeys(t *testing.T) {
	g := newGateway(t, proxy.Route{Path: "/files/", Units: new(int64(2))})
	made := g.Op("POST", "/v1/keys", `{"name":"n","type":"live","scopes":["read"],"limits":{"requests_per_minute":2}}`).Want(t, 201)
	asks := func(pairs ...string) *descriptor.RateLimitDescriptor {
		return entries(append([]string{"authorization", "Bearer " + made.Text("key")}, pairs...)...)
	}
	for _, c := range []struct {
		name string
		d    *descriptor.RateLimitDescriptor
		real string // status of the refusal
		code string
	}{
		{"admitted", asks("method", "GET", "path", "/files/a", "host", "h", "remote_address", "192.0.2.1"), "", ""},
		{"one too many", asks("method", "GET", "path", "/files/a", "host", "h", "remote_address", "192.0.2.1"), "429", "requests_per_minute"},
		{"a scope", asks("method", "PUT", "path", "/files/a", "host", "h", "remote_address", "192.0.2.1"), "403", "insufficient_scope"},
		{"no path", asks("method", "GET", "host", "h", "remote_address", "192.0.2.1"), "400", "invalid_request"},
		{"no host", asks("method", "GET", "path", "/files/a", "remote_address", "192.0.2.1"), "400", "invalid_request"},
		{"two methods", asks("method", "GET", "method", "PUT", "path", "/files/a", "host", "h", "remote_address", "192.0.2.1"), "400", "invalid_request"},
		{"no address", asks("method", "GET", "path", "/files/a", "host", "h", "remote_address", "me"), "400", "invalid_request"},
	} {
		a, err := rls.NewRateLimitServiceClient(g.envoy).ShouldRateLimit(t.Context(), &rls.RateLimitRequest{Domain: "d", Descriptors: []*descriptor.RateLimitDescriptor{c.d}})
		apitest.Must(t, err)
		header := map[string]string{}
		for _, h := range a.ResponseHeadersToAdd {
			header[h.Key] = h.Value
		}
		if over := a.OverallCode == rls.RateLimitResponse_OVER_LIMIT; over != (c.real != "") || header["x-perf-status"] != c.real || codeOf(string(a.RawBody)) != c.code {
			t.Errorf("%s: %v, want %s %s", c.name, a, c.real, c.code)
		}
		if c.real == "" && (len(a.RequestHeadersToAdd) == 0 || header["x-ratelimit-limit"] != "2") {
			t.Errorf("%s: %v", c.name, a)
		}
	}
}
