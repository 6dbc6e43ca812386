package httpapi

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/perfgate/perfgate/store"
)

// The bounds of a key's fields, in characters unless said otherwise.
const (
	maxName        = 200
	maxEnvironment = 100
	maxReason      = 500
	maxScopes      = 50
	maxScope       = 64
	maxRoutes      = 100
	maxRoute       = 256
	maxKeyEntries  = 1000 // of a key's own allowlist
	maxMetadata    = 50
	maxMetaName    = 64
	maxMetaValue   = 500
	maxLimit64     = 1_000_000_000_000 // of any number of requests
)

// keyFields are the settings that creation, import and PATCH share. A member
// that was not sent is nil.
type keyFields struct {
	name        *string
	environment *string
	scopes      *[]string
	expiresAt   *time.Time
	limits      *store.Limits
	allowlist   *[]string
	routes      *[]string
	metadata    *map[string]string

	prefixes []netip.Prefix // of allowlist, after check
}

// check validates what is set and normalises it in place: scopes and routes are
// sorted and lose duplicates, addresses become prefixes.
func (f *keyFields) check(now time.Time) error {
	if f.name != nil {
		if err := checkText("name", *f.name, 1, maxName); err != nil {
			return err
		}
	}
	if f.environment != nil {
		if err := checkText("environment", *f.environment, 0, maxEnvironment); err != nil {
			return err
		}
	}
	if f.expiresAt != nil {
		if !f.expiresAt.After(now) {
			return invalid("expires_at", "must be in the future")
		}
		if f.expiresAt.Year() > 9998 {
			return invalid("expires_at", "is too far away")
		}
		*f.expiresAt = f.expiresAt.UTC()
	}
	if f.limits != nil {
		if err := checkLimits("limits", f.limits); err != nil {
			return err
		}
		if f.limits.Burst != nil && f.limits.PerMinute == nil {
			return invalid("limits.burst", "needs limits.requests_per_minute")
		}
	}
	if f.scopes != nil {
		if err := checkScopes(*f.scopes); err != nil {
			return err
		}
		*f.scopes = sortedSet(*f.scopes)
	}
	if f.routes != nil {
		if err := checkRoutes(*f.routes); err != nil {
			return err
		}
		*f.routes = sortedSet(*f.routes)
	}
	if f.allowlist != nil {
		if err := f.checkAllowlist(); err != nil {
			return err
		}
	}
	if f.metadata != nil {
		return checkMetadata(*f.metadata)
	}
	return nil
}

func (f *keyFields) checkAllowlist() error {
	if len(*f.allowlist) > maxKeyEntries {
		return invalid("allowlist", "has %d entries, and a key may have %d", len(*f.allowlist), maxKeyEntries)
	}
	var bad complaints
	f.prefixes = make([]netip.Prefix, 0, len(*f.allowlist))
	for i, s := range *f.allowlist {
		p, err := parsePrefix(s)
		if err != nil {
			bad.add("allowlist."+strconv.Itoa(i), s, err)
		}
		f.prefixes = append(f.prefixes, p)
	}
	slices.SortFunc(f.prefixes, netip.Prefix.Compare)
	f.prefixes = slices.Compact(f.prefixes)
	return bad.err()
}

// checkText holds for lo–hi characters, none of them a control character.
func checkText(field, s string, lo, hi int) error {
	n := utf8.RuneCountInString(s)
	if n < lo || n > hi {
		return invalid(field, "want %d–%d characters", lo, hi)
	}
	if lo > 0 && strings.TrimSpace(s) == "" {
		return invalid(field, "must not be blank")
	}
	if strings.ContainsFunc(s, unicode.IsControl) {
		return invalid(field, "must not hold control characters")
	}
	return nil
}

// checkLimits wants whole numbers ≥ 1: a limit of nothing is a disabled key.
func checkLimits(field string, l *store.Limits) error {
	for _, m := range []struct {
		name  string
		value *int64
	}{{"requests_per_minute", l.PerMinute}, {"burst", l.Burst}, {"requests_per_month", l.PerMonth}} {
		if m.value != nil && (*m.value < 1 || *m.value > maxLimit64) {
			return invalid(field+"."+m.name, "want a whole number from 1 to %d, or null", int64(maxLimit64))
		}
	}
	return nil
}

// checkScopes wants scope-tokens (RFC 6749, 3.3).
func checkScopes(scopes []string) error {
	if len(scopes) == 0 || len(scopes) > maxScopes {
		return invalid("scopes", "want 1–%d scopes", maxScopes)
	}
	for i, s := range scopes {
		if !visible(s, maxScope) || strings.ContainsAny(s, `"\`) {
			return invalid("scopes."+strconv.Itoa(i), `want 1–%d visible ASCII characters without quotes and backslashes`, maxScope)
		}
	}
	return nil
}

// checkRoutes wants patterns as routes are configured: an optional method and
// blank, an optional host, a path.
func checkRoutes(routes []string) error {
	if len(routes) > maxRoutes {
		return invalid("routes", "has %d patterns, and a key may have %d", len(routes), maxRoutes)
	}
	for i, s := range routes {
		pattern := s
		if method, rest, ok := strings.Cut(s, " "); ok && method != "" && strings.Trim(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == "" {
			pattern = rest
		}
		if !visible(pattern, maxRoute) || !strings.Contains(pattern, "/") {
			return invalid("routes."+strconv.Itoa(i), "want a route's pattern, such as /v1/chat, of at most %d characters", maxRoute)
		}
	}
	return nil
}

func checkMetadata(m map[string]string) error {
	if len(m) > maxMetadata {
		return invalid("metadata", "has %d pairs, and a key may have %d", len(m), maxMetadata)
	}
	for name, value := range m {
		if err := checkText("metadata", name, 1, maxMetaName); err != nil {
			return invalid("metadata", "a name must have 1–%d characters and no control characters", maxMetaName)
		}
		if utf8.RuneCountInString(value) > maxMetaValue {
			return invalid("metadata."+name, "want at most %d characters", maxMetaValue)
		}
	}
	return nil
}

func sortedSet(s []string) []string {
	s = slices.Clone(s)
	slices.Sort(s)
	return slices.Compact(s)
}
