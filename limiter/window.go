package limiter

import "fmt"

// Window is the time that a rule's limit is for. A minute and an hour are token
// buckets; a day and a month are calendar windows in UTC, spent in chunks.
type Window uint8

// The windows.
const (
	EachMinute Window = iota
	EachHour
	EachDay
	EachMonth
)

// String is the window as rules write it.
func (w Window) String() string {
	return [...]string{EachMinute: "1m", EachHour: "1h", EachDay: "1d", EachMonth: "month"}[w]
}

// ParseWindow reads a window as rules write it.
func ParseWindow(s string) (Window, bool) {
	for w := EachMinute; w <= EachMonth; w++ {
		if s == w.String() {
			return w, true
		}
	}
	return 0, false
}

// MarshalText implements [encoding.TextMarshaler].
func (w Window) MarshalText() ([]byte, error) {
	if w > EachMonth {
		return nil, fmt.Errorf("there is no window %d", w)
	}
	return []byte(w.String()), nil
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (w *Window) UnmarshalText(b []byte) error {
	got, ok := ParseWindow(string(b))
	if !ok {
		return fmt.Errorf("window %q: must be 1m, 1h, 1d or month", b)
	}
	*w = got
	return nil
}

// Calendar reports whether w is a calendar window.
func (w Window) Calendar() bool { return w >= EachDay }

// Nanoseconds is the length of w; 0 for a month, which has no fixed one.
func (w Window) Nanoseconds() int64 {
	return [...]int64{EachMinute: 60e9, EachHour: 3600e9, EachDay: 86400e9, EachMonth: 0}[w]
}

func (w Window) policy() Policy {
	switch w {
	case EachDay:
		return RuleDay
	case EachMonth:
		return RuleMonth
	}
	return RuleBucket
}
