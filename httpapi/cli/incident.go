package cli

import (
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/perfgate/perfgate/httpapi/client"
)

const incidentsPath = "/v1/incidents"

func incidentPath(id, call string) string { return incidentsPath + "/" + url.PathEscape(id) + call }

func incidentCommand(a *app) *cobra.Command {
	return group("incident", "Answer a breach: revoke or rotate keys, and report",
		incidentOpen(a), incidentList(a), incidentGet(a), incidentClose(a), incidentReport(a))
}

func incidentOpen(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "open TITLE [KEY_ID…]", Short: "Open an incident", Args: cobra.MinimumNArgs(1),
		Long: `Open an incident. It keeps the signed heads of the audit log, finds the affected
keys (by id or by filters), and revokes them, replaces them at once, or leaves them as
they are. With --freeze, no key is made until the incident is closed. New keys are
printed, once.`,
		Example: `  perfgate incident open "Laptop stolen" --created-by usr_7… --action revoke --freeze
  perfgate incident open "Key in a public repository" key_2x… --action rotate`,
		RunE: func(cmd *cobra.Command, args []string) error {
			match := map[string]any{}
			for name, v := range query(cmd, "created-by", "type", "environment", "created-before") {
				match[name] = v[0]
			}
			if err := checkKeyIDs(args[1:]); err != nil {
				return err
			}
			if err := readBefore(match); err != nil {
				return err
			}
			if len(args) > 1 {
				match["ids"] = args[1:]
			}
			freeze, err := cmd.Flags().GetBool("freeze")
			if err != nil {
				return err
			}
			body := map[string]any{"title": args[0], "action": cmd.Flags().Lookup("action").Value.String(), "freeze": freeze}
			if len(match) > 0 {
				body["match"] = match
			}
			return run(cmd.Context(), a, call{method: http.MethodPost, path: incidentsPath, body: body}, showIncident)
		},
	}
	cmd.Flags().String("action", "none", "`action` on the keys: revoke, rotate or none")
	cmd.Flags().Bool("freeze", false, "make no keys until the incident is closed")
	bulkFlags(cmd.Flags())
	return cmd
}

func incidentList(a *app) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "List incidents, the newest first", Args: cobra.NoArgs,
		Example: "  perfgate incident list",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c := call{method: http.MethodGet, path: incidentsPath, query: query(cmd, "cursor")}
			return list(cmd.Context(), a, c, limit, []string{"ID", "TITLE", "STATE", "ACTION", "KEYS", "OPENED"}, func(t *table, v *client.Incident) {
				t.row(v.ID, v.Title, v.State, v.Action, strconv.Itoa(v.Matched), minute(&v.OpenedAt))
			})
		},
	}
	listFlags(cmd.Flags(), &limit, 0)
	return cmd
}

func incidentGet(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "get ID", Short: "Show an incident", Args: cobra.ExactArgs(1),
		Example: "  perfgate incident get inc_2x…",
		RunE: func(cmd *cobra.Command, args []string) error {
			return run(cmd.Context(), a, call{method: http.MethodGet, path: incidentPath(args[0], "")}, showIncident)
		},
	}
}

func incidentClose(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "close ID", Short: "Close an incident, and end its freeze", Args: cobra.ExactArgs(1),
		Example: "  perfgate incident close inc_2x…",
		RunE: func(cmd *cobra.Command, args []string) error {
			return run(cmd.Context(), a, call{method: http.MethodPost, path: incidentPath(args[0], "/close")}, showIncident)
		},
	}
}

func incidentReport(a *app) *cobra.Command {
	var out string
	var html bool
	cmd := &cobra.Command{
		Use: "report ID", Short: "Write the signed report of an incident to a file or to stdout", Args: cobra.ExactArgs(1),
		Long:    "Write the signed report of an incident: the affected keys, who used them from where,\nand the changes since. It is JSON, or with --html a page to print.",
		Example: "  perfgate incident report inc_2x… --html --output report.html",
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.dial()
			if err != nil {
				return err
			}
			write := func(w io.Writer) error {
				return client.Incidents{Client: s.api}.Report(cmd.Context(), args[0], html, w)
			}
			return writeOut(a, out, write)
		},
	}
	cmd.Flags().BoolVar(&html, "html", false, "a page to print instead of JSON")
	cmd.Flags().StringVarP(&out, "output", "o", "-", "`file` to write; - is stdout")
	return cmd
}

func showIncident(a *app, v *client.Incident) error {
	t := newTable(a.Stdout)
	t.row("id", v.ID)
	t.row("title", v.Title)
	t.row("state", v.State)
	t.row("action", v.Action)
	if v.Freeze && v.State == "open" {
		t.row("freeze", "no keys are made until it is closed")
	}
	t.row("matched", strconv.Itoa(v.Matched))
	t.row("revoked", strconv.Itoa(v.Revoked))
	t.row("rotated", strconv.Itoa(v.Rotated))
	t.row("opened", minute(&v.OpenedAt))
	t.field("closed", minute(v.ClosedAt))
	for _, k := range v.NewKeys {
		t.row("new key", first(text(k.Key), "(shown by the first call)")+"  "+k.ID+", replaces "+k.Replaces)
	}
	for _, f := range v.Failed {
		t.row("not rotated", f.ID+": "+f.Error)
	}
	t.field("revocation", effect(v.Revocation))
	return t.flush()
}
