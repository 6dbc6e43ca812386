package cli

import (
	"errors"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/perfgate/perfgate/httpapi/span"
)

// none is the value of a flag that removes a setting.
const none = "none"

// snake returns a flag's name as the API spells it.
func snake(flag string) string { return strings.ReplaceAll(flag, "-", "_") }

// listFlags adds the flags of a command that lists pages. limit is set to the
// most rows to show, normal by default.
func listFlags(fs *pflag.FlagSet, limit *int, normal int) {
	fs.IntVar(limit, "limit", normal, "maximum `number` of rows; 0 is all of them (with --json: one page, at most 1000)")
	fs.String("cursor", "", "`cursor` at which to continue, from next_cursor of an earlier list")
}

// duration is a flag that is read by [span.Parse].
type duration time.Duration

func (d *duration) get() time.Duration { return time.Duration(*d) }
func (d *duration) Type() string       { return "duration" }

func (d *duration) String() string {
	if *d == 0 {
		return "" // not set
	}
	return span.Format(d.get())
}

func (d *duration) Set(s string) error {
	v, err := span.Parse(s)
	if err == nil {
		*d = duration(v)
	}
	return err
}

// durationVar adds a flag that takes days too.
func durationVar(fs *pflag.FlagSet, to *time.Duration, name string, normal time.Duration, usage string) {
	*to = normal
	fs.Var((*duration)(to), name, usage)
}

// point is a flag for a point in time, as it was given: a date or a time, passed on as it
// is, or a duration back from the moment at which it is read.
type point string

func (p *point) Type() string { return "time" }

func (p *point) String() string {
	d, err := span.Parse(strings.TrimPrefix(string(*p), "-"))
	if err != nil {
		return string(*p)
	}
	return time.Now().Add(-d).UTC().Truncate(time.Second).Format(time.RFC3339)
}

func (p *point) Set(s string) error {
	_, isTime := readTime(s)
	if d, err := span.Parse(strings.TrimPrefix(s, "-")); isTime != nil && (err != nil || d < 0) {
		return errors.New("must be a date such as 2027-01-31, a time such as 2027-01-31T15:04:05Z, or a duration back from now such as 30d or 12h")
	}
	*p = point(s)
	return nil
}

// pointFlag adds a flag for a point in time.
func pointFlag(fs *pflag.FlagSet, name, usage string) {
	fs.Var(new(point), name, usage+": a date or RFC 3339 time (UTC), or a duration back from now such as 30d")
}

// readTime reads a time, or a date as its first moment in UTC.
func readTime(s string) (time.Time, error) {
	if t, err := time.Parse(time.DateOnly, s); err == nil {
		return t, nil
	}
	return time.Parse(time.RFC3339, s)
}

func nothingToChange(cmd *cobra.Command) error {
	return usagef("nothing to change: give at least one setting; see %s --help", cmd.CommandPath())
}
