package fault

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func at(code Code, param, message string) error {
	return &Error{Code: code, Param: param, Message: message}
}

// One fault stays as it is; several become one that names all, with the code and the
// place of the first.
func TestList(t *testing.T) {
	var l List
	if l.Add(nil); l.Err() != nil || l.Len() != 0 {
		t.Errorf("an empty list: %v", l.Err())
	}
	only := at(UnknownField, "/a", "a is not a known field.")
	if l.Add(only); l.Err() != only {
		t.Errorf("one fault: %v", l.Err())
	}
	var more List
	more.Add(at(InvalidValue, "/b", "b: is bad."))
	more.Add(at(InvalidValue, "/c", "c: is bad."))
	l.Add(more.Err())
	got := From(l.Err())
	if got.Code != UnknownField || got.Param != "/a" || got.Message != "a is not a known field; b: is bad; c: is bad." ||
		fmt.Sprint(got.Errors) != "[{/a a is not a known field.} {/b b: is bad.} {/c c: is bad.}]" {
		t.Errorf("%+v", got)
	}
	var wrapped List
	wrapped.Add(fmt.Errorf("read: %w", errors.New("disk")))
	if got := From(wrapped.Err()); got.Code != Internal || strings.Contains(got.Sentence(), "disk") {
		t.Errorf("%+v", got)
	}
}

// A list is bounded in number and in bytes; the rest is counted, through lists of lists.
func TestListIsBounded(t *testing.T) {
	for _, size := range []int{1, 1000} {
		var l, all List
		for i := range 2 * maxDetails {
			l.Add(at(InvalidValue, fmt.Sprint("/", i), strings.Repeat("x", size)+"."))
		}
		all.Add(l.Err())
		all.Add(at(InvalidValue, "/last", "last."))
		for n, l := range map[int]*List{2 * maxDetails: &l, 2*maxDetails + 1: &all} {
			e := From(l.Err())
			if l.Len() != n || len(e.Errors) > maxDetails || !strings.HasSuffix(e.Message, fmt.Sprintf("; and %d more.", n-maxSpoken)) {
				t.Errorf("%d of %d faults, %d listed: …%s", l.Len(), n, len(e.Errors), e.Message[len(e.Message)-30:])
			}
			resp := write("POST", "", e)
			if read := Decode(resp); len(read.Errors) != len(e.Errors) || read.Param != "/0" || len(read.Errors) < 40 {
				t.Errorf("a client reads %d faults of %d", len(read.Errors), len(e.Errors))
			}
		}
	}
}
