package cli

import (
	"net/http"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/perfgate/perfgate/httpapi/client"
)

func (a *app) usageCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "usage",
		Short:   "What the account's keys have used",
		Example: "  perfgate usage --from 2027-01-01 --to 2027-01-31 --step day --group-by key",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q := ask{method: http.MethodGet, path: "/v1/usage", query: query(cmd, "from", "to", "step", "key", "type", "environment", "group-by")}
			return a.run(cmd.Context(), q, func(raw []byte) error {
				return a.showUsage(raw, cmd.Flags().Changed("group-by"))
			})
		},
	}
	fs := cmd.Flags()
	fs.String("from", "", "first date, or time")
	fs.String("to", "", "last date, or time")
	fs.String("step", "", "minute, hour or day")
	fs.String("key", "", "one key's id")
	fs.String("type", "", "test or live")
	fs.String("environment", "", "environment")
	fs.String("group-by", "", "key, status, country, route, type or environment")
	return cmd
}

func (a *app) showUsage(raw []byte, grouped bool) error {
	var v client.List[client.UsageRow]
	if err := decode(raw, &v); err != nil {
		return err
	}
	head := []string{"TIME", "REQUESTS", "DENIED", "UNITS", "COST", "BILLABLE"}
	if grouped {
		head = append(head, "GROUP")
	}
	t := newTable(a.Stdout, head...)
	num := func(n int64) string { return strconv.FormatInt(n, 10) }
	for _, r := range v.Data {
		cells := []string{day(&r.Time), num(r.Requests), num(r.Denied), num(r.Units), r.Cost.String(), num(r.Billable)}
		if grouped {
			cells = append(cells, text(r.Group))
		}
		t.row(cells...)
	}
	return t.flush()
}
