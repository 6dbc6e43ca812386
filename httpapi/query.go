package httpapi

import (
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/perfgate/perfgate/httpapi/fault"
)

// The bounds of a list's limit.
const (
	defaultLimit = 100
	maxLimit     = 1000
)

// query is a URL's query, read strictly: every parameter at most once, and none
// that the call does not know. The first thing wrong stays in err.
type query struct {
	values url.Values
	err    error
}

// query reads the call's parameters, which must be among known.
func (c *call) query(known ...string) *query {
	q := &query{}
	q.values, q.err = url.ParseQuery(c.r.URL.RawQuery)
	if q.err != nil {
		q.err = fault.Newf(fault.InvalidRequest, "The query string cannot be read.")
		return q
	}
	allowed := " " + strings.Join(known, " ") + " "
	for name, v := range q.values {
		switch {
		case name == "" || strings.Contains(name, " ") || !strings.Contains(allowed, " "+name+" "):
			q.fail(fault.Newf(fault.UnknownField, "%.64q is not a parameter of this call.", name))
		case len(v) > 1:
			q.fail(invalid(name, "is given more than once"))
		}
	}
	return q
}

func (q *query) fail(err error) {
	if q.err == nil {
		q.err = err
	}
}

// text is a parameter of at most 256 bytes, "" without it.
func (q *query) text(name string) string {
	v := q.values.Get(name)
	if len(v) > 256 {
		q.fail(invalid(name, "is longer than 256 bytes"))
	}
	return v
}

// word is a parameter that must be one of words, "" without it.
func (q *query) word(name string, words ...string) string {
	v := q.values.Get(name)
	if !q.values.Has(name) {
		return ""
	}
	for _, w := range words {
		if v == w {
			return v
		}
	}
	q.fail(invalid(name, "want one of %s", strings.Join(words, ", ")))
	return ""
}

// truth is a parameter that is true or false, false without it.
func (q *query) truth(name string) bool { return q.word(name, "true", "false") == "true" }

// limit is the page size.
func (q *query) limit() int {
	if !q.values.Has("limit") {
		return defaultLimit
	}
	n, err := strconv.Atoi(q.values.Get("limit"))
	if err != nil || n < 1 || n > maxLimit {
		q.fail(invalid("limit", "want a whole number from 1 to %d", maxLimit))
		return defaultLimit
	}
	return n
}

// instant is a parameter that is a date or an RFC 3339 time. A date stands for
// its whole UTC day: end asks for the first instant behind it.
func (q *query) instant(name string, end bool) time.Time {
	v := q.values.Get(name)
	if !q.values.Has(name) {
		return time.Time{}
	}
	if t, err := time.Parse(time.DateOnly, v); err == nil {
		if end {
			t = t.AddDate(0, 0, 1)
		}
		return t
	}
	// A "+" of a zone that was not encoded arrives as a space.
	if t, err := time.Parse(time.RFC3339Nano, strings.Replace(v, " ", "+", 1)); err == nil {
		return t.UTC()
	}
	q.fail(invalid(name, "want a date (2024-01-31) or an RFC 3339 time"))
	return time.Time{}
}
