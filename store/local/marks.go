package local

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

func markKey(name string) []byte { return append([]byte{rowMark}, name...) }

// Mark reads a mark of the node's own; nil if it was never set.
func (l *Local) Mark(name string) ([]byte, error) {
	if err := l.enter(); err != nil {
		return nil, err
	}
	defer l.leave()
	v, err := l.get(markKey(name))
	if err != nil {
		return nil, fmt.Errorf("read mark %q: %w", name, err)
	}
	return v, nil
}

// SetMark stores a mark. With sync it survives a power loss once SetMark has
// returned; without, a second may be lost. The largest, the limiter's levels at
// a clean stop, has some 30 bytes for each bucket in use.
func (l *Local) SetMark(name string, value []byte, sync bool) error {
	if err := l.enter(); err != nil {
		return err
	}
	defer l.leave()
	if err := l.db.Set(markKey(name), value, durable(sync)); err != nil {
		return fmt.Errorf("set mark %q: %w", name, err)
	}
	if !sync {
		l.unsynced.Store(true)
	}
	return nil
}

func durable(sync bool) *pebble.WriteOptions {
	if sync {
		return pebble.Sync
	}
	return pebble.NoSync
}

// get reads a row whole; nil if there is none.
func (l *Local) get(key []byte) ([]byte, error) {
	v, closer, err := l.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer closer.Close()
	return append([]byte{}, v...), nil
}
