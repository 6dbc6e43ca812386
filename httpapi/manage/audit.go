package manage

import (
	"fmt"
	"iter"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
)

// NextCursorHeader carries the next cursor of a page in NDJSON or CSV.
const NextCursorHeader = "X-Next-Cursor"

// eventLog yields events in the order of (time, id).
type eventLog interface {
	Events(store.EventQuery) iter.Seq2[*store.Event, error]
}

// Audit serves the call that reads the audit log: the events of changes, which
// every node has, and those of requests, which this node alone has.
type Audit struct {
	Changes  eventLog
	Requests eventLog
}

// Logs answers with the events of changes and of requests in one order. With a
// limit it is a page; without one it streams every matching event as one document.
func (h *Audit) Logs(c *rest.Call) error {
	q := c.Query()
	eq := store.EventQuery{
		Account: c.Account,
		Key:     store.KeyID(q.Text("key")), User: q.Text("user"), Action: q.Text("action"),
		EventType: store.EventType(q.OneOf("event_type", "create", "read", "update", "delete")),
		Outcome:   store.Outcome(q.OneOf("outcome", "success", "denied", "error")),
	}
	eq.From, eq.To = q.Period("start_date", "end_date")
	format := q.OneOf("format", "json", "ndjson", "csv")
	limit := 0
	if q.Has("limit") || q.Has("cursor") {
		limit = q.Limit()
	}
	after, err := q.Cursor()
	if err != nil {
		return err
	}
	// An export ends at the moment of its request, however long it takes, and so
	// do all pages of one list: reading them makes events, too.
	end := c.Now.Add(time.Nanosecond)
	if after != "" {
		if end, eq.After, err = readPlace(after); err != nil {
			return err
		}
	}
	if eq.To.IsZero() || eq.To.After(end) {
		eq.To = end
	}
	events := mergeEvents(h.Changes.Events(eq), h.Requests.Events(eq))
	form := formOf(format)
	if limit > 0 {
		return sendPage(c, q, events, form, limit, end)
	}
	return sendStream(c, events, form)
}

// eventForm is one way to write events.
type eventForm struct {
	suffix, mime, open, between, end string

	append func([]byte, *store.Event) []byte
}

func formOf(format string) eventForm {
	switch format {
	case "ndjson":
		return eventForm{"ndjson", "application/x-ndjson", "", "", "", func(b []byte, e *store.Event) []byte { return append(appendEvent(b, e), '\n') }}
	case "csv":
		return eventForm{"csv", "text/csv; charset=utf-8; header=present", csvHeader, "", "", newEventCSV().append}
	}
	return eventForm{"json", "application/json", `{"data":[`, ",", `],"next_cursor":null}` + "\n", appendEvent}
}

// sendPage holds one page in memory: at most [rest.MaxLimit] events of a few KiB.
func sendPage(c *rest.Call, q *rest.Query, events iter.Seq2[*store.Event, error], form eventForm, limit int, end time.Time) error {
	out := []byte(form.open)
	n := 0
	var last store.EventPos
	var next *string
	for e, err := range events {
		if err != nil {
			return err
		}
		if n == limit {
			next = q.Seal(formatPlace(end, last))
			break
		}
		if n++; n > 1 {
			out = append(out, form.between...)
		}
		out = form.append(out, e)
		last = store.EventPos{Time: e.Time, ID: e.ID}
	}
	tail := form.end
	if next != nil {
		c.Writer().Header().Set(NextCursorHeader, *next)
		tail = strings.Replace(tail, "null", strconv.Quote(*next), 1)
	}
	return c.AnswerAs(form.mime, append(out, tail...))
}

// sendStream writes events as they come, in bounded memory.
func sendStream(c *rest.Call, events iter.Seq2[*store.Event, error], form eventForm) error {
	h := c.Writer().Header()
	h.Set("Content-Type", form.mime)
	h.Set("Content-Disposition", `attachment; filename="audit-logs.`+form.suffix+`"`)
	if c.Request.Method == http.MethodHead {
		return nil
	}
	if err := c.Export(); err != nil {
		return err
	}
	w := c.Stream()
	_, _ = w.WriteString(form.open) // a failure stays in w, and shows at the next write
	line := make([]byte, 0, 4<<10)
	first := true
	for e, err := range events {
		if err != nil {
			return err
		}
		line = line[:0]
		if !first {
			line = append(line, form.between...)
		}
		first = false
		line = form.append(line, e)
		if _, err := w.Write(line); err != nil {
			return err
		}
	}
	_, _ = w.WriteString(form.end)
	return w.Flush()
}

// mergeEvents merges two streams that are each ordered by (time, id).
func mergeEvents(a, b iter.Seq2[*store.Event, error]) iter.Seq2[*store.Event, error] {
	return func(yield func(*store.Event, error) bool) {
		next, stop := iter.Pull2(b)
		defer stop()
		other, failed, more := next()
		for e, err := range a {
			if err != nil {
				yield(nil, err)
				return
			}
			for more && (failed != nil || earlier(other, e)) {
				if !yield(other, failed) || failed != nil {
					return
				}
				other, failed, more = next()
			}
			if !yield(e, nil) {
				return
			}
		}
		for more {
			if !yield(other, failed) || failed != nil {
				return
			}
			other, failed, more = next()
		}
	}
}

func earlier(a, b *store.Event) bool {
	if c := a.Time.Compare(b.Time); c != 0 {
		return c < 0
	}
	return a.ID < b.ID
}

// formatPlace is the content of a cursor into the audit log: the end of the list
// and the last event that was shown.
func formatPlace(end time.Time, p store.EventPos) string {
	return fmt.Sprintf("%d %d %s", end.UnixNano(), p.Time.UnixNano(), p.ID)
}

func readPlace(s string) (time.Time, store.EventPos, error) {
	var end, at int64
	var p store.EventPos
	if _, err := fmt.Sscanf(s, "%d %d %s", &end, &at, &p.ID); err != nil {
		return time.Time{}, p, fault.Wrap(fault.InvalidCursor, err)
	}
	p.Time = time.Unix(0, at).UTC()
	return time.Unix(0, end).UTC(), p, nil
}
