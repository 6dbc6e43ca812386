package httpapi

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/perfgate/perfgate/httpapi/fault"
)

// decode reads raw, one JSON object, into v: unknown and duplicate members,
// names in another case, wrong types and trailing bytes are refused, and the
// fault names the member. What a member held is never repeated: it may be a key.
func decode(raw []byte, v any) error {
	trimmed := bytes.TrimLeft(raw, " \t\r\n")
	if len(trimmed) == 0 {
		return fault.Newf(fault.InvalidJSON, "The body is empty; send a JSON object.")
	}
	err := json.Unmarshal(raw, v, json.RejectUnknownMembers(true))
	if err == nil {
		if trimmed[0] != '{' { // null decodes into anything
			return invalid("", "want a JSON object")
		}
		return nil
	}
	var own *fieldError
	var syntax *jsontext.SyntacticError
	var meaning *json.SemanticError
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		errors.As(err, &syntax)
		return fault.Newf(fault.DuplicateMember, "%s is given twice.", member(syntax.JSONPointer))
	case errors.As(err, &syntax):
		return fault.Newf(fault.InvalidJSON, "The body is not valid JSON: byte %d is unexpected.", syntax.ByteOffset)
	case errors.As(err, &meaning) && errors.Is(err, json.ErrUnknownName):
		return fault.Newf(fault.UnknownField, "%s is not a known field.", member(meaning.JSONPointer))
	case errors.As(err, &meaning) && errors.As(err, &own):
		return invalid(member(meaning.JSONPointer), "%s", *own)
	case errors.As(err, &meaning):
		return invalid(member(meaning.JSONPointer), "want %s", wanted(meaning.GoType))
	}
	return fault.Newf(fault.InvalidJSON, "The body is not valid JSON.")
}

// fieldError is a decoder's own sentence about the value of a member.
type fieldError string

func (e *fieldError) Error() string { return string(*e) }

func badField(format string, args ...any) error {
	e := fieldError(fmt.Sprintf(format, args...))
	return &e
}

// member writes a JSON pointer as people do: limits.burst, entries.3.cidr.
// Names are cut at 100 bytes.
func member(p jsontext.Pointer) string {
	var parts []string
	for t := range p.Tokens() {
		parts = append(parts, t)
	}
	s := strings.ToValidUTF8(strings.Join(parts, "."), "?")
	if len(s) > 100 {
		s = strings.ToValidUTF8(s[:100], "") + "…"
	}
	if s == "" {
		return "The body"
	}
	return s
}

// invalid is a value that was read and is wrong; field "" is the body itself.
func invalid(field, format string, args ...any) error {
	if field == "" {
		field = "The body"
	}
	return fault.Newf(fault.InvalidValue, "%s: %s.", field, fmt.Sprintf(format, args...))
}

// wanted says in words what JSON decodes into t.
func wanted(t reflect.Type) string {
	if t == nil {
		return "another type"
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t {
	case reflect.TypeFor[time.Time]():
		return "a time as RFC 3339 writes it"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64:
		return "a whole number of at most 64 bits"
	case reflect.String:
		return "a string"
	case reflect.Slice:
		return "an array"
	case reflect.Uint8: // store.KeyType
		return `"test" or "live"`
	}
	return "an object"
}

// opt is a member of a PATCH: absent, null, or a value.
type opt[T any] struct {
	Set   bool
	Null  bool
	Value T
}

// UnmarshalJSONFrom notes that the member is there.
func (o *opt[T]) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	o.Set = true
	if d.PeekKind() == 'n' {
		o.Null = true
		_, err := d.ReadToken()
		return err
	}
	return json.UnmarshalDecode(d, &o.Value)
}

// value is nil unless a value was sent.
func (o *opt[T]) value() *T {
	if !o.Set || o.Null {
		return nil
	}
	return &o.Value
}

// orZero is [opt.value] for members that null empties.
func (o *opt[T]) orZero() *T {
	if !o.Set {
		return nil
	}
	return &o.Value
}
