package cli

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/perfgate/perfgate/httpapi/client"
)

const webhooksPath = "/v1/webhooks"

func webhookPath(id, call string) string { return webhooksPath + "/" + url.PathEscape(id) + call }

func webhooksCommand(a *app) *cobra.Command {
	return group("webhooks", "Manage endpoints that are told of events",
		webhooksCreate(a), webhooksList(a), webhooksGet(a), webhooksUpdate(a), webhooksDelete(a),
		webhooksRotate(a), webhooksTest(a), webhooksDeliveries(a), webhooksRedeliver(a))
}

func webhookFlags(fs *pflag.FlagSet) {
	fs.StringSlice("event", nil, "`types` of events, such as key.revoked; repeat the flag or separate them by commas (default: all)")
	fs.Bool("enabled", true, "send to the endpoint")
}

// webhookBody returns the members of a request for the given flags.
func webhookBody(cmd *cobra.Command) (client.Patch, error) {
	body := client.Patch{}
	if cmd.Flags().Changed("event") {
		v, err := cmd.Flags().GetStringSlice("event")
		if err != nil {
			return nil, err
		}
		body["events"] = v
	}
	if cmd.Flags().Changed("enabled") {
		v, err := cmd.Flags().GetBool("enabled")
		if err != nil {
			return nil, err
		}
		body["enabled"] = v
	}
	if f := cmd.Flags().Lookup("url"); f != nil && f.Changed {
		body["url"] = f.Value.String()
	}
	return body, nil
}

func secretOfWebhook(v *client.Webhook) **string { return &v.Secret }

func webhooksCreate(a *app) *cobra.Command {
	var to secretFlags
	cmd := &cobra.Command{
		Use: "create URL", Short: "Create an endpoint and print its secret, once", Args: cobra.ExactArgs(1),
		Example: "  perfgate webhooks create https://example.com/perfgate --event key.revoked,key.exposed",
		RunE: func(cmd *cobra.Command, args []string) error {
			body, err := webhookBody(cmd)
			if err != nil {
				return err
			}
			body["url"] = args[0]
			return issue(cmd.Context(), a, call{method: http.MethodPost, path: webhooksPath, body: body}, &to, secretOfWebhook, showWebhook)
		},
	}
	webhookFlags(cmd.Flags())
	to.add(cmd.Flags(), "secret")
	return cmd
}

func webhooksList(a *app) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "List endpoints", Args: cobra.NoArgs,
		Example: "  perfgate webhooks list",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c := call{method: http.MethodGet, path: webhooksPath, query: query(cmd, "cursor")}
			return list(cmd.Context(), a, c, limit, []string{"ID", "URL", "EVENTS", "STATE", "PENDING"}, func(t *table, v *client.Webhook) {
				t.row(v.ID, v.URL, webhookEvents(v), webhookState(v), strconv.FormatInt(v.Pending, 10))
			})
		},
	}
	listFlags(cmd.Flags(), &limit, 0)
	return cmd
}

func webhookEvents(v *client.Webhook) string { return first(strings.Join(v.Events, " "), "all") }

func webhookState(v *client.Webhook) string {
	switch {
	case v.Enabled:
		return "enabled"
	case v.DisabledReason != nil:
		return "disabled: " + *v.DisabledReason
	}
	return "disabled"
}

func webhooksGet(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "get ID", Short: "Show an endpoint", Args: cobra.ExactArgs(1),
		Example: "  perfgate webhooks get whk_2x…",
		RunE: func(cmd *cobra.Command, args []string) error {
			return run(cmd.Context(), a, call{method: http.MethodGet, path: webhookPath(args[0], "")}, showWebhook)
		},
	}
}

func webhooksUpdate(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "update ID", Short: "Change an endpoint", Args: cobra.ExactArgs(1),
		Long:    "Change the settings that are given and keep the others. --enabled enables an endpoint\nagain that was disabled because it answered 410.",
		Example: "  perfgate webhooks update whk_2x --url https://example.com/new --enabled",
		RunE: func(cmd *cobra.Command, args []string) error {
			body, err := webhookBody(cmd)
			if err != nil {
				return err
			}
			if len(body) == 0 {
				return nothingToChange(cmd)
			}
			return run(cmd.Context(), a, call{method: http.MethodPatch, path: webhookPath(args[0], ""), body: body}, showWebhook)
		},
	}
	webhookFlags(cmd.Flags())
	cmd.Flags().String("url", "", "`URL` of the endpoint")
	return cmd
}

func webhooksDelete(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "delete ID", Short: "Delete an endpoint with its deliveries", Args: cobra.ExactArgs(1),
		Example: "  perfgate webhooks delete whk_2x…",
		RunE: func(cmd *cobra.Command, args []string) error {
			return run(cmd.Context(), a, call{method: http.MethodDelete, path: webhookPath(args[0], "")}, showDeleted)
		},
	}
}

func webhooksRotate(a *app) *cobra.Command {
	var to secretFlags
	cmd := &cobra.Command{
		Use: "rotate-secret ID", Short: "Give an endpoint a new secret and print it, once", Args: cobra.ExactArgs(1),
		Example: "  perfgate webhooks rotate-secret whk_2x… --overlap 24h",
		Long:    "Give an endpoint a new secret. For the overlap, deliveries are signed with both.",
		RunE: func(cmd *cobra.Command, args []string) error {
			body := map[string]string{}
			for name, v := range query(cmd, "overlap") {
				body[name] = v[0]
			}
			return issue(cmd.Context(), a, call{method: http.MethodPost, path: webhookPath(args[0], "/rotate-secret"), body: body}, &to, secretOfWebhook, showWebhook)
		},
	}
	cmd.Flags().String("overlap", "", "`duration` for which the old secret still signs, such as 24h (the default), 7d or 0s")
	to.add(cmd.Flags(), "secret")
	return cmd
}

func webhooksTest(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "test ID", Short: "Send a notice of type webhook.test and show how it went", Args: cobra.ExactArgs(1),
		Example: "  perfgate webhooks test whk_2x…",
		RunE: func(cmd *cobra.Command, args []string) error {
			return run(cmd.Context(), a, call{method: http.MethodPost, path: webhookPath(args[0], "/test")}, showDelivery)
		},
	}
}

func webhooksDeliveries(a *app) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "deliveries ID", Short: "List deliveries of the last 7 days, the newest first", Args: cobra.ExactArgs(1),
		Example: "  perfgate webhooks deliveries whk_2x… --state failed",
		RunE: func(cmd *cobra.Command, args []string) error {
			c := call{method: http.MethodGet, path: webhookPath(args[0], "/deliveries"), query: query(cmd, "state", "cursor")}
			return list(cmd.Context(), a, c, limit, []string{"ID", "TYPE", "CREATED", "STATE", "ATTEMPTS", "LAST"}, func(t *table, v *client.Delivery) {
				t.row(v.ID, v.Type, minute(&v.CreatedAt), v.State, strconv.Itoa(v.Attempts), lastTry(v))
			})
		},
	}
	cmd.Flags().String("state", "", "`state`: pending, delivered or failed")
	listFlags(cmd.Flags(), &limit, 100)
	return cmd
}

// lastTry is how the newest attempt went.
func lastTry(v *client.Delivery) string {
	if len(v.Log) == 0 {
		return ""
	}
	last := v.Log[len(v.Log)-1]
	return first(text(last.Error), text(last.Status))
}

func webhooksRedeliver(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "redeliver ID [DELIVERY]", Short: "Send finished deliveries again", Args: cobra.RangeArgs(1, 2),
		Long:    "Send one finished delivery again, or with --since all whose cause is not older. The\nreceiver sees the same webhook-id as before.",
		Example: "  perfgate webhooks redeliver whk_2x dlv_00000000042\n  perfgate webhooks redeliver whk_2x --since 2027-01-31T15:00:00Z",
		RunE: func(cmd *cobra.Command, args []string) error {
			since := query(cmd, "since")
			switch {
			case len(args) == 2 && len(since) > 0:
				return usagef("name a delivery or --since, not both")
			case len(args) == 2:
				path := webhookPath(args[0], "/deliveries/"+url.PathEscape(args[1])+"/redeliver")
				return run(cmd.Context(), a, call{method: http.MethodPost, path: path}, showDelivery)
			case len(since) == 0:
				return usagef("name a delivery, or a time with --since")
			}
			c := call{method: http.MethodPost, path: webhookPath(args[0], "/redeliver"), body: map[string]string{"since": since.Get("since")}}
			return run(cmd.Context(), a, c, func(a *app, v *client.Requeued) error {
				t := newTable(a.Stdout)
				t.row("queued", strconv.Itoa(v.Queued))
				return t.flush()
			})
		},
	}
	pointFlag(cmd.Flags(), "since", "first `time`")
	return cmd
}

func showWebhook(a *app, v *client.Webhook) error {
	t := newTable(a.Stdout)
	t.row("id", v.ID)
	t.row("url", v.URL)
	t.row("events", webhookEvents(v))
	t.row("state", webhookState(v))
	t.field("secret", text(v.Secret))
	t.field("old secret ends", minute(v.OldSecretEndsAt))
	t.row("pending", strconv.FormatInt(v.Pending, 10))
	if v.Dropped > 0 {
		t.row("dropped", strconv.FormatInt(v.Dropped, 10))
	}
	return t.flush()
}

func showDelivery(a *app, v *client.Delivery) error {
	t := newTable(a.Stdout)
	t.row("id", v.ID)
	t.row("webhook-id", v.WebhookID)
	t.row("type", v.Type)
	t.row("state", v.State)
	t.row("attempts", strconv.Itoa(v.Attempts))
	t.field("last", lastTry(v))
	t.field("next attempt", minute(v.NextAttemptAt))
	return t.flush()
}
