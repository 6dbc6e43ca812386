package proxy

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/http/httpguts"

	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/httpapi/iprange"
	"github.com/perfgate/perfgate/httpapi/pattern"
	"github.com/perfgate/perfgate/httpapi/span"
	"github.com/perfgate/perfgate/store"
)

// route is a [Route] made ready for use. It is immutable.
type route struct {
	pattern      pattern.Pattern
	host         string // lower case; "*.x" is kept as ".x"
	methods      []string
	upstreams    []*url.URL
	rule         admit.Rule
	passPre      bool // preflights need no key
	strip        string
	preserveHost bool
	headers      []headerRule // sorted by name
	secrets      []string     // names of headers with values from the environment, dashed
	overrides    []string     // headers that may override the method; canonical
	hostRule     string       // Host as the header rules set it, or ""
	timeouts     Timeouts
	maxBody      int64 // -1 is no bound
	retries      int
	units        int64
	prices
	encodedSlash bool
	tls          *tls.Config // of https upstreams; nil is the default
}

// prices are what a call of a route costs, and may cost.
type prices struct {
	cost       store.Money
	costHeader string      // of responses, with their cost; "" is none
	maxCost    store.Money // 0 is none
}

// headerRule sets a header, or removes it if the value is empty.
type headerRule struct{ name, value string }

// compiler collects the mistakes of one route.
type compiler struct {
	prefix   string
	env      func(string) (string, bool)
	errs     []error
	warnings []*FieldError
}

func (c *compiler) fail(key, value, format string, args ...any) {
	c.errs = append(c.errs, &FieldError{Key: c.prefix + key, Value: value, Reason: fmt.Sprintf(format, args...)})
}

// Compile checks routes and makes a table of them. It reads the files that they name. env
// looks up environment variables for header values. The error joins one [FieldError] for each mistake;
// none of them repeats the value of a variable.
func Compile(routes []Route, env func(string) (string, bool)) (*Table, error) {
	var errs []error
	t := &Table{}
	if len(routes) > maxRoutes {
		errs = append(errs, &FieldError{"proxy.routes", strconv.Itoa(len(routes)), fmt.Sprintf("at most %d routes are supported", maxRoutes)})
	}
	same := sameRoutes{byPath: map[string][]placed{}}
	for i := range routes {
		c := compiler{prefix: fmt.Sprintf("proxy.routes[%d].", i), env: env}
		r := c.route(&routes[i])
		if len(c.errs) == 0 {
			same.add(&c, i, r)
		}
		errs = append(errs, c.errs...)
		t.warnings = append(t.warnings, c.warnings...)
		t.routes = append(t.routes, r)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	t.sort()
	t.warnings = append(t.warnings, same.warnings...)
	return t, nil
}

func (c *compiler) route(in *Route) *route {
	r := &route{
		strip: in.StripPrefix, preserveHost: in.PreserveHost,
		maxBody: -1, retries: 1, units: 1, encodedSlash: in.AllowEncodedSlash,
		rule: admit.Rule{Route: in.Path, Public: in.Public, Require: in.Require, PassAuthorization: in.PassAuthorization},
	}
	var err error
	if r.pattern, err = pattern.Parse(in.Path); err != nil {
		c.fail("path", in.Path, "%v", err)
	}
	r.host = c.host(in.Host)
	for i, m := range in.Methods {
		if m = strings.ToUpper(m); !pattern.ValidMethod(m) {
			c.fail(fmt.Sprintf("methods[%d]", i), m, "must be an HTTP method other than CONNECT and TRACE; leave methods out to take all")
		} else if r.pattern.Method() != "" {
			c.fail(fmt.Sprintf("methods[%d]", i), m, "the path already names the method")
		}
		r.methods = append(r.methods, m)
	}
	if m := r.pattern.Method(); m != "" {
		r.methods = []string{m}
	}
	r.methods = methodSet(r.methods)
	c.upstreams(r, in.Upstreams)
	c.upstreamTLS(r, &in.UpstreamTLS)
	for i, s := range in.Require {
		if !scope(s) {
			c.fail(fmt.Sprintf("require[%d]", i), s, "must be a scope: a word of visible ASCII characters without quotes, backslashes and commas")
		}
	}
	if in.Public && len(in.Require) > 0 {
		c.fail("require", strings.Join(in.Require, " "), "a public route asks for no key, so it cannot require scopes")
	}
	switch in.Preflight {
	case "", "deny":
	case "pass":
		r.passPre = true
	default:
		c.fail("preflight", in.Preflight, `must be "pass" or "deny"`)
	}
	switch {
	case in.StripPrefix == "":
	case in.StripPrefix[0] != '/' || strings.ContainsAny(in.StripPrefix, "?#%{}\\"):
		c.fail("strip_prefix", in.StripPrefix, `must be a decoded path that begins with "/"`)
	case err == nil && !r.pattern.MayBegin(in.StripPrefix):
		c.fail("strip_prefix", in.StripPrefix, "no path of this route begins with it, so it would never be removed")
	}
	for i, name := range in.AllowMethodOverride {
		canonical := http.CanonicalHeaderKey(name)
		if !overridesMethod(canonical) {
			c.fail(fmt.Sprintf("allow_method_override[%d]", i), name, "must be a header that overrides the method, such as X-HTTP-Method-Override")
		}
		r.overrides = append(r.overrides, canonical)
	}
	c.headers(r, in.Headers)
	c.timeouts(r, in.Timeouts)
	c.amounts(r, in)
	return r
}

// scope holds for a text that can be a scope of a key.
func scope(s string) bool {
	return s != "" && !strings.ContainsAny(s, `"\,`) && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

func (c *compiler) host(s string) string {
	if reason := hostFault(s); s != "" && reason != "" {
		c.fail("host", s, "%s", reason)
	}
	return strings.TrimPrefix(strings.TrimSuffix(strings.ToLower(s), "."), "*")
}

// hostFault is the reason for which no request can have the host s of a route, or "".
func hostFault(s string) string {
	name, wild := strings.CutPrefix(strings.TrimSuffix(s, "."), "*.")
	switch {
	case name == "", strings.ContainsAny(name, "*/@ "), strings.Contains(name, ":") && (wild || name[0] != '[' || name[len(name)-1] != ']'):
		return `must be a host name without port, or "*.example.com"`
	case strings.ContainsFunc(name, func(r rune) bool { return r > '~' }):
		return "must be written as clients send it, in ASCII: xn--…"
	case !wild && iprange.LooksIPv4(name) && net.ParseIP(name) == nil:
		return "must be a host name or an IP address; an IPv4 address is four numbers from 0 to 255"
	case !validHost(name) || name[0] == '-':
		return "must be a host name or an IP address that can exist"
	}
	return ""
}

func (c *compiler) upstreams(r *route, in []string) {
	if len(in) == 0 || len(in) > maxUpstreams {
		c.fail("upstreams", strings.Join(in, " "), "must be 1 to %d URLs", maxUpstreams)
	}
	for i, s := range in {
		key := fmt.Sprintf("upstreams[%d]", i)
		u, err := url.Parse(s)
		if err != nil {
			c.fail(key, s, "must be a URL such as http://10.0.0.5:9000")
			continue
		}
		switch {
		case u.User != nil:
			c.fail(key, u.Redacted(), "must not contain credentials; set a header with ${VARIABLE} instead")
		case u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "h2c" || u.Host == "" || u.Hostname() == "":
			c.fail(key, s, "must be a URL such as http://10.0.0.5:9000 (http, https or h2c)")
		case !dialable(u.Port()):
			c.fail(key, s, "must have a port from 1 to 65535")
		case iprange.LooksIPv4(u.Hostname()) && net.ParseIP(u.Hostname()) == nil:
			c.fail(key, s, "must have a host name or an IP address; an IPv4 address is four numbers from 0 to 255")
		case !validName(u.Hostname()):
			c.fail(key, s, "must have a host name or an IP address that can exist")
		case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || pattern.Hidden(u.Path) != "":
			c.fail(key, s, "must have scheme, host and base path only")
		default:
			r.upstreams = append(r.upstreams, u)
		}
	}
}

// dialable reports whether a connection can be made to port; "" is the scheme's.
func dialable(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return port == "" || err == nil && n > 0
}

// validName holds for a host name that a resolver could find, and for an address. A
// name in another script than ASCII is left to the transport.
func validName(host string) bool {
	if strings.ContainsFunc(host, func(r rune) bool { return r > '~' }) {
		return utf8.ValidString(host)
	}
	if strings.Contains(host, ":") {
		_, err := netip.ParseAddr(host)
		return err == nil
	}
	return validHost(host) && host[0] != '-'
}

// notShown replaces values that may hold an upstream's credential.
const notShown = "…"

func (c *compiler) headers(r *route, in map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(in)) {
		key := "headers." + name
		canonical := http.CanonicalHeaderKey(name)
		if !httpguts.ValidHeaderFieldName(name) || ownHeader(canonical) {
			c.fail(key, notShown, "a rule cannot set this header")
			continue
		}
		value := c.expand(key, in[name])
		if in[name] != "" && strings.Trim(in[name], " \t") == "" {
			c.fail(key, notShown, `must not be blank; "" removes the header`)
		}
		if !httpguts.ValidHeaderFieldValue(value) {
			c.fail(key, notShown, "must not contain characters that a header cannot carry")
			continue
		}
		if strings.Contains(in[name], "${") {
			r.secrets = append(r.secrets, dashed(canonical))
		}
		if canonical == "Host" {
			r.hostRule = value
			continue
		}
		r.headers = append(r.headers, headerRule{canonical, value})
	}
	if r.rule.PassAuthorization && (r.rule.Public || slices.ContainsFunc(r.headers, func(h headerRule) bool { return h.name == "Authorization" })) {
		c.fail("pass_authorization", "true", "has no effect on a public route and on one that sets Authorization in headers")
	}
}

// ownHeader reports whether a header frames a message or is set by perfgate only.
func ownHeader(canonical string) bool {
	switch canonical {
	case "Connection", "Proxy-Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
		"Content-Length", "Expect", "X-Request-Id":
		return true
	}
	return isIdentity(canonical)
}

// expand replaces ${NAME}; a lone "$" stands for itself.
func (c *compiler) expand(key, s string) string {
	var out strings.Builder
	rest := s
	for {
		before, after, ok := strings.Cut(rest, "${")
		out.WriteString(before)
		if !ok {
			return out.String()
		}
		name, tail, ok := strings.Cut(after, "}")
		if !ok || !pattern.ValidName(name) {
			c.fail(key, notShown, "must be ${NAME}, closed by a brace")
			return ""
		}
		value, ok := c.env(name)
		if !ok {
			c.fail(key, notShown, "the environment variable %s is not set", name)
			return ""
		}
		if strings.Trim(value, " \t") == "" {
			state := "blank"
			if value == "" {
				state = "empty"
			}
			c.fail(key, notShown, "the environment variable %s is %s; it must have a value", name, state)
			return ""
		}
		out.WriteString(value)
		rest = tail
	}
}

func (c *compiler) timeouts(r *route, in Timeouts) {
	r.timeouts = in
	for _, t := range []struct {
		key   string
		value int64
	}{
		{"connect", int64(in.Connect)}, {"response_header", int64(in.ResponseHeader)},
		{"idle", int64(in.Idle)}, {"total", int64(in.Total)},
	} {
		if t.value < 0 {
			c.fail("timeouts."+t.key, strconv.FormatInt(t.value, 10), "must be a duration that is not negative")
		}
	}
	r.timeouts.Connect = cmp.Or(in.Connect, defaultTimeouts.Connect)
	r.timeouts.ResponseHeader = cmp.Or(in.ResponseHeader, defaultTimeouts.ResponseHeader)
	r.timeouts.Idle = cmp.Or(in.Idle, defaultTimeouts.Idle)
}

func (c *compiler) amounts(r *route, in *Route) {
	if in.MaxBody != "" {
		n, err := span.Bytes(in.MaxBody)
		if err == nil && n > maxMaxBody {
			err = fmt.Errorf("must be at most %s", span.FormatBytes(maxMaxBody))
		}
		if err != nil {
			c.fail("max_body", in.MaxBody, "%v", err)
		}
		r.maxBody = n
	}
	if in.Retries != nil {
		if r.retries = *in.Retries; r.retries < 0 || r.retries > maxRetries {
			c.fail("retries", strconv.Itoa(r.retries), "must be 0 to %d", maxRetries)
		}
	}
	if in.Units != nil {
		if r.units = *in.Units; r.units < 0 || r.units > 1_000_000 {
			c.fail("units", strconv.FormatInt(r.units, 10), "must be 0 to 1000000")
		}
	}
	if in.MaxCostPerCall != nil {
		text := amountText(in.MaxCostPerCall)
		m, _, err := store.ParseMoney(text)
		if err == nil && m == 0 {
			err = errors.New("must be above 0") // a bound of nothing would be no bound at all further down
		}
		if err != nil {
			c.fail("max_cost_per_call", text, "%v", err)
		}
		if in.Public {
			c.fail("max_cost_per_call", text, "a public route asks for no key, so no cost is checked")
		}
		r.maxCost = m
	}
	if in.Cost == nil {
		return
	}
	text := amountText(in.Cost)
	if name, ok := strings.CutPrefix(text, "header:"); ok {
		if !httpguts.ValidHeaderFieldName(name) {
			c.fail("cost", text, `must be "header:" and the name of a response header`)
		}
		r.costHeader = http.CanonicalHeaderKey(name)
		return
	}
	m, _, err := store.ParseMoney(text)
	if err != nil {
		c.fail("cost", text, `%v, or "header:X-Cost"`, err)
	}
	if r.maxCost != 0 && m > r.maxCost {
		c.fail("cost", text, "above the route's max_cost_per_call, so every request would be refused")
	}
	r.cost = m
}

// amountText is a configured number as decimal text, however the file wrote it.
func amountText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return fmt.Sprint(v)
}
