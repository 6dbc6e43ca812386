package admit

import (
	"net/http"
	"strconv"
	"time"

	"github.com/perfgate/perfgate/limiter"
)

// The headers that show a client its limits, spelled as documented. Go's
// canonical forms ("X-Ratelimit-Limit") are the same to HTTP but not to people
// searching for them; so these are set in the map as they are, and
// [http.Header.Get] does not find them.
const (
	HeaderLimit     = "X-RateLimit-Limit"
	HeaderRemaining = "X-RateLimit-Remaining"
	HeaderReset     = "X-RateLimit-Reset"
	HeaderPolicy    = "RateLimit-Policy"
	HeaderState     = "RateLimit"
)

// SetLimitHeaders writes d's standing into h: the binding policy into the
// X-RateLimit- family, and every policy into RateLimit-Policy and RateLimit, the
// structured fields of draft-ietf-httpapi-ratelimit-headers-10. There, q is the
// policy's quota, w its window in seconds (none for a calendar month, which is
// not a number of seconds), r the rest of it and t the seconds, rounded up, until
// it is whole again. X-RateLimit-Reset is that moment in Unix seconds, also
// rounded up. A decision without states writes nothing.
//
// All values share one string and one slice, so it costs two allocations and the
// growth of the map. [AppendLimitHeaders] writes the same for HTTP/1.1.
func SetLimitHeaders(h http.Header, d *limiter.Decision, now time.Time) {
	bind := d.Bound()
	if bind == nil {
		return
	}
	var buf [320]byte
	b := buf[:0]
	var ends [5]int
	b = strconv.AppendInt(b, bind.Limit, 10)
	ends[0] = len(b)
	b = strconv.AppendInt(b, shown(bind), 10)
	ends[1] = len(b)
	b = strconv.AppendInt(b, resetAt(now, bind.Reset), 10)
	ends[2] = len(b)
	b = appendPolicies(b, d)
	ends[3] = len(b)
	b = appendStates(b, d)
	ends[4] = len(b)

	all, values, from := string(b), make([]string, len(ends)), 0
	for i, name := range [...]string{HeaderLimit, HeaderRemaining, HeaderReset, HeaderPolicy, HeaderState} {
		values[i] = all[from:ends[i]]
		h[name] = values[i : i+1 : i+1]
		from = ends[i]
	}
}

// AppendLimitHeaders appends to dst the fields that [SetLimitHeaders] sets, as lines of
// an HTTP/1.1 head, each with its CRLF: nothing for a decision without states. It
// allocates only where dst has no room; 512 bytes are enough for limits of up to a
// billion.
func AppendLimitHeaders(dst []byte, d *limiter.Decision, now time.Time) []byte {
	bind := d.Bound()
	if bind == nil {
		return dst
	}
	dst = strconv.AppendInt(append(dst, HeaderLimit+": "...), bind.Limit, 10)
	dst = strconv.AppendInt(append(dst, "\r\n"+HeaderRemaining+": "...), shown(bind), 10)
	dst = strconv.AppendInt(append(dst, "\r\n"+HeaderReset+": "...), resetAt(now, bind.Reset), 10)
	dst = appendPolicies(append(dst, "\r\n"+HeaderPolicy+": "...), d)
	dst = appendStates(append(dst, "\r\n"+HeaderState+": "...), d)
	return append(dst, "\r\n"...)
}

// appendPolicies appends the value of RateLimit-Policy.
func appendPolicies(b []byte, d *limiter.Decision) []byte {
	for i := range d.N {
		st := &d.States[i]
		b = append(appendName(b, i, st.Policy), "q="...)
		b = strconv.AppendInt(b, st.Limit, 10)
		if !st.Policy.Calendar() {
			b = append(b, ";w=60"...)
		}
	}
	if d.Rules == nil {
		return b
	}
	for i, first := 0, d.N == 0; i < len(d.Rules.States); i++ {
		st := &d.Rules.States[i]
		if st.Rule.Shadow {
			continue
		}
		b = append(appendRule(b, first, st.Rule), "q="...)
		b = strconv.AppendInt(b, st.Limit, 10)
		if w := st.Rule.Window.Nanoseconds(); w > 0 {
			b = strconv.AppendInt(append(b, ";w="...), w/int64(time.Second), 10)
		}
		first = false
	}
	return b
}

// appendStates appends the value of RateLimit.
func appendStates(b []byte, d *limiter.Decision) []byte {
	for i := range d.N {
		st := &d.States[i]
		b = appendRest(appendName(b, i, st.Policy), st)
	}
	if d.Rules == nil {
		return b
	}
	for i, first := 0, d.N == 0; i < len(d.Rules.States); i++ {
		if st := &d.Rules.States[i]; !st.Rule.Shadow {
			b, first = appendRest(appendRule(b, first, st.Rule), &st.State), false
		}
	}
	return b
}

func appendRest(b []byte, st *limiter.State) []byte {
	b = append(strconv.AppendInt(append(b, "r="...), shown(st), 10), ";t="...)
	return strconv.AppendInt(b, seconds(st.Reset), 10)
}

// appendRule is appendName for a rule, whose name needs no escape.
func appendRule(b []byte, first bool, r *limiter.Rule) []byte {
	if !first {
		b = append(b, ", "...)
	}
	return append(append(append(b, '"'), r.Name...), `";`...)
}

// shown is the rest that a client is shown: a burst may hold more than the units of a
// minute, but no client reads more remaining than its limit.
func shown(st *limiter.State) int64 { return min(max(0, st.Remaining), st.Limit) }

// appendName appends the i-th policy's name as a structured-field string, and the
// semicolon before its first parameter.
func appendName(b []byte, i int, p limiter.Policy) []byte {
	name := policyNames[p]
	if i == 0 {
		name = name[len(", "):]
	}
	return append(b, name...)
}

// policyNames has for each policy what appendName writes after another one.
var policyNames = func() (names [1 << 8]string) {
	for p := range names {
		names[p] = `, "` + limiter.Policy(p).String() + `";`
	}
	return names
}()

// resetAt is the Unix second at or after now + ns.
func resetAt(now time.Time, ns int64) int64 {
	t := now.Add(time.Duration(max(0, ns)))
	if t.Nanosecond() > 0 {
		return t.Unix() + 1
	}
	return t.Unix()
}

// seconds rounds ns up.
func seconds(ns int64) int64 {
	ns = max(0, ns)
	s := ns / int64(time.Second)
	if ns%int64(time.Second) > 0 {
		s++
	}
	return s
}
