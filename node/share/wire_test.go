package share

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/perfgate/perfgate/limiter/pool"
	"github.com/perfgate/perfgate/limiter/share"
)

// everyItem is one of each kind, with every member set.
func everyItem() []item {
	name := pool.Name{1, 2, 3}
	terms := pool.Terms{Pace: share.Minute(60, 120), Created: 7}
	return []item{
		{kind: isFetch, name: name, terms: terms, fetch: share.Fetch{ID: 1 << 62, Need: 5, Room: 6, Demand: 1.5, Tok: -7, Part: share.One / 3, Charge: true, All: true}},
		{kind: isReply, name: name, reply: share.Reply{
			ID: 9, Tokens: 10, Held: 3, Wait: 11, State: share.State{Tok: -1, Part: 5, Demand: 0.25},
			Grants: []share.Grant{{Home: true, Stamp: 12, Part: 13}, {Stamp: 14, Part: share.One}},
		}},
		{kind: isRenew, name: name, terms: terms, renew: share.Renew{ID: 1, Stamp: 2, Part: 3}},
		{kind: isRenewed, name: name, renewed: share.Renewed{ID: 1, Stamp: 2, Part: 3, Short: 4, Left: -5}},
		{kind: isReturn, name: name, terms: terms, back: share.Return{ID: 1, Stamp: 2, Part: 3, Tokens: 4}},
		{kind: isHint, name: name, terms: terms, hint: share.State{Tok: -5, Part: 6, Demand: 2}},
	}
}

func TestWire(t *testing.T) {
	in := batch{from: 3, to: 4, items: everyItem()}
	p := in.encode()
	out, err := decode(p)
	if err != nil || !reflect.DeepEqual(in, out) {
		t.Fatalf("%v\n%+v\n%+v", err, in, out)
	}
	for i := range p {
		if _, err := decode(p[:i]); err == nil {
			t.Errorf("the first %d bytes can be read", i)
		}
	}
	if _, err := decode(append(bytes.Clone(p), 0)); err == nil {
		t.Error("a byte too many can be read")
	}
	in.owners = true
	in.items[0].terms.Owner, in.items[2].terms.Owner = 1<<63+3, 1
	if out, err := decode(in.encode()); err != nil || !reflect.DeepEqual(in, out) {
		t.Fatalf("with owners: %v\n%+v\n%+v", err, in, out)
	}
	small := (&batch{items: in.items[:1]}).encode()
	if len(small) > 70 {
		t.Errorf("a fetch has %d bytes", len(small))
	}
}

// What another node sends is within bounds before it reaches a bucket.
func TestWireBounds(t *testing.T) {
	for name, spoil := range map[string]func(*item){
		"part":       func(m *item) { m.fetch.Part = share.One + 1 },
		"need":       func(m *item) { m.fetch.Need = -1 },
		"room":       func(m *item) { m.fetch.Room = 1<<63 - 1 },
		"no rate":    func(m *item) { m.terms.Pace.Rate = 0 },
		"overflow":   func(m *item) { m.terms.Pace.Burst = 1 << 40 },
		"kind":       func(m *item) { m.kind = 77 },
		"grant":      func(m *item) { *m = everyItem()[1]; m.reply.Grants[0].Part = -1 },
		"many parts": func(m *item) { *m = everyItem()[1]; m.reply.Grants = make([]share.Grant, 65) },
		"tokens":     func(m *item) { *m = everyItem()[1]; m.reply.Tokens = -1 },
		"hint":       func(m *item) { *m = everyItem()[5]; m.hint.Part = -1 },
		"returned":   func(m *item) { *m = everyItem()[4]; m.back.Tokens = -1 },
	} {
		m := everyItem()[0]
		spoil(&m)
		if _, err := decode((&batch{items: []item{m}}).encode()); err == nil {
			t.Errorf("%s: can be read", name)
		}
	}
	if _, err := decode((&batch{items: make([]item, maxItems+1)}).encode()); err == nil {
		t.Error("a batch that is too long can be read")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add((&batch{from: 1, to: 2, items: everyItem()}).encode())
	f.Fuzz(func(t *testing.T, p []byte) {
		b, err := decode(p)
		if err != nil {
			return
		}
		again, err := decode(b.encode())
		if err != nil || len(again.items) != len(b.items) {
			t.Fatalf("what was read cannot be read again: %v", err)
		}
	})
}
