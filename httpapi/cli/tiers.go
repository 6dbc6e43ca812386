package cli

import (
	"net/http"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/perfgate/perfgate/httpapi/client"
)

const tiersPath = "/v1/tiers"

func tiersCommand(a *app) *cobra.Command {
	return group("tiers", "Manage tiers, named sets of limits and features (operators only)",
		tiersCreate(a), tiersList(a), tiersGet(a), tiersUpdate(a), tiersDelete(a))
}

// tierFlags are the settings of a tier, as flags.
type tierFlags struct{ live, test limitFlags }

func (f *tierFlags) add(fs *pflag.FlagSet) {
	f.live.add(fs, "live-")
	f.test.add(fs, "test-")
	ruleFlag(fs)
	fs.Bool("ip-allowlist", false, "let the tier's accounts set an allowlist")
}

// body returns the given settings, or all of them, based on the current tier.
func (f *tierFlags) body(a *app, cmd *cobra.Command, now *client.Tier, all bool) (client.Patch, error) {
	body := client.Patch{}
	for name, l := range map[string]struct {
		flags *limitFlags
		now   *client.Limits
	}{"live": {&f.live, &now.Live}, "test": {&f.test, &now.Test}} {
		if !all && !l.flags.set(cmd) {
			continue
		}
		v, err := l.flags.merge(cmd, l.now)
		if err != nil {
			return nil, err
		}
		body[name] = v
	}
	if all || cmd.Flags().Changed("ip-allowlist") {
		on, err := cmd.Flags().GetBool("ip-allowlist")
		if err != nil {
			return nil, err
		}
		body["features"] = client.Features{IPAllowlist: on}
	}
	return body, setRules(a, cmd, body)
}

func tiersCreate(a *app) *cobra.Command {
	var f tierFlags
	cmd := &cobra.Command{
		Use: "create NAME", Short: "Create a tier", Args: cobra.ExactArgs(1),
		Long:    "Create a tier. A value without a flag is unlimited.",
		Example: "  perfgate tiers create team --live-requests-per-minute 600 --live-requests-per-month 1000000 --test-requests-per-minute 60",
		RunE: func(cmd *cobra.Command, args []string) error {
			body, err := f.body(a, cmd, &client.Tier{}, true)
			if err != nil {
				return err
			}
			body["name"] = args[0]
			return run(cmd.Context(), a, call{method: http.MethodPost, path: tiersPath, body: body}, showTier)
		},
	}
	f.add(cmd.Flags())
	return cmd
}

func tiersList(a *app) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "List tiers", Args: cobra.NoArgs,
		Example: "  perfgate tiers list",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c := call{method: http.MethodGet, path: tiersPath, query: query(cmd, "cursor")}
			return list(cmd.Context(), a, c, limit, []string{"NAME", "LIVE", "TEST", "IP ALLOWLIST"}, func(t *table, v *client.Tier) {
				t.row(v.Name, tierLimits(&v.Live), tierLimits(&v.Test), strconv.FormatBool(v.Features.IPAllowlist))
			})
		},
	}
	listFlags(cmd.Flags(), &limit, 0)
	return cmd
}

func tierLimits(l *client.Limits) string { return first(limitText(l), "no limit") }

func tierPath(name string) string { return tiersPath + "/" + url.PathEscape(name) }

func tiersGet(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "get NAME", Short: "Show a tier", Args: cobra.ExactArgs(1),
		Example: "  perfgate tiers get pro",
		RunE: func(cmd *cobra.Command, args []string) error {
			return run(cmd.Context(), a, call{method: http.MethodGet, path: tierPath(args[0])}, showTier)
		},
	}
}

func tiersUpdate(a *app) *cobra.Command {
	var f tierFlags
	cmd := &cobra.Command{
		Use: "update NAME", Short: "Change a tier, for all its accounts at once", Args: cobra.ExactArgs(1),
		Example: "  perfgate tiers update trial --live-requests-per-minute 120",
		Long:    "Change the settings that are given and keep the others. The change applies to all\naccounts of the tier at once.",
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.dial()
			if err != nil {
				return err
			}
			now, err := s.api.Tiers().Get(cmd.Context(), args[0]) // the API replaces limits as a whole
			if err != nil {
				return err
			}
			etag := s.etag
			body, err := f.body(a, cmd, now, false)
			if err != nil {
				return err
			}
			if len(body) == 0 {
				return nothingToChange(cmd)
			}
			return runIn(cmd.Context(), s, call{method: http.MethodPatch, path: tierPath(args[0]), body: body, ifMatch: etag}, showTier)
		},
	}
	f.add(cmd.Flags())
	return cmd
}

func tiersDelete(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "delete NAME", Short: "Delete a tier that no account uses", Args: cobra.ExactArgs(1),
		Example: "  perfgate tiers delete trial",
		RunE: func(cmd *cobra.Command, args []string) error {
			return run(cmd.Context(), a, call{method: http.MethodDelete, path: tierPath(args[0])}, showDeleted)
		},
	}
}

func showTier(a *app, v *client.Tier) error {
	t := newTable(a.Stdout)
	t.row("name", v.Name)
	t.row("live keys", tierLimits(&v.Live))
	t.row("test keys", tierLimits(&v.Test))
	showRules(t, v.LimitRules)
	t.row("ip allowlist", strconv.FormatBool(v.Features.IPAllowlist))
	t.field("revocation", effect(v.Revocation))
	return t.flush()
}
