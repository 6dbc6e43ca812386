package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/perfgate/perfgate/store/chain"
	"github.com/perfgate/perfgate/store/chain/export"
)

func auditHeadCommand(a *app) *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use: "head", Short: "Print signed heads of the audit log, to keep elsewhere", Args: cobra.NoArgs,
		Long: `Print the signed head of each stream of the audit log, in one line of JSON. Keep it
where nobody who holds a node can write; "audit verify --head" compares exports with it.
With --output the line is appended to a file, which may hold many.`,
		Example: "  perfgate audit head --output heads.jsonl",
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.dial()
			if err != nil {
				return err
			}
			raw, err := s.raw(cmd.Context(), call{method: http.MethodGet, path: auditPath + "/head", query: query(cmd, "log")})
			if err != nil {
				return err
			}
			line := strings.TrimSpace(string(raw)) + "\n"
			if out == "-" {
				_, err := io.WriteString(s.Stdout, line)
				return err
			}
			f, err := os.OpenFile(out, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
			if err != nil {
				return err
			}
			_, err = io.WriteString(f, line)
			return errors.Join(err, f.Sync(), f.Close())
		},
	}
	cmd.Flags().StringVarP(&out, "output", "o", "-", "`file` to append to; - is stdout")
	cmd.Flags().String("log", "", "heads of this `log`: account (the default) or operators")
	return cmd
}

// errNotWhole is the failure of a verification that found something.
var errNotWhole = errors.New("the export is not whole")

func auditVerify(a *app) *cobra.Command {
	var heads, key string
	cmd := &cobra.Command{
		Use: "verify FILE", Short: "Verify an export of the audit log, offline", Args: cobra.ExactArgs(1),
		Long: `Verify an export (JSON, NDJSON or CSV; "-" is stdin) against the proof at its end, and
name the first event that was changed, dropped, added or moved. Needs no server.

Without --head, the export proves only that it fits the key that signed it. With heads
that were kept elsewhere ("audit head"), a log that somebody with a node's key has
rewritten, cut or rolled back is found, too.`,
		Example: "  perfgate audit export --format ndjson --output january.ndjson\n  perfgate audit verify january.ndjson --head heads.jsonl",
		RunE: func(_ *cobra.Command, args []string) error {
			trust := chain.Trust{Key: key}
			if heads != "" {
				var err error
				if trust.Kept, err = readHeads(heads); err != nil {
					return err
				}
			}
			in, _, err := a.input(args[0])
			if err != nil {
				return err
			}
			defer in.Close()
			r, err := export.Verify(in, trust)
			if err != nil {
				return err
			}
			return a.showReport(r, heads != "" || key != "")
		},
	}
	cmd.Flags().StringVar(&heads, "head", "", "`file` with heads that were kept elsewhere")
	cmd.Flags().StringVar(&key, "key", "", "trust only the signing key with this `ID`")
	return cmd
}

// maxHeadLine bounds a line of a file of heads: some 300 bytes for each stream.
const maxHeadLine = 16 << 20

// readHeads reads a file of heads, one in each line.
func readHeads(name string) (list []chain.HeadFile, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, maxHeadLine)
	for n := 1; lines.Scan(); n++ {
		if strings.TrimSpace(lines.Text()) == "" {
			continue
		}
		var h chain.HeadFile
		if err := json.Unmarshal(lines.Bytes(), &h); err != nil || len(h.Data) == 0 {
			return nil, fmt.Errorf("%s:%d: it is no head of an audit log; make one with: perfgate audit head", name, n)
		}
		list = append(list, h)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s holds no head; make one with: perfgate audit head", name)
	}
	return list, nil
}

// showReport prints the result of a verification. trusted says that the caller named what
// it trusts.
func (a *app) showReport(r *chain.Report, trusted bool) error {
	if a.json {
		if err := json.NewEncoder(a.Stdout).Encode(r); err != nil {
			return err
		}
	} else {
		a.showFindings(r, trusted)
	}
	if len(r.Findings) > 0 {
		return errNotWhole
	}
	return nil
}

func (a *app) showFindings(r *chain.Report, trusted bool) {
	for i, f := range r.Findings {
		begin := ""
		if i == 0 {
			begin = "first bad event: "
		}
		where := "the export"
		if f.ID != "" {
			where = fmt.Sprintf("%s (number %d)", f.ID, f.Seq)
		}
		fmt.Fprintf(a.Stdout, "%s%s: %s: %s\n", begin, where, f.Kind, f.Text)
	}
	fmt.Fprintf(a.Stdout, "%d events, %d proven", r.Events, r.Proven)
	if r.Unchained > 0 {
		fmt.Fprintf(a.Stdout, ", %d from before the log was chained", r.Unchained)
	}
	fmt.Fprintln(a.Stdout)
	for _, c := range r.Chains {
		if c.Before > 0 {
			fmt.Fprintf(a.Stdout, "%s begins after %d earlier events, which expired or were not asked for\n", first(c.Node, c.Stream), c.Before)
		}
	}
	for _, m := range r.Missing {
		fmt.Fprintf(a.Stdout, "the events of node %s are not in the export: %s\n", m.Node, m.Reason)
	}
	switch {
	case len(r.Findings) > 0:
	case trusted:
		fmt.Fprintf(a.Stdout, "OK: signed by %s; %d kept heads found again\n", strings.Join(r.Keys, ", "), r.Compared)
	default:
		fmt.Fprintf(a.Stdout, "OK, as far as the export itself can tell: signed by %s. Compare it with a head that was kept elsewhere: --head FILE\n", strings.Join(r.Keys, ", "))
	}
}
