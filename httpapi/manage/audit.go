package manage

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"iter"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/chain"
)

// NextCursorHeader carries the next cursor of a page in NDJSON or CSV.
const NextCursorHeader = "X-Next-Cursor"

// AuditLogs is the audit log over all nodes. The node implements it.
type AuditLogs interface {
	// Read begins to read what a query selects, with the means to prove it if it is to be
	// proven.
	Read(ctx context.Context, q store.EventQuery, proven bool) (AuditReading, error)
	// Heads signs the heads of all streams and returns them with an account's places.
	Heads(ctx context.Context, account store.AccountID) (*chain.HeadFile, error)
	// Keys lists the keys that have signed heads, oldest first.
	Keys() []chain.Key
}

// AuditReading is one reading: its methods are called in this order.
type AuditReading interface {
	// Missing lists the nodes that did not answer.
	Missing() []chain.Missing
	// Streams are the events of the changes and of each node, each in the order of the query.
	Streams() []iter.Seq2[*store.Event, error]
	// Proof streams the proof of the events; Keys are those that signed it.
	Proof() iter.Seq2[chain.Part, error]
	Keys() []chain.Key
	Close() error
}

// Audit serves the calls that read the audit log: the events of changes, and those of
// requests of all nodes.
type Audit struct {
	Log    AuditLogs
	People interface {
		UserByEmail(string) (*store.User, error)
	}
}

// MissingNodesHeader names the nodes whose events are not in an answer, with commas between them.
const MissingNodesHeader = "X-Perf-Missing-Nodes"

// Head answers with the signed heads of all streams.
func (h *Audit) Head(c *rest.Call) (*chain.HeadFile, error) {
	q := c.Query()
	log, err := logOf(c, q)
	if err := cmp.Or(err, q.Err()); err != nil {
		return nil, err
	}
	heads, err := h.Log.Heads(c.Request.Context(), log.Account)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err)
	}
	return heads, nil
}

// Logs answers with the events of changes and of requests in one order. With a
// limit it is a page; without one it streams every matching event as one document.
func (h *Audit) Logs(c *rest.Call) error {
	q := c.Query()
	eq, err := h.query(c, q)
	if err != nil {
		return err
	}
	format := q.OneOf("format", "json", "ndjson", "csv")
	bom := q.Bool("bom")
	if live(c) {
		if err := q.Err(); err != nil {
			return err
		}
		return h.tail(c, eq)
	}
	limit := 0
	if q.Has("limit") || q.Has("cursor") {
		limit = q.Limit()
	}
	after, err := q.Cursor()
	if err != nil {
		return err
	}
	// An export ends at the moment of its request, however long it takes, and so
	// do all pages of one list: reading them makes events, too. The time of an event is
	// when it was written, which the reading itself brings about for what came before it.
	end := c.Now.Add(writingTime)
	if after != "" {
		if end, eq.After, err = readPlace(after); err != nil {
			return err
		}
	}
	if eq.To.IsZero() || eq.To.After(end) {
		eq.To = end
	}
	form := formOf(format)
	if bom && format == "csv" { // without it, Excel takes the text for one in the system's own code page
		form.open = "\ufeff" + form.open
	}
	if limit == 0 && c.Request.Method != http.MethodHead {
		if err := c.Export(); err != nil { // before a node does any work for it
			return err
		}
	}
	if limit > 0 {
		eq.Page = limit + 1 // one more tells whether there is another page
	}
	reading, err := h.Log.Read(c.Request.Context(), eq, limit == 0)
	if err != nil {
		return err
	}
	defer reading.Close()
	missing := reading.Missing()
	nameMissing(c, missing)
	events := mergeEvents(eq.Newest, reading.Streams())
	if limit > 0 {
		return sendPage(c, q, events, form, limit, end, missing)
	}
	proof := chain.Proof{Version: chain.Version, Time: c.Now.UTC(), Account: string(eq.Account), Order: "asc", Query: q.Filters(), Keys: reading.Keys(), Missing: missing}
	return sendStream(c, events, form, ordered(&proof, &eq), reading)
}

// ordered states the order and the beginning of an export in its proof.
func ordered(p *chain.Proof, eq *store.EventQuery) *chain.Proof {
	if eq.Newest {
		p.Order = "desc"
	}
	if !eq.From.IsZero() {
		p.From = eq.From.UnixMilli()
	}
	return p
}

// writingTime is how long after a request the events before it may be written.
const writingTime = 2 * time.Second

// nameMissing puts the nodes that did not answer into a header.
func nameMissing(c *rest.Call, missing []chain.Missing) {
	var names []string
	for _, m := range missing {
		names = append(names, m.Node)
	}
	if len(names) > 0 {
		c.Writer().Header().Set(MissingNodesHeader, strings.Join(names, ", "))
	}
}

// eventForm is one way to write events.
type eventForm struct {
	suffix, mime, open, between, end string
	proof, proofEnd                  string // around the proof of an export, which stands in the place of end

	append func([]byte, *store.Event) []byte
}

func formOf(format string) eventForm {
	switch format {
	case "ndjson":
		return eventForm{"ndjson", "application/x-ndjson", "", "", "", `{"proof":`, "}\n", func(b []byte, e *store.Event) []byte { return append(AppendEvent(b, e), '\n') }}
	case "csv":
		return eventForm{"csv", "text/csv; charset=utf-8; header=present", csvHeader, "", "", "# proof ", "\r\n", newEventCSV().append}
	}
	return eventForm{"json", "application/json", `{"data":[`, ",", `],"next_cursor":null}` + "\n", `],"next_cursor":null,"proof":`, "}\n", AppendEvent}
}

// sendPage holds one page in memory: at most [rest.MaxLimit] events of a few KiB.
func sendPage(c *rest.Call, q *rest.Query, events iter.Seq2[*store.Event, error], form eventForm, limit int, end time.Time, missing []chain.Missing) error {
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
	if len(missing) > 0 && form.suffix == "json" {
		raw, err := json.Marshal(missing)
		if err != nil {
			return err
		}
		tail = strings.TrimSuffix(tail, "}\n") + `,"missing":` + string(raw) + "}\n"
	}
	return c.AnswerAs(form.mime, append(out, tail...))
}

// sendStream writes events as they come, in bounded memory.
func sendStream(c *rest.Call, events iter.Seq2[*store.Event, error], form eventForm, proof *chain.Proof, reading AuditReading) error {
	h := c.Writer().Header()
	h.Set("Content-Type", form.mime)
	h.Set("Content-Disposition", `attachment; filename="audit-logs.`+form.suffix+`"`)
	if c.Request.Method == http.MethodHead {
		return nil
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
	_, _ = w.WriteString(form.proof)
	if err := writeProof(w, proof, reading.Proof()); err != nil {
		return err
	}
	_, _ = w.WriteString(form.proofEnd)
	return w.Flush()
}

// writeProof writes a proof whose chains come in parts.
func writeProof(w *bufio.Writer, proof *chain.Proof, parts iter.Seq2[chain.Part, error]) error {
	proof.Chains = []chain.Chain{}
	raw, err := json.Marshal(proof)
	if err != nil {
		return err
	}
	const open = "]}" // of the chains, which are the last member; and of a chain's segments
	_, _ = w.Write(raw[:len(raw)-len(open)])
	chains, segments := 0, 0
	for p, err := range parts {
		if err != nil {
			return err
		}
		var v any = p.Shown
		switch {
		case p.Chain != nil:
			if chains++; chains > 1 {
				_, _ = w.WriteString(open + ",")
			}
			v, segments = p.Chain, 0
			p.Chain.Segments = []chain.Shown{}
		case segments > 0:
			_ = w.WriteByte(',')
		}
		raw, err := json.Marshal(v)
		if err != nil {
			return err
		}
		if p.Chain != nil {
			raw = raw[:len(raw)-len(open)]
		} else {
			segments++
		}
		if _, err := w.Write(raw); err != nil {
			return err
		}
	}
	if chains > 0 {
		_, _ = w.WriteString(open)
	}
	_, err = w.WriteString(open)
	return err
}

// mergeEvents merges streams that are each in the order of (Time, ID), or the reverse.
func mergeEvents(newest bool, sources []iter.Seq2[*store.Event, error]) iter.Seq2[*store.Event, error] {
	return func(yield func(*store.Event, error) bool) {
		type source struct {
			next func() (*store.Event, error, bool)
			e    *store.Event
		}
		var open []*source
		for _, s := range sources {
			next, stop := iter.Pull2(s)
			defer stop()
			e, err, ok := next()
			if err != nil {
				yield(nil, err)
				return
			}
			if ok {
				open = append(open, &source{next, e})
			}
		}
		for len(open) > 0 {
			least := 0
			for i := range open[1:] {
				if earlier(open[i+1].e, open[least].e) != newest {
					least = i + 1
				}
			}
			s := open[least]
			if !yield(s.e, nil) {
				return
			}
			e, err, ok := s.next()
			if err != nil {
				yield(nil, err)
				return
			}
			if s.e = e; !ok {
				open = append(open[:least], open[least+1:]...)
			}
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
