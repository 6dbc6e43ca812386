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
	var out string
	var html bool
	cmd := &cobra.Command{
		Use: "compliance", Short: "Report the evidence for compliance", Args: cobra.NoArgs,
		Example: "  perfgate compliance\n  perfgate compliance --html --output compliance.html",
		Long: `Report, for each control that SOC 2, GDPR, HIPAA and ISO 27001 ask for, the fact that
the node has measured and how to check it yourself. --json prints all of it, with the
settings and the references; --html writes it as a page to print.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !html {
				if out != "-" {
					return usagef("--output needs --html")
				}
				return run(cmd.Context(), a, call{method: http.MethodGet, path: "/v1/compliance"}, showCompliance)
			}
			if cmd.Flags().Changed("json") {
				return usagef("--html and --json do not go together")
			}
			s, err := a.dial()
			if err != nil {
				return err
			}
			return writeOut(a, out, func(w io.Writer) error {
				return s.api.Do(cmd.Context(), http.MethodGet, "/v1/compliance", nil, nil, w, client.Header("Accept", "text/html"))
			})
		},
	}
	cmd.Flags().BoolVar(&html, "html", false, "a page to print")
	cmd.Flags().StringVarP(&out, "output", "o", "-", "`file` to write with --html; - is stdout")
	return cmd
}

// writeOut writes to the file out, whole or not at all, or to stdout if it is "-".
func writeOut(a *app, out string, write func(io.Writer) error) error {
	if out == "-" {
		return write(a.Stdout)
	}
	if err := replaceFile(out, write, nil); err != nil {
		return fmt.Errorf("write %s: %w", out, err)
	}
	return nil
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
