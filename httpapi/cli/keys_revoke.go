package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/client"
)

func keysRevoke(a *app) *cobra.Command {
	var reason string
	var dry, stdin, chain, yes bool
	cmd := &cobra.Command{
		Use: "revoke [ID…]", Short: "Revoke keys for good, at once on all nodes",
		Long: `Revoke the given keys, or all keys that match every given filter. The command returns
when no node admits them any more. --dry-run only counts the keys. On a terminal, the
command asks first; --yes answers. --stdin revokes the key whose secret is read from
stdin: the id is looked up, and the secret is stored nowhere.`,
		Example: `  perfgate keys revoke key_2x… --reason leaked
  printf %s "$KEY" | perfgate keys revoke --stdin --reason leaked
  perfgate keys revoke --created-by usr_7… --type live --reason "left the company"`,
		RunE: func(cmd *cobra.Command, ids []string) error {
			body := map[string]any{}
			for name, v := range query(cmd, "created-by", "type", "environment", "created-before") {
				body[name] = v[0]
			}
			if err := checkKeyIDs(ids); err != nil {
				return err
			}
			if stdin {
				if len(ids)+len(body) > 0 || dry {
					return usagef("--stdin revokes the key on stdin; leave out ids and filters")
				}
				return revokeSecret(cmd.Context(), a, reason, chain)
			}
			if len(ids) == 0 && len(body) == 0 {
				return usagef("give the ids of the keys to revoke, or filters; see %s --help", cmd.CommandPath())
			}
			if err := readBefore(body); err != nil {
				return err
			}
			if reason != "" {
				body["reason"] = reason
			}
			alone := len(ids) == 1 && (len(body) == 0 || len(body) == 1 && reason != "") && !dry
			if chain && !alone {
				return usagef("--chain goes with the id of one key, or with --stdin")
			}
			if alone {
				return revokeOne(cmd.Context(), a, ids[0], body, chain, yes)
			}
			return revokeMany(cmd.Context(), a, ids, body, dry, yes)
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&reason, "reason", "", "`reason` to record in the audit log")
	fs.BoolVar(&chain, "chain", false, "also revoke the keys that this one replaces or that replace it")
	fs.BoolVar(&stdin, "stdin", false, "read the secret of the key to revoke from stdin")
	fs.BoolVar(&dry, "dry-run", false, "only count the keys, change nothing")
	fs.BoolVarP(&yes, "yes", "y", false, "do not ask")
	bulkFlags(fs)
	return cmd
}

// revokeOne revokes one key and, with chain, the others of its rotation.
func revokeOne(ctx context.Context, a *app, id string, body map[string]any, chain, yes bool) error {
	question := "Revoke " + id + " for good?"
	if chain {
		body["chain"] = true
		question = "Revoke " + id + " and the keys of its rotation for good?"
	}
	if err := a.ask(yes, question); err != nil {
		return err
	}
	return run(ctx, a, call{method: http.MethodPost, path: keyPath(id, "revoke"), body: body}, showKey)
}

// readBefore turns the filter created_before of body from the flag's text into a time.
func readBefore(body map[string]any) error {
	before, ok := body["created_before"].(string)
	if !ok {
		return nil
	}
	at, err := readTime(before)
	if err != nil {
		return usagef("--created-before %q: must be a time such as 2027-01-31T00:00:00Z or a date such as 2027-01-31", before)
	}
	body["created_before"] = at
	return nil
}

// revokeMany revokes the keys that pass the filters in body. On a terminal it counts them
// first and asks. That there is none is a failure: a filter with a typo revokes nothing.
func revokeMany(ctx context.Context, a *app, ids []string, body map[string]any, dry, yes bool) error {
	if len(ids) > 0 {
		body["ids"] = ids
	}
	s, err := a.dial()
	if err != nil {
		return err
	}
	c := call{method: http.MethodPost, path: keysPath + "/revoke", body: body}
	if !dry && !yes && isTerminal(a.Stdin) && isTerminal(a.Stderr) {
		body["dry_run"] = true
		var v client.RevokedKeys
		if err := s.do(ctx, c, &v); err != nil {
			return err
		}
		if v.Matched > 0 && !a.confirm(askRevoke(&v)) {
			return errors.New("nothing was changed")
		}
	}
	body["dry_run"] = dry
	raw, err := s.raw(ctx, c)
	if err != nil {
		return err
	}
	var v client.RevokedKeys
	if err := decode(raw, &v); err != nil {
		return err
	}
	if a.json {
		err = a.printJSON(raw)
	} else {
		err = showRevoked(a, &v)
	}
	if err != nil {
		return err
	}
	switch {
	case v.Matched < len(ids):
		return fmt.Errorf("%d of %d keys were not found", len(ids)-v.Matched, len(ids))
	case v.Matched == 0:
		return errors.New("no key matches; check the filters with perfgate keys list")
	}
	return nil
}

// askRevoke is the question before the revocation that v, a dry run, is about.
func askRevoke(v *client.RevokedKeys) string {
	if n := len(v.StillValid); n > 0 {
		return fmt.Sprintf("Revoke %d keys for good? (Other keys of the same rotations that stay valid: %d.)", v.Matched, n)
	}
	return fmt.Sprintf("Revoke %d keys for good?", v.Matched)
}

// bulkFlags adds the filters of a bulk revocation.
func bulkFlags(fs *pflag.FlagSet) {
	fs.String("created-by", "", "only keys created by the user with this `ID`")
	fs.String("type", "", "only keys of this `type`: test or live")
	fs.String("environment", "", "only keys of this `environment`")
	pointFlag(fs, "created-before", "only keys created before this `time`")
}

// checkKeyIDs refuses arguments that cannot be ids of keys before anything is sent: a
// secret that was pasted there would stand in the URL.
func checkKeyIDs(ids []string) error {
	for _, id := range ids {
		switch {
		case apikey.Parse(id) == apikey.Native, apikey.Parse(id) == apikey.BadSum, apikey.Holds(id):
			return usagef("%s is a key and not the id of one. Nothing was sent, and the key is as valid as before. To revoke it by its secret: perfgate keys revoke --stdin", first(apikey.Hint(id), apikey.Mask(id)))
		case !strings.HasPrefix(id, "key_"):
			return usagef(`the id of a key begins with "key_"; see perfgate keys list. If this is a key itself, nothing was sent; to revoke it by its secret: perfgate keys revoke --stdin`)
		}
	}
	return nil
}

// revokeSecret revokes the key whose secret is on stdin. The secret is sent in the
// body of a call that judges it and stores nothing; the revocation names the id.
func revokeSecret(ctx context.Context, a *app, reason string, chain bool) error {
	secret, err := a.readSecret("Key to revoke: ")
	if err != nil {
		return err
	}
	s, err := a.dial()
	if err != nil {
		return err
	}
	consume := false
	v, err := s.api.VerifyKey(ctx, client.VerifyRequest{Key: secret, Consume: &consume})
	if err != nil {
		return err
	}
	if v.KeyID == nil || v.Account == nil {
		return fmt.Errorf("no account has this key (%s); nothing was changed", text(v.Code))
	}
	s.api.Account = *v.Account // an operator's call is about one account
	body := map[string]any{}
	if reason != "" {
		body["reason"] = reason
	}
	if chain {
		body["chain"] = true
	}
	return runIn(ctx, s, call{method: http.MethodPost, path: keyPath(*v.KeyID, "revoke"), body: body}, showKey)
}

// showRevoked prints the outcome of a bulk revocation.
func showRevoked(a *app, v *client.RevokedKeys) error {
	t := newTable(a.Stdout)
	t.row("matched", fmt.Sprint(v.Matched))
	if v.DryRun {
		t.row("revoked", "0 (dry run)")
	} else {
		t.row("revoked", fmt.Sprint(v.Revoked))
	}
	t.field("keys", strings.Join(v.IDs, " "))
	t.field("revocation", effect(v.Revocation))
	t.field("still valid", strings.Join(v.StillValid, " "))
	if n := len(v.StillValid); n > 0 {
		defer a.warn("other keys of the same rotations that stay valid: %d; to revoke a rotation whole: perfgate keys revoke %s --chain", n, v.StillValid[0])
	}
	return t.flush()
}
