package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

// healthTimeout bounds the probe: whoever asks for it asks again.
const healthTimeout = 3 * time.Second

func (a *app) healthCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "health",
		Short: "Probe a node: exit code 0 if it is ready",
		Long:  "Asks the node on this machine (or --server) for /readyz. Needs no token; the health check of the image.",
		Args:  cobra.NoArgs,
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
		a.insecure = true // a certificate seldom names this address, and nothing secret is said
	}
	s, err := a.session(u, "")
	if err != nil {
		return err
	}
	h, err := s.api.Readyz(ctx)
	if err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	if a.json {
		if err := json.NewEncoder(a.Stdout).Encode(h); err != nil {
			return err
		}
	}
	if h.Status != "ok" {
		return fmt.Errorf("not ready: %s", oneLine(first(text(h.Reason), h.Status)))
	}
	if !a.json {
		fmt.Fprintln(a.Stdout, h.Status)
	}
	return nil
}
