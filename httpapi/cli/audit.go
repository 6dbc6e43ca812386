package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/perfgate/perfgate/httpapi/client"
)

const (
	auditPath  = "/v1/audit-logs"
	auditEvent = 1 << 20 // bytes of one event in a stream
)

var (
	auditHead    = []string{"TIME", "ACTION", "OUTCOME", "ACTOR", "TARGET", "IP", "REASON"}
	auditFilters = []string{"start-date", "end-date", "key", "event-type", "user", "action", "outcome"}
)

func auditRow(t *table, e *client.Event) {
	who := e.Actor.Type
	if name := first(e.Actor.Name, e.Actor.ID); name != "" {
		who += ":" + name
	}
	t.row(e.Time.UTC().Format("2006-01-02 15:04:05"), e.Action, e.Outcome, who, first(e.Target, e.KeyID), e.IP, e.Reason)
}

func (a *app) auditCommand() *cobra.Command {
	return group("audit", "What was done, by whom, from where", a.auditList(), a.auditTail(), a.auditExport())
}

func auditFlags(fs *pflag.FlagSet) {
	fs.String("start-date", "", "first date, or time")
	fs.String("end-date", "", "last date, or time; a date means the whole day")
	fs.String("key", "", "one key's id")
	fs.String("event-type", "", "create, read, update or delete")
	fs.String("user", "", "who: id or name")
	fs.String("action", "", "such as key.revoke or request")
	fs.String("outcome", "", "success, denied or error")
}

func (a *app) auditList() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "Show events, the oldest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q := ask{method: http.MethodGet, path: auditPath, query: query(cmd, append(auditFilters, "cursor")...)}
			return list(cmd.Context(), a, q, limit, auditHead, auditRow)
		},
	}
	auditFlags(cmd.Flags())
	cmd.Flags().IntVar(&limit, "limit", 100, "how many at most (0: all; with --json 1000)")
	cmd.Flags().String("cursor", "", "continue a list")
	return cmd
}

func (a *app) auditTail() *cobra.Command {
	var since, poll time.Duration
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Show events as they come, until interrupted",
		Long:  "Shows the events of the last minute, then new ones. With --json an event a line.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if poll <= 0 || since < 0 {
				return usagef("--interval %s, --since %s: want durations such as 2s", poll, since)
			}
			s, err := a.dial()
			if err != nil {
				return err
			}
			q := query(cmd, auditFilters...)
			q.Set("start_date", time.Now().Add(-since).UTC().Format(time.RFC3339Nano))
			return s.tail(cmd.Context(), q, poll)
		},
	}
	auditFlags(cmd.Flags())
	cmd.Flags().DurationVar(&poll, "interval", 2*time.Second, "how often to ask")
	cmd.Flags().DurationVar(&since, "since", time.Minute, "how far back to begin")
	return cmd
}

// tail asks again and again for what came since the newest event seen. Nodes
// flush requests once a second and clocks differ: each question overlaps the one
// before, and what was shown is left out.
func (s *session) tail(ctx context.Context, q url.Values, poll time.Duration) error {
	const overlap = 10 * time.Second
	seen := map[string]time.Time{}
	var newest time.Time
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for head := auditHead; ; {
		t := newTable(s.Stdout, head...)
		err := s.events(ctx, q, func(raw []byte, e *client.Event) error {
			if _, shown := seen[e.ID]; shown {
				return nil
			}
			seen[e.ID] = e.Time
			if e.Time.After(newest) {
				newest = e.Time
			}
			if s.json {
				return s.printJSON(slices.Clone(raw))
			}
			auditRow(t, e)
			return nil
		})
		if ctx.Err() != nil {
			return nil // interrupted, which is how it ends
		}
		if err != nil {
			return err
		}
		if !s.json {
			if err := t.flush(); err != nil {
				return err
			}
			head = nil
		}
		if !newest.IsZero() {
			from := newest.Add(-overlap)
			q.Set("start_date", from.Format(time.RFC3339Nano))
			for id, at := range seen {
				if at.Before(from) {
					delete(seen, id) // not asked for again
				}
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// events streams every event that q selects.
func (s *session) events(ctx context.Context, q url.Values, each func([]byte, *client.Event) error) error {
	q.Set("format", "ndjson")
	return s.lines(ctx, ask{method: http.MethodGet, path: auditPath, query: q}, func(line []byte) error {
		var e client.Event
		if err := decode(line, &e); err != nil {
			return err
		}
		return each(line, &e)
	})
}

// scanLines calls each with every line of r.
func scanLines(r io.Reader, each func([]byte) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 64<<10), auditEvent)
	for lines.Scan() {
		if err := each(lines.Bytes()); err != nil {
			return err
		}
	}
	return lines.Err()
}

func (a *app) auditExport() *cobra.Command {
	var format, out string
	cmd := &cobra.Command{
		Use:     "export",
		Short:   "Write every event that matches to a file or to stdout",
		Example: "  perfgate audit export --start-date 2027-01-01 --end-date 2027-01-31 --format csv --output january.csv",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.dial()
			if err != nil {
				return err
			}
			q := query(cmd, auditFilters...)
			q.Set("format", format)
			return s.export(cmd.Context(), q, out)
		},
	}
	auditFlags(cmd.Flags())
	cmd.Flags().StringVar(&format, "format", "json", "json, ndjson or csv")
	cmd.Flags().StringVarP(&out, "output", "o", "-", "file to write, - for stdout")
	return cmd
}

// export copies the stream. A file appears under its name when it is whole.
func (s *session) export(ctx context.Context, q url.Values, out string) (err error) {
	bar := s.progress("export", -1)
	defer bar.Close()
	call := ask{method: http.MethodGet, path: auditPath, query: q}
	if out == "-" {
		return s.do(ctx, call, io.MultiWriter(s.Stdout, bar))
	}
	f, err := os.CreateTemp(filepath.Dir(out), "."+filepath.Base(out)+".*")
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	err = s.do(ctx, call, io.MultiWriter(f, bar))
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), out)
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("export: %w", err)
	}
	return nil
}
