package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"
)

func accountsExport(a *app) *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use: "export", Short: "Write all data that is stored about an account", Args: cobra.NoArgs,
		Long: `Write all data that is stored about the account of --account: settings, keys, users,
sessions, webhooks with their deliveries, incidents, usage, failed requests, findings
and audit events, as a JSON object a line. No secret is in it. For owners and
operators, for example before "erasures create". The file gets its name once it is
complete.`,
		Example: "  perfgate accounts export --account acct_2x… --output acme.ndjson",
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.dial()
			if err != nil {
				return err
			}
			return s.exportAccount(cmd.Context(), out)
		},
	}
	cmd.Flags().StringVarP(&out, "output", "o", "-", "`file` to write; - is stdout")
	return cmd
}

// exportAccount copies the export to a file or to stdout.
func (s *session) exportAccount(ctx context.Context, out string) error {
	bar := s.progress("export", -1)
	defer bar.Close()
	var last lastLine
	write := func(w io.Writer) error {
		if err := s.do(ctx, call{method: http.MethodGet, path: "/v1/account/data"}, io.MultiWriter(w, bar, &last)); err != nil {
			return err
		}
		return last.check(s.Stderr)
	}
	if out == "-" {
		return write(s.Stdout)
	}
	if err := replaceFile(out, write, nil); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	return nil
}

// maxLastLine bounds the last line of an export, in bytes: it names nodes.
const maxLastLine = 64 << 10

// lastLine keeps the last line of what is written to it.
type lastLine struct {
	line  []byte
	ended bool // the next byte begins a line
}

func (l *lastLine) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if l.ended {
			l.line, l.ended = l.line[:0], false
		}
		line, rest, ends := bytes.Cut(p, []byte("\n"))
		if len(l.line)+len(line) <= maxLastLine {
			l.line = append(l.line, line...)
		}
		p, l.ended = rest, ends
	}
	return n, nil
}

// check reports an export without its end, and warns of nodes that are not in it.
func (l *lastLine) check(warnings io.Writer) error {
	var end struct {
		Type string `json:"type"`
		Data struct {
			Missing []struct {
				Node string `json:"node"`
			} `json:"missing"`
		} `json:"data"`
	}
	if err := json.Unmarshal(l.line, &end); err != nil || end.Type != "end" || !l.ended {
		return errors.New("it broke off before its end; run it again")
	}
	for _, m := range end.Data.Missing {
		fmt.Fprintf(warnings, "perfgate: the node %s did not answer; its part of usage, failed requests, findings and events is not in the export\n", m.Node)
	}
	return nil
}
