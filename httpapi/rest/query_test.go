package rest

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/fault"
)

// asked is a call of a route with some parameters, with a query and headers in pairs.
func asked(query string, headers ...string) *Call {
	r := &http.Request{Method: "GET", URL: &url.URL{Path: "/x", RawQuery: query}, Header: http.Header{}}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return &Call{Request: r, Route: &Route{Query: []string{"a", "b", "p", "limit"}}}
}

func TestQueryIsStrict(t *testing.T) {
	for _, c := range []struct {
		query string
		code  fault.Code // "" is none
		says  string
	}{
		{"", "", ""},
		{"a=1&b=2", "", ""},
		{"a=", "", ""},
		{"c=1", fault.UnknownField, `"c" is not a parameter of this call.`},
		{"A=1", fault.UnknownField, `"A" is not a parameter of this call.`},
		{"=1", fault.UnknownField, `"" is not a parameter of this call.`},
		{"a%20b=1", fault.UnknownField, `"a b" is not a parameter of this call.`},
		{"a=1&a=1", fault.InvalidValue, "a: is given more than once."},
		{"a=1;b=2", fault.InvalidRequest, "The query string cannot be read."},
		{"a=%zz", fault.InvalidRequest, "The query string cannot be read."},
	} {
		err := asked(c.query).Query().Err()
		if c.code == "" {
			if err != nil {
				t.Errorf("%q: %v", c.query, err)
			}
		} else if err == nil || fault.From(err).Code != c.code || fault.From(err).Sentence() != c.says {
			t.Errorf("%q: %v, want %s %s", c.query, err, c.code, c.says)
		}
	}
}

// Each kind of parameter takes its own values and keeps the first fault.
func TestQueryValues(t *testing.T) {
	day := time.Date(2024, 1, 31, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		query string
		read  func(*Query) any
		want  any // nil is a fault that names p
	}{
		{"", func(q *Query) any { return q.Text("p") }, ""},
		{"p=", func(q *Query) any { return q.Text("p") }, nil},
		{"p", func(q *Query) any { return q.Text("p") }, nil},
		{"p=x", func(q *Query) any { return q.Text("p") }, "x"},
		{"", func(q *Query) any { return q.TextOrNone("p") == nil }, true},
		{"p=", func(q *Query) any { return *q.TextOrNone("p") }, ""},
		{"p=x", func(q *Query) any { return *q.TextOrNone("p") }, "x"},
		{"p=" + strings.Repeat("x", 257), func(q *Query) any { return q.TextOrNone("p") }, nil},
		{"p=" + strings.Repeat("x", 256), func(q *Query) any { return len(q.Text("p")) }, 256},
		{"p=" + strings.Repeat("x", 257), func(q *Query) any { return q.Text("p") }, nil},
		{"", func(q *Query) any { return q.OneOf("p", "a", "b") }, ""},
		{"p=b", func(q *Query) any { return q.OneOf("p", "a", "b") }, "b"},
		{"p=", func(q *Query) any { return q.OneOf("p", "a", "b") }, nil},
		{"p=B", func(q *Query) any { return q.OneOf("p", "a", "b") }, nil},
		{"", func(q *Query) any { return q.Bool("p") }, false},
		{"p=true", func(q *Query) any { return q.Bool("p") }, true},
		{"p=false", func(q *Query) any { return q.Bool("p") }, false},
		{"p=1", func(q *Query) any { return q.Bool("p") }, nil},
		{"", func(q *Query) any { return q.Instant("p", true).IsZero() }, true},
		{"p=2024-01-31", func(q *Query) any { return q.Instant("p", false) }, day},
		{"p=2024-01-31", func(q *Query) any { return q.Instant("p", true) }, day.AddDate(0, 0, 1)},
		{"p=2024-01-31T02:00:00%2B02:00", func(q *Query) any { return q.Instant("p", true) }, day},
		{"p=2024-01-31T02:00:00+02:00", func(q *Query) any { return q.Instant("p", false) }, day},
		{"p=2024-02-30", func(q *Query) any { return q.Instant("p", false) }, nil},
		{"p=", func(q *Query) any { return q.Instant("p", false) }, nil},
	} {
		q := asked(c.query).Query()
		got := c.read(q)
		if c.want == nil {
			if q.Err() == nil || !strings.HasPrefix(fault.From(q.Err()).Sentence(), "p: ") {
				t.Errorf("%.40q: %v, fault %v", c.query, got, q.Err())
			}
		} else if got != c.want || q.Err() != nil {
			t.Errorf("%.40q: %v, want %v, fault %v", c.query, got, c.want, q.Err())
		}
	}
	for query, want := range map[string]int{"": DefaultLimit, "limit=1": 1, "limit=1000": MaxLimit, "limit=0": -1, "limit=1001": -1, "limit=": -1, "limit=1.5": -1, "limit=-1": -1} {
		q := asked(query).Query()
		if n := q.Limit(); want == -1 && q.Err() == nil || want != -1 && (n != want || q.Err() != nil) {
			t.Errorf("%q: %d, %v", query, n, q.Err())
		}
	}
	q := asked("p=x&limit=0").Query()
	q.Bool("p")
	q.Limit()
	if _, err := q.Cursor(); err == nil || !strings.HasPrefix(fault.From(err).Sentence(), "p: ") {
		t.Errorf("the first fault is lost: %v", err)
	}
}

// Of several tags, the one that holds is compared by apply; weak ones never match.
func TestIfMatch(t *testing.T) {
	const now = 7
	for _, c := range []struct {
		lines []string
		want  uint64
		code  fault.Code
	}{
		{nil, 0, ""},
		{[]string{"*"}, 0, ""},
		{[]string{`"5"`}, 5, ""},
		{[]string{` "5" `}, 5, ""},
		{[]string{`"5", "7"`}, now, ""},
		{[]string{`"5"`, `"7"`}, now, ""},
		{[]string{`"7",,W/"9"`}, now, ""},
		{[]string{`"5","6"`}, 0, fault.PreconditionFailed},
		{[]string{`W/"7"`}, 0, fault.PreconditionFailed},
		{[]string{`"x"`}, 0, fault.PreconditionFailed},
		{[]string{`"07"`}, 0, fault.PreconditionFailed},
		{[]string{`"0"`}, 0, fault.PreconditionFailed},
		{[]string{""}, 0, fault.PreconditionFailed},
		{[]string{"7"}, 0, fault.InvalidRequest},
		{[]string{`"7`}, 0, fault.InvalidRequest},
		{[]string{`"5" x`}, 0, fault.InvalidRequest},
	} {
		var headers []string
		for _, line := range c.lines {
			headers = append(headers, "If-Match", line)
		}
		got, err := asked("", headers...).IfMatch(func() (uint64, error) { return now, nil })
		code := fault.Code("")
		if err != nil {
			code = fault.From(err).Code
		}
		if got != c.want || code != c.code {
			t.Errorf("%q: %d %q, want %d %q", c.lines, got, code, c.want, c.code)
		}
	}
	if _, err := asked("", "If-Match", strings.Repeat(`"1",`, 17)).IfMatch(nil); err == nil || fault.From(err).Code != fault.InvalidRequest {
		t.Errorf("17 tags: %v", err)
	}
	if _, err := asked("", "If-Match", `"1","2"`).IfMatch(func() (uint64, error) { return 0, fault.New(fault.NotFound) }); err == nil || fault.From(err).Code != fault.NotFound {
		t.Errorf("a target that does not exist: %v", err)
	}
}

// The next commands of a call have identities of their own, the same in a repeat.
func TestContinue(t *testing.T) {
	steps := func(once string) (out []any) {
		c := asked("")
		c.frame = &Frame{}
		c.Request.Method = "POST"
		if once != "" {
			c.Request.Header.Set(IdempotencyHeader, once)
		}
		if err := c.repeatable([]byte("body")); err != nil {
			t.Fatal(err)
		}
		for _, pos := range []string{"", "key_1", "key_2"} {
			if pos != "" {
				c.Continue(pos)
			}
			if c.repeat.once == nil {
				return nil
			}
			out = append(out, *c.repeat.once)
		}
		return out
	}
	first, again, other := steps("a"), steps("a"), steps("b")
	for i := range first {
		if first[i] != again[i] || first[i] == other[i] || i > 0 && first[i] == first[i-1] {
			t.Errorf("step %d: %v, in the repeat %v, of another call %v", i, first[i], again[i], other[i])
		}
	}
	if steps("") != nil {
		t.Error("a call without an Idempotency-Key becomes repeatable")
	}
}

func TestVisible(t *testing.T) {
	for s, want := range map[string]bool{"a": true, "~!": true, "abc": true, "": false, "abcd": false, "a b": false, "ü": false, "\x7f": false, "\n": false} {
		if Visible(s, 3) != want {
			t.Errorf("%q: %v", s, !want)
		}
	}
}
