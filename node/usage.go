package node

import (
	"fmt"
	"strings"
)

// UsageError is a flag, environment variable or configuration key that cannot
// be used as it is. The process ends with exit code 2 because of it, so it says
// all that is needed to put it right.
type UsageError struct {
	Source string // the file, the environment variable or "--flag"; "" for a built-in default
	Key    string // "proxy.listen"; "" if the whole source is meant
	Value  string // as written, quoted if it is a string; "" if absent or secret
	Want   string // what is wrong, or what is wanted instead
}

func (e *UsageError) Error() string {
	var b strings.Builder
	if e.Source != "" {
		b.WriteString(e.Source + ": ")
	}
	if e.Key != "" {
		b.WriteString(e.Key)
		if e.Value != "" {
			b.WriteString(" = " + e.Value)
		}
		b.WriteString(": ")
	}
	b.WriteString(e.Want)
	return b.String()
}

// ExitCode is 2, for whoever ends the process.
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
		s = s[:shownValue] + "…"
	}
	return s
}
