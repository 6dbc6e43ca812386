package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/perfgate/perfgate/httpapi/client"
)

const auditPath = "/v1/audit-logs"

var (
	auditHead    = []string{"TIME", "ACTION", "OUTCOME", "ACTOR", "TARGET", "IP", "REASON"}
	auditFilters = []string{"start-date", "end-date", "key", "event-type", "user", "action", "outcome", "log"}
)

func auditRow(t *table, e *client.Event) {
	t.row(e.Time.UTC().Format("2006-01-02 15:04:05"), e.Action, e.Outcome,
		actor(e.Actor.Type, ":", first(e.Actor.Name, e.Actor.ID)), first(e.Target, e.KeyID), e.IP, e.Reason)
}

func auditCommand(a *app) *cobra.Command {
	return group("audit", "Read and verify the audit log", auditList(a), auditTail(a), auditExport(a), auditHeadCommand(a), auditVerify(a), auditRotateKey(a))
}

func auditFlags(fs *pflag.FlagSet) {
	pointFlag(fs, "start-date", "only events from this `time` on")
	pointFlag(fs, "end-date", "only events until this `time`, of a date the whole day")
	fs.String("key", "", "only events about the key with this `ID`")
	fs.String("event-type", "", "only events of this `type`: create, read, update or delete")
	fs.String("user", "", "only events caused by the user with this `ID` or name")
	fs.String("action", "", "only events with this `action`, such as key.revoke or request")
	fs.String("outcome", "", "only events with this `outcome`: success, denied or error")
	logFlag(fs)
}

func logFlag(fs *pflag.FlagSet) {
	fs.String("log", "", "only this `log`: account or operators; operators read both of the account default")
}

func orderFlag(fs *pflag.FlagSet) {
	fs.String("order", "", "`order` by time: desc (newest first, the default) or asc")
}

func auditList(a *app) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "List events, newest first", Args: cobra.NoArgs,
		Example: "  perfgate audit list --start-date 30d --action key.revoke\n  perfgate audit list --user ada@example.com --outcome denied",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c := call{method: http.MethodGet, path: auditPath, query: query(cmd, append(auditFilters, "order", "cursor")...)}
			return list(cmd.Context(), a, c, limit, auditHead, auditRow)
		},
	}
	auditFlags(cmd.Flags())
	orderFlag(cmd.Flags())
	listFlags(cmd.Flags(), &limit, 100)
	return cmd
}

// events streams every event that q selects into each, with its JSON.
func (s *session) events(ctx context.Context, q url.Values, each func([]byte, *client.Event) error) error {
	q.Set("format", "ndjson")
	return s.lines(ctx, call{method: http.MethodGet, path: auditPath, query: q}, func(line []byte) error {
		if bytes.HasPrefix(line, []byte(`{"proof":`)) {
			return nil
		}
		return s.event(ctx, line, each)
	})
}

// event hands the event of a line to each, with its JSON.
func (s *session) event(ctx context.Context, line []byte, each func([]byte, *client.Event) error) error {
	var e client.Event
	err := decode(line, &e)
	if err == nil && e.ID == "" {
		err = fmt.Errorf("read the server's answer: a line is not an event: %w", client.ErrForeign)
	}
	if err != nil {
		return s.diagnose(ctx, err)
	}
	return each(line, &e)
}

func auditExport(a *app) *cobra.Command {
	var format, out string
	var bom bool
	cmd := &cobra.Command{
		Use: "export", Short: "Write all matching events to a file or to stdout", Args: cobra.NoArgs,
		Long:    "Write all matching events to a file or to stdout, with their proof at the end; see\n\"audit verify\". The file gets its name once it is complete.",
		Example: "  perfgate audit export --start-date 2027-01-01 --end-date 2027-01-31 --format csv --output january.csv",
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.dial()
			if err != nil {
				return err
			}
			q := query(cmd, append(auditFilters, "order")...)
			q.Set("format", format)
			if bom {
				q.Set("bom", "true")
			}
			return s.export(cmd.Context(), q, out)
		},
	}
	auditFlags(cmd.Flags())
	orderFlag(cmd.Flags())
	cmd.Flags().StringVar(&format, "format", "json", "`format` of the events: json, ndjson or csv")
	cmd.Flags().BoolVar(&bom, "bom", false, "begin a CSV with a byte order mark, which Excel needs")
	cmd.Flags().StringVarP(&out, "output", "o", "-", "`file` to write; - is stdout")
	return cmd
}

// export copies the events to a file or to stdout.
func (s *session) export(ctx context.Context, q url.Values, out string) error {
	bar := s.progress("export", -1)
	defer bar.Close()
	write := func(w io.Writer) error {
		return s.do(ctx, call{method: http.MethodGet, path: auditPath, query: q}, io.MultiWriter(w, bar))
	}
	if out == "-" {
		return write(s.Stdout)
	}
	if err := replaceFile(out, write, nil); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	return nil
}

func auditRotateKey(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "rotate-key", Short: "Sign the audit log with another key", Args: cobra.NoArgs,
		Example: "  perfgate audit rotate-key",
		Long: `Make a new key that signs the heads of the audit log from now on. The key before it
endorses it: heads that were kept before go on to verify exports. For operators.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return run(cmd.Context(), a, call{method: http.MethodPost, path: auditPath + "/rotate-key"}, func(a *app, v *client.AuditKeys) error {
				t := newTable(a.Stdout, "KEY", "CREATED", "ENDORSED BY")
				for _, k := range v.Keys {
					t.row(k.ID, k.CreatedAt.UTC().Format("2006-01-02 15:04:05"), k.EndorsedBy)
				}
				return t.flush()
			})
		},
	}
}
