package ui

import (
	"encoding/json"
	"fmt"
	"html/template"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// funcs are the functions of the templates.
func (u *UI) funcs() template.FuncMap {
	return template.FuncMap{
		"ago":      func(t any) string { return ago(u.cfg.Clock(), instant(t)) },
		"exact":    func(t any) string { return exact(instant(t)) },
		"machine":  func(t any) string { return instant(t).UTC().Format(time.RFC3339) },
		"day":      func(t any) string { return instant(t).UTC().Format(time.DateOnly) },
		"passed":   func(t any) bool { return !instant(t).After(u.cfg.Clock()) },
		"left":     func(t any) string { return countdown(instant(t).Sub(u.cfg.Clock())) },
		"number":   number,
		"visible":  visible,
		"join":     strings.Join,
		"list":     func(v ...any) []any { return v },
		"dict":     dict,
		"text":     text,
		"changes":  changesOf,
		"outcome":  outcome,
		"finding":  findingTitle,
		"percents": percents,
	}
}

// percents are thresholds as a form shows them.
func percents(list []int) string {
	var parts []string
	for _, n := range list {
		parts = append(parts, strconv.Itoa(n))
	}
	return strings.Join(parts, ", ")
}

// dict makes a map of pairs, for a template that needs several values.
func dict(pairs ...any) (map[string]any, error) {
	out := map[string]any{}
	for i := 0; i+1 < len(pairs); i += 2 {
		name, ok := pairs[i].(string)
		if !ok {
			return nil, fmt.Errorf("dict: %v is no name", pairs[i])
		}
		out[name] = pairs[i+1]
	}
	return out, nil
}

// instant is a time that may be a pointer; nil is the zero time.
func instant(v any) time.Time {
	switch t := v.(type) {
	case time.Time:
		return t
	case *time.Time:
		if t != nil {
			return *t
		}
	}
	return time.Time{}
}

// text is a string that may be a pointer; nil is "".
func text(v any) string {
	switch s := v.(type) {
	case string:
		return s
	case *string:
		if s != nil {
			return *s
		}
	}
	return ""
}

// exact is a time in full, in UTC.
func exact(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// ago is the distance from now to t in words.
func ago(now, t time.Time) string {
	d := now.Sub(t)
	if d > -time.Second && d < time.Second {
		return "now"
	}
	if d < 0 {
		return "in " + distance(-d+time.Second) // a time that was rounded down is meant whole
	}
	return distance(d) + " ago"
}

// countdown is the time that is left, as the module until.js goes on to show it.
func countdown(d time.Duration) string {
	s := max(0, int(d.Round(time.Second)/time.Second))
	if s >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}

// distance is d in its largest unit. Days go up to two years: "89 days" says more than
// "2 months".
func distance(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < day:
		return fmt.Sprintf("%d h", d/time.Hour)
	case d < 2*day:
		return "1 day"
	case d < 2*365*day:
		return fmt.Sprintf("%d days", d/day)
	}
	return fmt.Sprintf("%d years", d/(365*day))
}

// number writes a number with a comma between groups of three digits.
func number(v any) string {
	s := ""
	switch n := v.(type) {
	case nil:
		return "–"
	case *int64:
		if n == nil {
			return "–"
		}
		s = strconv.FormatInt(*n, 10)
	case json.Number:
		s = string(n)
	case *json.Number:
		if n == nil {
			return "–"
		}
		s = string(*n)
	default:
		s = fmt.Sprint(n)
	}
	whole, fraction, has := strings.Cut(s, ".")
	sign := ""
	if strings.HasPrefix(whole, "-") {
		sign, whole = "-", whole[1:]
	}
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if has {
		whole += "." + fraction
	}
	return sign + whole
}

// visible shows the characters of foreign text that have no image or that change the
// direction of writing by their number, so that a text cannot pass for another one.
// Joiners stay: emoji and some scripts need them.
func visible(v any) string {
	s := text(v)
	if !strings.ContainsFunc(s, hidden) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if hidden(r) {
			fmt.Fprintf(&b, "⟨U+%04X⟩", r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

func hidden(r rune) bool {
	return r != '\u200c' && r != '\u200d' && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
}
