package cli

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/span"
)

// explainSince is how far back explain looks by default. Most requests in
// question are recent, and the command reads every event since.
const explainSince = 7 * 24 * time.Hour

func explainCommand(a *app) *cobra.Command {
	var since time.Duration
	cmd := &cobra.Command{
		Use: "explain REQUEST_ID", Short: "Explain the outcome of one request", Args: cobra.ExactArgs(1),
		Example: "  perfgate explain 01JD2M7Q4X",
		Long: `Find a request in the audit log by its id, and show the caller, the outcome and its
reason. The id is in the header X-Request-Id of a response, and in request_id of
an error.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.dial()
			if err != nil {
				return err
			}
			return s.explain(cmd.Context(), args[0], since)
		},
	}
	durationVar(cmd.Flags(), &since, "since", explainSince, "`duration` to look back")
	return cmd
}

func (s *session) explain(ctx context.Context, id string, since time.Duration) error {
	q := url.Values{"start_date": {time.Now().Add(-since).UTC().Format(time.RFC3339)}}
	found := 0
	err := s.events(ctx, q, func(raw []byte, e *client.Event) error {
		if e.Request == nil || e.Request.ID != id {
			return nil
		}
		found++
		if s.json {
			return s.printJSON(slices.Clone(raw))
		}
		return explainEvent(s.Stdout, e)
	})
	if err == nil && found == 0 {
		err = fmt.Errorf("no event of the last %s has the request id %q; try a longer --since or another --account, and check audit.requests in the node's configuration", span.Format(since), id)
	}
	return err
}

// explainEvent prints one event.
func explainEvent(w io.Writer, e *client.Event) error {
	t := newTable(w)
	t.row("time", e.Time.UTC().Format(time.RFC3339Nano))
	if r := e.Request; r.Method != "" {
		t.row("request", r.Method+" "+first(r.Path, r.Route))
	}
	if e.Action != requestAction {
		t.row("action", e.Action)
	} else {
		t.row("route", first(e.Request.Route, "none"))
	}
	t.row("caller", first(actor(e.Actor.Type, " ", first(e.Actor.ID, e.Actor.Name)), "not recognized"))
	t.row("account", first(e.Account, "unknown"))
	if e.IP != "" {
		t.row("from", e.IP+" "+e.UserAgent)
	}
	if e.Action == requestAction {
		t.row("upstream", sentTo(e))
	}
	outcome := e.Outcome
	if e.Request.Status != 0 {
		outcome += fmt.Sprintf(", status %d after %.3g ms", e.Request.Status, e.Request.DurationMS)
	}
	t.row("outcome", outcome)
	t.field("reason", reasonOf(e))
	if l := e.Request.Limits; l != nil {
		if l.Policy != "" {
			t.row("policy", fmt.Sprintf("%s, limit %s, %s left", l.Policy, l.Limit, l.Left))
			if s := l.Shared; s != nil {
				t.row("in the cluster", fmt.Sprintf("%d units on the node, %d on others as far as it knew, which it asked %d times", s.Here, s.Elsewhere, s.Asked))
			}
		}
		t.field("would refuse", strings.Join(l.WouldRefuse, ", "))
	}
	if changes := string(e.Changes); changes != "null" {
		t.field("changes", changes)
	}
	t.field("next", nextStep(e))
	return t.flush()
}

// requestAction is the action of the events of proxied requests.
const requestAction = "request"

// sentTo describes the upstream that a request went to.
func sentTo(e *client.Event) string {
	switch r := e.Request; {
	case r.Upstream == "" && e.Reason == "" && r.Status != clientGone:
		return "" // an event of a version that did not record it
	case r.Upstream == "":
		return "none; the request was not sent on"
	case r.Attempts == 1:
		return r.Upstream + ", 1 attempt"
	default:
		return fmt.Sprintf("%s, the last of %d attempts", r.Upstream, r.Attempts)
	}
}

// clientGone is the status of a request whose client left before the answer.
const clientGone = 499

// reasonOf says in a sentence why a request ended as it did; "" for success.
func reasonOf(e *client.Event) string {
	if e.Reason != "" {
		if sentence := fault.New(fault.Code(e.Reason)).Sentence(); sentence != "" {
			return e.Reason + ": " + sentence
		}
		return e.Reason
	}
	switch status := e.Request.Status; {
	case e.Action != requestAction:
		return ""
	case status == clientGone:
		return "the client closed the connection before it had an answer"
	case status >= 400 && e.Request.Upstream != "":
		return fmt.Sprintf("the upstream answered %d; perfgate passed it on", status)
	}
	return ""
}
