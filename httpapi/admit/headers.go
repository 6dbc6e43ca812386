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
// growth of the map.
func SetLimitHeaders(h http.Header, d *limiter.Decision, now time.Time) {
	if d.N == 0 {
		return
	}
	var buf [320]byte
	b := buf[:0]
	var ends [5]int
	bind := &d.States[d.Binding]
	b = strconv.AppendInt(b, bind.Limit, 10)
	ends[0] = len(b)
	b = strconv.AppendInt(b, shown(bind), 10)
	ends[1] = len(b)
	b = strconv.AppendInt(b, resetAt(now, bind.Reset), 10)
	ends[2] = len(b)
	for i := range d.N {
		st := &d.States[i]
		b = appendName(b, i, st.Policy)
		b = append(b, ";q="...)
		b = strconv.AppendInt(b, st.Limit, 10)
		if !st.Policy.Monthly() {
			b = append(b, ";w=60"...)
		}
	}
	ends[3] = len(b)
	for i := range d.N {
		st := &d.States[i]
		b = appendName(b, i, st.Policy)
		b = append(b, ";r="...)
		b = strconv.AppendInt(b, shown(st), 10)
		b = append(b, ";t="...)
		b = strconv.AppendInt(b, seconds(st.Reset), 10)
	}
	ends[4] = len(b)

	all, values, from := string(b), make([]string, len(ends)), 0
	for i, name := range [...]string{HeaderLimit, HeaderRemaining, HeaderReset, HeaderPolicy, HeaderState} {
		values[i] = all[from:ends[i]]
		h[name] = values[i : i+1 : i+1]
		from = ends[i]
	}
}

// shown is the rest that a client is shown: a burst may hold more than the units of a
// minute, but no client reads more remaining than its limit.
func shown(st *limiter.State) int64 { return min(max(0, st.Remaining), st.Limit) }

// appendName appends the i-th policy's name as a structured-field string.
func appendName(b []byte, i int, p limiter.Policy) []byte {
	if i > 0 {
		b = append(b, ", "...)
	}
	b = append(b, '"')
	b = append(b, p.String()...)
	return append(b, '"')
}

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
