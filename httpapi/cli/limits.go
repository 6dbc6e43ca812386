package cli

import (
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/perfgate/perfgate/httpapi/client"
)

// limitText formats limits for a table; "" if there are none.
func limitText(l *client.Limits) string {
	if l == nil {
		return ""
	}
	var parts []string
	for _, p := range []struct {
		before string
		v      *int64
		after  string
	}{{"", l.PerMinute, " per minute"}, {"burst ", l.Burst, ""}, {"", l.PerMonth, " per month"}, {"", l.MaxConcurrent, " in flight"}} {
		if p.v != nil {
			parts = append(parts, p.before+strconv.FormatInt(*p.v, 10)+p.after)
		}
	}
	return strings.Join(parts, ", ")
}

// limitFlags are a set of limits as flags whose names may have a prefix.
type limitFlags struct{ prefix string }

func (f *limitFlags) add(fs *pflag.FlagSet, prefix string) {
	f.prefix = prefix
	with := ""
	if prefix != "" {
		with = " with " + strings.TrimSuffix(prefix, "-") + " keys"
	}
	fs.String(prefix+"requests-per-minute", "", "maximum `number` of requests per minute"+with+", or "+none)
	fs.String(prefix+"burst", "", "maximum `number` of requests at once"+with+", or "+none+" (default: requests per minute)")
	fs.String(prefix+"max-concurrent", "", "maximum `number` of requests of a key in flight on each node"+with+", or "+none)
	fs.String(prefix+"requests-per-month", "", "maximum `number` of requests per calendar month"+with+", or "+none)
}

func (f *limitFlags) names() []string {
	return []string{f.prefix + "requests-per-minute", f.prefix + "burst", f.prefix + "requests-per-month", f.prefix + "max-concurrent"}
}

// set reports whether any of the flags was given.
func (f *limitFlags) set(cmd *cobra.Command) bool {
	return slices.ContainsFunc(f.names(), cmd.Flags().Changed)
}

// merge returns now (nil: no limits) with the given flags applied.
func (f *limitFlags) merge(cmd *cobra.Command, now *client.Limits) (*client.Limits, error) {
	var out client.Limits
	if now != nil {
		out = *now
	}
	for i, to := range []**int64{&out.PerMinute, &out.Burst, &out.PerMonth, &out.MaxConcurrent} {
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
			return nil, usagef("--%s %q: must be a whole number, or %s", flag.Name, v, none)
		}
		*to = &n
	}
	return &out, nil
}
