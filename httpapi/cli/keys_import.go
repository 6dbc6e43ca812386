package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/perfgate/perfgate/httpapi/client"
)

// The bounds of one call of the import, which stay below the API's. A file of any
// length is sent in chunks.
const (
	importLines = 10_000
	importBytes = 8 << 20
	importLine  = 1 << 20 // bytes of one line
)

func keysImport(a *app) *cobra.Command {
	var reassign bool
	cmd := &cobra.Command{
		Use: "import [FILE]", Short: "Import existing keys", Args: cobra.MaximumNArgs(1),
		Long: `Import existing keys from FILE, or from stdin. Each line is one JSON object with
"name", "type", and "key" or "sha256"; it may contain all other settings of a key.
With "sha256", "prefix" tells how the key begins (such as "sk_live_"), so that
credentials that begin otherwise are still refused without a lookup.

Lines that cannot be imported are reported and do not stop the import; the exit
code is then 1. A key that exists is refused, in whatever account it is and also
if it is revoked. An operator can move a key to another account: revoke it where it
is, then import it with --reassign.`,
		Example: `  echo '{"name":"old","type":"live","sha256":"9f86d0…"}' | perfgate keys import`,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.dial()
			if err != nil {
				return err
			}
			var query url.Values
			if reassign {
				query = url.Values{"reassign": {"true"}}
			}
			return s.importKeys(cmd.Context(), fileArg(args), query)
		},
	}
	cmd.Flags().BoolVar(&reassign, "reassign", false, "also import keys that another account has revoked (operators)")
	return cmd
}

func (s *session) importKeys(ctx context.Context, path string, query url.Values) error {
	in, size, err := s.input(path)
	if err != nil {
		return fmt.Errorf("read keys: %w", err)
	}
	defer in.Close()
	bar := s.progress("import", size)
	defer bar.Close()
	r := bufio.NewReaderSize(io.TeeReader(in, bar), importLine)
	var sum importCount
	for more := true; more; {
		var chunk []byte
		var lines int
		chunk, lines, more, err = readChunk(r, sum.lines)
		if err != nil {
			return err
		}
		if len(bytes.TrimSpace(chunk)) == 0 {
			sum.lines += lines
			continue
		}
		raw, err := s.raw(ctx, call{method: http.MethodPost, path: keysPath + "/import", query: query, body: bytes.NewReader(chunk), contentType: "application/x-ndjson"})
		if err != nil {
			if sum.lines > 0 {
				return fmt.Errorf("after line %d: %w", sum.lines, err)
			}
			return err
		}
		if err := s.addImport(&sum, raw, lines); err != nil {
			return err
		}
	}
	if sum.good+sum.bad == 0 {
		return errors.New("nothing to import: the input has no lines")
	}
	if !s.json {
		if _, err := fmt.Fprintf(s.Stdout, "%s imported, %s refused\n", counted(sum.good, "key"), counted(sum.bad, "line")); err != nil {
			return err
		}
	}
	if sum.bad > 0 {
		return fmt.Errorf("%d of %s were not imported", sum.bad, counted(sum.good+sum.bad, "line"))
	}
	return nil
}

// importCount counts the lines sent, and those accepted and refused among them.
type importCount struct {
	lines, good, bad int
	warned           map[string]bool // the warnings of all chunks so far
}

// warnOfLine prints the warnings of one line, each once for the whole input.
func (s *session) warnOfLine(sum *importCount, line int, warnings []string) {
	for _, w := range warnings {
		if s.json || sum.warned[w] {
			continue
		}
		if sum.warned == nil {
			sum.warned = map[string]bool{}
		}
		sum.warned[w] = true
		s.warn("line %d: %s", line, w)
	}
}

// addImport counts and reports the answer to one chunk of so many lines.
func (s *session) addImport(sum *importCount, raw []byte, lines int) error {
	var p client.List[client.ImportedLine]
	if err := decode(raw, &p); err != nil {
		return err
	}
	for _, l := range p.Data {
		if l.Error == nil {
			sum.good++
			s.warnOfLine(sum, sum.lines+l.Line, l.Warnings)
			continue
		}
		sum.bad++
		if !s.json {
			fmt.Fprintf(s.Stderr, "perfgate: line %d: %s (%s)\n", sum.lines+l.Line, masked(l.Error.Message), masked(l.Error.Code))
		}
	}
	sum.lines += lines
	if s.json {
		return s.printJSON(raw)
	}
	return nil
}

// readChunk reads whole lines up to the bounds of one call. more is false at the
// end; before is the number of lines read earlier, for errors.
func readChunk(r *bufio.Reader, before int) (chunk []byte, lines int, more bool, err error) {
	for lines < importLines && len(chunk) < importBytes {
		line, err := r.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			return nil, 0, false, fmt.Errorf("line %d is longer than %d bytes", before+lines+1, importLine)
		case err != nil && !errors.Is(err, io.EOF):
			return nil, 0, false, fmt.Errorf("read keys: %w", err)
		}
		if len(line) > 0 {
			chunk = append(chunk, line...)
			lines++
		}
		if errors.Is(err, io.EOF) {
			return chunk, lines, false, nil
		}
	}
	return chunk, lines, true, nil
}
