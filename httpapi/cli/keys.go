package cli

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/perfgate/perfgate/httpapi/client"
)

const keysPath = "/v1/keys"

func keysCommand(a *app) *cobra.Command {
	return group("keys", "Create, list and change API keys",
		keysCreate(a), keysList(a), keysGet(a), keysUpdate(a), keysRotate(a), keysRevoke(a), keysRevokeLeaked(a), keysImport(a), keysVerify(a), keysLimits(a), keysUsage(a))
}

// keyPath returns the path of a key, or of something below it.
func keyPath(id string, more ...string) string {
	return keysPath + "/" + strings.Join(append([]string{url.PathEscape(id)}, more...), "/")
}

func keysCreate(a *app) *cobra.Command {
	var f keyFlags
	var to secretFlags
	var kind string
	cmd := &cobra.Command{
		Use: "create [NAME]", Short: "Create a key and show its secret once", Args: cobra.MaximumNArgs(1),
		Long: "Create a key. Its secret is shown now and never again.",
		Example: `  perfgate keys create "Production Server" --type live --environment production
  perfgate keys create ci --type test --expires-in 30d --out ci.key`,
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
				return usagef("--type %q: must be test or live", kind)
			}
			body["type"] = kind
			return issue(cmd.Context(), a, call{method: http.MethodPost, path: keysPath, body: body}, &to, secretOfKey, showKey)
		},
	}
	cmd.Flags().StringVar(&kind, "type", "", "`type` of the key: test or live (required)")
	f.add(cmd.Flags(), false)
	to.add(cmd.Flags(), "key")
	return cmd
}

func keysList(a *app) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "List keys", Args: cobra.NoArgs,
		Example: "  perfgate keys list --state active --due 14d\n  perfgate keys list --q production --sort -last_used_at",
		Long:    "List the account's keys. A table shows all of them; with --json, one page of the API\nis printed, and its next_cursor continues the list.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c := call{method: http.MethodGet, path: keysPath, query: query(cmd, "type", "state", "environment", "name", "created-by", "q", "due", "sort", "cursor")}
			head := []string{"ID", "NAME", "TYPE", "STATE", "HINT", "ENVIRONMENT", "SCOPES", "EXPIRES", "OVERLAP ENDS", "LAST USED"}
			return list(cmd.Context(), a, c, limit, head, func(t *table, k *client.Key) {
				t.row(k.ID, k.Name, k.Type, k.State, k.Hint, text(k.Environment), strings.Join(k.Scopes, ","), minute(k.ExpiresAt), minute(k.OverlapEndsAt), minute(k.LastUsedAt))
			})
		},
	}
	fs := cmd.Flags()
	fs.String("type", "", "only keys of this `type`: test or live")
	fs.String("state", "", "only keys in this `state`: active, disabled, rotating, revoked or expired")
	fs.String("environment", "", "only keys of this `environment`")
	fs.String("name", "", "only keys with this `name`")
	fs.String("q", "", "only keys with this `text` in their name, id, hint, creator or metadata")
	fs.String("due", "", "only keys whose rotation or expiry is due within this `duration`, such as 14d")
	fs.String("sort", "", "`order`: created_at, last_used_at, name or expires_at; -name and so on reverse it")
	fs.String("created-by", "", "only keys created by the user with this `ID`")
	listFlags(fs, &limit, 0)
	return cmd
}

func keysGet(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "get ID", Short: "Show a key", Args: cobra.ExactArgs(1),
		Example: "  perfgate keys get key_2x…",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkKeyIDs(args); err != nil {
				return err
			}
			return run(cmd.Context(), a, call{method: http.MethodGet, path: keyPath(args[0])}, showKey)
		},
	}
}

func keysUpdate(a *app) *cobra.Command {
	var f keyFlags
	cmd := &cobra.Command{
		Use: "update ID", Short: "Change the settings of a key", Args: cobra.ExactArgs(1),
		Long:    "Change the settings that are given and keep the others. The value \"none\" removes a\nsetting.",
		Example: "  perfgate keys update key_2x… --requests-per-minute 100 --expires-at none",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkKeyIDs(args); err != nil {
				return err
			}
			body, err := f.body(cmd, true)
			if err != nil {
				return err
			}
			if len(body) == 0 {
				return nothingToChange(cmd)
			}
			s, err := a.dial()
			if err != nil {
				return err
			}
			c := call{method: http.MethodPatch, path: keyPath(args[0]), body: body}
			if f.limits.set(cmd) {
				// The API replaces limits as a whole, so that the limits not given
				// are taken from the key. If-Match makes the change fail if someone
				// else changes the key in between.
				now, err := s.api.GetKey(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				if body["limits"], err = f.limits.merge(cmd, now.Limits); err != nil {
					return err
				}
				c.ifMatch = s.etag
			}
			return runIn(cmd.Context(), s, c, showKey)
		},
	}
	f.add(cmd.Flags(), true)
	return cmd
}

func keysRotate(a *app) *cobra.Command {
	var overlap string
	var to secretFlags
	cmd := &cobra.Command{
		Use: "rotate ID", Short: "Replace a key with a new one that has the same settings", Args: cobra.ExactArgs(1),
		Long: `Create a new key with the same settings, whose secret is shown once. The old key is
accepted until the overlap ends. With --overlap until_unused, that is when no node
has seen it for 15 minutes; "perfgate keys get" shows who still uses it.`,
		Example: "  perfgate keys rotate key_2x… --overlap 1h\n  perfgate keys rotate key_2x… --overlap until_unused --out production.key",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkKeyIDs(args); err != nil {
				return err
			}
			body := client.Patch{}
			if overlap != "" {
				body["overlap"] = overlap
			}
			return issue(cmd.Context(), a, call{method: http.MethodPost, path: keyPath(args[0], "rotate"), body: body}, &to, secretOfKey, showKey)
		},
	}
	cmd.Flags().StringVar(&overlap, "overlap", "", "`duration` for which the old key is still accepted, or until_unused (default 24h for live keys, 0s for test keys)")
	to.add(cmd.Flags(), "key")
	return cmd
}

func secretOfKey(k *client.Key) **string { return &k.Secret }

// showOverlap prints how a rotation ends, and who still uses the old key.
func showOverlap(t *table, o *client.Overlap) {
	if o == nil {
		return
	}
	t.field("ends if unused", minute(o.EndsUnused))
	for _, u := range o.UsedBy {
		t.field("still used by", strings.Join(strings.Fields(u.IP+" "+text(u.Country)+" "+text(u.Agent)+", last at "+minute(&u.LastUsed)), " "))
	}
}

// showKey prints a key as a list of its settings.
func showKey(a *app, k *client.Key) error {
	t := newTable(a.Stdout)
	t.field("id", k.ID)
	t.field("key", text(k.Secret))
	t.field("name", k.Name)
	t.field("type", k.Type)
	t.field("state", k.State)
	t.field("hint", k.Hint)
	t.field("environment", text(k.Environment))
	t.field("scopes", strings.Join(k.Scopes, " "))
	t.field("account", k.Account)
	t.field("created", strings.TrimSpace(minute(&k.CreatedAt)+" by "+first(k.CreatedBy, "unknown")))
	t.field("expires", minute(k.ExpiresAt))
	if k.State == "active" {
		t.field("rotation due", minute(&k.RotationDueAt))
	}
	t.field("last used", strings.TrimSpace(minute(k.LastUsedAt)+" "+text(k.LastUsedIP)))
	t.field("revoked", strings.TrimSpace(minute(k.RevokedAt)+" "+text(k.RevokeReason)))
	t.field("replaces", text(k.Replaces))
	t.field("replaced by", text(k.ReplacedBy))
	if k.Secret != nil || k.SecretWithheld {
		t.field("old key until", minute(k.OverlapEndsAt))
	} else {
		t.field("overlap ends", minute(k.OverlapEndsAt))
	}
	showOverlap(t, k.Overlap)
	t.field("limits", limitText(k.Limits))
	t.field("max cost per call", text(k.MaxCostPerCall))
	t.field("monthly budget", text(k.MonthlyBudget))
	t.field("allowlist", strings.Join(k.Allowlist, " "))
	t.field("routes", strings.Join(k.Routes, ", "))
	for _, name := range slices.Sorted(maps.Keys(k.Metadata)) {
		t.field("metadata "+name, k.Metadata[name])
	}
	t.field("revocation", effect(k.Revocation))
	t.field("also revoked", strings.Join(k.AlsoRevoked, " "))
	t.field("still valid", strings.Join(k.StillValid, " "))
	if len(k.StillValid) > 0 {
		defer a.warn("%s of the same rotation is still valid; to revoke it too, repeat with --chain", strings.Join(k.StillValid, " "))
	}
	if err := t.flush(); err != nil {
		return err
	}
	for _, w := range k.Warnings {
		a.warn("%s", w)
	}
	return nil
}
