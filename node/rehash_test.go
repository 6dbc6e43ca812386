package node

import (
	"fmt"
	"testing"

	"github.com/perfgate/perfgate/store"
)

// Keys of a proposal that failed wait again, within the bound, but not after another rotation.
func TestMoverTakesBack(t *testing.T) {
	t.Parallel()
	m := new(mover)
	move := func(generation uint64, keys int) {
		for i := range keys {
			m.Move(generation, store.Rehash{ID: store.KeyID(fmt.Sprint("key_", i)), Hash: store.Hash{1}})
		}
	}
	move(1, store.MaxRehash+1)
	c := m.take()
	if len(c.Keys) != store.MaxRehash || len(m.keys) != 1 {
		t.Fatalf("%d keys taken, %d left", len(c.Keys), len(m.keys))
	}
	m.back(c)
	if again := m.take(); len(again.Keys) != store.MaxRehash || again.Generation != 1 || again.Keys[0].Hash != (store.Hash{1}) || len(m.keys) != 1 {
		t.Errorf("%d keys taken again, %d left", len(again.Keys), len(m.keys))
	}
	move(2, maxMoving-1)
	m.back(c) // of generation 1
	if len(m.keys) != maxMoving-1 {
		t.Errorf("keys of another generation came back: %d", len(m.keys))
	}
	m.back(&store.KeysRehash{Generation: 2, Keys: []store.Rehash{{ID: "key_x"}, {ID: "key_y"}}})
	if len(m.keys) != maxMoving {
		t.Errorf("%d keys wait", len(m.keys))
	}
}
