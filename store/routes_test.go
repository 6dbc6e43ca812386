package store

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A store that cannot read the routes of keys lets none of them be used, rather
// than all.
func TestRoutesWithoutCompiler(t *testing.T) {
	h := begun(t)
	k := newKey("a")
	k.Routes = []string{"/v1/"}
	h.must(&Command{Change: &KeyCreate{Key: k}})
	r, err := h.Lookup(k.Hash)
	if err != nil || r.Routes == nil || r.Routes.Allow("GET", "/v1/", "/v1/") {
		t.Fatalf("%+v %v: a restriction that cannot be read restricts nothing", r, err)
	}
	h.must(create("b"))
	if r, err := h.Lookup(hashOf("b")); err != nil || r.Routes != nil {
		t.Fatalf("%+v %v: a key without routes is restricted", r, err)
	}
}

// The routes of a key are compiled when its record is read, not when it is
// asked for, and once for all keys with the same settings.
func TestRoutesAreCompiledOnce(t *testing.T) {
	compiled := 0
	s, err := Open(Config{FS: vfs.NewMem(), Dir: "state", Routes: func(list []string) Routes { compiled++; return routeList(list) }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	row := func(name string, routes []string) string {
		k := newKey(name)
		k.Routes = routes
		_, _, extra, err := unpackRecord(new(Record), string(packRecord(nil, &k)))
		if err != nil {
			t.Fatal(err)
		}
		return extra
	}
	var first *Extra
	for i := range 3 {
		e, cost, err := s.cache.extras.intern(row(fmt.Sprint(i), []string{"/v1/", "/v2/"}))
		if err != nil || compiled != 1 || e.Routes == nil || first != nil && e != first {
			t.Fatalf("key %d: %+v %v, compiled %d times", i, e, err, compiled)
		}
		if first == nil && cost < 2*routeBytes {
			t.Errorf("two routes cost %d bytes", cost)
		}
		first = e
	}
	if e, _, err := s.cache.extras.intern(row("x", []string{"/v3/"})); err != nil || compiled != 2 || !e.Routes.Allow("", "", "/v3/") {
		t.Fatalf("other routes: %+v %v, compiled %d times", e, err, compiled)
	}
	if _, _, err := unpackExtra(strings.Repeat("\xff", 40), nil); err == nil {
		t.Error("a damaged row is read")
	}
}
