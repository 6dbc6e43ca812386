package cli

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/perfgate/perfgate/httpapi/client"
)

func (a *app) keysRevoke() *cobra.Command {
	var reason string
	var dry bool
	cmd := &cobra.Command{
		Use:   "revoke [ID…]",
		Short: "End keys for good, at once and everywhere",
		Long: `Revokes the keys named, or every key that passes all the filters given. It returns when no node admits them any more.
--dry-run tells how many keys filters hit.`,
		Example: `  perfgate keys revoke key_2x… --reason leaked
  perfgate keys revoke --created-by usr_7… --type live --reason "left the company"`,
		RunE: func(cmd *cobra.Command, ids []string) error {
			body := map[string]any{}
			for name, v := range query(cmd, "created-by", "type", "environment", "created-before") {
				body[name] = v[0]
			}
			if len(ids) == 0 && len(body) == 0 {
				return usagef("name the keys to revoke, or filters; see keys revoke --help")
			}
			if reason != "" {
				body["reason"] = reason
			}
			if len(ids) == 1 && len(body) <= 1 && !dry && (len(body) == 0 || reason != "") {
				return a.run(cmd.Context(), ask{method: http.MethodPost, path: keyPath(ids[0], "revoke"), body: body}, a.showKey)
			}
			if len(ids) > 0 {
				body["ids"] = ids
			}
			body["dry_run"] = dry
			return a.run(cmd.Context(), ask{method: http.MethodPost, path: "/v1/keys/revoke", body: body}, func(raw []byte) error {
				return a.showRevoked(raw, len(ids))
			})
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&reason, "reason", "", "why, for the audit log")
	fs.BoolVar(&dry, "dry-run", false, "change nothing")
	fs.String("created-by", "", "filter: id of who created them")
	fs.String("type", "", "filter: test or live")
	fs.String("environment", "", "filter: environment")
	fs.String("created-before", "", "filter: time such as 2027-01-31T00:00:00Z")
	return cmd
}

// showRevoked prints the outcome of a bulk revocation; keys that were named and
// not found are a failure.
func (a *app) showRevoked(raw []byte, named int) error {
	var v client.RevokedKeys
	if err := decode(raw, &v); err != nil {
		return err
	}
	t := newTable(a.Stdout)
	t.row("matched", fmt.Sprint(v.Matched))
	if v.DryRun {
		t.row("revoked", "0 (dry run)")
	} else {
		t.row("revoked", fmt.Sprint(v.Revoked))
	}
	if len(v.IDs) > 0 {
		t.row("keys", strings.Join(v.IDs, " "))
	}
	if v.Revocation != nil {
		t.row("revocation", became(v.Revocation))
	}
	if err := t.flush(); err != nil {
		return err
	}
	if v.Matched < named {
		return fmt.Errorf("%d of %d keys were not found", named-v.Matched, named)
	}
	return nil
}
