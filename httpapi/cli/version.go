package cli

import (
	"encoding/json"
	"fmt"
	"runtime"

	"github.com/spf13/cobra"
)

func versionCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version of this binary", Args: cobra.NoArgs,
		Example: "  perfgate version",
		RunE: func(*cobra.Command, []string) error {
			platform := runtime.GOOS + "/" + runtime.GOARCH
			if a.json {
				return json.NewEncoder(a.Stdout).Encode(map[string]string{
					"version": a.Version, "go": runtime.Version(), "platform": platform,
				})
			}
			_, err := fmt.Fprintf(a.Stdout, "perfgate %s (%s, %s)\n", a.Version, runtime.Version(), platform)
			return err
		},
	}
}
