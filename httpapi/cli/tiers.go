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

func (a *app) tiersCommand() *cobra.Command {
	return group("tiers", "Named sets of limits and features, for operators",
		a.tiersCreate(), a.tiersList(), a.tiersGet(), a.tiersUpdate(), a.tiersDelete())
}

// tierFlags are the settings of a tier, as flags.
type tierFlags struct{ live, test limitFlags }

func (f *tierFlags) add(fs *pflag.FlagSet) {
	f.live.add(fs, "live-")
	f.test.add(fs, "test-")
	fs.Bool("ip-allowlist", false, "accounts may set an allowlist")
}

func (f *tierFlags) body(cmd *cobra.Command, now *client.Tier, all bool) (client.Patch, error) {
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
	return body, nil
}

func (a *app) tiersCreate() *cobra.Command {
	var f tierFlags
	cmd := &cobra.Command{
		Use: "create NAME", Short: "Create a tier", Args: cobra.ExactArgs(1),
		Long:    "Creates a tier. A limit that is not given is none.",
		Example: "  perfgate tiers create team --live-requests-per-minute 600 --live-requests-per-month 1000000 --test-requests-per-minute 60",
		RunE: func(cmd *cobra.Command, args []string) error {
			body, err := f.body(cmd, &client.Tier{}, true)
			if err != nil {
				return err
			}
			body["name"] = args[0]
			return a.run(cmd.Context(), ask{method: http.MethodPost, path: tiersPath, body: body}, a.showTier)
		},
	}
	f.add(cmd.Flags())
	return cmd
}

func (a *app) tiersList() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "List tiers", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q := ask{method: http.MethodGet, path: tiersPath, query: query(cmd, "cursor")}
			return list(cmd.Context(), a, q, limit, []string{"NAME", "LIVE", "TEST", "IP ALLOWLIST"}, func(t *table, v *client.Tier) {
				t.row(v.Name, first(limitText(&v.Live), "no limit"), first(limitText(&v.Test), "no limit"), strconv.FormatBool(v.Features.IPAllowlist))
			})
		},
	}
	listFlags(cmd.Flags(), &limit)
	return cmd
}

func tierPath(name string) string { return tiersPath + "/" + url.PathEscape(name) }

func (a *app) tiersGet() *cobra.Command {
	return &cobra.Command{
		Use: "get NAME", Short: "Show a tier", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.run(cmd.Context(), ask{method: http.MethodGet, path: tierPath(args[0])}, a.showTier)
		},
	}
}

func (a *app) tiersUpdate() *cobra.Command {
	var f tierFlags
	cmd := &cobra.Command{
		Use: "update NAME", Short: "Change a tier, for all its accounts at once", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.dial()
			if err != nil {
				return err
			}
			now, err := s.api.GetTier(cmd.Context(), args[0]) // the API replaces limits whole
			if err != nil {
				return err
			}
			match := s.etag
			body, err := f.body(cmd, now, false)
			if err != nil {
				return err
			}
			if len(body) == 0 {
				return usagef("nothing to change; see tiers update --help")
			}
			return s.print(cmd.Context(), ask{method: http.MethodPatch, path: tierPath(args[0]), body: body, match: match}, a.showTier)
		},
	}
	f.add(cmd.Flags())
	return cmd
}

func (a *app) tiersDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete NAME", Short: "Delete a tier that no account uses", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.run(cmd.Context(), ask{method: http.MethodDelete, path: tierPath(args[0])}, a.showDeleted)
		},
	}
}

func (a *app) showTier(raw []byte) error {
	var v client.Tier
	if err := decode(raw, &v); err != nil {
		return err
	}
	t := newTable(a.Stdout)
	t.row("name", v.Name)
	t.row("live keys", first(limitText(&v.Live), "no limit"))
	t.row("test keys", first(limitText(&v.Test), "no limit"))
	t.row("ip allowlist", strconv.FormatBool(v.Features.IPAllowlist))
	if v.Revocation != nil {
		t.row("revocation", became(v.Revocation))
	}
	return t.flush()
}
