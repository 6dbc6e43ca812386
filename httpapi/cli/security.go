package cli

import (
	"net/http"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/perfgate/perfgate/httpapi/client"
)

func securityCommand(a *app) *cobra.Command {
	return group("security", "See failed authentications, unusual requests and untidy keys", securityEvents(a), securityHygiene(a))
}

func securityEvents(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "events", Short: "Show failed authentications, and what was unusual", Args: cobra.NoArgs,
		Example: "  perfgate security events --from 2027-01-01 --key key_2x…",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c := call{method: http.MethodGet, path: "/v1/security/events", query: query(cmd, "from", "to", "key")}
			return run(cmd.Context(), a, c, showSecurityEvents)
		},
	}
	fs := cmd.Flags()
	pointFlag(fs, "from", "first `time` (default: 30 days ago)")
	pointFlag(fs, "to", "last `time`")
	fs.String("key", "", "only the key with this `ID`")
	return cmd
}

func showSecurityEvents(a *app, v *client.SecurityEvents) error {
	warnMissing(a, v.Missing)
	num := func(n int64) string { return strconv.FormatInt(n, 10) }
	t := newTable(a.Stdout, "FAILED AUTHENTICATIONS", "REQUESTS")
	t.row("all", num(v.Failed.Requests))
	for _, n := range v.Failed.Reasons {
		t.row("reason "+n.Reason, num(n.Requests))
	}
	for _, n := range v.Failed.Keys {
		t.row("key "+n.KeyID, num(n.Requests))
	}
	for _, n := range v.Failed.Addresses {
		t.row("address "+n.IP+" ("+country(n.Country)+")", num(n.Requests))
	}
	for _, n := range v.Failed.Countries {
		t.row("country "+country(n.Country), num(n.Requests))
	}
	for _, n := range v.Failed.Hints {
		t.row("credential "+n.Hint, num(n.Requests))
	}
	if err := t.flush(); err != nil || len(v.Anomalies) == 0 {
		return err
	}
	t = newTable(a.Stdout, "TIME", "UNUSUAL", "KEY", "USUAL", "SEEN")
	for i := range v.Anomalies {
		n := &v.Anomalies[i]
		t.row(minute(&n.Time), n.Kind, text(n.KeyID), n.Usual, n.Seen)
	}
	return t.flush()
}

func securityHygiene(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "hygiene", Short: "List untidy keys, each with the command that mends it", Args: cobra.NoArgs,
		Long: `List keys of the account that were never used, are idle for 90 days, have scopes that
they never made use of or that open nothing, are shared by many addresses, never expire,
or are late for rotation. Each line ends with a command that mends it.`,
		Example: "  perfgate security hygiene",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return run(cmd.Context(), a, call{method: http.MethodGet, path: "/v1/security/hygiene"}, showHygiene)
		},
	}
}

func showHygiene(a *app, v *client.Hygiene) error {
	warnMissing(a, v.Missing)
	t := newTable(a.Stdout, "KEY", "NAME", "FINDING", "DETAIL", "COMMAND")
	for _, u := range v.Data {
		t.row(u.KeyID, u.Name, u.Finding, u.Detail, u.Command)
	}
	return t.flush()
}
