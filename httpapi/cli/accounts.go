package cli

import (
	"fmt"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/perfgate/perfgate/httpapi/client"
)

const accountsPath = "/v1/accounts"

func (a *app) accountsCommand() *cobra.Command {
	return group("accounts", "Accounts, for operators",
		a.accountsCreate(), a.accountsList(), a.accountsGet(), a.accountsUpdate(), a.accountsDelete())
}

// accountFlags are the settings of an account, as flags.
type accountFlags struct{ limits limitFlags }

func (f *accountFlags) add(fs *pflag.FlagSet) {
	fs.String("name", "", "name for people")
	fs.String("tier", "", "tier, such as pro")
	fs.String("region", "", "where its data belong")
	fs.String("browser-keys", "", "live keys sent by browsers: allow, alert or block")
	fs.Int("retention-days", 0, "how long its logs are kept, 7 to 90 days")
	f.limits.add(fs, "")
}

func (f *accountFlags) body(cmd *cobra.Command, now *client.Limits) (client.Patch, error) {
	body := client.Patch{}
	for name, v := range query(cmd, "name", "tier", "region", "browser-keys") {
		body[name] = v[0]
	}
	if cmd.Flags().Changed("retention-days") {
		n, err := cmd.Flags().GetInt("retention-days")
		if err != nil {
			return nil, err
		}
		body["retention_days"] = n
	}
	if f.limits.set(cmd) {
		l, err := f.limits.merge(cmd, now)
		if err != nil {
			return nil, err
		}
		body["limits"] = l
	}
	return body, nil
}

func (a *app) accountsCreate() *cobra.Command {
	var f accountFlags
	cmd := &cobra.Command{
		Use: "create [NAME]", Short: "Create an account", Args: cobra.MaximumNArgs(1),
		Example: `  perfgate accounts create Acme --tier enterprise --requests-per-minute 6000`,
		RunE: func(cmd *cobra.Command, args []string) error {
			body, err := f.body(cmd, nil)
			if err != nil {
				return err
			}
			if len(args) == 1 {
				body["name"] = args[0]
			}
			if body["name"] == nil {
				return usagef("an account needs a name: accounts create NAME")
			}
			return a.run(cmd.Context(), ask{method: http.MethodPost, path: accountsPath, body: body}, a.showAccount)
		},
	}
	f.add(cmd.Flags())
	return cmd
}

func (a *app) accountsList() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "List accounts", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q := ask{method: http.MethodGet, path: accountsPath, query: query(cmd, "cursor")}
			return list(cmd.Context(), a, q, limit, []string{"ID", "NAME", "TIER", "LIMITS", "CREATED"}, func(t *table, c *client.Account) {
				t.row(c.ID, c.Name, c.Tier, limitText(c.Limits), day(&c.CreatedAt))
			})
		},
	}
	listFlags(cmd.Flags(), &limit)
	return cmd
}

func listFlags(fs *pflag.FlagSet, limit *int) {
	fs.IntVar(limit, "limit", 0, "how many at most (0: all; with --json 1000)")
	fs.String("cursor", "", "continue a list")
}

func accountPath(id string) string { return accountsPath + "/" + url.PathEscape(id) }

func (a *app) accountsGet() *cobra.Command {
	return &cobra.Command{
		Use: "get ID", Short: "Show an account", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.run(cmd.Context(), ask{method: http.MethodGet, path: accountPath(args[0])}, a.showAccount)
		},
	}
}

func (a *app) accountsUpdate() *cobra.Command {
	var f accountFlags
	cmd := &cobra.Command{
		Use: "update ID", Short: "Change an account", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.dial()
			if err != nil {
				return err
			}
			q := ask{method: http.MethodPatch, path: accountPath(args[0])}
			var now *client.Limits
			if f.limits.set(cmd) { // the API replaces limits whole
				account, err := s.api.GetManagedAccount(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				now, q.match = account.Limits, s.etag
			}
			body, err := f.body(cmd, now)
			if err != nil {
				return err
			}
			if len(body) == 0 {
				return usagef("nothing to change; see accounts update --help")
			}
			q.body = body
			return s.print(cmd.Context(), q, a.showAccount)
		},
	}
	f.add(cmd.Flags())
	return cmd
}

func (a *app) accountsDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete ID", Short: "Delete an account with all its keys", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.run(cmd.Context(), ask{method: http.MethodDelete, path: accountPath(args[0])}, a.showDeleted)
		},
	}
}

func (a *app) showDeleted(raw []byte) error {
	var v client.Deleted
	if err := decode(raw, &v); err != nil {
		return err
	}
	t := newTable(a.Stdout)
	t.row("deleted", v.ID)
	if v.Revocation != nil {
		t.row("revocation", became(v.Revocation))
	}
	return t.flush()
}

func (a *app) showAccount(raw []byte) error {
	var v client.Account
	if err := decode(raw, &v); err != nil {
		return err
	}
	t := newTable(a.Stdout)
	t.row("id", v.ID)
	t.row("name", v.Name)
	t.row("tier", v.Tier)
	t.row("region", text(v.Region))
	t.row("limits", first(limitText(v.Limits), "the tier's"))
	t.row("browser keys", v.BrowserKeys)
	t.row("retention", fmt.Sprintf("%d days", v.RetentionDays))
	t.row("created", day(&v.CreatedAt))
	if v.Revocation != nil {
		t.row("revocation", became(v.Revocation))
	}
	return t.flush()
}
