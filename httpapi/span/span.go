package span

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Day is the unit that Go's syntax lacks.
const Day = 24 * time.Hour

// Parse reads a duration of days ("30d"), of Go's units ("1h30m"), or of days followed
// by Go's units ("14d12h"). A sign stands before the whole.
func Parse(s string) (time.Duration, error) {
	days, rest, ok := strings.Cut(s, "d")
	if !ok {
		d, err := time.ParseDuration(s)
		if err != nil {
			return 0, fmt.Errorf(`%q is no duration such as "30d" or "12h"`, s)
		}
		return d, nil
	}
	digits := strings.TrimLeft(days, "+-")
	n, err := strconv.ParseInt(digits, 10, 64)
	tail, failed := time.Duration(0), error(nil)
	if rest != "" {
		tail, failed = time.ParseDuration(rest)
	}
	switch {
	case err != nil || failed != nil || len(days)-len(digits) > 1 || strings.ContainsAny(rest, "+-"):
		return 0, fmt.Errorf(`%q is no duration such as "30d" or "14d12h"`, s)
	case n > int64(math.MaxInt64/Day) || time.Duration(n)*Day > math.MaxInt64-tail:
		return 0, fmt.Errorf("%q is too long", s)
	}
	d := time.Duration(n)*Day + tail
	if strings.HasPrefix(days, "-") {
		d = -d
	}
	return d, nil
}

// Format writes d as people do, and as [Parse] reads it: "7d", "14d12h", "2h".
func Format(d time.Duration) string {
	switch {
	case d == math.MinInt64: // it has no opposite
		return d.String()
	case d < 0:
		return "-" + Format(-d)
	}
	days, rest := d/Day, d%Day
	text := rest.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	switch {
	case days == 0:
		return text
	case rest == 0:
		return strconv.FormatInt(int64(days), 10) + "d"
	}
	return strconv.FormatInt(int64(days), 10) + "d" + text
}

// Go writes a duration in Go's syntax without the units that are zero: "24h", not "24h0m0s".
func Go(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
