package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/perfgate/perfgate/httpapi/invisible"
)

// check walks one layer beside the type it will be decoded into, and reports
// every unknown name and every value of another kind. sound is v without them; ok is
// false if nothing is left of it.
func (l *loader) check(v any, t reflect.Type, key string, from func(string) string) (sound any, ok bool) {
	report := func(reason string) (any, bool) {
		l.fault(from(key), key, v, reason)
		return nil, false
	}
	switch {
	case t.Kind() == reflect.Pointer:
		return l.check(v, t.Elem(), key, from)
	case leaf(v, t):
		if _, err := convert(v, t); err != nil {
			return report(err.Error())
		}
		return v, l.seen(v, key, from)
	}
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		table, ok := v.(map[string]any)
		if !ok {
			return report("must be a table")
		}
		return l.checkTable(table, t, key, from), true
	case reflect.Slice:
		list, ok := v.([]any)
		if !ok {
			return report(`must be a list in brackets, such as ["a", "b"]`)
		}
		whole, out := true, make([]any, 0, len(list))
		for i, e := range list {
			e, ok := l.check(e, t.Elem(), fmt.Sprintf("%s[%d]", key, i), func(string) string { return from(key) })
			whole, out = whole && ok, append(out, e)
		}
		return out, whole
	}
	return v, true
}

// seen reports the characters of a text that nobody sees; false means that there are some.
func (l *loader) seen(v any, key string, from func(string) string) bool {
	s, _ := v.(string)
	hidden := invisible.In(s, "\t\n\r")
	if hidden == "" {
		return true
	}
	if strings.Contains(key, ".headers.") || strings.Contains(s, "@") {
		v = nil // it may hold a credential
	}
	l.fault(from(key), key, v, "must not hold characters that cannot be seen, such as "+hidden)
	return false
}

func (l *loader) checkTable(table map[string]any, t reflect.Type, key string, from func(string) string) map[string]any {
	sound := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(table)) {
		sub := strings.TrimPrefix(key+"."+name, ".")
		var of reflect.Type
		if t.Kind() == reflect.Map {
			of = t.Elem()
		} else if f, ok := field(t, name); ok {
			of = f.Type
		} else {
			l.fault(from(sub), sub, table[name], unknownKey(t, key, name))
			continue
		}
		if v, ok := l.check(table[name], of, sub, from); ok {
			sound[name] = v
		}
	}
	return sound
}

// leaf tells whether convert reads the whole value.
func leaf(v any, t reflect.Type) bool {
	if _, ok := v.(string); ok && t == oneOrMoreType {
		return true
	}
	switch t.Kind() {
	case reflect.Map, reflect.Slice:
		return reflect.PointerTo(t).Implements(textType)
	case reflect.Struct:
		return t == prefixType || t == timeType || reflect.PointerTo(t).Implements(textType)
	}
	return true
}

// decodeHook is convert for mapstructure.
func decodeHook(_, to reflect.Type, v any) (any, error) {
	if to.Kind() == reflect.Pointer || to.Kind() == reflect.Interface || !leaf(v, to) {
		return v, nil
	}
	return convert(v, to)
}

// field finds the field of struct t with the exact name.
func field(t reflect.Type, name string) (reflect.StructField, bool) {
	for i := range t.NumField() {
		if f := t.Field(i); f.IsExported() && name != "-" && f.Tag.Get("koanf") == name {
			return f, true
		}
	}
	return reflect.StructField{}, false
}

// unknownKey is the fault of a name that no field of t, the table of key, has: with
// the name that was probably meant, here or in another table, or all names.
func unknownKey(t reflect.Type, key, name string) string {
	var names []string
	for i := range t.NumField() {
		if n := t.Field(i).Tag.Get("koanf"); t.Field(i).IsExported() && n != "" && n != "-" {
			names = append(names, n)
		}
	}
	meant := nearest(name, names)
	if meant == "" {
		meant = elsewhere(key, name)
	}
	if meant != "" {
		return fmt.Sprintf("unknown key; did you mean %q?", meant)
	}
	slices.Sort(names)
	return "unknown key; the keys here are " + strings.Join(names, ", ")
}

// elsewhere is the key of another table that has the name, in the table nearest to
// key's; "" if there is none.
func elsewhere(key, name string) (found string) {
	least := maxName
	for _, s := range settings {
		table, last, _ := cutLast(s.key)
		if plain(last) != plain(name) {
			continue
		}
		if d := distance(key, table); d < least {
			found, least = s.key, d
		}
	}
	return found
}

// cutLast cuts a key at its last dot.
func cutLast(key string) (table, name string, ok bool) {
	i := strings.LastIndexByte(key, '.')
	if i < 0 {
		return "", key, false
	}
	return key[:i], key[i+1:], true
}
