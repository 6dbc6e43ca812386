package cli

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/perfgate/perfgate/httpapi/client"
)

const tokensPath = "/v1/operator-tokens"

func tokensCommand(a *app) *cobra.Command {
	return group("tokens", "Manage operator tokens (operators only)", tokensCreate(a), tokensList(a), tokensDelete(a))
}

func tokensCreate(a *app) *cobra.Command {
	var to secretFlags
	cmd := &cobra.Command{
		Use: "create NAME", Short: "Create an operator token and show it once", Args: cobra.ExactArgs(1),
		Long: `Create an operator token, which manages the installation and all accounts. It is
shown now and never again.`,
		Example: `  perfgate tokens create "backup job" --expires-in 90d`,
		RunE: func(cmd *cobra.Command, args []string) error {
			body := map[string]any{"name": args[0]}
			if err := expiry(cmd.Flags(), body, false); err != nil {
				return err
			}
			return issue(cmd.Context(), a, call{method: http.MethodPost, path: tokensPath, body: body}, &to, func(v *client.OperatorToken) **string { return &v.Token }, showToken)
		},
	}
	cmd.Flags().String("expires-at", "", "`time` at which the token expires, such as 2027-01-31 (its first moment in UTC) or 2027-01-31T15:04:05Z")
	cmd.Flags().Var(new(duration), "expires-in", "`duration` after which the token expires, such as 90d or 12h")
	to.add(cmd.Flags(), "token")
	return cmd
}

func showToken(a *app, v *client.OperatorToken) error {
	t := newTable(a.Stdout)
	t.row("id", v.ID)
	t.field("token", text(v.Token))
	t.field("name", text(v.Name))
	t.field("created", strings.TrimSpace(minute(v.CreatedAt)))
	t.field("expires", minute(v.ExpiresAt))
	return t.flush()
}

func tokensList(a *app) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "List operator tokens", Args: cobra.NoArgs,
		Example: "  perfgate tokens list",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c := call{method: http.MethodGet, path: tokensPath, query: query(cmd, "cursor")}
			return list(cmd.Context(), a, c, limit, []string{"ID", "NAME", "STATE", "CREATED", "EXPIRES", "LAST USED"}, func(t *table, v *client.OperatorToken) {
				t.row(v.ID, text(v.Name), v.State, minute(v.CreatedAt), minute(v.ExpiresAt), strings.TrimSpace(minute(v.LastUsedAt)+" "+text(v.LastUsedIP)))
			})
		},
	}
	listFlags(cmd.Flags(), &limit, 0)
	return cmd
}

func tokensDelete(a *app) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: "delete ID", Short: "End an operator token for good", Args: cobra.ExactArgs(1),
		Example: "  perfgate tokens delete op_0123456789ab",
		Long: `End an operator token for good, also the one that the installation began with. The
last token that is accepted is kept unless --force is given: then only a start of a
node with PERFGATE_OPERATOR_TOKEN gives access again.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return run(cmd.Context(), a, call{method: http.MethodDelete, path: tokensPath + "/" + url.PathEscape(args[0]), query: forceQuery(force)}, showDeleted)
		},
	}
	forceFlag(cmd, &force, "it is the last token that is accepted")
	return cmd
}

// tokenCommand tells where the first operator token is, for a person who has just
// started a node. The token itself is not printed: a terminal keeps what it shows.
func tokenCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "token", Short: "Print the path of the file with the first operator token", Args: cobra.NoArgs,
		Long: `Print the path of the file with the operator token that the installation began with.
Each node that founded the cluster has a copy in its data directory, which --data-dir
names. Commands on the same machine read the file by themselves.`,
		Example: "  perfgate token --data-dir /var/lib/perfgate",
		RunE: func(*cobra.Command, []string) error {
			path := a.dataPath(tokenFile)
			if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("there is no %s; name the data directory of a node that founded the cluster with --data-dir, or start a node with PERFGATE_OPERATOR_TOKEN to set another token", path)
			} else if err != nil {
				return fmt.Errorf("find the operator token: %w", err)
			}
			_, err := fmt.Fprintln(a.Stdout, path)
			return err
		},
	}
}
