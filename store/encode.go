package store

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// commandVersion is the wire form's first byte. A change that an older node
// would misread needs a new one; so does a new member, since decoding is strict.
const commandVersion = 1

// ErrUnknownCommand is the fault of a command that this version of perfgate
// cannot read. Nothing may be applied after it.
var ErrUnknownCommand = errors.New("the log holds a command that this version of perfgate does not know; start a newer one")

// headMember is a member of a command's wire form beside the change.
type headMember struct {
	name  string // on the wire
	field int    // of [Command]
	omit  bool   // leave out a zero value
}

// head lists these members in the order in which they are written.
var head = func() (list []headMember) {
	t := reflect.TypeFor[Command]()
	for i := range t.NumField() {
		if tag := t.Field(i).Tag.Get("json"); tag != "-" {
			name, options, _ := strings.Cut(tag, ",")
			list = append(list, headMember{name, i, options == "omitzero"})
		}
	}
	return list
}()

// inHead finds the member called name.
func inHead(name []byte) (headMember, bool) {
	for _, m := range head {
		if m.name == string(name) {
			return m, true
		}
	}
	return headMember{}, false
}

// MarshalJSONTo implements [json.MarshalerTo]. It writes the members one by one: to
// leave that to the library takes an embedded map or a hook for the interface, which
// it looks up for every value inside.
func (c *Command) MarshalJSONTo(enc *jsontext.Encoder) error {
	name := c.Kind()
	if name == "" {
		return fmt.Errorf("%T is not registered as a change", c.Change)
	}
	err := enc.WriteToken(jsontext.BeginObject)
	v := reflect.ValueOf(c).Elem()
	for _, m := range head {
		if f := v.Field(m.field); !m.omit || !f.IsZero() {
			err = errors.Join(err, enc.WriteToken(jsontext.String(m.name)), json.MarshalEncode(enc, f.Addr().Interface()))
		}
	}
	return errors.Join(err, enc.WriteToken(jsontext.String(name)), json.MarshalEncode(enc, c.Change), enc.WriteToken(jsontext.EndObject))
}

// UnmarshalJSONFrom implements [json.UnmarshalerFrom]. A member that is not known
// is an error, and so is a command without exactly one change.
func (c *Command) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if k := dec.PeekKind(); k != '{' {
		return errors.New("it is not a JSON object")
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	*c = Command{}
	changes := 0
	name := make([]byte, 0, 32)
	for dec.PeekKind() != '}' {
		quoted, err := dec.ReadValue()
		if err != nil {
			return err
		}
		if name, err = jsontext.AppendUnquote(name[:0], quoted); err != nil {
			return err
		}
		var value any
		if m, ok := inHead(name); ok {
			value = reflect.ValueOf(c).Elem().Field(m.field).Addr().Interface()
		} else if kind := kinds[string(name)]; kind == nil {
			return fmt.Errorf("there is no change %q", name)
		} else if dec.PeekKind() == 'n' {
			return fmt.Errorf("the change %q is null", name)
		} else {
			c.Change = kind()
			value = c.Change
			changes++
		}
		if err := json.UnmarshalDecode(dec, value); err != nil {
			return err
		}
	}
	if changes != 1 {
		return fmt.Errorf("it has %d changes instead of one", changes)
	}
	_, err := dec.ReadToken()
	return err
}

// decodeOptions hold for a change and all that it contains.
var decodeOptions = json.RejectUnknownMembers(true)

// Encode writes c's wire form. Invalid UTF-8, which can reach a command in a
// client's User-Agent, becomes U+FFFD.
func (c *Command) Encode() []byte {
	b, err := json.Marshal(c, jsontext.AllowInvalidUTF8(true), json.Deterministic(true))
	if err != nil {
		panic("BUG: a command that cannot be encoded: " + err.Error())
	}
	out := make([]byte, 0, 1+len(b))
	return append(append(out, commandVersion), b...)
}

// DecodeCommand reads the wire form strictly: a version, member or value
// that is not known is an error, and so is a command without exactly one change.
func DecodeCommand(wire []byte) (*Command, error) {
	if len(wire) == 0 {
		return nil, errors.New("decode a command: it is empty")
	}
	if wire[0] != commandVersion {
		return nil, fmt.Errorf("%w (version %d)", ErrUnknownCommand, wire[0])
	}
	c := new(Command)
	if err := json.Unmarshal(wire[1:], c, decodeOptions); err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrUnknownCommand, err)
	}
	return c, nil
}
