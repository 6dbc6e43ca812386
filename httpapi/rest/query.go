package rest

import (
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/perfgate/perfgate/httpapi/fault"
)

// The bounds of a list's limit.
const (
	DefaultLimit = 100
	MaxLimit     = 1000
)

// Query is a URL's query, read strictly: every parameter at most once, and none
// that the call does not know. It collects the faults; a value that is wrong is zero
// or its default.
type Query struct {
	call   *Call
	values url.Values
	faults fault.List
}

// Query reads the call's parameters, which must be among those of its route.
func (c *Call) Query() *Query {
	q := &Query{call: c}
	var err error
	if q.values, err = url.ParseQuery(c.Request.URL.RawQuery); err != nil {
		q.values = nil // the part that could be read is of no use
		q.fail(fault.Newf(fault.InvalidRequest, "The query string cannot be read."))
		return q
	}
	for _, name := range slices.Sorted(maps.Keys(q.values)) {
		switch {
		case !slices.Contains(c.Route.Query, name):
			f := fault.Newf(fault.UnknownField, "%s is not a parameter of this call.", Quote(name, 64))
			f.Param = param(jsontext.Pointer(name))
			q.fail(f)
		case len(q.values[name]) > 1:
			q.fail(InvalidQuery(name, "is given more than once"))
		}
	}
	return q
}

func (q *Query) fail(err error) { q.faults.Add(err) }

// Filters are the parameters that choose what is in the answer, as they were given.
func (q *Query) Filters() map[string]string {
	out := map[string]string{}
	for name := range q.values {
		if name != "limit" && name != "cursor" {
			out[name] = q.values.Get(name)
		}
	}
	return out
}

// Err is the fault of the parameters that were read so far.
func (q *Query) Err() error { return q.faults.Err() }

// Has reports whether the parameter is there.
func (q *Query) Has(name string) bool { return q.values.Has(name) }

// Text is a parameter of 1 to 256 bytes, "" without it. An empty one is a fault: the
// client meant to filter, and a variable of its was not set.
func (q *Query) Text(name string) string {
	if q.values.Has(name) && q.values.Get(name) == "" {
		q.fail(InvalidQuery(name, "is empty; leave it out to not filter by it"))
	}
	return q.short(name)
}

// TextOrNone is a parameter of at most 256 bytes that may be empty, which stands for the
// things that have none; nil without it.
func (q *Query) TextOrNone(name string) *string {
	if !q.values.Has(name) {
		return nil
	}
	return new(q.short(name))
}

// List are the values of a parameter that holds up to most of 1 to 256 bytes, with commas
// between them; nil without it.
func (q *Query) List(name string, most int) []string {
	if !q.values.Has(name) {
		return nil
	}
	list := strings.Split(q.values.Get(name), ",")
	switch {
	case len(list) == 1 && list[0] == "":
		q.fail(InvalidQuery(name, "is empty; leave it out to not filter by it"))
	case len(list) > most:
		q.fail(InvalidQuery(name, "holds more than %d values", most))
	case slices.ContainsFunc(list, func(v string) bool { return v == "" || len(v) > 256 }):
		q.fail(InvalidQuery(name, "must be values of 1 to 256 bytes, with commas between them"))
	}
	return list
}

func (q *Query) short(name string) string {
	v := q.values.Get(name)
	if len(v) > 256 {
		q.fail(InvalidQuery(name, "is longer than 256 bytes"))
	}
	return v
}

// OneOf is a parameter that must be one of words, "" without it.
func (q *Query) OneOf(name string, words ...string) string {
	if !q.values.Has(name) {
		return ""
	}
	v := q.values.Get(name)
	if slices.Contains(words, v) {
		return v
	}
	q.fail(InvalidQuery(name, "must be one of %s", strings.Join(words, ", ")))
	return ""
}

// Bool is a parameter that is true or false, false without it.
func (q *Query) Bool(name string) bool { return q.OneOf(name, "true", "false") == "true" }

// Limit is the page size.
func (q *Query) Limit() int {
	if !q.values.Has("limit") {
		return DefaultLimit
	}
	s := q.values.Get("limit")
	n, err := strconv.Atoi(s)
	if err != nil || s[0] == '+' || n < 1 || n > MaxLimit {
		q.fail(InvalidQuery("limit", "must be a whole number from 1 to %d", MaxLimit))
		return DefaultLimit
	}
	return n
}

// Cursor is the position after which the list resumes, "" for its beginning, which an
// empty parameter stands for, too. Its
// error is the query's own, so that it is the last parameter to be read.
func (q *Query) Cursor() (string, error) {
	if err := q.Err(); err != nil {
		return "", err
	}
	return q.resume(q.values.Get("cursor"))
}

// Period is the time from one parameter up to another, of which the second must not be
// before the first; see [Query.Instant]. Either is zero without its parameter.
func (q *Query) Period(from, to string) (start, end time.Time) {
	start, end = q.Instant(from, false), q.Instant(to, true)
	if start.IsZero() || end.IsZero() {
		return start, end
	}
	if day := q.Instant(to, false); end.Before(start) || end.Equal(start) && !day.Equal(end) {
		q.fail(InvalidQuery(to, "is before %s", from))
	}
	return start, end
}

// Instant is a parameter that is a date or an RFC 3339 time, zero without it. A
// date stands for its whole UTC day: end takes the first instant after it.
func (q *Query) Instant(name string, end bool) time.Time {
	if !q.values.Has(name) {
		return time.Time{}
	}
	v := q.values.Get(name)
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
	q.fail(InvalidQuery(name, "must be a date (2024-01-31) or an RFC 3339 time"))
	return time.Time{}
}
