package cli

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/perfgate/perfgate/httpapi/client"
)

const accountsPath = "/v1/accounts"

func accountsCommand(a *app) *cobra.Command {
	return group("accounts", "Manage accounts (operators only)",
		accountsCreate(a), accountsList(a), accountsGet(a), accountsUpdate(a), accountsSuspend(a), accountsResume(a), accountsDelete(a), accountsExport(a))
}

// accountFlags are the settings of an account, as flags.
type accountFlags struct{ limits limitFlags }

func (f *accountFlags) add(fs *pflag.FlagSet) {
	fs.String("name", "", "`name` to display")
	fs.String("tier", "", "`name` of the account's tier, such as pro")
	fs.String("region", "", "`region` that the account's data belongs to")
	fs.String("browser-keys", "", "treatment of live keys that browsers send: allow, alert or block")
	fs.StringSlice("alert-at", nil, "`percentages` of a month's limit or budget at which to send usage.threshold, such as 80,100, or "+none)
	fs.Int("retention-days", 0, "`days` to keep the account's logs, 7 to 90")
	fs.String("max-ttl", "", "longest `duration` that a key may live, such as 90d; none ends the rule")
	fs.Bool("must-expire", false, "require that each key expires")
	fs.Int("max-keys", 0, "most `keys` that may be valid at once; 0 ends the rule")
	f.limits.add(fs, "")
	ruleFlag(fs)
}

// policy merges the flags of the key policy into now.
func (*accountFlags) policy(cmd *cobra.Command, now *client.KeyPolicy) *client.KeyPolicy {
	out := client.KeyPolicy{}
	if now != nil {
		out = *now
	}
	fs := cmd.Flags()
	if fs.Changed("max-ttl") {
		out.MaxTTL = nil
		if v := fs.Lookup("max-ttl").Value.String(); v != none {
			out.MaxTTL = &v
		}
	}
	if fs.Changed("must-expire") {
		out.MustExpire, _ = fs.GetBool("must-expire")
	}
	if fs.Changed("max-keys") {
		out.MaxKeys = nil
		if n, _ := fs.GetInt("max-keys"); n != 0 {
			out.MaxKeys = &n
		}
	}
	return &out
}

// alertsOf are the percentages of --alert-at; none of them is an empty list.
func alertsOf(cmd *cobra.Command) ([]int, error) {
	words, err := cmd.Flags().GetStringSlice("alert-at")
	if err != nil || slices.Equal(words, []string{none}) {
		return []int{}, err
	}
	list := make([]int, len(words))
	for i, w := range words {
		if list[i], err = strconv.Atoi(strings.TrimSpace(w)); err != nil {
			return nil, usagef("--alert-at: %q is not a whole number", w)
		}
	}
	return list, nil
}

// setsPolicy reports whether a flag of the key policy is given.
func (*accountFlags) setsPolicy(cmd *cobra.Command) bool {
	fs := cmd.Flags()
	return fs.Changed("max-ttl") || fs.Changed("must-expire") || fs.Changed("max-keys")
}

func (f *accountFlags) body(a *app, cmd *cobra.Command, account *client.Account) (client.Patch, error) {
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
	if cmd.Flags().Changed("alert-at") {
		n, err := alertsOf(cmd)
		if err != nil {
			return nil, err
		}
		body["alert_thresholds"] = n
	}
	if f.limits.set(cmd) {
		l, err := f.limits.merge(cmd, account.Limits)
		if err != nil {
			return nil, err
		}
		body["limits"] = l
	}
	if f.setsPolicy(cmd) {
		body["key_policy"] = f.policy(cmd, account.KeyPolicy)
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
			body, err := f.body(a, cmd, &client.Account{})
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
		Example: "  perfgate accounts list",
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

// accountPath returns the path of an account, or without an id that of the caller's own.
func accountPath(id ...string) string {
	if len(id) == 0 {
		return "/v1/account"
	}
	return accountsPath + "/" + url.PathEscape(id[0])
}

func accountsGet(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "get [ID]", Short: "Show an account", Args: cobra.MaximumNArgs(1),
		Example: "  perfgate accounts get\n  perfgate accounts get acct_2x…",
		Long:    "Show an account. Without ID, that is the account of the calling key or, for an operator,\nthe one that --account names.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return run(cmd.Context(), a, call{method: http.MethodGet, path: accountPath(args...)}, showAccount)
		},
	}
}

func accountsUpdate(a *app) *cobra.Command {
	var f accountFlags
	cmd := &cobra.Command{
		Use: "update [ID]", Short: "Change an account", Args: cobra.MaximumNArgs(1),
		Long:    "Change the settings that are given and keep the others. Without ID, that is the account\nof the calling key or, for an operator, the one that --account names; then only its name,\nbrowser keys, alerts and retention can be changed.",
		Example: "  perfgate accounts update acct_2x… --tier pro --alert-at 80,100\n  perfgate accounts update --browser-keys block",
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.dial()
			if err != nil {
				return err
			}
			c := call{method: http.MethodPatch, path: accountPath(args...)}
			now := &client.Account{}
			if len(args) == 1 && (f.limits.set(cmd) || f.setsPolicy(cmd)) { // the API replaces limits and policy as a whole
				if now, err = s.api.Accounts().Get(cmd.Context(), args[0]); err != nil {
					return err
				}
				c.ifMatch = s.etag
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

func accountsSuspend(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "suspend ID", Short: "Refuse all keys of an account until it is resumed", Args: cobra.ExactArgs(1),
		Example: "  perfgate accounts suspend acct_2x…",
		Long: `Refuse all keys of an account, with account_suspended, until the account is resumed.
When the command returns, no node admits them.`,
		RunE: func(cmd *cobra.Command, args []string) error { return setState(cmd, a, args[0], "suspended") },
	}
}

func accountsResume(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "resume ID", Short: "Accept the keys of a suspended account again", Args: cobra.ExactArgs(1),
		Example: "  perfgate accounts resume acct_2x…",
		RunE:    func(cmd *cobra.Command, args []string) error { return setState(cmd, a, args[0], "active") },
	}
}

func setState(cmd *cobra.Command, a *app, id, state string) error {
	return run(cmd.Context(), a, call{method: http.MethodPatch, path: accountPath(id), body: client.Patch{"state": state}}, showAccount)
}

func accountsDelete(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "delete ID", Short: "Delete an account and all its keys", Args: cobra.ExactArgs(1),
		Example: "  perfgate accounts delete acct_2x…",
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
	if v.State == "suspended" {
		t.row("state", v.State)
	}
	if p := v.KeyPolicy; p != nil {
		t.field("longest life of a key", text(p.MaxTTL))
		if p.MustExpire {
			t.row("keys must expire", "true")
		}
		t.field("most keys", text(p.MaxKeys))
	}
	t.row("created", minute(&v.CreatedAt))
	t.field("revocation", effect(v.Revocation))
	return t.flush()
}
