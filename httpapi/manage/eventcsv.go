package manage

import (
	"bytes"
	"encoding/csv"
	"strconv"
	"strings"
	"time"

	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/chain"
)

// csvHeader names the columns of an export in CSV (RFC 4180).
const csvHeader = "id,seq,time,event_type,action,actor_type,actor_id,actor_name,account,key_id,target,outcome,reason," +
	"ip,country,user_agent,request_id,method,route,status,duration_ms,changes,hash,path,upstream,attempts,started_at,errors,count\r\n"

// eventCSV writes events as rows of one export.
type eventCSV struct {
	buf   bytes.Buffer
	w     *csv.Writer // into buf
	cells [29]string
}

func newEventCSV() *eventCSV {
	c := &eventCSV{}
	c.w = csv.NewWriter(&c.buf)
	return c
}

// append appends e as one row.
func (c *eventCSV) append(b []byte, e *store.Event) []byte {
	var req store.EventRequest
	if e.Request != nil {
		req = *e.Request
	}
	c.cells = [29]string{
		e.ID, strconv.FormatUint(e.Seq, 10), csvTime(e.Time), string(e.EventType), e.Action,
		string(e.Actor.Type), e.Actor.ID, e.Actor.Name, string(e.Account), string(e.KeyID), e.Target,
		string(e.Outcome), e.Reason, e.IP, e.Country, e.UserAgent, req.ID, req.Method, req.Route, "", "",
		string(e.Changes), e.Hash, req.Path, req.Upstream, "", csvTime(req.StartedAt), req.Errors, "",
	}
	for i := range c.cells {
		c.cells[i] = inert(c.cells[i])
	}
	if req.Status != 0 {
		c.cells[19] = strconv.Itoa(req.Status)
	}
	if req.DurationMS != 0 {
		c.cells[20] = strconv.FormatFloat(req.DurationMS, 'f', -1, 64)
	}
	if req.Attempts != 0 {
		c.cells[25] = strconv.Itoa(req.Attempts)
	}
	if e.Count > 1 {
		c.cells[28] = strconv.FormatUint(uint64(e.Count), 10)
	}
	// The writer's own line end is set apart from the line breaks within cells,
	// which must stay as they are.
	c.buf.Reset()
	_ = c.w.Write(c.cells[:]) // a buffer takes everything
	c.w.Flush()
	return append(append(b, bytes.TrimSuffix(c.buf.Bytes(), []byte("\n"))...), '\r', '\n')
}

// csvTime is a time in UTC with milliseconds, which spreadsheets read; "" if it is zero.
// Events of versions that did not chain have finer times.
func csvTime(t time.Time) string {
	switch {
	case t.IsZero():
		return ""
	case t.Nanosecond()%int(time.Millisecond) != 0:
		return t.UTC().Format(time.RFC3339Nano)
	}
	return t.UTC().Format(chain.TimeFormat)
}

// inert puts an apostrophe in front of a cell that a spreadsheet would take for a
// formula: user agents and names are other people's text. One that begins with an
// apostrophe gets another, so that a reader can take it away again.
func inert(s string) string {
	if s != "" && strings.IndexByte("=+-@\t\r\n'", s[0]) >= 0 {
		return "'" + s
	}
	return s
}
