package cli

import (
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/httpapi/fault"
)

// explainSince is how far back explain looks unless told: a request that is
// asked about is mostly of today, and every event since is read.
const explainSince = 7 * 24 * time.Hour

func (a *app) explainCommand() *cobra.Command {
	var since time.Duration
	cmd := &cobra.Command{
		Use:   "explain REQUEST_ID",
		Short: "Say what became of one request",
		Long:  "Looks the request id (X-Request-Id, request_id in an error) up in the audit log and says who asked for what, and why it was answered as it was.",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.dial()
			if err != nil {
				return err
			}
			q := query(cmd)
			q.Set("start_date", time.Now().Add(-since).UTC().Format(time.RFC3339))
			found := 0
			err = s.events(cmd.Context(), q, func(raw []byte, e *client.Event) error {
				if e.Request == nil || e.Request.ID != args[0] {
					return nil
				}
				found++
				if s.json {
					return s.printJSON(slices.Clone(raw))
				}
				return explain(s.Stdout, e)
			})
			if err == nil && found == 0 {
				err = fmt.Errorf("no event of the last %s has the request id %q; see --since, --account, and audit.requests in the node's configuration", since, args[0])
			}
			return err
		},
	}
	cmd.Flags().DurationVar(&since, "since", explainSince, "how far back to look")
	return cmd
}

// explain tells one event in words.
func explain(w io.Writer, e *client.Event) error {
	t := newTable(w)
	t.row("time", e.Time.UTC().Format(time.RFC3339Nano))
	what := e.Action
	if e.Request.Method != "" {
		what += fmt.Sprintf(" (%s, route %q)", e.Request.Method, e.Request.Route)
	}
	t.row("action", what)
	who := e.Actor.Type
	if id := first(e.Actor.ID, e.Actor.Name); id != "" {
		who += " " + id
	}
	t.row("caller", first(who, "not recognised"))
	t.row("account", first(e.Account, "unknown"))
	if e.IP != "" {
		t.row("from", e.IP+" "+e.UserAgent)
	}
	outcome := e.Outcome
	if e.Request.Status != 0 {
		outcome += fmt.Sprintf(", status %d after %.3g ms", e.Request.Status, e.Request.DurationMS)
	}
	t.row("outcome", outcome)
	if e.Reason != "" {
		reason := e.Reason
		if sentence := fault.New(fault.Code(e.Reason)).Sentence(); sentence != "" {
			reason += ": " + sentence
		}
		t.row("reason", reason)
	}
	if len(e.Changes) > 0 && string(e.Changes) != "null" {
		t.row("changes", string(e.Changes))
	}
	return t.flush()
}
