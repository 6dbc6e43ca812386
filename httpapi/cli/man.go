package cli

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

func manCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "man DIR", Short: "Write the manual pages of all commands into a directory", Annotations: map[string]string{runsHere: "true"}, Args: cobra.ExactArgs(1),
		Long: `Write one manual page for each command into DIR, which is made if it does not exist.
Pages of an earlier run are replaced. "make man" does the same.`,
		Example: "  perfgate man /usr/local/share/man/man1",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := writeManual(cmd.Root(), a.Version, args[0]); err != nil {
				return fmt.Errorf("write the manual: %w", err)
			}
			return nil
		},
	}
	cmd.SetUsageTemplate(localUsage)
	return cmd
}

// writeManual writes the pages so that everybody can read them, whatever the umask is.
func writeManual(root *cobra.Command, version, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	root.DisableAutoGenTag = true // the date of the build would be in each page
	if err := doc.GenManTree(root, &doc.GenManHeader{Section: "1", Source: "perfgate " + version, Manual: "perfgate"}, dir); err != nil {
		return err
	}
	pages, err := filepath.Glob(filepath.Join(dir, "perfgate*.1"))
	if err != nil {
		return err
	}
	for _, page := range pages {
		if err := os.Chmod(page, 0o644); err != nil {
			return err
		}
	}
	return nil
}
