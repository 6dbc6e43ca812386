package cli

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/perfgate/perfgate/httpapi/client"
)

// became says when a write that takes a right away had done so.
func became(r *client.Revocation) string {
	if r == nil {
		return ""
	}
	var open []string
	for _, n := range r.Nodes {
		if n.How == "unconfirmed" {
			open = append(open, n.Name)
		}
	}
	if !r.Effective {
		return "NOT yet effective on " + strings.Join(open, ", ")
	}
	return fmt.Sprintf("effective on every node after %d ms", r.TookMS)
}

func (a *app) keysCommand() *cobra.Command {
	return group("keys", "Create, list and change API keys",
		a.keysCreate(), a.keysList(), a.keysGet(), a.keysUpdate(), a.keysRotate(), a.keysRevoke(), a.keysImport(), a.keysVerify())
}

func (a *app) keysCreate() *cobra.Command {
	var f keyFlags
	var kind string
	cmd := &cobra.Command{
		Use:     "create [NAME]",
		Short:   "Create a key; its secret is shown this once",
		Example: `  perfgate keys create "Production Server" --type live --environment production`,
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			body, err := f.body(cmd, false)
			if err != nil {
				return err
			}
			if len(args) == 1 {
				if _, twice := body["name"]; twice {
					return usagef("the name is given twice, as %q and as --name", args[0])
				}
				body["name"] = args[0]
			}
			if body["name"] == nil {
				return usagef("a key needs a name: keys create NAME --type test|live")
			}
			if kind != "test" && kind != "live" {
				return usagef("--type %q: want test or live", kind)
			}
			body["type"] = kind
			return a.run(cmd.Context(), ask{method: http.MethodPost, path: "/v1/keys", body: body}, a.showKey)
		},
	}
	cmd.Flags().StringVar(&kind, "type", "", "test or live (needed)")
	f.add(cmd.Flags(), false)
	return cmd
}

func (a *app) keysList() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List keys",
		Long:  "Lists the account's keys. As a table all of them; with --json one page of the API, whose next_cursor continues it.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q := ask{method: http.MethodGet, path: "/v1/keys", query: query(cmd, "type", "state", "environment", "name", "created-by", "cursor")}
			head := []string{"ID", "NAME", "TYPE", "STATE", "HINT", "ENVIRONMENT", "SCOPES", "EXPIRES", "LAST USED"}
			return list(cmd.Context(), a, q, limit, head, func(t *table, k *client.Key) {
				t.row(k.ID, k.Name, k.Type, k.State, k.Hint, text(k.Environment), strings.Join(k.Scopes, ","), day(k.ExpiresAt), day(k.LastUsedAt))
			})
		},
	}
	fs := cmd.Flags()
	fs.String("type", "", "test or live")
	fs.String("state", "", "active, disabled, rotating, revoked or expired")
	fs.String("environment", "", "environment")
	fs.String("name", "", "name")
	fs.String("created-by", "", "id of who created it")
	fs.String("cursor", "", "continue a list")
	fs.IntVar(&limit, "limit", 0, "how many at most (0: all; with --json 1000)")
	return cmd
}

func keyPath(id string, more ...string) string {
	return "/v1/keys/" + strings.Join(append([]string{url.PathEscape(id)}, more...), "/")
}

func (a *app) keysGet() *cobra.Command {
	return &cobra.Command{
		Use: "get ID", Short: "Show a key", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.run(cmd.Context(), ask{method: http.MethodGet, path: keyPath(args[0])}, a.showKey)
		},
	}
}

func (a *app) keysUpdate() *cobra.Command {
	var f keyFlags
	cmd := &cobra.Command{
		Use:   "update ID",
		Short: "Change a key's settings",
		Long:  `Changes what is given and leaves the rest. The value "none" takes a setting away.`,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			body, err := f.body(cmd, true)
			if err != nil {
				return err
			}
			if len(body) == 0 {
				return usagef("nothing to change; see keys update --help")
			}
			s, err := a.dial()
			if err != nil {
				return err
			}
			q := ask{method: http.MethodPatch, path: keyPath(args[0]), body: body}
			if f.limits.set(cmd) {
				// The API replaces limits whole: those that are not given are kept
				// from what is there, unless somebody changes it meanwhile.
				now, err := s.api.GetKey(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				if body["limits"], err = f.limits.merge(cmd, now.Limits); err != nil {
					return err
				}
				q.match = s.etag
			}
			return s.print(cmd.Context(), q, a.showKey)
		},
	}
	f.add(cmd.Flags(), true)
	return cmd
}

func (a *app) keysRotate() *cobra.Command {
	var overlap string
	cmd := &cobra.Command{
		Use:   "rotate ID",
		Short: "Replace a key by a new one with the same settings",
		Long:  "Creates a new key, whose secret is shown this once. The old one is accepted until the overlap ends (24 h for live keys, 0 for test keys).",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q := ask{method: http.MethodPost, path: keyPath(args[0], "rotate"), body: map[string]any{}}
			if overlap != "" {
				q.body = map[string]any{"overlap": overlap}
			}
			return a.run(cmd.Context(), q, a.showKey)
		},
	}
	cmd.Flags().StringVar(&overlap, "overlap", "", `how long the old key is still accepted, such as "24h" or "0s"`)
	return cmd
}

// showKey prints a key as a list of its settings.
func (a *app) showKey(raw []byte) error {
	var k client.Key
	if err := decode(raw, &k); err != nil {
		return err
	}
	t := newTable(a.Stdout)
	show := func(name, v string) {
		if v != "" {
			t.row(name, v)
		}
	}
	show("id", k.ID)
	if k.Secret != nil {
		show("key", *k.Secret)
	}
	show("name", k.Name)
	show("type", k.Type)
	show("state", k.State)
	show("hint", k.Hint)
	show("environment", text(k.Environment))
	show("scopes", strings.Join(k.Scopes, " "))
	show("account", k.Account)
	show("created", strings.TrimSpace(day(&k.CreatedAt)+" by "+first(k.CreatedBy, "unknown")))
	show("expires", day(k.ExpiresAt))
	if k.State == "active" {
		show("rotation due", day(&k.RotationDueAt))
	}
	show("last used", strings.TrimSpace(day(k.LastUsedAt)+" "+text(k.LastUsedIP)))
	show("revoked", strings.TrimSpace(day(k.RevokedAt)+" "+text(k.RevokeReason)))
	show("replaces", text(k.Replaces))
	show("replaced by", text(k.ReplacedBy))
	show("limits", limitText(k.Limits))
	show("max cost per call", text(k.MaxCostPerCall))
	show("monthly budget", text(k.MonthlyBudget))
	show("allowlist", strings.Join(k.Allowlist, " "))
	show("routes", strings.Join(k.Routes, ", "))
	for _, name := range sortedKeys(k.Metadata) {
		show("metadata "+name, k.Metadata[name])
	}
	show("revocation", became(k.Revocation))
	if err := t.flush(); err != nil {
		return err
	}
	switch {
	case k.Secret != nil:
		fmt.Fprintln(a.Stderr, "Copy the key now: it is not shown again.")
	case k.SecretWithheld:
		fmt.Fprintln(a.Stderr, "The key was shown when this call was first made, and is not shown again.")
	}
	return nil
}
