package cli

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/perfgate/perfgate/httpapi/client"
)

func usageCommand(a *app) *cobra.Command {
	var every time.Duration
	var asCSV bool
	var out string
	cmd := &cobra.Command{
		Use: "usage", Short: "Show the usage of the account's keys", Args: cobra.NoArgs,
		Example: "  perfgate usage --from 2027-01-01 --to 2027-01-31 --step day --group-by key\n  perfgate usage --from 15m --step minute --watch\n  perfgate usage --from 30d --step day --csv --output usage.csv",
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case !asCSV && out != "-":
				return usagef("--output needs --csv")
			case asCSV && (cmd.Flags().Changed("watch") || cmd.Flags().Changed("json")):
				return usagef("--csv goes neither with --watch nor with --json")
			}
			return a.watch(cmd.Context(), cmd, every, func() error {
				c := call{method: http.MethodGet, path: "/v1/usage", query: query(cmd, "from", "to", "step", "key", "type", "environment", "route", "method", "country", "status", "group-by")}
				grouped := cmd.Flags().Changed("group-by")
				return run(cmd.Context(), a, c, func(a *app, v *client.UsageRows) error {
					warnMissing(a, v.Missing)
					if asCSV {
						by, _ := cmd.Flags().GetString("group-by") // the flag exists
						return writeOut(a, out, func(w io.Writer) error { return client.WriteUsageCSV(w, by, v.Data) })
					}
					return showUsage(a, v.Data, grouped)
				})
			})
		},
	}
	fs := cmd.Flags()
	watchFlag(cmd, &every)
	pointFlag(fs, "from", "first `time`")
	pointFlag(fs, "to", "last `time`")
	fs.String("step", "", "`length` of one row's period: minute, hour or day")
	fs.String("key", "", "only the key with this `ID`")
	fs.String("type", "", "only keys of this `type`: test or live")
	fs.String("environment", "", "only keys of this `environment`")
	fs.String("route", "", "only requests of this `route`, as its pattern is written")
	fs.String("method", "", "only requests with this `method`: GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS or other")
	fs.String("country", "", "only requests from this country: two `letters`, or unknown")
	fs.String("status", "", "only requests with this status `code`")
	fs.String("group-by", "", "`dimension` to group by, one row for each value: key, status, country, route, method, type or environment")
	fs.BoolVar(&asCSV, "csv", false, "print CSV, as the dashboard's download")
	fs.StringVarP(&out, "output", "o", "-", "`file` to write with --csv; - is stdout")
	return cmd
}

// warnMissing names the nodes that are not in an answer.
func warnMissing(a *app, missing []client.Missing) {
	for _, m := range missing {
		fmt.Fprintf(a.Stderr, "perfgate: node %s is missing in this answer: %s\n", m.Node, m.Reason)
	}
}

func showUsage(a *app, rows []client.UsageRow, grouped bool) error {
	head := []string{"TIME", "REQUESTS", "DENIED", "FAILED", "UNITS", "COST", "BILLABLE"}
	if grouped {
		head = append(head, "GROUP")
	}
	t := newTable(a.Stdout, head...)
	num := func(n int64) string { return strconv.FormatInt(n, 10) }
	for _, r := range rows {
		cells := []string{minute(&r.Time), num(r.Requests), num(r.Denied), num(r.Failed), num(r.Units), r.Cost.String(), num(r.Billable)}
		if grouped {
			cells = append(cells, text(r.Group))
		}
		t.row(cells...)
	}
	return t.flush()
}
