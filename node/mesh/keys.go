package mesh

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
)

func checkKeys(keys [][]byte) error {
	if len(keys) == 0 {
		return errors.New("BUG: no gossip key")
	}
	for _, k := range keys {
		if len(k) != 32 {
			return fmt.Errorf("BUG: a gossip key of %d bytes; want 32", len(k))
		}
	}
	return nil
}

// SetKeys puts others in place of the gossip keys: the first encrypts from now
// on, what was encrypted with any of them is accepted. To change a key, first
// add the new one everywhere, then make it the first everywhere, then take the
// old one away.
func (g *Members) SetKeys(keys [][]byte) error {
	if err := checkKeys(keys); err != nil {
		return err
	}
	g.keysMu.Lock()
	defer g.keysMu.Unlock()
	for _, k := range keys {
		if err := g.ring.AddKey(k); err != nil {
			return fmt.Errorf("gossip keys: %w", err)
		}
	}
	if err := g.ring.UseKey(keys[0]); err != nil {
		return fmt.Errorf("gossip keys: %w", err)
	}
	// memberlist 0.7.0 removes a key in place, under the eyes of those who read the
	// list, unless it is the last one. So the list is cut from its end, and what was
	// to stay is added again; a packet that comes in these microseconds is lost.
	old := slices.Clone(g.ring.GetKeys())
	first := slices.IndexFunc(old, func(k []byte) bool { return !contains(keys, k) })
	if first < 0 {
		return nil
	}
	for _, k := range slices.Backward(old[first:]) {
		if err := g.ring.RemoveKey(k); err != nil {
			return fmt.Errorf("gossip keys: %w", err)
		}
	}
	for _, k := range keys {
		if err := g.ring.AddKey(k); err != nil {
			return fmt.Errorf("gossip keys: %w", err)
		}
	}
	return nil
}

func contains(keys [][]byte, k []byte) bool {
	return slices.ContainsFunc(keys, func(x []byte) bool { return bytes.Equal(x, k) })
}
