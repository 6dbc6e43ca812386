//go:build !race

// The race detector allocates, too.

package local

import (
	"strings"
	"testing"

	"github.com/perfgate/perfgate/store"
)

// The writer's share of the garbage of a request.
func TestWriterAllocates(t *testing.T) {
	o, d, room, w := typical(), decoder{prefix: "evt_01234567"}, eventRoom{texts: new(strings.Builder)}, watching{texts: texts{}}
	v := appendRequest(nil, o, true)
	r := record{account: []byte(o.Account), value: v}
	request, err := parseRequest(v)
	if err != nil {
		t.Fatal(err)
	}
	n := testing.AllocsPerRun(1000, func() {
		if _, err := d.eventIn(&room, owner(store.DefaultAccount), nanos(day0), 7, v); err != nil {
			t.Fatal(err)
		}
		w.hand(func(*Watched) {}, &r, &request, o.Client, Country{})
	})
	if n > 0.1 {
		t.Errorf("%v allocations a request, want one for each block of texts", n)
	}
}
