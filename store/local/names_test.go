package local

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perfgate/perfgate/store"
)

// An event has the name that its key had in the minute of its writing, whatever it is called
// later. The hash covers the name, also after a restart.
func TestNamesOfKeys(t *testing.T) {
	fs, now := vfs.NewMem(), day0
	called := map[store.KeyID]string{"key_a": "Production Server", "key_long": strings.Repeat("ä", maxHint)}
	asked := 0
	cfg := Config{KeyName: func(id store.KeyID) string { asked++; return called[id] }}
	l := written(t, fs, &now, cfg)
	request := func(key store.KeyID) *Observation { return admitted(now, "default", key) }
	l.Observe(request("key_a"))
	l.Observe(request("key_a"))
	l.Observe(request("key_gone"))
	l.Observe(request("key_long"))
	o := request("key_a")
	o.Code, o.Status = "requests_per_minute", 429
	l.Observe(o)
	o = denial(now, "default", "key_revoked", 401)
	o.Key = "key_a" // with the hint of the credential
	l.Observe(o)
	o = request("key_a")
	o.Management, o.Action, o.Actor = true, "key.list", store.Actor{Type: store.ActorUser, ID: "usr_1", Name: "Ann"}
	l.Observe(o)
	must(t, l.Flush())
	if asked != 3 {
		t.Errorf("%d names were asked for in a minute, want 3", asked)
	}
	called["key_a"] = "Renamed"
	now = now.Add(time.Minute)
	l.Observe(request("key_a"))
	must(t, l.Flush())
	must(t, l.Close())

	l = written(t, fs, &now, cfg)
	report, list := exported(t, l, store.EventQuery{Account: "default"})
	if len(report.Findings) > 0 {
		t.Errorf("the proof: %+v", report)
	}
	var got []string
	for _, e := range list {
		got = append(got, fmt.Sprint(e.KeyID, " ", e.Request.Status, " ", e.Actor.Name))
	}
	long := strings.Repeat("ä", maxHint/2)
	want := []string{
		"key_a 200 Production Server", "key_a 200 Production Server", "key_gone 200 ", "key_long 200 " + long,
		"key_a 429 Production Server", "key_a 401 pk_live_0123…STUV", "key_a 200 Ann", "key_a 200 Renamed",
	}
	slices.Sort(got) // events of one moment are in any order
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for user, n := range map[string]int{"Production Server": 3, "Renamed": 1, "key_a": 5, "Ann": 1, "Nobody": 0} {
		if list := collect(t, l, store.EventQuery{User: user}); len(list) != n {
			t.Errorf("user %s: %d events, want %d", user, len(list), n)
		}
	}
}

// The names that are looked up in a minute are bounded.
func TestNamesAreBounded(t *testing.T) {
	now := day0
	l := open(t, Config{Clock: func() time.Time { return now }, KeyName: func(id store.KeyID) string { return "name of " + string(id) }})
	var n names
	name := func(i int) string {
		v, err := parseRequest(appendRequest(nil, admitted(now, "default", store.KeyID(fmt.Sprint("key_", i))), true))
		must(t, err)
		return n.name(l, &v, nanos(now))
	}
	for i := range maxNames {
		if got := name(i); got != fmt.Sprint("name of key_", i) {
			t.Fatalf("key %d: %q", i, got)
		}
	}
	if got := name(maxNames); got != "" || len(n.of) != maxNames {
		t.Errorf("one more: %q, %d are kept", got, len(n.of))
	}
	if got := name(0); got == "" {
		t.Error("a known name was forgotten")
	}
	now = now.Add(time.Minute)
	if got := name(maxNames); got == "" || len(n.of) != 1 {
		t.Errorf("in the next minute: %q, %d are kept", got, len(n.of))
	}
}
