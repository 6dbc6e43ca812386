package fault

import (
	"fmt"
	"strings"
)

// Detail is one fault of a request, with its place. Param is a JSON pointer
// into the body (RFC 6901), the name of a query parameter, or "line N" of a body in
// lines; "" is the body as a whole.
type Detail struct {
	Param   string `json:"param"`
	Message string `json:"message"`
}

// The bounds of a fault that holds several, of which [Decode] reads 128 KiB.
const (
	maxDetails     = 500
	maxDetailBytes = 50 << 10 // as JSON, but for escapes
	detailBytes    = len(`{"param":"","message":""},`)
	maxSpoken      = 20 // of them in the message
)

// List collects the faults of one request, so that a client learns of all of them at
// once. The zero value is empty.
type List struct {
	code    Code // of the first
	details []Detail
	bytes   int // of details
	more    int // faults beyond the bounds
	only    *Error
}

// Add takes err; nil is none.
func (l *List) Add(err error) {
	if err == nil {
		return
	}
	e := From(err)
	if l.code == "" {
		l.code, l.only = e.Code, e
	} else {
		l.only = nil
	}
	l.more += e.more
	for _, d := range e.Details() {
		l.add(d)
	}
}

func (l *List) add(d Detail) {
	size := len(d.Param) + len(d.Message) + detailBytes
	if len(l.details) == maxDetails || l.bytes+size > maxDetailBytes {
		l.more++
		return
	}
	l.bytes += size
	l.details = append(l.details, d)
}

// Len is the number of faults.
func (l *List) Len() int { return len(l.details) + l.more }

// Err is nil without a fault, the fault itself if there is one, and otherwise a fault
// that names them all: the first 20 in its message, and up to 500 in its list.
func (l *List) Err() error {
	if l.only != nil {
		return l.only
	}
	if l.code == "" {
		return nil
	}
	var said []string
	for _, d := range l.details[:min(len(l.details), maxSpoken)] {
		said = append(said, strings.TrimSuffix(d.Message, "."))
	}
	if n := l.Len() - len(said); n > 0 {
		said = append(said, fmt.Sprintf("and %d more", n))
	}
	return &Error{Code: l.code, Message: strings.Join(said, "; ") + ".", Param: l.details[0].Param, Errors: l.details, more: l.more}
}

// Details lists the faults in e: its own, if it does not hold several.
func (e *Error) Details() []Detail {
	if len(e.Errors) > 0 {
		return e.Errors
	}
	return []Detail{{e.Param, e.Sentence()}}
}

// Invalid is the fault of a member of the body that was read and is wrong. Field is its
// path, such as limits.burst; "" is the body itself.
func Invalid(field, format string, args ...any) *Error {
	if field == "" {
		return Newf(InvalidValue, "The body: %s.", fmt.Sprintf(format, args...))
	}
	return InvalidAt("/"+strings.ReplaceAll(field, ".", "/"), field, format, args...)
}

// InvalidAt is [Invalid] for a value at param that the message calls field.
func InvalidAt(param, field, format string, args ...any) *Error {
	e := Newf(InvalidValue, "%s: %s.", field, fmt.Sprintf(format, args...))
	e.Param = param
	return e
}
