package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/perfgate/perfgate/httpapi/client"
	"github.com/perfgate/perfgate/httpapi/span"
)

// tailOverlap is how far each query reaches back before the newest event: nodes
// flush the events of requests once a second, and their clocks differ.
const tailOverlap = 10 * time.Second

func auditTail(a *app) *cobra.Command {
	var since, interval time.Duration
	cmd := &cobra.Command{
		Use: "tail", Short: "Show events as they occur, until interrupted", Args: cobra.NoArgs,
		Example: "  perfgate audit tail\n  perfgate audit tail --outcome denied --json",
		Long: `Show the events of the last minute (see --since), then new ones as they occur, until
interrupted. With --json, one event per line.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if interval <= 0 {
				return usagef("--interval %s: must be more than zero", span.Format(interval))
			}
			if since < 0 {
				return usagef("--since %s: must not be negative", span.Format(since))
			}
			s, err := a.dial()
			if err != nil {
				return err
			}
			q := query(cmd, auditFilters...)
			q.Set("order", "asc")
			q.Set("start_date", time.Now().Add(-since).UTC().Format(time.RFC3339Nano))
			return s.tail(cmd.Context(), q, interval)
		},
	}
	auditFlags(cmd.Flags())
	durationVar(cmd.Flags(), &interval, "interval", 2*time.Second, "`duration` before an answer that ended is asked for again")
	durationVar(cmd.Flags(), &since, "since", time.Minute, "`duration` to look back at the start")
	return cmd
}

// tail follows the events since the newest one shown, until ctx is done; where the server
// ends the answer, it begins again. Because of the overlap it omits those that it has shown.
func (s *session) tail(ctx context.Context, q url.Values, interval time.Duration) error {
	shown := newShownEvents()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	head := auditHead
	if s.json {
		head = nil
	}
	for {
		err := s.follow(ctx, q, shown, &head)
		if ctx.Err() != nil {
			return nil // an interrupt is the normal end
		}
		if err != nil {
			return err
		}
		if from, ok := shown.next(); ok {
			q.Set("start_date", from.Format(time.RFC3339Nano))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// follow prints the events of one answer that are not in shown, as they come. The answer is a
// stream of server-sent events; an earlier version answers with the events until now, in
// NDJSON. head is printed before the first event.
func (s *session) follow(ctx context.Context, q url.Values, shown *shownEvents, head *[]string) error {
	q.Set("format", "ndjson")
	t := newTable(s.Stdout)
	show := func(raw []byte, e *client.Event) error {
		switch {
		case !shown.add(e):
		case s.json:
			return s.printJSON(slices.Clone(raw))
		default:
			if len(*head) > 0 {
				t.row(slices.Clone(*head)...)
				*head = nil
			}
			auditRow(t, e)
		}
		return nil
	}
	about := ""
	err := s.lines(ctx, call{method: http.MethodGet, path: auditPath, query: q, accept: "text/event-stream"}, func(line []byte) error {
		if name, ok := bytes.CutPrefix(line, []byte("event: ")); ok {
			about = string(name)
			return nil
		}
		data, streamed := bytes.CutPrefix(line, []byte("data: "))
		switch {
		case streamed && about == "missing":
			about = ""
			fmt.Fprintf(s.Stderr, "nodes that do not answer: %s\n", printable(string(data)))
			return nil
		case streamed, bytes.HasPrefix(line, []byte("{")) && !bytes.HasPrefix(line, []byte(`{"proof":`)):
			return s.event(ctx, data, show)
		case bytes.Equal(line, []byte(":")): // the end of what was found at once
			shown.next()
			return t.flush()
		}
		return nil
	})
	return errors.Join(err, t.flush())
}

// shownEvents remembers the events that the next query may return again.
type shownEvents struct {
	at     map[string]time.Time // by event id
	newest time.Time
}

func newShownEvents() *shownEvents { return &shownEvents{at: map[string]time.Time{}} }

// add reports whether e is new, and remembers it.
func (s *shownEvents) add(e *client.Event) bool {
	if _, ok := s.at[e.ID]; ok {
		return false
	}
	s.at[e.ID] = e.Time
	if e.Time.After(s.newest) {
		s.newest = e.Time
	}
	return true
}

// next returns the start of the next query and forgets earlier events; ok is
// false before the first event.
func (s *shownEvents) next() (from time.Time, ok bool) {
	if s.newest.IsZero() {
		return time.Time{}, false
	}
	from = s.newest.Add(-tailOverlap)
	for id, at := range s.at {
		if at.Before(from) {
			delete(s.at, id)
		}
	}
	return from, true
}
