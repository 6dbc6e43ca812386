package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/perfgate/perfgate/store/snapshot"
)

// Dump is the whole state at one applied index but for some keys (see withoutKeys), as a
// stream that [snapshot.NewReader] reads. It costs no disk space and next to no memory, but
// keeps the files of its beginning from being removed: read it and close it.
type Dump struct {
	io.ReadCloser
	Applied   uint64
	ClusterID string
}

// Dump begins a dump of the current state; everything else goes on meanwhile.
//
// One iterator reads all of it, the index included, and sees the rows of one
// moment; and since every batch carries its applied index, that index is theirs.
// (A database snapshot is not as good: a restore beside it takes rows out of it.)
func (s *Store) Dump() (_ *Dump, err error) {
	it, err := s.iterate(nil)
	if err != nil {
		return nil, fmt.Errorf("dump the state: %w", err)
	}
	d := new(Dump)
	if err := d.begin(it); err != nil {
		return nil, fmt.Errorf("dump the state: %w", errors.Join(err, it.Close()))
	}
	d.ReadCloser = snapshot.Stream(it, d.Applied, withoutKeys)
	return d, nil
}

func (d *Dump) begin(it *pebble.Iterator) error {
	read := func(row []byte, use func([]byte) error) error {
		if !it.SeekGE(row) || string(it.Key()) != string(row) {
			return it.Error()
		}
		v, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		return use(v)
	}
	err := read(appliedRow, func(v []byte) error {
		index, _, err := unpackApplied(v)
		d.Applied = index
		return err
	})
	if err != nil {
		return err
	}
	return read(settingsRow, func(v []byte) error {
		var set settings
		err := json.Unmarshal(v, &set)
		d.ClusterID = set.ClusterID
		return err
	})
}

// withoutKeys is the value of a row in a dump: without the private key of the cluster's
// certificate authority and the keys of its gossip. With them, whoever has a backup
// could make itself a member of the cluster that runs. A restored cluster makes others; the
// certificate stays, by which a restore recognises the nodes of the old one.
func withoutKeys(key, value []byte) ([]byte, error) {
	if !bytes.Equal(key, settingsRow) {
		return value, nil
	}
	var set settings
	if err := json.Unmarshal(value, &set); err != nil {
		return nil, fmt.Errorf("dump the settings: %w", err)
	}
	if set.CAKey == nil && set.Gossip == nil {
		return value, nil
	}
	set.CAKey, set.Gossip = nil, nil
	return json.Marshal(&set, json.Deterministic(true), jsontext.AllowInvalidUTF8(true)) // as pending.json does
}

// Carried reports whether a row of a backup belongs in the restored state.
// The results of repeatable requests do not: a client that repeats one asks for
// it to be done, and the backup does not show whether its effect is there.
func Carried(row []byte) bool {
	return len(row) > 0 && row[0] != rowOnce && row[0] != rowOnceAge
}
