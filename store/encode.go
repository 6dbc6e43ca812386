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
}

// head lists these members.
var head = func() (list []headMember) {
	t := reflect.TypeFor[Command]()
	for i := range t.NumField() {
		if tag := t.Field(i).Tag.Get("json"); tag != "-" {
			name, _, _ := strings.Cut(tag, ",")
			list = append(list, headMember{name, i})
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

// encodeOptions hold for the head and the change.
var encodeOptions = json.JoinOptions(jsontext.AllowInvalidUTF8(true), json.Deterministic(true))

// decodeOptions hold for a change and all that it contains.
var decodeOptions = json.RejectUnknownMembers(true)

// Encode writes c's wire form. Invalid UTF-8, which can reach a command in a
// client's User-Agent, becomes U+FFFD.
//
// It joins the texts of the head and of the change: a hook for the whole command would
// have the library validate and copy each of them once more.
func (c *Command) Encode() []byte {
	name := c.Kind()
	if name == "" {
		panic(fmt.Sprintf("BUG: %T is not registered as a change", c.Change))
	}
	type members Command // without the methods of Command
	head, change := encodeValue((*members)(c)), encodeValue(c.Change)
	out := make([]byte, 0, 1+len(head)+len(`,"":`)+len(name)+len(change)+1)
	out = append(out, commandVersion)
	out = append(out, head[:len(head)-1]...) // never empty: "at" is always there
	out = append(out, `,"`...)
	out = append(out, name...)
	out = append(out, `":`...)
	out = append(out, change...)
	return append(out, '}')
}

func encodeValue(v any) []byte {
	b, err := json.Marshal(v, encodeOptions)
	if err != nil {
		panic("BUG: a command that cannot be encoded: " + err.Error())
	}
	return b
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
