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
			return fmt.Errorf("BUG: a gossip key has %d bytes; must be 32", len(k))
		}
	}
	return nil
}

// SetKeys replaces the gossip keys. The first one encrypts from now on; packets
// encrypted with any of them are accepted. To change the key, first add the new one
// on all nodes, then make it the first on all nodes, then remove the old one.
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
	// memberlist 0.7.0 removes a key in place, while others read the list, unless the
	// key is the last one. So the list is cut from its end, and the keys to keep are
	// added again; a packet that arrives in these microseconds is lost.
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
