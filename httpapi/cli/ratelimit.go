package cli

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/perfgate/perfgate/httpapi/client"
)

func ratelimitCommand(a *app) *cobra.Command {
	var limit, burst, units int64
	window := new(duration)
	cmd := &cobra.Command{
		Use: "ratelimit IDENTIFIER", Short: "Charge a bucket of your own, such as one for each user", Args: cobra.ExactArgs(1),
		Long: `Charge the bucket of an identifier that is yours to choose, and show whether it held
enough. The exit code is 1 if not. --units 0 only looks.`,
		Example: "  perfgate ratelimit user-42 --limit 100 --window 1m",
		RunE: func(cmd *cobra.Command, args []string) error {
			body := map[string]any{"identifier": args[0], "limit": limit, "window": window.String()}
			for name, v := range query(cmd, "namespace") {
				body[name] = v[0]
			}
			for name, v := range map[string]int64{"burst": burst, "units": units} {
				if cmd.Flags().Changed(name) {
					body[name] = v
				}
			}
			s, err := a.dial()
			if err != nil {
				return err
			}
			raw, err := s.raw(cmd.Context(), call{method: http.MethodPost, path: "/v1/ratelimit", body: body})
			if err != nil {
				return err
			}
			return showRate(a, raw)
		},
	}
	fs := cmd.Flags()
	fs.Int64Var(&limit, "limit", 60, "`units` that refill in each window")
	durationVar(fs, (*time.Duration)(window), "window", time.Minute, "`duration` from 1s to 24h")
	fs.Int64Var(&burst, "burst", 0, "`units` that fit (default: limit)")
	fs.Int64Var(&units, "units", 1, "`units` to charge")
	fs.String("namespace", "", "`text` that keeps identifiers of different kinds apart")
	return cmd
}

// showRate prints a verdict. Its exit code does not depend on --json.
func showRate(a *app, raw []byte) error {
	var v client.RateVerdict
	if err := decode(raw, &v); err != nil {
		return err
	}
	if a.json {
		if err := a.printJSON(raw); err != nil {
			return err
		}
	} else {
		reset := time.Unix(v.Reset, 0)
		t := newTable(a.Stdout)
		t.row("allowed", strconv.FormatBool(v.Allowed))
		t.row("limit", strconv.FormatInt(v.Limit, 10))
		t.row("remaining", strconv.FormatInt(v.Remaining, 10))
		t.row("full at", minute(&reset))
		if v.RetryAfter != nil && *v.RetryAfter > 0 {
			t.row("retry after", fmt.Sprintf("%d s", *v.RetryAfter))
		}
		if err := t.flush(); err != nil {
			return err
		}
	}
	if !v.Allowed {
		return exitError(exitFailure)
	}
	return nil
}
