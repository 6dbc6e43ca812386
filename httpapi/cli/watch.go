package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
)

const (
	watchNormal = 2 * time.Second
	watchLeast  = 500 * time.Millisecond // so that a terminal that is left alone costs a server little
)

// watchFlag adds --watch, whose value may be left out.
func watchFlag(cmd *cobra.Command, every *time.Duration) {
	durationVar(cmd.Flags(), every, "watch", 0, "show it again every `duration` until Ctrl-C; --watch alone is every 2s")
	cmd.Flags().Lookup("watch").NoOptDefVal = (*duration)(new(watchNormal)).String()
}

// watch runs show once or, if every is above zero, until ctx ends. On a terminal, each
// answer takes the place of the one before. An error at the beginning ends it, later ones
// are shown.
func (a *app) watch(ctx context.Context, cmd *cobra.Command, every time.Duration, show func() error) error {
	if !cmd.Flags().Changed("watch") {
		return show()
	}
	if every < watchLeast {
		return usagef("--watch %v: must be at least %v", every, watchLeast)
	}
	out := a.Stdout
	defer func() { a.Stdout = out }()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for n := 0; ; n++ {
		var b bytes.Buffer
		a.Stdout = &b
		err := show()
		var quiet exitError
		switch {
		case err != nil && ctx.Err() != nil:
			return nil
		case err == nil || errors.As(err, &quiet):
		case n == 0:
			return err
		default:
			fmt.Fprintln(&b, "perfgate:", masked(describe(err)))
		}
		if _, err := io.WriteString(out, a.between(cmd, out, every, n)+b.String()); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// between is printed before the answer number n.
func (a *app) between(cmd *cobra.Command, out io.Writer, every time.Duration, n int) string {
	switch {
	case isTerminal(out):
		const clear = "\x1b[H\x1b[2J" // to the top left, and erase
		return fmt.Sprintf("%s%s, every %v, at %s UTC\n\n", clear, cmd.CommandPath(), every, time.Now().UTC().Format(time.TimeOnly))
	case n == 0 || a.json:
		return ""
	}
	return "\n"
}
