package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
	"unicode"

	"github.com/rivo/uniseg"

	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/client"
)

// warn prints a warning that does not change the exit code.
func (a *app) warn(format string, args ...any) {
	fmt.Fprintln(a.Stderr, "perfgate: warning: "+masked(fmt.Sprintf(format, args...)))
}

// printJSON prints an answer as it came, with a final newline.
func (a *app) printJSON(raw []byte) error {
	if len(raw) > 0 && raw[len(raw)-1] != '\n' {
		raw = append(raw, '\n')
	}
	_, err := a.Stdout.Write(raw)
	return err
}

// table writes rows in columns. Cells hold text that others chose (names, notes,
// addresses), which is made safe for a terminal. Below a head, columns of numbers are
// aligned at their last digits. All rows are kept until [table.flush].
type table struct {
	w    io.Writer
	head bool
	rows [][]string
}

func newTable(w io.Writer, head ...string) *table {
	t := &table{w: w, head: len(head) > 0}
	if t.head {
		t.row(head...)
	}
	return t
}

// row adds a row; an empty cell is shown as "-".
func (t *table) row(cells ...string) {
	row := make([]string, len(cells))
	for i, c := range cells {
		row[i] = printable(first(c, "-"))
	}
	t.rows = append(t.rows, row)
}

// number is a cell that is aligned to the right.
var number = regexp.MustCompile(`^-?[0-9]+(\.[0-9]+)?( ms)?$`)

// column is how one column is written.
type column struct {
	width int  // cells of a terminal, in which a Chinese character takes two
	text  bool // a cell is no number
	right bool
}

func (t *table) columns() []column {
	var out []column
	for i, row := range t.rows {
		for j, cell := range row {
			if j == len(out) {
				out = append(out, column{})
			}
			c := &out[j]
			c.width = max(c.width, uniseg.StringWidth(cell))
			if t.head && i > 0 && cell != "-" {
				numbers := number.MatchString(cell)
				c.right, c.text = numbers && !c.text, c.text || !numbers
			}
		}
	}
	return out
}

// flush writes the rows, once.
func (t *table) flush() error {
	columns := t.columns()
	var b strings.Builder
	for _, row := range t.rows {
		for j, cell := range row {
			pad := strings.Repeat(" ", columns[j].width-uniseg.StringWidth(cell))
			switch {
			case columns[j].right:
				b.WriteString(pad + cell)
			case j == len(row)-1:
				b.WriteString(cell)
			default:
				b.WriteString(cell + pad)
			}
			if j < len(row)-1 {
				b.WriteString("  ")
			}
		}
		b.WriteByte('\n')
	}
	t.rows = nil
	_, err := io.WriteString(t.w, b.String())
	return err
}

// field adds a name and its value, unless the value is empty.
func (t *table) field(name, value string) {
	if value != "" {
		t.row(name, value)
	}
}

// printable replaces control characters, line breaks, changes of direction and
// zero-width characters but joiners, with which text from others could manipulate the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) && r != '\u200c' && r != '\u200d' {
			return '?'
		}
		return r
	}, s)
}

// masked is [printable] for messages, which may repeat what was typed: a key among it is
// masked.
func masked(s string) string { return apikey.Mask(printable(s)) }

// minute formats a time for a table in UTC, to the minute; nil and zero are "".
func minute(t *time.Time) string {
	if t == nil || t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04")
}

// text formats an optional value; nil is "".
func text[T any](v *T) string {
	if v == nil {
		return ""
	}
	return fmt.Sprint(*v)
}

// effect describes when a write that takes a right away became effective.
func effect(r *client.Revocation) string {
	if r == nil {
		return ""
	}
	if r.Effective {
		return fmt.Sprintf("effective on every node after %d ms", r.TookMS)
	}
	var open []string
	for _, n := range r.Nodes {
		if n.How == "unconfirmed" {
			open = append(open, n.Name)
		}
	}
	return "NOT yet effective on " + strings.Join(open, ", ")
}

// actor describes the caller of an event: its type and, separated by sep, its
// name or id.
func actor(typ, sep, name string) string {
	if name == "" {
		return typ
	}
	return typ + sep + name
}

// showDeleted prints the answer to a deletion.
func showDeleted(a *app, v *client.Deleted) error {
	t := newTable(a.Stdout)
	t.row("deleted", v.ID)
	t.field("revocation", effect(v.Revocation))
	return t.flush()
}

// decode reads an answer into v. Members that this version does not know are
// ignored.
func decode(raw []byte, v any) error {
	if err := json.Unmarshal(raw, v); err != nil {
		return fmt.Errorf("read the server's answer: %w", err)
	}
	return nil
}
