package cli

import (
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/perfgate/perfgate/httpapi/client"
)

func complianceCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "compliance", Short: "Report the evidence for compliance", Args: cobra.NoArgs,
		Example: "  perfgate compliance\n  perfgate compliance --json",
		Long: `Report, for each control that SOC 2, GDPR, HIPAA and ISO 27001 ask for, the fact that
the node has measured and how to check it yourself. --json prints all of it, with the
settings and the references. For a page to print, fetch GET /v1/compliance with
"Accept: text/html".`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return run(cmd.Context(), a, call{method: http.MethodGet, path: "/v1/compliance"}, showCompliance)
		},
	}
}

// showCompliance prints a block for each control: sentences do not fit into a table.
func showCompliance(a *app, v *client.Compliance) error {
	var b strings.Builder
	for i, c := range v.Data {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%s: %s\n  %s\n", strings.ToUpper(c.State), c.Title, c.Fact)
		for _, item := range c.Items {
			fmt.Fprintf(&b, "  - %s\n", item)
		}
		if more := c.Count - len(c.Items); more > 0 {
			fmt.Fprintf(&b, "  - and %d more\n", more)
		}
		fmt.Fprintf(&b, "  check: %s\n", c.Verify)
	}
	_, err := io.WriteString(a.Stdout, b.String())
	return err
}
