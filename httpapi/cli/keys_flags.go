package cli

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// keyFlags are the settings of a key, as flags.
type keyFlags struct {
	limits limitFlags
}

func (f *keyFlags) add(fs *pflag.FlagSet, update bool) {
	fs.String("name", "", "`name` to display")
	fs.String("environment", "", "`text` for the environment, such as production")
	fs.StringSlice("scope", nil, "`scopes`: read, write, verify, limit, admin or your own; repeat the flag or separate them by commas")
	fs.String("expires-at", "", "`time` at which the key expires, such as 2027-01-31 (its first moment in UTC) or 2027-01-31T15:04:05Z")
	fs.Var(new(duration), "expires-in", "`duration` after which the key expires, such as 30d or 12h")
	f.limits.add(fs, "")
	fs.String("max-cost-per-call", "", "maximum `amount` that one call may cost, such as 0.01")
	fs.String("monthly-budget", "", "maximum `amount` that all calls may cost in a calendar month")
	fs.StringSlice("allow", nil, "`addresses` or CIDR ranges that may use the key")
	fs.StringSlice("route", nil, "`routes` that the key may be used for")
	fs.StringToString("metadata", nil, "`name=value` pairs of metadata")
	fs.Lookup("metadata").DefValue = "" // pflag shows it as []
	if update {
		fs.String("state", "", "`state`: active or disabled")
	}
}

// The members of a request by their flags.
var (
	keyTexts   = map[string]string{"name": "name", "environment": "environment", "state": "state"}
	keyLists   = map[string]string{"scope": "scopes", "allow": "allowlist", "route": "routes"}
	keyAmounts = map[string]string{"max-cost-per-call": "max_cost_per_call", "monthly-budget": "monthly_budget"}
)

// body returns the members of a request for the given flags. An update may
// remove settings.
func (f *keyFlags) body(cmd *cobra.Command, update bool) (map[string]any, error) {
	fs, body := cmd.Flags(), map[string]any{}
	for flag, member := range keyTexts {
		if v := fs.Lookup(flag); v != nil && v.Changed {
			body[member] = v.Value.String()
			if update && flag == "environment" && v.Value.String() == none {
				body[member] = nil
			}
		}
	}
	for flag, member := range keyLists {
		if !fs.Changed(flag) {
			continue
		}
		v, err := fs.GetStringSlice(flag)
		if err != nil {
			return nil, err
		}
		if update && slices.Equal(v, []string{none}) {
			v = []string{}
		}
		body[member] = v
	}
	for flag, member := range keyAmounts {
		if !fs.Changed(flag) {
			continue
		}
		v, err := amount(flag, fs.Lookup(flag).Value.String(), update)
		if err != nil {
			return nil, err
		}
		body[member] = v
	}
	if fs.Changed("metadata") {
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
	return body, expiry(fs, body, update)
}

// expiry adds the member expires_at.
func expiry(fs *pflag.FlagSet, body map[string]any, update bool) error {
	at, in := fs.Lookup("expires-at"), fs.Lookup("expires-in")
	switch {
	case at.Changed && in.Changed:
		return usagef("--expires-at and --expires-in exclude each other; give one of them")
	case at.Changed && update && at.Value.String() == none:
		body["expires_at"] = nil
	case at.Changed:
		t, err := readTime(at.Value.String())
		if err != nil {
			return usagef("--expires-at %q: must be a time such as 2027-01-31T00:00:00Z or a date such as 2027-01-31", at.Value)
		}
		body["expires_at"] = t
	case in.Changed:
		d := in.Value.(*duration).get()
		if d <= 0 {
			return usagef("--expires-in %s: must be a duration above zero", in.Value)
		}
		body["expires_at"] = time.Now().Add(d).UTC().Truncate(time.Second)
	}
	return nil
}

// amount checks that v is one number and passes on its digits exactly as given.
func amount(flag, v string, update bool) (any, error) {
	if update && v == none {
		return nil, nil
	}
	var n float64
	if json.Unmarshal([]byte(v), &n) != nil || n < 0 {
		return nil, usagef("--%s %q: must be a number such as 0.01", flag, v)
	}
	return json.RawMessage(v), nil
}
