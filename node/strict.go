package node

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// check walks one layer beside the type it will be decoded into, and reports
// every unknown name and every value of another kind.
func (l *loader) check(v any, t reflect.Type, key string, from func(string) string) {
	report := func(want string) {
		l.fault(from(key), key, v, want)
	}
	switch {
	case t.Kind() == reflect.Pointer:
		l.check(v, t.Elem(), key, from)
		return
	case leaf(v, t):
		if _, err := convert(v, t); err != nil {
			report(err.Error())
		}
		return
	}
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		table, ok := v.(map[string]any)
		if !ok {
			report("want a table")
			return
		}
		for _, name := range slices.Sorted(maps.Keys(table)) {
			sub := name
			if key != "" {
				sub = key + "." + name
			}
			if t.Kind() == reflect.Map {
				l.check(table[name], t.Elem(), sub, from)
				continue
			}
			f, ok := field(t, name)
			if !ok {
				l.fault(from(sub), sub, table[name], unknownKey(t, name))
				continue
			}
			l.check(table[name], f.Type, sub, from)
		}
	case reflect.Slice:
		list, ok := v.([]any)
		if !ok {
			report(`want a list in brackets, such as ["a", "b"]`)
			return
		}
		for i, e := range list {
			l.check(e, t.Elem(), fmt.Sprintf("%s[%d]", key, i), func(string) string { return from(key) })
		}
	}
}

// leaf tells whether convert reads a t whole.
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

// unknownKey says that name is none of t's, and which ones are.
func unknownKey(t reflect.Type, name string) string {
	var names []string
	plain := func(s string) string { return strings.ToLower(strings.NewReplacer("-", "", "_", "").Replace(s)) }
	for i := range t.NumField() {
		f := t.Field(i)
		n := f.Tag.Get("koanf")
		if !f.IsExported() || n == "" || n == "-" {
			continue
		}
		if plain(n) == plain(name) {
			return fmt.Sprintf("unknown key; did you mean %q?", n)
		}
		names = append(names, n)
	}
	slices.Sort(names)
	return "unknown key; known here are " + strings.Join(names, ", ")
}
