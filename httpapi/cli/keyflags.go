package cli

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/perfgate/perfgate/httpapi/client"
)

// none is the value that takes a setting away.
const none = "none"

// keyFlags are the settings of a key, as flags.
type keyFlags struct {
	limits limitFlags
}

func (f *keyFlags) add(fs *pflag.FlagSet, update bool) {
	fs.String("name", "", "name for people")
	fs.String("environment", "", "free text, such as production")
	fs.StringSlice("scope", nil, "read, write, verify, limit, admin or one of your own; repeat or separate by commas")
	fs.String("expires-at", "", "when it ends, as in 2027-01-31T00:00:00Z")
	fs.Duration("expires-in", 0, "how long from now it lasts, such as 720h")
	f.limits.add(fs, "")
	fs.String("max-cost-per-call", "", "most that one call may cost")
	fs.String("monthly-budget", "", "most that its calls may cost in a month")
	fs.StringSlice("allow", nil, "addresses or CIDR ranges that it may be used from")
	fs.StringSlice("route", nil, "routes that it may be used on")
	fs.StringToString("metadata", nil, "pairs name=value")
	if update {
		fs.String("state", "", "active or disabled")
	}
}

// body makes the members of a request out of the flags that were set. An update
// may take settings away.
func (f *keyFlags) body(cmd *cobra.Command, update bool) (map[string]any, error) {
	fs, body := cmd.Flags(), map[string]any{}
	given := func(flag string) (string, bool) {
		v := fs.Lookup(flag)
		if v == nil || !v.Changed {
			return "", false
		}
		return v.Value.String(), true
	}
	for flag, member := range map[string]string{"name": "name", "environment": "environment", "state": "state"} {
		if v, ok := given(flag); ok {
			body[member] = v
			if update && v == none && flag == "environment" {
				body[member] = nil
			}
		}
	}
	for flag, member := range map[string]string{"scope": "scopes", "allow": "allowlist", "route": "routes"} {
		if _, ok := given(flag); ok {
			v, err := fs.GetStringSlice(flag)
			if err != nil {
				return nil, err
			}
			if update && slices.Equal(v, []string{none}) {
				v = []string{}
			}
			body[member] = v
		}
	}
	for flag, member := range map[string]string{"max-cost-per-call": "max_cost_per_call", "monthly-budget": "monthly_budget"} {
		if v, ok := given(flag); ok {
			amount, err := jsonNumber(flag, v, update)
			if err != nil {
				return nil, err
			}
			body[member] = amount
		}
	}
	if err := expiry(fs, body, update); err != nil {
		return nil, err
	}
	if _, ok := given("metadata"); ok {
		v, err := fs.GetStringToString("metadata")
		if err != nil {
			return nil, err
		}
		body["metadata"] = v
	}
	if f.limits.set(cmd) {
		v, err := f.limits.merge(cmd, nil)
		if err != nil {
			return nil, err
		}
		body["limits"] = v
	}
	return body, nil
}

func expiry(fs *pflag.FlagSet, body map[string]any, update bool) error {
	at, in := fs.Lookup("expires-at"), fs.Lookup("expires-in")
	switch {
	case at.Changed && in.Changed:
		return usagef("--expires-at and --expires-in are two ways to say one thing; give one")
	case at.Changed && update && at.Value.String() == none:
		body["expires_at"] = nil
	case at.Changed:
		t, err := time.Parse(time.RFC3339, at.Value.String())
		if err != nil {
			return usagef("--expires-at %q: want a time such as 2027-01-31T00:00:00Z", at.Value)
		}
		body["expires_at"] = t
	case in.Changed:
		d, err := fs.GetDuration("expires-in")
		if err != nil || d <= 0 {
			return usagef("--expires-in %s: want a duration above zero", in.Value)
		}
		body["expires_at"] = time.Now().Add(d).UTC().Truncate(time.Second)
	}
	return nil
}

// jsonNumber checks that v is one number and passes its digits on.
func jsonNumber(flag, v string, update bool) (any, error) {
	if update && v == none {
		return nil, nil
	}
	var n float64
	if json.Unmarshal([]byte(v), &n) != nil || n < 0 {
		return nil, usagef("--%s %q: want a number such as 0.01", flag, v)
	}
	return json.RawMessage(v), nil
}

// limitText writes limits for a table.
func limitText(l *client.Limits) string {
	if l == nil {
		return ""
	}
	var parts []string
	for _, p := range []struct {
		v    *int64
		unit string
	}{{l.PerMinute, " a minute"}, {l.Burst, " at once"}, {l.PerMonth, " a month"}} {
		if p.v != nil {
			parts = append(parts, strconv.FormatInt(*p.v, 10)+p.unit)
		}
	}
	return strings.Join(parts, ", ")
}

// limitFlags are a set of limits as flags, whose names may begin with a prefix.
type limitFlags struct{ prefix string }

func (f *limitFlags) add(fs *pflag.FlagSet, prefix string) {
	f.prefix = prefix
	of := ""
	if prefix != "" {
		of = " with " + strings.TrimSuffix(prefix, "-") + " keys"
	}
	fs.String(prefix+"requests-per-minute", "", "requests a minute"+of+", or "+none)
	fs.String(prefix+"burst", "", "requests at once"+of+" (default: as many as a minute's), or "+none)
	fs.String(prefix+"requests-per-month", "", "requests a calendar month"+of+", or "+none)
}

func (f *limitFlags) names() []string {
	return []string{f.prefix + "requests-per-minute", f.prefix + "burst", f.prefix + "requests-per-month"}
}

// set tells whether any of the flags was given.
func (f *limitFlags) set(cmd *cobra.Command) bool {
	return slices.ContainsFunc(f.names(), cmd.Flags().Changed)
}

// merge lays the flags that were given over what is there.
func (f *limitFlags) merge(cmd *cobra.Command, now *client.Limits) (*client.Limits, error) {
	var out client.Limits
	if now != nil {
		out = *now
	}
	for i, to := range []**int64{&out.PerMinute, &out.Burst, &out.PerMonth} {
		flag := cmd.Flags().Lookup(f.names()[i])
		if !flag.Changed {
			continue
		}
		v := flag.Value.String()
		if v == none {
			*to = nil
			continue
		}
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n < 0 {
			return nil, usagef("--%s %q: want a whole number, or %s", flag.Name, v, none)
		}
		*to = &n
	}
	return &out, nil
}

// snake is a flag's name as the API spells it.
func snake(flag string) string { return strings.ReplaceAll(flag, "-", "_") }

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
