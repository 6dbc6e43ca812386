package store

import "slices"

// keyTable is the keys as a batch leaves them. A key has three rows, which are
// written together: the whole key, its place by id, and its record for admission.
type keyTable struct {
	rows  *pending
	stale []Hash             // of keys written or removed: their cached records are old from the commit on
	grown map[AccountID]Held // by the keys written
}

// publish makes readers forget the records of the changed keys. Their rows are
// committed, and holdings has counted them.
func (kt *keyTable) publish(c *cache) {
	for i := range kt.stale {
		c.invalidate(&kt.stale[i])
	}
	kt.stale = kt.stale[:0]
	clear(kt.grown)
}

// byID returns a key and its row in table i, which is the value of its row in
// table k; nil if there is none.
func (kt *keyTable) byID(id KeyID) (k *Key, row []byte) {
	if r := kt.rows.get(named(rowKeyID, id)); r != nil {
		row = slices.Clone(r)
		k = kt.at(row)
	}
	return k, row
}

func (kt *keyTable) at(row []byte) *Key {
	value := kt.rows.get(row)
	if value == nil {
		return nil
	}
	k, err := unpackKey(value)
	if err != nil {
		kt.rows.fault(err)
		return nil
	}
	return k
}

// add writes a new key of the entry at index; n is its number among those of the entry.
func (kt *keyTable) add(k *Key, index uint64, n uint32) {
	k.Created, k.Modified = index, index
	row := keyRow(k.Account, index, n)
	kt.grow(k.Account, Held{1, kt.write(row, k)})
	kt.rows.put(named(rowKeyID, k.ID), row)
}

// put writes a key that exists.
func (kt *keyTable) put(row []byte, k *Key, index uint64) {
	k.Modified = index
	kt.replace(row, k)
}

// rehash moves a key that exists to another hash. It is the same key with the same ETag.
func (kt *keyTable) rehash(row []byte, k *Key, hash Hash, generation uint64) {
	kt.forget(&k.Hash)
	k.Hash, k.Generation = hash, generation
	kt.replace(row, k)
}

func (kt *keyTable) replace(row []byte, k *Key) {
	old := int64(len(kt.rows.get(row)))
	kt.grow(k.Account, Held{0, kt.write(row, k) - old})
}

// write writes the key and its record, and returns the size that [Held] counts.
func (kt *keyTable) write(row []byte, k *Key) (size int64) {
	p := kt.rows
	p.buf = packKey(p.buf[:0], k)
	size = int64(len(p.buf))
	p.put(row, p.buf)
	p.buf = packRecord(p.buf[:0], k)
	p.put(hashRow(nil, &k.Hash), p.buf)
	kt.stale = append(kt.stale, k.Hash)
	return size
}

// grow notes that the keys of an account take up more, or less.
func (kt *keyTable) grow(account AccountID, by Held) {
	sum := kt.grown[account]
	sum.add(by)
	kt.grown[account] = sum
}

// remove removes the rows of a key of an account that is deleted: nobody asks for its
// size any more. A hash that became another account's stays there.
func (kt *keyTable) remove(row []byte, k *Key) {
	kt.rows.delete(row)
	kt.rows.delete(named(rowKeyID, k.ID))
	if k.Imported && kt.reassigned(k) {
		kt.rows.delete(formerRow(&k.Hash, k.Account))
		return
	}
	kt.forget(&k.Hash)
}

// forget removes the record of a key for admission.
func (kt *keyTable) forget(h *Hash) {
	kt.rows.delete(hashRow(nil, h))
	kt.stale = append(kt.stale, *h)
}

// reassigned reports whether k's hash is no longer k's own.
func (kt *keyTable) reassigned(k *Key) bool {
	return kt.rows.get(formerRow(&k.Hash, k.Account)) != nil
}
