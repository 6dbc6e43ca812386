package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/perfgate/perfgate/httpapi/client"
)

// The bounds of one call of the import, kept below the API's: a file of any
// length is sent in pieces.
const (
	importLines = 10_000
	importBytes = 8 << 20
	importLine  = 1 << 20 // bytes of one line
)

func (a *app) keysImport() *cobra.Command {
	return &cobra.Command{
		Use:   "import [FILE]",
		Short: "Take over keys that exist already",
		Long: `Reads one JSON object a line from FILE, or from stdin: {"name","type","key" or "sha256", …}, with the settings of a key
besides. Lines that cannot be imported are told and do not stop the others; then the exit code is 1.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := "-"
			if len(args) == 1 {
				path = args[0]
			}
			s, err := a.dial()
			if err != nil {
				return err
			}
			return s.importKeys(cmd.Context(), path)
		},
	}
}

func (s *session) importKeys(ctx context.Context, path string) error {
	in, size, err := s.input(path)
	if err != nil {
		return fmt.Errorf("read the keys: %w", err)
	}
	defer in.Close()
	bar := s.progress("import", size)
	defer bar.Close()
	r := bufio.NewReaderSize(io.TeeReader(in, bar), importLine)
	var sum importSum
	for more := true; more; {
		var piece []byte
		var lines int
		piece, lines, more, err = readPiece(r, sum.lines)
		if err != nil {
			return err
		}
		if len(bytes.TrimSpace(piece)) == 0 {
			sum.lines += lines
			continue
		}
		raw, err := s.call(ctx, ask{method: http.MethodPost, path: "/v1/keys/import", body: bytes.NewReader(piece), kind: "application/x-ndjson"})
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
		return errors.New("there is no line to import")
	}
	if !s.json {
		fmt.Fprintf(s.Stdout, "%d keys imported, %d lines refused\n", sum.good, sum.bad)
	}
	if sum.bad > 0 {
		return fmt.Errorf("%d of %d lines were not imported", sum.bad, sum.good+sum.bad)
	}
	return nil
}

// importSum is how far an import has come.
type importSum struct{ lines, good, bad int }

// addImport takes the answer to one piece of so many lines.
func (s *session) addImport(sum *importSum, raw []byte, lines int) error {
	var p client.List[client.ImportedLine]
	if err := decode(raw, &p); err != nil {
		return err
	}
	for _, l := range p.Data {
		if l.Error == nil {
			sum.good++
			continue
		}
		sum.bad++
		if !s.json {
			fmt.Fprintf(s.Stderr, "perfgate: line %d: %s (%s)\n", sum.lines+l.Line, oneLine(l.Error.Message), oneLine(l.Error.Code))
		}
	}
	sum.lines += lines
	if s.json {
		return s.printJSON(raw)
	}
	return nil
}

// readPiece reads whole lines up to the bounds of one call; more is false at the
// end. before is the number of lines read so far, for errors.
func readPiece(r *bufio.Reader, before int) (piece []byte, lines int, more bool, err error) {
	for lines < importLines && len(piece) < importBytes {
		line, err := r.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			return nil, 0, false, fmt.Errorf("line %d is longer than %d bytes", before+lines+1, importLine)
		case err != nil && !errors.Is(err, io.EOF):
			return nil, 0, false, fmt.Errorf("read the keys: %w", err)
		}
		if len(line) > 0 {
			piece = append(piece, line...)
			lines++
		}
		if err != nil {
			return piece, lines, false, nil
		}
	}
	return piece, lines, true, nil
}
