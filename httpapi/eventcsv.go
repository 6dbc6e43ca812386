package httpapi

import (
	"strconv"
	"strings"
	"time"

	"github.com/perfgate/perfgate/store"
)

// csvHeader names the columns of an export in CSV (RFC 4180).
const csvHeader = "id,seq,time,event_type,action,actor_type,actor_id,actor_name,account,key_id,target,outcome,reason," +
	"ip,country,user_agent,request_id,method,route,status,duration_ms,changes,hash\r\n"

// appendEventCSV appends e as one row.
func appendEventCSV(b []byte, e *store.Event) []byte {
	var req store.RequestInfo
	if e.Request != nil {
		req = *e.Request
	}
	b = appendCell(b, e.ID)
	b = strconv.AppendUint(append(b, ','), e.Seq, 10)
	b = e.Time.AppendFormat(append(b, ','), time.RFC3339Nano)
	for _, s := range [...]string{
		string(e.EventType), e.Action, string(e.Actor.Type), e.Actor.ID, e.Actor.Name, string(e.Account), string(e.KeyID), e.Target,
		string(e.Outcome), e.Reason, e.IP, e.Country, e.UserAgent, req.ID, req.Method, req.Route,
	} {
		b = appendCell(append(b, ','), s)
	}
	b = append(b, ',')
	if req.Status != 0 {
		b = strconv.AppendInt(b, int64(req.Status), 10)
	}
	b = append(b, ',')
	if req.DurationMS != 0 {
		b = appendFloat(b, req.DurationMS)
	}
	b = appendCell(append(b, ','), string(e.Changes))
	b = appendCell(append(b, ','), e.Hash)
	return append(b, '\r', '\n')
}

// appendCell quotes s where CSV asks for it. A cell that a spreadsheet would
// take for a formula gets an apostrophe in front: user agents and names are
// other people's words.
func appendCell(b []byte, s string) []byte {
	if s == "" {
		return b
	}
	formula := strings.IndexByte("=+-@\t\r\n", s[0]) >= 0
	if !formula && !strings.ContainsAny(s, ",\"\r\n") {
		return append(b, s...)
	}
	b = append(b, '"')
	if formula {
		b = append(b, '\'')
	}
	for {
		i := strings.IndexByte(s, '"')
		if i < 0 {
			return append(append(b, s...), '"')
		}
		b = append(append(b, s[:i]...), `""`...)
		s = s[i+1:]
	}
}
