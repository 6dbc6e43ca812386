package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

// healthTimeout bounds the probe. Probes are repeated, so that a late answer is
// worth no more than none.
const healthTimeout = 3 * time.Second

func healthCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "health", Short: "Check whether a node is ready", Args: cobra.NoArgs,
		Example: "  perfgate health",
		Long: `Ask the node on this machine (or --server) for /readyz. The exit code is 0 if the
node is ready and 1 if not. Needs no token; the container image uses it as its
health check.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), healthTimeout)
			defer cancel()
			return a.health(ctx)
		},
	}
}

func (a *app) health(ctx context.Context) error {
	u, err := a.base()
	if err != nil {
		return err
	}
	if onLoopback(u) && a.caFile == "" {
		a.insecure = true // certificates rarely name this address, and no secret is sent
	}
	s, err := a.session(u, "")
	if err != nil {
		return err
	}
	h, err := s.api.Readyz(ctx)
	if err != nil {
		return fmt.Errorf("check health: %w", s.diagnose(ctx, err))
	}
	if a.json {
		if err := json.NewEncoder(a.Stdout).Encode(h); err != nil {
			return err
		}
	}
	if h.Status != "ok" {
		return fmt.Errorf("not ready: %s", printable(first(text(h.Reason), h.Status)))
	}
	if !a.json {
		fmt.Fprintln(a.Stdout, h.Status)
	}
	return nil
}
