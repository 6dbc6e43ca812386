package store

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

// unlogged are the fields of a key that its events do not compare, and why.
var unlogged = map[string]string{
	"id": "it names the event", "hash": "must not leave the store", "account": "it is the event's", "type": "never changes",
	"created_at": "it is the event's time", "lineage": "follows from replaces", "imported": "it is the event's action",
	"generation": "of the hash", "created": "bookkeeping", "modified": "bookkeeping",
}

// fields lists the fields of a key, those of embedded structs too, by JSON name.
func fields(v reflect.Value, out map[string]reflect.Value) map[string]reflect.Value {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.Anonymous {
			fields(v.Field(i), out)
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		out[name] = v.Field(i)
	}
	return out
}

// fill sets v to the n-th of two different values.
func fill(t *testing.T, v reflect.Value, n int) {
	t.Helper()
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(epoch.AddDate(n, 0, 0)))
		return
	case []netip.Prefix:
		v.Set(reflect.ValueOf([]netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("10.0.0.%d/32", n))}))
		return
	case map[string]string:
		v.Set(reflect.ValueOf(map[string]string{"a": fmt.Sprint(n)}))
		return
	case *Limits:
		v.Set(reflect.ValueOf(limitOf(int64(n), 50)))
		return
	case Hash:
		v.Set(reflect.ValueOf(Hash{byte(n)}))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprint("text", n))
	case reflect.Bool:
		v.SetBool(n == 2)
	case reflect.Uint64, reflect.Uint8:
		v.SetUint(uint64(n - 1))
	case reflect.Int64:
		v.SetInt(int64(n))
	case reflect.Slice:
		v.Set(reflect.ValueOf([]string{fmt.Sprint("item", n)}))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		if v.Elem().Kind() == reflect.Int64 {
			v.Elem().SetInt(int64(n))
		} else {
			v.Elem().Field(0).SetString(fmt.Sprint("text", n))
		}
	default:
		t.Fatalf("no two values of %v", v.Type())
	}
}

// changes decodes an event's changes.
func changes(t *testing.T, raw []byte) (before, after map[string]any) {
	t.Helper()
	var c struct{ Before, After map[string]any }
	if err := json.Unmarshal(raw, &c); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return c.Before, c.After
}

// An event lists the changes, of every field of a key, and nothing else; the hash and
// equal fields stay out.
func TestDiffOfEveryField(t *testing.T) {
	for name := range fields(reflect.ValueOf(&Key{}).Elem(), map[string]reflect.Value{}) {
		var one, two Key
		fill(t, fields(reflect.ValueOf(&one).Elem(), map[string]reflect.Value{})[name], 1)
		fill(t, fields(reflect.ValueOf(&two).Elem(), map[string]reflect.Value{})[name], 2)
		raw := diffKeys(&one, &two, false)
		before, after := changes(t, raw)
		shown := name
		if why := unlogged[name]; why != "" {
			if len(before)+len(after) != 0 {
				t.Errorf("%s (%s) is in %s", name, why, raw)
			}
			continue
		}
		if len(before) != 1 || len(after) != 1 || reflect.DeepEqual(before[shown], after[shown]) || after[shown] == nil {
			t.Errorf("%s: %s", name, raw)
		}
		if before, after := changes(t, diffKeys(&two, &two, false)); len(before)+len(after) != 0 {
			t.Errorf("%s: an equal key differs: %v %v", name, before, after)
		}
		created := diffKeys(&Key{}, &two, true)
		if before, after := changes(t, created); before != nil || after[shown] == nil || after["type"] != two.Type.String() {
			t.Errorf("%s: created: %s", name, created)
		}
		gone, _ := changes(t, diffKeys(&two, &Key{}, false))
		if _, ok := gone[shown]; !ok {
			t.Errorf("%s: its removal is not shown", name)
		}
	}
}

// Texts of people cannot break the JSON of an event.
func TestDiffQuotes(t *testing.T) {
	texts := []string{`"`, `\`, "\n\x00", "\u2028", `{"a":`, "𝕏", "a,b"}
	for _, text := range texts {
		k := Key{Name: text, Scopes: texts, Metadata: map[string]string{text: text, "b": "c"}}
		_, after := changes(t, diffKeys(&Key{}, &k, true))
		meta, _ := after["metadata"].(map[string]any)
		scopes, _ := after["scopes"].([]any)
		if after["name"] != text || meta[text] != text || meta["b"] != "c" || len(scopes) != len(texts) || scopes[0] != texts[0] {
			t.Errorf("%q: %v", text, after)
		}
	}
	if _, after := changes(t, diffKeys(&Key{}, &Key{Name: "a\xffb"}, true)); after["name"] != "a\ufffdb" {
		t.Errorf("invalid UTF-8: %q", after["name"])
	}
}

// An allowlist's event has both lengths and the first hundred that differ.
func TestDiffOfAllowlists(t *testing.T) {
	many := func(from, n int) (list []AllowEntry) {
		for i := range n {
			list = append(list, AllowEntry{CIDR: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte((from + i) >> 8), byte(from + i)}), 32)})
		}
		return list
	}
	for _, c := range []struct {
		before, after  []AllowEntry
		removed, added int
	}{
		{nil, nil, 0, 0},
		{nil, many(0, 3), 0, 3},
		{many(0, 3), nil, 3, 0},
		{many(0, 5), many(2, 5), 2, 2},
		{many(0, 300), many(150, 300), listedChanges, listedChanges},
		{[]AllowEntry{{CIDR: many(0, 1)[0].CIDR, Note: "a"}}, []AllowEntry{{CIDR: many(0, 1)[0].CIDR, Note: "b"}}, 1, 1},
	} {
		before, after := changes(t, compareAllowlists(c.before, c.after))
		removed, _ := before["removed"].([]any)
		added, _ := after["added"].([]any)
		if before["entries"] != float64(len(c.before)) || after["entries"] != float64(len(c.after)) || len(removed) != c.removed || len(added) != c.added {
			t.Errorf("%d to %d entries: %v %v", len(c.before), len(c.after), before, after)
		}
	}
}

// The events of accounts and tiers show the change, without bookkeeping.
func TestChangesInEvents(t *testing.T) {
	h := begun(t)
	last := func(action string) (before, after map[string]any) {
		t.Helper()
		var found *Event
		for e, err := range h.Events(EventQuery{Account: DefaultAccount, Action: action}) {
			if err != nil {
				t.Fatal(err)
			}
			found = e
		}
		if found == nil {
			t.Fatalf("no event %s", action)
		}
		return changes(t, found.Changes)
	}
	for _, c := range []struct {
		change        Change
		action        string
		before, after string
	}{
		{&AccountUpdate{Name: ptr("Acme")}, "account.update", "map[name:Default]", "map[name:Acme]"},
		{&AccountUpdate{Limits: limitOf(5, 6)}, "account.update", "map[limits:<nil>]", "map[limits:map[burst:<nil> requests_per_minute:5 requests_per_month:6]]"},
		{&AccountUpdate{Clear: []string{"limits"}}, "account.update", "map[limits:map[burst:<nil> requests_per_minute:5 requests_per_month:6]]", "map[limits:<nil>]"},
		{&AccountUpdate{Name: ptr("Acme")}, "account.update", "map[]", "map[]"},
		{&OperatorTokens{Hashes: []Hash{{1}, {2}}}, "operator_tokens.update", "map[operator_tokens:1]", "map[operator_tokens:2]"},
	} {
		h.must(&Command{Change: c.change})
		before, after := last(c.action)
		if fmt.Sprint(before) != c.before || fmt.Sprint(after) != c.after {
			t.Errorf("%+v: %v → %v, want %s → %s", c.change, before, after, c.before, c.after)
		}
	}
}
