package local

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/store/chain"
)

// An event in room that others had before is the same as one in room of its own.
func TestEventsInOneRoom(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	d, enc, room := decoder{prefix: "evt_01234567"}, chain.NewEncoder(), eventRoom{texts: new(strings.Builder)}
	for i := range 2000 {
		o := typical()
		if rng.IntN(2) == 0 {
			o = &Observation{At: day0, Status: 404, Method: "GET"}
		}
		if rng.IntN(3) == 0 {
			o.Code, o.Hint = "invalid_key", "pk_live_abcd"
		}
		if rng.IntN(50) == 0 {
			o.UserAgent = "\xff" + strings.Repeat("a", rng.IntN(2*textBlock))
		}
		v := appendRequest(nil, o, true)
		want, err := d.event("acct_a", nanos(day0), uint64(i), v)
		if err != nil {
			t.Fatal(err)
		}
		got, err := d.eventIn(&room, "acct_a", nanos(day0), uint64(i), v)
		if err != nil {
			t.Fatal(err)
		}
		if a, b := fmt.Sprintf("%+v %+v", *got.Request, got.Actor), fmt.Sprintf("%+v %+v", *want.Request, want.Actor); a != b || got.Leaf(enc) != want.Leaf(enc) {
			t.Fatalf("event %d:\n%s, want\n%s", i, a, b)
		}
	}
}

// Texts that come again are the ones that were there, and their number is bounded.
func TestTexts(t *testing.T) {
	all := texts{}
	for i := range 3 * maxTexts {
		p := fmt.Append(nil, "text ", i)
		if first, again := all.of(p), all.of(p); first != string(p) || again != string(p) || len(all) > maxTexts {
			t.Fatalf("%s: %q, %d texts", p, all.of(p), len(all))
		}
	}
}
