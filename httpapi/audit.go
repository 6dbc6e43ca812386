package httpapi

import (
	"bufio"
	"fmt"
	"iter"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/store"
)

// The pace of an export.
const (
	exportBuffer = 64 << 10         // bytes held before they are written
	exportStall  = 30 * time.Second // a client that takes nothing for so long is cut off
)

// NextCursorHeader carries the next cursor of a page in NDJSON or CSV.
const NextCursorHeader = "X-Next-Cursor"

// auditLogs answers with the events of changes and of requests in one order.
// With a limit it is a page; without one it streams everything that matches as
// one document. A stream that breaks off is cut, so that no client takes the
// part for the whole.
func auditLogs(c *call) error {
	q := c.query("start_date", "end_date", "key", "event_type", "user", "action", "outcome", "format", "limit", "cursor")
	eq := store.EventQuery{
		Account: c.account, From: q.instant("start_date", false), To: q.instant("end_date", true),
		Key: store.KeyID(q.text("key")), User: q.text("user"), Action: q.text("action"),
		EventType: store.EventType(q.word("event_type", "create", "read", "update", "delete")),
		Outcome:   store.Outcome(q.word("outcome", "success", "denied", "error")),
	}
	format := q.word("format", "json", "ndjson", "csv")
	limit := 0
	if q.values.Has("limit") || q.values.Has("cursor") {
		limit = q.limit()
	}
	if q.err != nil {
		return q.err
	}
	if !eq.From.IsZero() && !eq.To.IsZero() && eq.To.Before(eq.From) {
		return invalid("end_date", "is before start_date")
	}
	after, err := c.open(q.values.Get("cursor"))
	if err != nil {
		return err
	}
	// An export ends at the moment that it was asked for, however long it takes,
	// and so do all pages of one list: reading them makes events, too.
	end := c.now.Add(time.Nanosecond)
	if after != "" {
		if end, eq.After, err = readPlace(after); err != nil {
			return err
		}
	}
	if eq.To.IsZero() || eq.To.After(end) {
		eq.To = end
	}
	events := mergeEvents(c.Store.Events(eq), c.Local.Events(eq))
	form := formOf(format)
	if limit > 0 {
		return c.auditPage(events, form, limit, end)
	}
	return c.auditStream(events, form)
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
		return eventForm{"csv", "text/csv; charset=utf-8; header=present", csvHeader, "", "", appendEventCSV}
	}
	return eventForm{"json", "application/json", `{"data":[`, ",", `],"next_cursor":null}` + "\n", appendEvent}
}

// auditPage holds one page in memory: at most [maxLimit] events of a few KiB.
func (c *call) auditPage(events iter.Seq2[*store.Event, error], form eventForm, limit int, end time.Time) error {
	out := []byte(form.open)
	n := 0
	var last store.EventPos
	var next *string
	for e, err := range events {
		if err != nil {
			return err
		}
		if n == limit {
			next = c.seal(formatPlace(end, last))
			break
		}
		if n++; n > 1 {
			out = append(out, form.between...)
		}
		out = form.append(out, e)
		last = store.EventPos{Time: e.Time, ID: e.ID}
	}
	h := c.w.Header()
	tail := form.end
	if next != nil {
		h.Set(NextCursorHeader, *next)
		tail = strings.Replace(tail, "null", strconv.Quote(*next), 1)
	}
	out = append(out, tail...)
	h.Set("Content-Type", form.mime)
	h.Set("Content-Length", strconv.Itoa(len(out)))
	c.w.Write(out)
	return nil
}

// auditStream writes events as they come, in bounded memory.
func (c *call) auditStream(events iter.Seq2[*store.Event, error], form eventForm) error {
	h := c.w.Header()
	h.Set("Content-Type", form.mime)
	h.Set("Content-Disposition", `attachment; filename="audit-logs.`+form.suffix+`"`)
	control := http.NewResponseController(c.w)
	w := bufio.NewWriterSize(&patient{c.w, control}, exportBuffer)
	w.WriteString(form.open)
	if c.r.Method == http.MethodHead {
		return nil
	}
	line := make([]byte, 0, 4<<10)
	first := true
	for e, err := range events {
		if err != nil {
			if c.w.status == 0 {
				return err
			}
			c.Logger.Error("audit export broke off", "request_id", h.Get(fault.RequestIDHeader), "error", err)
			panic(http.ErrAbortHandler)
		}
		line = line[:0]
		if !first {
			line = append(line, form.between...)
		}
		first = false
		line = form.append(line, e)
		if _, err := w.Write(line); err != nil {
			panic(http.ErrAbortHandler) // the client has gone; the server must not end the body properly
		}
	}
	w.WriteString(form.end)
	if err := w.Flush(); err != nil {
		panic(http.ErrAbortHandler)
	}
	return nil
}

// patient gives each write to the client a deadline of its own, in place of one
// for the whole answer, and sends it off at once.
type patient struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

func (p *patient) Write(b []byte) (int, error) {
	// A writer without deadlines (a test's) is waited for.
	_ = p.control.SetWriteDeadline(time.Now().Add(exportStall))
	n, err := p.w.Write(b)
	if err != nil {
		return n, err
	}
	_ = p.control.Flush()
	return n, nil
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

// formatPlace is what a cursor into the audit log holds: where the list ends,
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
