package manage

import (
	"bufio"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/chain"
)

// The pace of a live tail.
const (
	tailEvery = time.Second // between two looks at all nodes
	tailQuiet = 10 * time.Second
	// tailOverlap is how far a look reaches back: nodes write the events of requests once a
	// second, and clocks that differ by more than five seconds stop a node.
	tailOverlap = 10 * time.Second
	// tailCatchUp is how far it reaches back while a node is missing: what such a node wrote
	// meanwhile is shown once it is back within that time.
	tailCatchUp = 5 * time.Minute
)

// eventStream is the media type of a live tail.
const eventStream = "text/event-stream"

// live reports whether a call asks for a live tail.
func live(c *rest.Call) bool {
	for _, value := range c.Request.Header.Values("Accept") {
		for part := range strings.SplitSeq(value, ",") {
			kind, _, _ := strings.Cut(part, ";")
			if strings.EqualFold(strings.TrimSpace(kind), eventStream) {
				return true
			}
		}
	}
	return false
}

// tail streams events as they are written, until the caller leaves or loses its right. The
// call is one event of the log itself, at its end.
func (h *Audit) tail(c *rest.Call, q store.EventQuery) error {
	if err := c.Follow(); err != nil {
		return err
	}
	if q.From.IsZero() {
		q.From = c.Now.Truncate(time.Millisecond) // as the times of events
	}
	q.Newest = false
	header := c.Writer().Header()
	header.Set("Content-Type", eventStream)
	header.Set("X-Accel-Buffering", "no") // nginx would hold the events back
	t := tailing{call: c, began: time.Now(), log: h.Log, query: q, out: c.Stream(), shown: make(map[string]store.EventPos)}
	tick := time.NewTicker(tailEvery)
	defer tick.Stop()
	for quiet := tailQuiet; ; quiet += tailEvery {
		n, err := t.look()
		if err != nil {
			return err
		}
		if n > 0 || quiet >= tailQuiet { // a comment: it ends what was found, and keeps the connection alive
			quiet = 0
			_, _ = t.out.WriteString(":\n\n")
			if err := t.out.Flush(); err != nil {
				return err
			}
		}
		select {
		case <-c.Request.Context().Done():
			return nil
		case <-tick.C:
		}
	}
}

// tailing is one live tail.
type tailing struct {
	call    *rest.Call
	began   time.Time
	log     AuditLogs
	query   store.EventQuery
	out     *bufio.Writer
	missing []chain.Missing
	line    []byte
	// shown is the last event that was shown of each stream. A stream is in the order of its
	// numbers, so that nothing before it is new. There are as many as the cluster has streams.
	shown map[string]store.EventPos
}

// look shows what was written since the last look.
func (t *tailing) look() (n int, err error) {
	now := t.call.Now.Add(time.Since(t.began))
	reading, err := t.log.Read(t.call.Request.Context(), t.query, false)
	if err != nil {
		return 0, nil // too many readings, or a node that starts: the next look shows it
	}
	defer reading.Close()
	if missing := reading.Missing(); !slices.Equal(missing, t.missing) {
		t.missing = missing
		raw, err := json.Marshal(missing)
		if err != nil {
			return 0, err
		}
		_, _ = t.out.WriteString("event: missing\ndata: " + string(raw) + "\n\n")
		n++
	}
	whole := len(t.missing) == 0
	last := make(map[string]store.EventPos, len(t.shown))
	for e, err := range mergeEvents(false, reading.Streams()) {
		if err != nil {
			whole = false
			break // of a node that went away; the next look shows the rest
		}
		at, stream := store.EventPos{Time: e.Time, ID: e.ID}, chain.StreamOf(e.ID)
		if p, ok := t.shown[stream]; ok && at.Time.Compare(p.Time) <= 0 && (at.Time.Before(p.Time) || at.ID <= p.ID) {
			continue
		}
		last[stream] = at
		n++
		t.line = append(append(append(t.line[:0], "id: "...), e.ID...), "\ndata: "...)
		t.line = append(AppendEvent(t.line, e), "\n\n"...)
		if _, err := t.out.Write(t.line); err != nil {
			return n, err
		}
	}
	for stream, p := range last {
		t.shown[stream] = p
	}
	behind := tailOverlap
	if !whole {
		behind = tailCatchUp
	}
	if from := now.Add(-behind); from.After(t.query.From) {
		t.query.From = from
	}
	return n, nil
}
