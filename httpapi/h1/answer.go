package h1

import (
	"bufio"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// mayHaveContent holds for statuses whose answers may have content.
func mayHaveContent(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified && status != http.StatusResetContent
}

// framesMessage holds for the fields that the server writes, not the handler.
func framesMessage(name string) bool {
	switch name {
	case "Connection", "Content-Length", "Date", "Keep-Alive", "Trailer", "Transfer-Encoding":
		return true
	}
	return strings.HasPrefix(name, http.TrailerPrefix)
}

// begin writes the beginning of the head: the status and the handler's fields. Those
// that it sets later are trailers. The rest follows once the framing is decided.
func (w *response) begin() {
	if lines := w.header["Content-Length"]; len(lines) > 0 && w.status != http.StatusResetContent {
		n, err := contentLength(lines)
		if err == nil {
			w.length = n
		} else {
			w.c.server.logger().Warn("an answer has a bad Content-Length", "addr", w.c.remote, "content_length", lines)
		}
	}
	for _, line := range w.header["Trailer"] {
		for name := range strings.SplitSeq(line, ",") {
			if name = http.CanonicalHeaderKey(trimBlanks(name)); mayTrail(name) {
				w.trailers = append(w.trailers, name)
			}
		}
	}
	bw := w.c.bw
	writeStatus(bw, w.status)
	for name, values := range w.header {
		if framesMessage(name) || !isToken(name) || slices.Contains(w.trailers, name) {
			continue
		}
		for _, v := range values {
			writeField(bw, name, v)
		}
	}
	if w.length >= 0 || !mayHaveContent(w.status) {
		w.decide()
	}
}

// decide chooses the framing of an answer whose end is not known, unless it is chosen,
// and writes the rest of the head.
func (w *response) decide() {
	switch {
	case w.framing != undecided:
		return
	case w.req.Method == http.MethodHead || !mayHaveContent(w.status):
		w.framing = none
	case w.length >= 0:
		w.framing = withLength
	case w.req.Minor == 0:
		w.framing, w.close = untilClose, true
	default:
		w.framing = inChunks
	}
	w.endHead()
}

// decideAll is decide for an answer that has ended: all of its content is held back.
func (w *response) decideAll() {
	switch {
	case len(w.trailers) > 0 || w.hasLateTrailer():
	case w.req.Method != http.MethodHead || w.written > 0:
		w.length = w.written
	}
	w.decide()
}

// given are the values of a field that whoever answers has set.
func (w *response) given(name string) []string {
	if w.fields != nil {
		return w.fields.Values(name)
	}
	return w.header[name]
}

// endHead writes the fields of the head that are the server's.
func (w *response) endHead() {
	bw := w.c.bw
	bw.WriteString("Date: ")
	if given := w.given("Date"); len(given) == 1 {
		bw.WriteString(cleanValue(given[0])) // an upstream's own
	} else {
		bw.WriteString(date(time.Now()))
	}
	switch {
	case w.status == http.StatusResetContent:
		bw.WriteString("\r\nContent-Length: 0")
	case w.framing == inChunks:
		bw.WriteString("\r\nTransfer-Encoding: chunked")
	case w.length >= 0 && mayHaveContent(w.status):
		bw.WriteString("\r\nContent-Length: ")
		bw.Write(strconv.AppendInt(bw.AvailableBuffer(), w.length, 10))
	}
	if w.framing == inChunks || w.req.Method == http.MethodHead && w.req.Minor > 0 && w.length < 0 {
		for _, name := range w.trailers {
			bw.WriteString("\r\nTrailer: ")
			bw.WriteString(name)
		}
	}
	bw.WriteString("\r\n")
	w.writeConnection()
	bw.WriteString("\r\n")
}

// writeConnection decides whether the connection is kept, and tells the client.
func (w *response) writeConnection() {
	given := w.given("Connection")
	b := w.body
	w.close = w.close || hasToken(given, "close") || w.c.server.closing.Load() ||
		b != nil && (b.state.Load() == bodyBroken || b.left.Load() > drainBytes)
	switch {
	case w.close:
		w.c.bw.WriteString("Connection: close\r\n")
	case w.req.Minor == 0:
		w.c.bw.WriteString("Connection: keep-alive\r\n")
	}
	for _, v := range given {
		if !strings.EqualFold(v, "close") && !strings.EqualFold(v, "keep-alive") {
			writeField(w.c.bw, "Connection", v)
		}
	}
}

// mayTrail holds for names that an answer's trailer may have: none that frames or routes
// a message, or says how to read its content (RFC 9110, 6.5.1).
func mayTrail(name string) bool {
	switch name {
	case "Host", "Content-Encoding", "Content-Type", "Content-Range", "Set-Cookie", "Authorization", "Www-Authenticate", "Te", "Upgrade":
		return false
	}
	return isToken(name) && !framesMessage(name)
}

func (w *response) hasLateTrailer() bool {
	for name := range w.header {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			return true
		}
	}
	return false
}

// trailer is the trailer section: the fields that were announced, and those whose names
// begin with [http.TrailerPrefix].
func (w *response) trailer() (t Fields) {
	for name, values := range w.header {
		late, ok := strings.CutPrefix(name, http.TrailerPrefix)
		late = http.CanonicalHeaderKey(late)
		if ok && !mayTrail(late) || !ok && !slices.Contains(w.trailers, name) {
			continue
		}
		for _, v := range values {
			t.Add(late, v)
		}
	}
	return t
}

// writeStatus writes a status line.
func writeStatus(bw *bufio.Writer, status int) {
	bw.WriteString("HTTP/1.1 ")
	bw.Write(strconv.AppendInt(bw.AvailableBuffer(), int64(status), 10))
	bw.WriteByte(' ')
	bw.WriteString(http.StatusText(status))
	bw.WriteString("\r\n")
}

// dated is the text of one second's Date.
type dated struct {
	second int64
	text   string
}

var lastDate atomic.Pointer[dated]

// date is the value of Date at a time.
func date(now time.Time) string {
	if d := lastDate.Load(); d != nil && d.second == now.Unix() {
		return d.text
	}
	d := &dated{now.Unix(), now.UTC().Format(http.TimeFormat)}
	lastDate.Store(d)
	return d.text
}
