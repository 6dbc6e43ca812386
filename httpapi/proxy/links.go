package proxy

import (
	"net/url"
	"strings"
)

// outside rewrites the upstreams' own addresses in response headers to addresses of this
// proxy, which the client can use.
type outside struct {
	route *route
	host  string // of the request
}

// link applies url to the targets of a Link header (RFC 8288) and to
// its quoted parameters, of which anchor is a URL.
func (o outside) link(v string) string {
	var out strings.Builder
	for {
		i := strings.IndexAny(v, `<"`)
		if i < 0 {
			break
		}
		end := byte('"')
		if v[i] == '<' {
			end = '>'
		}
		n := strings.IndexByte(v[i+1:], end)
		if n < 0 { // nothing closes it
			return out.String() + v[:i+1] + o.url(v[i+1:])
		}
		out.WriteString(v[:i+1])
		out.WriteString(o.url(v[i+1 : i+1+n]))
		out.WriteByte(end)
		v = v[i+n+2:]
	}
	out.WriteString(v)
	return out.String()
}

// refresh applies url to the target of a Refresh header, as browsers
// read it: seconds, ";" or ",", perhaps "url=", perhaps in quotes.
func (o outside) refresh(v string) string {
	i := strings.IndexAny(v, ";,")
	if i < 0 {
		return v
	}
	target := strings.TrimSpace(v[i+1:])
	if hasPrefixFold(target, "url") {
		if rest, ok := strings.CutPrefix(strings.TrimLeft(target[len("url"):], " \t"), "="); ok {
			target = strings.TrimSpace(rest)
		}
	}
	target = strings.Trim(target, `"'`)
	if outer := o.url(target); outer != target {
		return v[:i] + "; url=" + outer
	}
	return v
}

// url turns an absolute URL at one of the route's upstreams into a path that
// the client can ask this proxy for. Others are left alone.
func (o outside) url(location string) string {
	if !strings.Contains(location, "//") && !strings.Contains(location, `\`) {
		return location
	}
	loc, err := url.Parse(strings.ReplaceAll(strings.TrimSpace(location), `\`, "/")) // as browsers read it
	if err != nil || loc.Host == "" || strings.EqualFold(loc.Host, o.host) {
		return location
	}
	for _, u := range o.route.upstreams {
		if sameOrigin(loc, u) {
			return o.path(loc, u)
		}
	}
	return location
}

// sameOrigin compares host and port; the scheme decides only on a port that is
// not written out.
func sameOrigin(loc, u *url.URL) bool {
	if !strings.EqualFold(strings.TrimSuffix(loc.Hostname(), "."), u.Hostname()) {
		return false
	}
	if loc.Scheme == "" {
		return loc.Port() == u.Port() || loc.Port() == "" || port(loc, u.Scheme) == port(u, u.Scheme)
	}
	return port(loc, loc.Scheme) == port(u, u.Scheme)
}

func port(u *url.URL, scheme string) string {
	switch p := u.Port(); {
	case p != "":
		return p
	case strings.EqualFold(scheme, "https"), strings.EqualFold(scheme, "wss"):
		return "443"
	}
	return "80"
}

// path is the path, query and fragment of loc, at the upstream u, as this
// proxy is asked for them.
func (o outside) path(loc, u *url.URL) string {
	path := loc.EscapedPath()
	if base := strings.TrimSuffix(u.EscapedPath(), "/"); base != "" {
		rest, ok := strings.CutPrefix(path, base)
		if !ok || rest != "" && rest[0] != '/' {
			rest = path // outside of this route
		}
		path = rest
	}
	path = strings.TrimSuffix(o.route.strip, "/") + "/" + strings.TrimLeft(path, "/")
	if loc.RawQuery != "" || loc.ForceQuery {
		path += "?" + loc.RawQuery
	}
	if loc.Fragment != "" {
		path += "#" + loc.EscapedFragment()
	}
	return path
}
