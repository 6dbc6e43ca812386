package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

// keysRevokeLeaked is for people who found a key and have no token: the call needs none.
func keysRevokeLeaked(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "revoke-leaked", Short: "Report a key that you found; needs no token", Args: cobra.NoArgs,
		Long: `Read one key from stdin and report it as leaked. A key that is alive is revoked, with
the reason leaked, and its owner is told. The answer is the same whether the key is
alive, dead or unknown. The proxy listener takes reports, too: name it with --server.`,
		Example: `  printf %s "$KEY" | perfgate keys revoke-leaked --server https://api.example.com`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			secret, err := a.readSecret("Key to report: ")
			if err != nil {
				return err
			}
			u, err := a.base()
			if err != nil {
				return err
			}
			s, err := a.session(u, "")
			if err != nil {
				return err
			}
			if err := s.api.RevokeLeakedKey(cmd.Context(), secret); err != nil {
				return err
			}
			if a.json {
				return a.printJSON([]byte("{}"))
			}
			_, err = fmt.Fprintln(a.Stdout, "Reported. The key is revoked within seconds if it is alive.")
			return err
		},
	}
}
