package manage

import (
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/invisible"
	"github.com/perfgate/perfgate/httpapi/iprange"
	"github.com/perfgate/perfgate/httpapi/pattern"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
)

// The bounds of a key's fields, in characters unless said otherwise.
const (
	maxName        = 200
	maxEnvironment = 100
	maxReason      = 500
	maxScope       = 64
	maxMetaName    = 64
	maxMetaValue   = 500
	maxPerMonth    = store.MaxRequests
	maxPerMinute   = store.MaxPerMinute // and of a burst
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

// scopeList is the scopes that were sent.
func (f *keyFields) scopeList() []string {
	if f.scopes == nil {
		return nil
	}
	return *f.scopes
}

// check validates the members that are set and normalises them in place: scopes and routes are
// sorted and lose duplicates, addresses become prefixes. It names every fault.
func (f *keyFields) check(now time.Time) error {
	var faults fault.List
	if f.name != nil {
		faults.Add(checkText("name", *f.name, 1, maxName))
	}
	if f.environment != nil {
		faults.Add(checkText("environment", *f.environment, 0, maxEnvironment))
	}
	if f.expiresAt != nil {
		switch {
		case !f.expiresAt.After(now):
			faults.Add(rest.Invalid("expires_at", "must be in the future"))
		case f.expiresAt.Year() > 9998:
			faults.Add(rest.Invalid("expires_at", "is too far away"))
		}
		*f.expiresAt = f.expiresAt.UTC()
	}
	if f.limits != nil {
		faults.Add(checkLimits("limits", f.limits))
		if f.limits.Burst != nil && f.limits.PerMinute == nil {
			faults.Add(rest.Invalid("limits.burst", "needs limits.requests_per_minute"))
		}
	}
	if f.scopes != nil {
		faults.Add(checkScopes(*f.scopes))
		*f.scopes = sortedSet(*f.scopes)
	}
	if f.routes != nil {
		faults.Add(checkRoutes(*f.routes))
		*f.routes = sortedSet(*f.routes)
	}
	if f.allowlist != nil {
		faults.Add(f.checkAllowlist())
	}
	if f.metadata != nil {
		faults.Add(checkMetadata(*f.metadata))
	}
	return faults.Err()
}

func (f *keyFields) checkAllowlist() error {
	if len(*f.allowlist) > store.MaxKeyPrefixes {
		return rest.Invalid("allowlist", "has %d entries, and a key may have %d", len(*f.allowlist), store.MaxKeyPrefixes)
	}
	var bad complaints
	f.prefixes = make([]netip.Prefix, 0, len(*f.allowlist))
	for i, s := range *f.allowlist {
		p, err := iprange.Parse(s)
		if err != nil {
			bad.add("allowlist."+strconv.Itoa(i), s, err)
		}
		f.prefixes = append(f.prefixes, p)
	}
	f.prefixes = sortedPrefixes(f.prefixes)
	return bad.err()
}

func sortedPrefixes(list []netip.Prefix) []netip.Prefix {
	list = slices.Clone(list)
	slices.SortFunc(list, netip.Prefix.Compare)
	return slices.Compact(list)
}

// checkText holds for lo–hi characters that can be seen; see [invisible.In].
func checkText(field, s string, lo, hi int) error {
	n := utf8.RuneCountInString(s)
	if n < lo || n > hi {
		return rest.Invalid(field, "must be %d–%d characters", lo, hi)
	}
	if lo > 0 && strings.TrimSpace(s) == "" {
		return rest.Invalid(field, "must not be blank")
	}
	if c := invisible.In(s, ""); c != "" {
		return rest.Invalid(field, "must not hold control characters or others that cannot be seen, such as %s", c)
	}
	return nil
}

// checkLimits accepts whole numbers ≥ 1: with a limit of 0 a key would be disabled.
func checkLimits(field string, l *store.Limits) error {
	var faults fault.List
	for _, m := range []struct {
		name  string
		value *int64
		most  int64
	}{{"requests_per_minute", l.PerMinute, maxPerMinute}, {"burst", l.Burst, maxPerMinute}, {"requests_per_month", l.PerMonth, maxPerMonth}, {"max_concurrent", l.MaxConcurrent, store.MaxInFlight}} {
		if m.value != nil && (*m.value < 1 || *m.value > m.most) {
			faults.Add(rest.Invalid(field+"."+m.name, "must be a whole number from 1 to %d, or null", m.most))
		}
	}
	return faults.Err()
}

// checkScopes accepts scope-tokens (RFC 6749, 3.3).
func checkScopes(scopes []string) error {
	if len(scopes) == 0 || len(scopes) > store.MaxScopes {
		return rest.Invalid("scopes", "must be 1–%d scopes", store.MaxScopes)
	}
	var faults fault.List
	for i, s := range scopes {
		if !rest.Visible(s, maxScope) || strings.ContainsAny(s, `"\,`) || apikey.Holds(s) {
			faults.Add(rest.Invalid("scopes."+strconv.Itoa(i), `must be 1–%d visible ASCII characters without quotes, backslashes, commas and API keys`, maxScope))
		}
	}
	return faults.Err()
}

// checkRoutes holds a key's routes to their bounds and to the form that patterns
// are stored in.
func checkRoutes(routes []string) error {
	if len(routes) > store.MaxRoutes {
		return rest.Invalid("routes", "has %d patterns, and a key may have %d", len(routes), store.MaxRoutes)
	}
	var faults fault.List
	for i, s := range routes {
		field := "routes." + strconv.Itoa(i)
		if len(s) > pattern.MaxLen || apikey.Holds(s) {
			faults.Add(rest.Invalid(field, "must be a route's pattern, such as /v1/chat, of at most %d characters", pattern.MaxLen))
		} else if _, err := pattern.Parse(s); err != nil {
			faults.Add(rest.Invalid(field, "%v", err))
		}
	}
	return faults.Err()
}

func checkMetadata(m map[string]string) error {
	if len(m) > store.MaxMetadata {
		return rest.Invalid("metadata", "has %d pairs, and a key may have %d", len(m), store.MaxMetadata)
	}
	var faults fault.List
	for _, name := range slices.Sorted(maps.Keys(m)) {
		value := m[name]
		if checkText("metadata", name, 1, maxMetaName) != nil {
			faults.Add(rest.Invalid("metadata", "a name must have 1–%d characters that can all be seen", maxMetaName))
		} else if utf8.RuneCountInString(value) > maxMetaValue {
			faults.Add(rest.InvalidMember("metadata", name, "must be at most %d characters", maxMetaValue))
		} else if c := invisible.In(value, "\n\t\r"); c != "" {
			faults.Add(rest.InvalidMember("metadata", name, "must not hold control characters other than tabs and line breaks, or others that cannot be seen, such as %s", c))
		}
	}
	return faults.Err()
}

func sortedSet(s []string) []string {
	s = slices.Clone(s)
	slices.Sort(s)
	return slices.Compact(s)
}
