package manage

import (
	"bytes"
	"encoding/csv"
	"strconv"
	"strings"
	"time"

	"github.com/perfgate/perfgate/store"
)

// csvHeader names the columns of an export in CSV (RFC 4180).
const csvHeader = "id,seq,time,event_type,action,actor_type,actor_id,actor_name,account,key_id,target,outcome,reason," +
	"ip,country,user_agent,request_id,method,route,status,duration_ms,changes,hash,path,upstream,attempts\r\n"

// eventCSV writes events as rows of one export.
type eventCSV struct {
	buf   bytes.Buffer
	w     *csv.Writer // into buf
	cells [26]string
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
	c.cells = [26]string{
		e.ID, strconv.FormatUint(e.Seq, 10), e.Time.Format(time.RFC3339Nano), string(e.EventType), e.Action,
		string(e.Actor.Type), e.Actor.ID, e.Actor.Name, string(e.Account), string(e.KeyID), e.Target,
		string(e.Outcome), e.Reason, e.IP, e.Country, e.UserAgent, req.ID, req.Method, req.Route, "", "",
		string(e.Changes), e.Hash, req.Path, req.Upstream, "",
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
	// The writer's own line end is set apart from the line breaks within cells,
	// which must stay as they are.
	c.buf.Reset()
	_ = c.w.Write(c.cells[:]) // a buffer takes everything
	c.w.Flush()
	return append(append(b, bytes.TrimSuffix(c.buf.Bytes(), []byte("\n"))...), '\r', '\n')
}

// inert puts an apostrophe in front of a cell that a spreadsheet would take for a
// formula: user agents and names are other people's text.
func inert(s string) string {
	if s != "" && strings.IndexByte("=+-@\t\r\n", s[0]) >= 0 {
		return "'" + s
	}
	return s
}
