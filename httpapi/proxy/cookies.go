package proxy

import "strings"

// ownCookie reports whether a cookie is one of perfgate's own: of a session of the
// dashboard, or of a sign-in. Cookies know no ports, so a browser that is signed in at the
// admin listener sends them to the proxy listener of the same host, too.
func ownCookie(name string) bool {
	switch name {
	case "perfgate", "__Host-perfgate", "perfgate-signin":
		return true
	}
	return false
}

// withoutOwnCookies removes perfgate's own cookies from a line of Cookie (RFC 6265, section
// 4.2.1). "" is left if there were no others.
func withoutOwnCookies(line string) string {
	if !strings.Contains(line, "perfgate") {
		return line
	}
	var kept []string
	for part := range strings.SplitSeq(line, ";") {
		part = strings.TrimSpace(part)
		if name, _, _ := strings.Cut(part, "="); part != "" && !ownCookie(strings.TrimSpace(name)) {
			kept = append(kept, part)
		}
	}
	return strings.Join(kept, "; ")
}

// setsOwnCookie reports whether a line of Set-Cookie would replace one of perfgate's own.
func setsOwnCookie(line string) bool {
	name, _, _ := strings.Cut(line, "=")
	return ownCookie(strings.TrimSpace(name))
}
