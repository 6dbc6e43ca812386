package pattern

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/perfgate/perfgate/httpapi/invisible"
)

// Parse compiles a well-formed pattern, as a configured route must have. The
// error says how to write it instead.
func Parse(text string) (Pattern, error) {
	if err := check(text); err != nil {
		return Pattern{}, err
	}
	return Compile(text), nil
}

func check(text string) error {
	if c := invisible.In(text, ""); c != "" {
		return fmt.Errorf("it must not hold characters that cannot be seen, such as %s", c)
	}
	path := text
	if method, rest, ok := strings.Cut(text, " "); ok {
		if !ValidMethod(method) {
			return fmt.Errorf("%q is not a method; leave it out to take all", method)
		}
		path = strings.TrimLeft(rest, " \t")
	}
	if !strings.HasPrefix(path, "/") {
		return errors.New(`the path must begin with "/" (a host goes into the route's host)`)
	}
	if strings.ContainsAny(path, "?# \\%") {
		return errors.New("write the path decoded, without query, fragment, space or backslash")
	}
	return checkSegments(strings.TrimSuffix(path, "{$}"))
}

func checkSegments(path string) error {
	names := map[string]bool{}
	parts := strings.Split(strings.Trim(path, "/"), "/")
	if parts[0] == "" {
		return nil
	}
	for i, part := range parts {
		switch {
		case part == "" || part == "." || part == "..":
			return errors.New("the path has an empty or dot segment, which no request can match")
		case strings.Contains(part, "*"):
			return errors.New(`"*" is no wildcard here: a path such as "/v1/" takes everything below it, and {name} stands for one segment`)
		case part[0] == ':' && ValidName(part[1:]):
			return fmt.Errorf("%q is no wildcard here: write {%s}", part, part[1:])
		case !strings.ContainsAny(part, "{}"):
			continue
		}
		name, ok := strings.CutPrefix(part, "{")
		if ok {
			name, ok = strings.CutSuffix(name, "}")
		}
		name, rest := strings.CutSuffix(name, "...")
		switch {
		case !ok || !ValidName(name):
			return fmt.Errorf("%q: a wildcard is a whole segment, {name} or {name...}", part)
		case names[name]:
			return fmt.Errorf("the wildcard %q appears twice", name)
		case rest && (i != len(parts)-1 || strings.HasSuffix(path, "/")):
			return fmt.Errorf("%q must come last", part)
		}
		names[name] = true
	}
	return nil
}

// ValidName reports whether s may name a wildcard: ASCII letters, digits and
// underscores, the first no digit.
func ValidName(s string) bool {
	for i, c := range s {
		if c != '_' && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

// ValidMethod reports whether a pattern or a route may name the method m: any
// in upper case that is proxied. "*" is no method, although HTTP's grammar has it: it
// would be meant as all of them.
func ValidMethod(m string) bool {
	return m != "" && httpguts.ValidHeaderFieldName(m) && !strings.Contains(m, "*") && m == strings.ToUpper(m) && Proxied(m)
}

// Proxied reports whether requests with the method m are proxied at all: all but
// CONNECT and TRACE.
func Proxied(m string) bool { return m != http.MethodConnect && m != http.MethodTrace }

// MaxLen bounds the path of one of a key's routes, in bytes.
const MaxLen = 256
