package proxy

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/store"
)

// route is a [Route] made ready for use. It is immutable.
type route struct {
	pattern      pattern
	host         string // lower case; "*.x" is kept as ".x"
	methods      []string
	upstreams    []*url.URL
	rule         admit.Rule
	passPre      bool // preflights need no key
	strip        string
	preserveHost bool
	headers      []headerRule // sorted by name
	hostRule     string       // what the header rules set Host to, or ""
	timeouts     Timeouts
	maxBody      int64 // -1 is no bound
	retries      int
	units        int64
	cost         store.Money
	costHeader   string
	maxCost      store.Money // 0 is none
	encodedSlash bool
}

// headerRule sets a header, or removes it if the value is empty.
type headerRule struct{ name, value string }

// compiler collects the mistakes of one route.
type compiler struct {
	prefix string
	env    func(string) (string, bool)
	errs   []error
}

func (c *compiler) fail(key, value, format string, args ...any) {
	c.errs = append(c.errs, &FieldError{Key: c.prefix + key, Value: value, Reason: fmt.Sprintf(format, args...)})
}

// Compile checks routes and makes a table of them. env looks up environment
// variables for header values. The error joins one [FieldError] for each mistake;
// none of them repeats what a variable holds.
func Compile(routes []Route, env func(string) (string, bool)) (*Table, error) {
	var errs []error
	t := &Table{}
	if len(routes) > maxRoutes {
		errs = append(errs, &FieldError{"proxy.routes", strconv.Itoa(len(routes)), fmt.Sprintf("at most %d routes are supported", maxRoutes)})
	}
	seen := map[string]int{}
	for i := range routes {
		c := compiler{prefix: fmt.Sprintf("proxy.routes[%d].", i), env: env}
		r := c.route(&routes[i])
		identity := fmt.Sprintf("%s %s %q", r.host, routes[i].Path, r.methods)
		if j, ok := seen[identity]; ok && len(c.errs) == 0 {
			c.fail("path", routes[i].Path, "same host, path and methods as proxy.routes[%d]", j)
		}
		seen[identity] = i
		errs = append(errs, c.errs...)
		t.routes = append(t.routes, r)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	t.sort()
	return t, nil
}

func (c *compiler) route(in *Route) *route {
	r := &route{
		strip: in.StripPrefix, preserveHost: in.PreserveHost,
		maxBody: -1, retries: 1, units: 1, encodedSlash: in.AllowEncodedSlash,
		rule: admit.Rule{Route: in.Path, Public: in.Public, Require: in.Require},
	}
	var err error
	if r.pattern, err = parsePattern(in.Path); err != nil {
		c.fail("path", in.Path, "%v", err)
	}
	r.host = c.host(in.Host)
	for i, m := range in.Methods {
		if m = strings.ToUpper(m); !validMethod(m) {
			c.fail(fmt.Sprintf("methods[%d]", i), m, "want an HTTP method other than CONNECT and TRACE")
		} else if r.pattern.method != "" {
			c.fail(fmt.Sprintf("methods[%d]", i), m, "the path already names the method")
		}
		r.methods = append(r.methods, m)
	}
	if r.pattern.method != "" {
		r.methods = []string{r.pattern.method}
	}
	slices.Sort(r.methods)
	c.upstreams(r, in.Upstreams)
	for i, s := range in.Require {
		if s == "" || strings.ContainsAny(s, " \t\"\\,") {
			c.fail(fmt.Sprintf("require[%d]", i), s, "want a scope: a word without spaces, quotes and commas")
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
		c.fail("preflight", in.Preflight, `want "pass" or "deny"`)
	}
	if in.StripPrefix != "" && (in.StripPrefix[0] != '/' || strings.ContainsAny(in.StripPrefix, "?#%{}\\")) {
		c.fail("strip_prefix", in.StripPrefix, `want a decoded path that begins with "/"`)
	}
	c.headers(r, in.Headers)
	c.timeouts(r, in.Timeouts)
	c.amounts(r, in)
	return r
}

func (c *compiler) host(s string) string {
	h := strings.TrimSuffix(strings.ToLower(s), ".")
	exact := strings.TrimPrefix(h, "*")
	if s != "" && (exact == "" || strings.ContainsAny(exact, "*/:@ ") && !strings.HasPrefix(exact, "[") || h != exact && exact[0] != '.') {
		c.fail("host", s, `want a host name without port, or "*.example.com"`)
	}
	return exact
}

func (c *compiler) upstreams(r *route, in []string) {
	if len(in) == 0 || len(in) > maxUpstreams {
		c.fail("upstreams", strings.Join(in, " "), "want 1 to %d URLs", maxUpstreams)
	}
	for i, s := range in {
		key := fmt.Sprintf("upstreams[%d]", i)
		u, err := url.Parse(s)
		if err != nil {
			c.fail(key, s, "want a URL such as http://10.0.0.5:9000")
			continue
		}
		switch {
		case u.User != nil:
			c.fail(key, u.Redacted(), "a URL must not hold credentials; set a header with ${VARIABLE} instead")
		case u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "h2c" || u.Host == "" || u.Hostname() == "":
			c.fail(key, s, "want a URL such as http://10.0.0.5:9000 (http, https or h2c)")
		case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || hidden(u.Path) != "":
			c.fail(key, s, "want scheme, host and base path only")
		default:
			r.upstreams = append(r.upstreams, u)
		}
	}
}

// notShown stands for what may hold an upstream's credential.
const notShown = "…"

func (c *compiler) headers(r *route, in map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(in)) {
		key := "headers." + name
		canonical := http.CanonicalHeaderKey(name)
		if !httpguts.ValidHeaderFieldName(name) || ownHeader(canonical) {
			c.fail(key, notShown, "this header cannot be set by a rule")
			continue
		}
		value := c.expand(key, in[name])
		if !httpguts.ValidHeaderFieldValue(value) {
			c.fail(key, notShown, "the value has a character that no header may carry")
			continue
		}
		if canonical == "Host" {
			r.hostRule = value
			continue
		}
		r.headers = append(r.headers, headerRule{canonical, value})
	}
}

// ownHeader names what frames a message, or what perfgate itself vouches for.
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
		if !ok || !isIdent(name) {
			c.fail(key, notShown, "want ${NAME}, closed by a brace")
			return ""
		}
		value, ok := c.env(name)
		if !ok {
			c.fail(key, notShown, "the environment variable %s is not set", name)
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
			c.fail("timeouts."+t.key, strconv.FormatInt(t.value, 10), "want a duration that is not negative")
		}
	}
	r.timeouts.Connect = cmp.Or(in.Connect, defaultTimeouts.Connect)
	r.timeouts.ResponseHeader = cmp.Or(in.ResponseHeader, defaultTimeouts.ResponseHeader)
	r.timeouts.Idle = cmp.Or(in.Idle, defaultTimeouts.Idle)
}

func (c *compiler) amounts(r *route, in *Route) {
	if in.MaxBody != "" {
		n, ok := parseSize(in.MaxBody)
		if !ok {
			c.fail("max_body", in.MaxBody, `want a size such as "64MiB"`)
		}
		r.maxBody = n
	}
	if in.Retries != nil {
		if r.retries = *in.Retries; r.retries < 0 || r.retries > maxRetries {
			c.fail("retries", strconv.Itoa(r.retries), "want 0 to %d", maxRetries)
		}
	}
	if in.Units != nil {
		if r.units = *in.Units; r.units < 0 || r.units > 1_000_000 {
			c.fail("units", strconv.FormatInt(r.units, 10), "want 0 to 1000000")
		}
	}
	if in.MaxCostPerCall != nil {
		text := amountText(in.MaxCostPerCall)
		m, err := parseMoney(text)
		if err == nil && m == 0 {
			err = errMoney // a bound of nothing would be no bound at all further down
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
			c.fail("cost", text, `want "header:" and the name of a response header`)
		}
		r.costHeader = http.CanonicalHeaderKey(name)
		return
	}
	m, err := parseMoney(text)
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

// parseSize reads "1024", "64KiB", "64MiB" or "2GiB".
func parseSize(s string) (int64, bool) {
	num, shift := s, 0
	for i, unit := range []string{"B", "KiB", "MiB", "GiB"} {
		if n, ok := strings.CutSuffix(s, unit); ok && digits(n) {
			num, shift = n, 10*i
		}
	}
	n, err := strconv.ParseInt(num, 10, 64)
	if err != nil || !digits(num) || n > 1<<50>>shift {
		return 0, false
	}
	return n << shift, true
}
