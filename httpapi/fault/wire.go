package fault

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// RequestIDHeader carries the request's id; it is set on every response before
// a fault is written, and repeated in the fault's body.
const RequestIDHeader = "X-Request-Id"

// StrictTransport tells browsers to use TLS alone from then on (RFC 6797). It is set on
// every response over TLS, for a year.
const (
	StrictTransport      = "Strict-Transport-Security"
	StrictTransportValue = "max-age=31536000"
)

// Body is the error object of a response, and the extension member "error" of a
// problem document (RFC 9457).
type Body struct {
	Type       string   `json:"type"`
	Code       Code     `json:"code"`
	Message    string   `json:"message"`
	Param      string   `json:"param,omitempty"`
	Errors     []Detail `json:"errors,omitempty"`
	RetryAfter int64    `json:"retry_after,omitempty"`
	Policy     string   `json:"policy,omitempty"`
	RequestID  string   `json:"request_id"`
}

type document struct {
	Error Body `json:"error"`
}

type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Error  Body   `json:"error"`
}

// LingerTime is how long a client may go on sending a body after the request was
// refused. The server reads it after the answer, so that the client can read that;
// without a bound a silent client would hold its connection indefinitely.
const LingerTime = 2 * time.Second

// Linger applies [LingerTime] to the rest of r's body. The server sets the
// deadline again for the next request. HTTP/2 has no such rest to read.
func Linger(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength != 0 && r.ProtoMajor == 1 {
		// A writer without deadlines (a test's) has no connection to hold.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(LingerTime))
	}
}

// Answer is a fault as it is sent.
type Answer struct {
	Status int
	Fields []Field // of the head, X-Request-Id not among them
	Body   []byte
}

// Field is a header field with its canonical name.
type Field struct{ Name, Value string }

// Render is the answer to a request with the id: status, challenge (RFC 6750 section 3),
// Retry-After and a JSON body, as a problem document if accept, the lines of the request's
// Accept, asks for one.
func Render(e *Error, requestID string, accept []string) Answer {
	b := Body{
		Type: e.Code.Type(), Code: e.Code, Message: e.Sentence(), Param: e.Param, Errors: e.Errors,
		RetryAfter: e.RetryAfter, Policy: e.Policy, RequestID: requestID,
	}
	a := Answer{Status: e.Code.Status()}
	var out any = document{b}
	media := "application/json"
	if wantsProblem(accept) {
		media = "application/problem+json"
		out = problem{"about:blank", http.StatusText(a.Status), a.Status, b.Message, b}
	}
	a.Fields = append(a.Fields, Field{"Content-Type", media}, Field{"Cache-Control", "no-store"})
	if c := Challenge(e); c != "" {
		a.Fields = append(a.Fields, Field{"Www-Authenticate", c})
	}
	if e.RetryAfter > 0 {
		a.Fields = append(a.Fields, Field{"Retry-After", strconv.FormatInt(e.RetryAfter, 10)})
	}
	if e.Allow != "" {
		a.Fields = append(a.Fields, Field{"Allow", e.Allow})
	}
	text := new(bytes.Buffer)
	_ = json.NewEncoder(text).Encode(out) // strings and numbers can always be encoded
	a.Body = text.Bytes()
	return a
}

// Write answers r with e. The response's X-Request-Id is set already.
func Write(w http.ResponseWriter, r *http.Request, e *Error) {
	h := w.Header()
	a := Render(e, h.Get(RequestIDHeader), r.Header.Values("Accept"))
	for _, f := range a.Fields {
		h.Set(f.Name, f.Value)
	}
	h.Del("Content-Length")
	h.Del("ETag")
	Linger(w, r)
	w.WriteHeader(a.Status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(a.Body) // a client that has gone needs no answer
	}
}

// Challenge is the WWW-Authenticate value for e, or "".
func Challenge(e *Error) string {
	const realm = `Bearer realm="perf"`
	switch {
	case e.Code == MissingKey:
		return realm
	case e.Code == InsufficientScope:
		return realm + `, error="insufficient_scope", scope="` + strings.Map(scopeChar, e.Scope) + `"`
	case e.Code.Status() == http.StatusUnauthorized:
		return realm + `, error="invalid_token"`
	}
	return ""
}

// scopeChar drops characters that RFC 6749 section 3.3 does not allow in a scope,
// such as the quote that would end the parameter.
func scopeChar(c rune) rune {
	if c < ' ' || c > '~' || c == '"' || c == '\\' {
		return -1
	}
	return c
}

// wantsProblem holds where a problem document is named, and JSON is not preferred to it.
func wantsProblem(accept []string) bool {
	problem, named := Accepts(accept, "application/problem+json")
	plain, _ := Accepts(accept, "application/json")
	return named && problem > 0 && problem >= plain
}

// Accepts returns the weight of a media type by the lines of an Accept header (RFC 9110
// section 12.5.1), from 0 to 1, of the most specific range that holds it. Named is true
// if the type itself stands there. Parts that cannot be read are left out.
func Accepts(accept []string, mediaType string) (weight float64, named bool) {
	family, _, _ := strings.Cut(mediaType, "/")
	best := 0
	for _, line := range accept {
		for part := range strings.SplitSeq(line, ",") {
			t, params, err := mime.ParseMediaType(part)
			if err != nil {
				continue
			}
			specific := 0
			switch t {
			case mediaType:
				specific = 3
			case family + "/*":
				specific = 2
			case "*/*":
				specific = 1
			}
			if specific <= best {
				continue
			}
			best, weight = specific, 1
			if q, err := strconv.ParseFloat(params["q"], 64); err == nil {
				weight = min(max(q, 0), 1)
			}
		}
	}
	return weight, best == 3
}

// maxBody bounds the body of an error response that Decode reads, in bytes.
const maxBody = 128 << 10

// Decode reads the fault out of a response with an error status. A body that
// is not ours becomes a fault with the status's own words.
func Decode(resp *http.Response) *Error {
	var d document
	raw, _ := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err := json.Unmarshal(raw, &d); err != nil || d.Error.Code == "" {
		e := Newf(codeFor(resp.StatusCode), "%s answered %s", resp.Request.URL.Host, resp.Status)
		e.foreign = true
		return e
	}
	return &Error{Code: d.Error.Code, Message: d.Error.Message, Param: d.Error.Param, Errors: d.Error.Errors, RetryAfter: d.Error.RetryAfter, Policy: d.Error.Policy}
}

func codeFor(status int) Code {
	switch status {
	case 404:
		return NotFound
	case 405:
		return MethodNotAllowed
	case 503:
		return Unavailable
	}
	if status >= 500 {
		return Internal
	}
	return InvalidRequest
}
