package rest

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/fault"
)

// Decode reads raw, one JSON object, into v: unknown and duplicate members,
// names in another case, wrong types and trailing bytes are refused, and the
// fault names the members, all at once as far as the body can be read. The value of a
// member is never repeated: it may be a key.
func Decode(raw []byte, v any) error {
	var faults fault.List
	decodeAll(raw, v, &faults)
	return faults.Err()
}

// The bounds of the search for further faults: each one takes another decoding.
const (
	maxFaults     = 20
	maxFaultsBody = 64 << 10 // bytes
)

// decodeAll is [Decode] with the faults in a list. Whole is true if v holds all of the body
// but the members that the pointers name, which could not be read.
func decodeAll(raw []byte, v any, faults *fault.List) (dropped []jsontext.Pointer, whole bool) {
	for {
		f, at := decode(raw, v)
		if f == nil {
			return dropped, true
		}
		if at == "" { // a body of one fault: one that is no JSON, for example
			faults.Add(f)
			return nil, false
		}
		if len(dropped) == 0 {
			var any jsontext.Value
			if f, _ := decode(raw, &any); f != nil {
				faults.Add(f) // further on there is one of these
				return nil, false
			}
		}
		faults.Add(f)
		if dropped = append(dropped, at); len(raw) > maxFaultsBody || len(dropped) == maxFaults {
			return dropped, false
		}
		var ok bool
		if raw, ok = without(raw, slices.Collect(at.Tokens())); !ok {
			return dropped, false
		}
		reflect.ValueOf(v).Elem().SetZero()
	}
}

// without returns raw, an object or an array, without the member that path leads to. Of
// an array with a wrong element nothing is left: the others would move.
func without(raw jsontext.Value, path []string) (jsontext.Value, bool) {
	var list []jsontext.Value
	if len(path) > 1 && json.Unmarshal(raw, &list) == nil {
		i, err := strconv.Atoi(path[0])
		if err != nil || i < 0 || i >= len(list) {
			return nil, false
		}
		element, ok := without(list[i], path[1:])
		if !ok {
			return nil, false
		}
		list[i] = element
		out, err := json.Marshal(list)
		return out, err == nil
	}
	var object map[string]jsontext.Value
	if len(path) == 0 || json.Unmarshal(raw, &object) != nil || object[path[0]] == nil {
		return nil, false
	}
	inner, ok := without(object[path[0]], path[1:])
	if ok {
		object[path[0]] = inner
	} else {
		delete(object, path[0])
	}
	out, err := json.Marshal(object, json.Deterministic(true))
	return out, err == nil
}

// decode reads raw into v, up to its first fault. The pointer is the place of one that
// the rest of the body can be read without.
func decode(raw []byte, v any) (*fault.Error, jsontext.Pointer) {
	trimmed := bytes.TrimLeft(raw, " \t\r\n")
	if len(trimmed) == 0 {
		return fault.Newf(fault.InvalidJSON, "The body is empty; send a JSON object."), ""
	}
	err := json.Unmarshal(raw, v, json.RejectUnknownMembers(true), json.WithUnmarshalers(texts))
	if err == nil {
		if trimmed[0] != '{' { // null decodes into anything
			return fault.Invalid("", "must be a JSON object"), ""
		}
		return nil, ""
	}
	var own *fieldError
	var syntax *jsontext.SyntacticError
	var meaning *json.SemanticError
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		errors.As(err, &syntax)
		f := fault.Newf(fault.DuplicateMember, "%s is given twice.", member(syntax.JSONPointer))
		f.Param = param(syntax.JSONPointer)
		return f, ""
	case errors.As(err, &syntax):
		return fault.Newf(fault.InvalidJSON, "The body is not valid JSON: byte %d is unexpected.", syntax.ByteOffset), ""
	case errors.As(err, &meaning) && errors.Is(err, json.ErrUnknownName):
		f := fault.Newf(fault.UnknownField, "%s is not a known field.", member(meaning.JSONPointer))
		f.Param = param(meaning.JSONPointer)
		return f, meaning.JSONPointer
	case errors.As(err, &meaning) && errors.As(err, &own):
		return fault.InvalidAt(param(meaning.JSONPointer), member(meaning.JSONPointer), "%s", *own), meaning.JSONPointer
	case errors.As(err, &meaning):
		return fault.InvalidAt(param(meaning.JSONPointer), member(meaning.JSONPointer), "must be %s", jsonType(meaning.GoType)), meaning.JSONPointer
	}
	return fault.Newf(fault.InvalidJSON, "The body is not valid JSON."), ""
}

// texts reads a map of texts. A null in it is refused: it would be stored as an empty text,
// and a client that sends it means something else, such as that the name shall go.
var texts = json.UnmarshalFromFunc(func(d *jsontext.Decoder, to *map[string]string) error {
	if d.PeekKind() == 'n' {
		return errors.ErrUnsupported // as any null is read
	}
	var read map[string]*string
	if err := json.UnmarshalDecode(d, &read); err != nil {
		return err
	}
	*to = make(map[string]string, len(read))
	for _, name := range slices.Sorted(maps.Keys(read)) {
		if read[name] == nil {
			return BadField("the value of %s is null; leave the name out, or send a text", Quote(name, 64))
		}
		(*to)[name] = *read[name]
	}
	return nil
})

// param is p as a fault shows it: keys in it are masked, and it is cut at 200 bytes.
func param(p jsontext.Pointer) string {
	s := apikey.Mask(strings.ToValidUTF8(string(p), "?"))
	if len(s) > 200 {
		s = strings.ToValidUTF8(s[:200], "") + "…"
	}
	return s
}

// fieldError is a decoder's own sentence about the value of a member.
type fieldError string

func (e *fieldError) Error() string { return string(*e) }

// BadField is the error of a decoder's own sentence about the value of a member,
// such as "must be a number".
func BadField(format string, args ...any) error {
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
	s := apikey.Mask(strings.ToValidUTF8(strings.Join(parts, "."), "?"))
	if len(s) > 100 {
		s = strings.ToValidUTF8(s[:100], "") + "…"
	}
	if s == "" {
		return "The body"
	}
	return s
}

// Invalid is a value of the body that was read and is wrong; see [fault.Invalid].
func Invalid(field, format string, args ...any) error { return fault.Invalid(field, format, args...) }

// InvalidMember is [Invalid] for the member called name of the object field, where the
// client has chosen the name.
func InvalidMember(field, name, format string, args ...any) error {
	p := jsontext.Pointer("/" + field).AppendToken(name)
	return fault.InvalidAt(param(p), member(p), format, args...)
}

// InvalidQuery is [Invalid] for a query parameter.
func InvalidQuery(name, format string, args ...any) error {
	return fault.InvalidAt(name, name, format, args...)
}

// jsonType describes the JSON values that decode into t.
func jsonType(t reflect.Type) string {
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

// Opt is a member of a PATCH: absent, null, or a value.
type Opt[T any] struct {
	Set   bool
	Null  bool
	Value T
}

// UnmarshalJSONFrom notes that the member is there.
func (o *Opt[T]) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	o.Set = true
	if d.PeekKind() == 'n' {
		o.Null = true
		_, err := d.ReadToken()
		return err
	}
	return json.UnmarshalDecode(d, &o.Value)
}

// Get is nil unless a value was sent.
func (o *Opt[T]) Get() *T {
	if !o.Set || o.Null {
		return nil
	}
	return &o.Value
}

// OrZero is [Opt.Get] for members that null empties.
func (o *Opt[T]) OrZero() *T {
	if !o.Set {
		return nil
	}
	return &o.Value
}
