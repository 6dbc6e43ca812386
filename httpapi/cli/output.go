package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

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
// addresses), which is made safe for a terminal.
type table struct{ w *tabwriter.Writer }

func newTable(w io.Writer, head ...string) *table {
	t := &table{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	if len(head) > 0 {
		t.row(head...)
	}
	return t
}

// row adds a row; an empty cell is shown as "-".
func (t *table) row(cells ...string) {
	for i, c := range cells {
		cells[i] = printable(first(c, "-"))
	}
	fmt.Fprintln(t.w, strings.Join(cells, "\t"))
}

// field adds a name and its value, unless the value is empty.
func (t *table) field(name, value string) {
	if value != "" {
		t.row(name, value)
	}
}

func (t *table) flush() error { return t.w.Flush() }

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
