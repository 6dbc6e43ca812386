package config

import (
	"fmt"
	"slices"
	"strings"
)

// UsageError is a flag, environment variable or configuration key that cannot
// be used as it is. The process ends with exit code 2 because of it, so the error
// says everything that is needed to correct it.
type UsageError struct {
	Source string // the file, the environment variable or "--flag"; "" for a built-in default
	Line   int    // of the file; 0 for other sources
	Key    string // "proxy.listen"; "" if the whole source is meant
	Value  string // as written, quoted if it is a string; "" if absent or secret
	Reason string // "must be …", or another sentence about the fault
}

func (e *UsageError) Error() string {
	var b strings.Builder
	if e.Source != "" {
		b.WriteString(e.Source + ": ")
	}
	if e.Line > 0 {
		fmt.Fprintf(&b, "line %d: ", e.Line)
	}
	if e.Key != "" {
		b.WriteString(e.Key)
		if e.Value != "" {
			b.WriteString(" = " + e.Value)
		}
		b.WriteString(": ")
	}
	b.WriteString(e.Reason)
	return b.String()
}

// ExitCode is the exit code of the process: 2.
func (e *UsageError) ExitCode() int { return 2 }

// shownValue bounds how much of a value an error repeats, in bytes.
const shownValue = 120

// show writes v as a configuration file would.
func show(v any) string {
	var s string
	switch v := v.(type) {
	case string:
		s = fmt.Sprintf("%q", v)
	case []any:
		parts := make([]string, 0, len(v))
		for _, e := range v {
			parts = append(parts, show(e))
		}
		s = "[" + strings.Join(parts, ", ") + "]"
	case []string:
		s = fmt.Sprintf("%q", v)
	case map[string]any:
		s = "{…}" // a table may hold a secret: a route's headers do
	default:
		s = fmt.Sprint(v)
	}
	if len(s) > shownValue {
		s = strings.ToValidUTF8(s[:shownValue], "") + "…" // no half of a character
	}
	return s
}

// Faulty reports whether place, such as "proxy.routes[1].path", or a part of it has
// a fault that [Inspect] has reported.
func (c *Config) Faulty(place string) bool {
	return slices.ContainsFunc(c.source.faulty, func(known string) bool { return within(known, place) })
}

// Fault is a [*UsageError] about one key of c, with the key's source and value.
func (c *Config) Fault(key, reason string) error {
	return &UsageError{Source: c.source.of[key], Line: c.source.line(key, key), Key: key, Value: show(c.source.raw[key]), Reason: reason}
}

// FaultAt is [Config.Fault] about a place within the value of key, such as
// "proxy.routes[1].path" within "proxy.routes". value is shown in quotes; "" is
// not, since it may be absent or secret.
func (c *Config) FaultAt(key, place, value, reason string) error {
	e := &UsageError{Source: c.source.of[key], Line: c.source.line(key, place), Key: place, Reason: reason}
	if value != "" {
		e.Value = show(value)
	}
	return e
}
