package cli

import (
	"net/http"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/perfgate/perfgate/httpapi/client"
)

const usersPath = "/v1/users"

func usersCommand(a *app) *cobra.Command {
	return group("users", "Manage the people who sign in",
		usersCreate(a), usersList(a), usersGet(a), usersUpdate(a), usersDisable(a), usersReset(a), usersDelete(a), usersLink(a), sessionsCommand(a))
}

func userPath(id string, more string) string { return usersPath + "/" + url.PathEscape(id) + more }

func setupLink(v *client.User) **string { return &v.SetupURL }

func usersCreate(a *app) *cobra.Command {
	var to secretFlags
	cmd := &cobra.Command{
		Use: "create EMAIL", Short: "Create a user and show the set-up link once", Args: cobra.ExactArgs(1),
		Long: `Create a user and show the link with which they set their password. The link works
once, within 24 hours, and is never shown again. Send it over a channel that you trust.`,
		Example: "  perfgate users create ada@example.com --name Ada --role developer",
		RunE: func(cmd *cobra.Command, args []string) error {
			body := map[string]any{"email": args[0]}
			for name, v := range query(cmd, "name", "role") {
				body[name] = v[0]
			}
			if body["role"] == nil {
				return usagef("a user needs a role: --role owner, admin, developer, viewer or operator")
			}
			return issue(cmd.Context(), a, call{method: http.MethodPost, path: usersPath, body: body}, &to, setupLink, showUser)
		},
	}
	cmd.Flags().String("name", "", "`name` to display, and in the audit log")
	cmd.Flags().String("role", "", "`role`: owner, admin, developer, viewer or operator (required)")
	to.add(cmd.Flags(), "set-up link")
	return cmd
}

func usersList(a *app) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "List users", Args: cobra.NoArgs,
		Example: "  perfgate users list",
		Long:    "List the users of the account that --account names, or those of all accounts.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c := call{method: http.MethodGet, path: usersPath, query: query(cmd, "cursor")}
			return list(cmd.Context(), a, c, limit, []string{"ID", "EMAIL", "NAME", "ROLE", "ACCOUNT", "STATE", "SECOND FACTOR", "LAST SIGN-IN"}, func(t *table, v *client.User) {
				t.row(v.ID, v.Email, text(v.Name), v.Role, v.Account, v.State, strconv.FormatBool(v.SecondFactor), minute(v.LastSignInAt))
			})
		},
	}
	listFlags(cmd.Flags(), &limit, 0)
	return cmd
}

func usersGet(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "get ID", Short: "Show a user", Args: cobra.ExactArgs(1),
		Example: "  perfgate users get usr_2x…",
		RunE: func(cmd *cobra.Command, args []string) error {
			return run(cmd.Context(), a, call{method: http.MethodGet, path: userPath(args[0], "")}, showUser)
		},
	}
}

func usersUpdate(a *app) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: "update ID", Short: "Change the name, role or state of a user", Args: cobra.ExactArgs(1),
		Example: "  perfgate users update usr_2x… --role viewer",
		Long:    "Change the settings that are given and keep the others. Another role or state ends\nthe sessions of the user.",
		RunE: func(cmd *cobra.Command, args []string) error {
			body := map[string]any{}
			for name, v := range query(cmd, "name", "role", "state") {
				body[name] = v[0]
			}
			if len(body) == 0 {
				return nothingToChange(cmd)
			}
			return run(cmd.Context(), a, call{method: http.MethodPatch, path: userPath(args[0], ""), query: forceQuery(force), body: body}, showUser)
		},
	}
	cmd.Flags().String("name", "", "`name` to display, and in the audit log")
	cmd.Flags().String("role", "", "`role`: owner, admin, developer, viewer or operator")
	cmd.Flags().String("state", "", "`state`: active or disabled")
	forceFlag(cmd, &force, "no operator could sign in any more")
	return cmd
}

func usersDisable(a *app) *cobra.Command {
	var force, keys bool
	cmd := &cobra.Command{
		Use: "disable ID", Short: "End the access of a user who leaves", Args: cobra.ExactArgs(1),
		Long: `Disable a user and end their sessions and set-up link. With --revoke-keys, every key
that they made is revoked, too. When the command returns, no node accepts any of it.`,
		Example: "  perfgate users disable usr_2x… --revoke-keys",
		RunE: func(cmd *cobra.Command, args []string) error {
			return run(cmd.Context(), a, call{method: http.MethodPost, path: userPath(args[0], "/disable"), query: forceQuery(force), body: map[string]bool{"revoke_keys": keys}}, showUser)
		},
	}
	cmd.Flags().BoolVar(&keys, "revoke-keys", false, "revoke every key that the user made")
	forceFlag(cmd, &force, "no operator could sign in any more")
	return cmd
}

func usersReset(a *app) *cobra.Command {
	var factor bool
	var to secretFlags
	cmd := &cobra.Command{
		Use: "reset ID", Short: "Make a new set-up link for a user, and show it once", Args: cobra.ExactArgs(1),
		Example: "  perfgate users reset usr_2x… --second-factor",
		Long: `Make a new set-up link for a user who has lost the password, and end their sessions.
With --second-factor, the second factor is removed, for a user who has lost the
authenticator and the recovery codes.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return issue(cmd.Context(), a, call{method: http.MethodPost, path: userPath(args[0], "/reset"), body: map[string]bool{"second_factor": factor}}, &to, setupLink, showUser)
		},
	}
	cmd.Flags().BoolVar(&factor, "second-factor", false, "remove the second factor, too")
	to.add(cmd.Flags(), "set-up link")
	return cmd
}

func usersDelete(a *app) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: "delete ID", Short: "Delete a user; the keys that they made stay", Args: cobra.ExactArgs(1),
		Example: "  perfgate users delete usr_2x…",
		RunE: func(cmd *cobra.Command, args []string) error {
			return run(cmd.Context(), a, call{method: http.MethodDelete, path: userPath(args[0], ""), query: forceQuery(force)}, showDeleted)
		},
	}
	forceFlag(cmd, &force, "no operator could sign in any more")
	return cmd
}

func usersLink(a *app) *cobra.Command {
	var scopes []string
	var to secretFlags
	cmd := &cobra.Command{
		Use: "link [ACCOUNT]", Short: "Make a link with which a customer without a user signs in once", Args: cobra.MaximumNArgs(1),
		Example: "  perfgate users link acct_2x… --ttl 1h",
		Long: `Make a link to the pages of an account, for a customer without a user. It is opened
once, within 15 minutes unless --ttl is given; the session that it opens lasts an hour.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			body := map[string]any{}
			if len(args) == 1 {
				body["account"] = args[0]
			}
			if v := query(cmd, "ttl").Get("ttl"); v != "" {
				body["ttl"] = v
			}
			if cmd.Flags().Changed("scope") {
				body["scopes"] = scopes
			}
			return issue(cmd.Context(), a, call{method: http.MethodPost, path: "/v1/session-links", body: body}, &to, func(v *client.SessionLink) **string { return &v.URL }, showLink)
		},
	}
	cmd.Flags().String("ttl", "", "`duration` within which the link must be opened, at most 24h")
	cmd.Flags().StringSliceVar(&scopes, "scope", nil, "`scopes` of the session (default admin)")
	to.add(cmd.Flags(), "link")
	return cmd
}

func showLink(a *app, v *client.SessionLink) error {
	t := newTable(a.Stdout)
	t.row("account", v.Account)
	t.field("url", text(v.URL))
	t.row("expires", minute(&v.ExpiresAt))
	return t.flush()
}

func showUser(a *app, v *client.User) error {
	t := newTable(a.Stdout)
	t.row("id", v.ID)
	t.row("email", v.Email)
	t.field("name", text(v.Name))
	t.row("role", v.Role)
	t.row("account", v.Account)
	t.row("state", v.State)
	t.row("second factor", strconv.FormatBool(v.SecondFactor))
	t.row("created", minute(&v.CreatedAt))
	t.field("last sign-in", minute(v.LastSignInAt))
	t.field("set-up link", text(v.SetupURL))
	t.field("link expires", minute(v.SetupExpiresAt))
	if v.RevokedKeys > 0 {
		t.row("revoked keys", strconv.Itoa(v.RevokedKeys))
	}
	t.field("revocation", effect(v.Revocation))
	return t.flush()
}

func sessionsCommand(a *app) *cobra.Command {
	return group("sessions", "List and end the sessions of people", sessionsList(a), sessionsEnd(a))
}

func sessionsList(a *app) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "List sessions", Args: cobra.NoArgs,
		Example: "  perfgate users sessions list --user usr_2x…",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c := call{method: http.MethodGet, path: "/v1/sessions", query: query(cmd, "user", "cursor")}
			return list(cmd.Context(), a, c, limit, []string{"ID", "KIND", "OWNER", "ACCOUNT", "SIGNED IN", "LAST SEEN", "ENDS", "IP"}, func(t *table, v *client.Session) {
				t.row(v.ID, v.Kind, v.Owner, v.Account, minute(&v.CreatedAt), minute(&v.SeenAt), minute(&v.ExpiresAt), text(v.IP))
			})
		},
	}
	cmd.Flags().String("user", "", "only sessions of the user with this `ID`")
	listFlags(cmd.Flags(), &limit, 0)
	return cmd
}

func sessionsEnd(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "end ID", Short: "End a session", Args: cobra.ExactArgs(1),
		Example: "  perfgate users sessions end ses_2x…",
		RunE: func(cmd *cobra.Command, args []string) error {
			return run(cmd.Context(), a, call{method: http.MethodDelete, path: "/v1/sessions/" + url.PathEscape(args[0])}, showDeleted)
		},
	}
}
