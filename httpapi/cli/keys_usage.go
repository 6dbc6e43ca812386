package cli

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/perfgate/perfgate/httpapi/client"
)

func keysUsage(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "usage ID", Short: "Show what one key did, from where, and what failed", Args: cobra.ExactArgs(1),
		Long:    "Show what one key did on all nodes: volumes, failures by cause, countries, last use\nand the addresses of the latest uses.",
		Example: "  perfgate keys usage key_2x… --from 2027-01-01",
		RunE: func(cmd *cobra.Command, args []string) error {
			c := call{method: http.MethodGet, path: "/v1/usage/keys/" + url.PathEscape(args[0]), query: query(cmd, "from", "to")}
			return run(cmd.Context(), a, c, showKeyUsage)
		},
	}
	pointFlag(cmd.Flags(), "from", "first `time` (default: 30 days ago)")
	pointFlag(cmd.Flags(), "to", "last `time`")
	return cmd
}

func showKeyUsage(a *app, v *client.KeyUsage) error {
	warnMissing(a, v.Missing)
	num := func(n int64) string { return strconv.FormatInt(n, 10) }
	t := newTable(a.Stdout)
	t.row("key", v.ID)
	t.row("from", minute(&v.From))
	t.row("to", minute(&v.To))
	t.row("requests", num(v.Requests))
	t.row("denied", num(v.Denied))
	t.row("failed", num(v.Failed))
	t.row("units", num(v.Units))
	t.row("cost", v.Cost.String())
	t.row("billable", num(v.Billable))
	if u := v.LastUse; u != nil {
		t.row("last use", strings.TrimSpace(minute(&u.At)+" "+text(u.IP)+" "+text(u.Country)))
	} else {
		t.row("last use", "never")
	}
	for _, u := range v.UsedFrom {
		t.row("used from "+u.IP, "last at "+minute(&u.LastUsed))
	}
	for _, n := range v.Statuses {
		t.row("status "+n.Status, num(n.Requests))
	}
	for _, n := range v.Countries {
		t.row("country "+country(n.Country), num(n.Requests))
	}
	for _, n := range v.Failures {
		t.row("failed: "+n.Reason, num(n.Requests))
	}
	for _, n := range v.Addresses {
		t.row("failed from "+n.IP, num(n.Requests))
	}
	return t.flush()
}

// country formats a country for a table.
func country(code *string) string {
	if code == nil {
		return "unknown"
	}
	return *code
}
