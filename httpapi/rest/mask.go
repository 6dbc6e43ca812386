package rest

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/ids"
)

// mask replaces each API key in the texts of cmd with its hint: a key that was pasted
// into a name, a note or a reason must not reach the log of commands, where every
// node and every backup would keep it.
func mask(cmd *store.Command) { maskValue(reflect.ValueOf(cmd)) }

// maskValue masks the strings that can be reached through exported fields. Values
// that hold no key are not written, so that they may be shared.
func maskValue(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			maskValue(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Field(i); f.CanInterface() { // it is exported; to ask its type would allocate
				maskValue(f)
			}
		}
	case reflect.Slice:
		if k := v.Type().Elem().Kind(); k < reflect.Bool || k > reflect.Complex128 { // numbers hold no text
			for i := range v.Len() {
				maskValue(v.Index(i))
			}
		}
	case reflect.Map:
		maskMap(v)
	case reflect.String:
		if s := v.String(); apikey.Holds(s) && v.CanSet() {
			v.SetString(apikey.Mask(s))
		}
	}
}

// maskMap masks a map of texts, such as metadata.
func maskMap(v reflect.Value) {
	m, ok := v.Interface().(map[string]string)
	if !ok {
		return
	}
	for name, text := range m {
		if apikey.Holds(name) {
			delete(m, name)
			name = apikey.Mask(name)
		}
		m[name] = apikey.Mask(text)
	}
}

// Quote quotes the first limit bytes of s for a message. A key in it is masked
// before it is cut: its beginning would be most of the secret.
func Quote(s string, limit int) string {
	return fmt.Sprintf("%.*q", limit, apikey.Mask(s))
}

// checkParams refuses a path whose variable segments cannot be the ids that they stand
// for, before they are stored or logged anywhere: one may be a key.
func (rt *Route) checkParams(first, second string) *fault.Error {
	wrong := first
	if apikey.Holds(second) {
		wrong = second
	}
	switch {
	case first == "":
		return nil
	case apikey.Holds(wrong):
		return fault.Newf(fault.NotFound, `%s is an API key and not an id. Nothing was changed, and the key is as valid as before. Find its id by its hint in GET /v1/keys, or revoke it with "perfgate keys revoke --stdin".`, apikey.Mask(wrong))
	case rt.IDs != "" && !IsID(first, rt.IDs) && first != string(store.DefaultAccount):
		return fault.Newf(fault.NotFound, "There is no such id: one begins with %q.", rt.IDs)
	}
	return nil
}

// pathOf is the path of a call as its event holds it: the route's, with the first segment that
// varies if that is an id. Anything else that stands in a path may be a key of another system,
// which nothing tells from a name.
func (rt *Route) pathOf(first string) string {
	begin, end := strings.IndexByte(rt.Path, '{'), strings.IndexByte(rt.Path, '}')
	if begin < 0 || rt.IDs == "" || (!IsID(first, rt.IDs) || len(first) != len(rt.IDs)+ids.Len) && first != string(store.DefaultAccount) {
		return rt.Path
	}
	return rt.Path[:begin] + first + rt.Path[end+1:]
}

// IsID holds for an id with this prefix, such as "key_": letters and digits follow.
func IsID(id, prefix string) bool {
	rest, ok := strings.CutPrefix(id, prefix)
	return ok && rest != "" && len(id) <= 64 && !strings.ContainsFunc(rest, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
}
