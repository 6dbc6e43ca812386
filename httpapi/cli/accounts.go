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

func accountsCommand(a *app) *cobra.Command {
	return group("accounts", "Manage accounts (operators only)",
		accountsCreate(a), accountsList(a), accountsGet(a), accountsUpdate(a), accountsDelete(a))
}

// accountFlags are the settings of an account, as flags.
type accountFlags struct{ limits limitFlags }

func (f *accountFlags) add(fs *pflag.FlagSet) {
	fs.String("name", "", "`name` to display")
	fs.String("tier", "", "`name` of the account's tier, such as pro")
	fs.String("region", "", "`region` that the account's data belongs to")
	fs.String("browser-keys", "", "treatment of live keys that browsers send: allow, alert or block")
	fs.Int("retention-days", 0, "`days` to keep the account's logs, 7 to 90")
	f.limits.add(fs, "")
	ruleFlag(fs)
}

func (f *accountFlags) body(a *app, cmd *cobra.Command, now *client.Limits) (client.Patch, error) {
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
	if err := setRules(a, cmd, body); err != nil {
		return nil, err
	}
	return body, nil
}

func accountsCreate(a *app) *cobra.Command {
	var f accountFlags
	cmd := &cobra.Command{
		Use: "create [NAME]", Short: "Create an account", Args: cobra.MaximumNArgs(1),
		Example: `  perfgate accounts create Acme --tier enterprise --requests-per-minute 6000`,
		RunE: func(cmd *cobra.Command, args []string) error {
			body, err := f.body(a, cmd, nil)
			if err != nil {
				return err
			}
			if len(args) == 1 {
				body["name"] = args[0]
			}
			if body["name"] == nil {
				return usagef("an account needs a name: accounts create NAME")
			}
			return run(cmd.Context(), a, call{method: http.MethodPost, path: accountsPath, body: body}, showAccount)
		},
	}
	f.add(cmd.Flags())
	return cmd
}

func accountsList(a *app) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "List accounts", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c := call{method: http.MethodGet, path: accountsPath, query: query(cmd, "cursor")}
			return list(cmd.Context(), a, c, limit, []string{"ID", "NAME", "TIER", "LIMITS", "CREATED"}, func(t *table, v *client.Account) {
				t.row(v.ID, v.Name, v.Tier, limitText(v.Limits), minute(&v.CreatedAt))
			})
		},
	}
	listFlags(cmd.Flags(), &limit, 0)
	return cmd
}

func accountPath(id string) string { return accountsPath + "/" + url.PathEscape(id) }

func accountsGet(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "get ID", Short: "Show an account", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return run(cmd.Context(), a, call{method: http.MethodGet, path: accountPath(args[0])}, showAccount)
		},
	}
}

func accountsUpdate(a *app) *cobra.Command {
	var f accountFlags
	cmd := &cobra.Command{
		Use: "update ID", Short: "Change an account", Args: cobra.ExactArgs(1),
		Long: "Change the settings that are given and keep the others.",
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.dial()
			if err != nil {
				return err
			}
			c := call{method: http.MethodPatch, path: accountPath(args[0])}
			var now *client.Limits
			if f.limits.set(cmd) { // the API replaces limits as a whole
				account, err := s.api.Accounts().Get(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				now, c.ifMatch = account.Limits, s.etag
			}
			body, err := f.body(a, cmd, now)
			if err != nil {
				return err
			}
			if len(body) == 0 {
				return nothingToChange(cmd)
			}
			c.body = body
			return runIn(cmd.Context(), s, c, showAccount)
		},
	}
	f.add(cmd.Flags())
	return cmd
}

func accountsDelete(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "delete ID", Short: "Delete an account and all its keys", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return run(cmd.Context(), a, call{method: http.MethodDelete, path: accountPath(args[0])}, showDeleted)
		},
	}
}

func showAccount(a *app, v *client.Account) error {
	t := newTable(a.Stdout)
	t.row("id", v.ID)
	t.row("name", v.Name)
	t.row("tier", v.Tier)
	t.row("region", text(v.Region))
	t.row("limits", first(limitText(v.Limits), "those of the tier"))
	showRules(t, v.LimitRules)
	t.row("browser keys", v.BrowserKeys)
	t.row("retention", fmt.Sprintf("%d days", v.RetentionDays))
	t.row("created", minute(&v.CreatedAt))
	t.field("revocation", effect(v.Revocation))
	return t.flush()
}
