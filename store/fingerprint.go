package store

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"sync"
)

// LevelOfFingerprints is the level of nodes that hash what they apply.
const LevelOfFingerprints = 8

// Fingerprint is a hash over all commands that a state is made of, from the one that began it
// up to Index. Two nodes whose fingerprints up to the same index differ have applied different
// commands.
type Fingerprint struct {
	Index uint64
	Sum   Hash
}

// Begun reports whether the fingerprint has been begun: see [FingerprintBegin].
func (d Fingerprint) Begun() bool { return d.Sum != Hash{} }

// begin makes d the first fingerprint, the same on every node.
func (d *Fingerprint) begin(index uint64) {
	d.Index, d.Sum = index, sha256.Sum256(binary.BigEndian.AppendUint64([]byte("perfgate fingerprint of applied entries"), index))
}

// add takes the entry at index into d, which must have been begun. buf is scratch space,
// returned for the next call.
func (d *Fingerprint) add(index uint64, entry, buf []byte) []byte {
	if !d.Begun() {
		return buf
	}
	buf = append(binary.BigEndian.AppendUint64(append(buf[:0], d.Sum[:]...), index), entry...)
	d.Index, d.Sum = index, sha256.Sum256(buf)
	return buf
}

// FingerprintBegin begins the fingerprint of what all nodes apply from here on. It is made once in
// the life of a cluster, when all nodes can keep it.
type FingerprintBegin struct{}

func init() { register[FingerprintBegin]("fingerprint_begin") }

// traits: no caller waits for it.
func (*FingerprintBegin) traits() Traits {
	return Traits{Takes: No, Waits: No, Vital: Yes, Level: LevelOfFingerprints, Events: noEvents}
}

func (*FingerprintBegin) apply(t *txn) Result {
	if t.fingerprint.Begun() {
		return refuse(Conflict, "the fingerprint of applied entries has been begun already")
	}
	t.fingerprint.begin(t.index)
	return Result{}
}

// The row with the applied index: the index alone, or with the fingerprint up to there.
const (
	plainApplied   = 8
	printedApplied = plainApplied + len(Hash{})
)

func packApplied(index uint64, d *Fingerprint) []byte {
	row := binary.BigEndian.AppendUint64(make([]byte, 0, printedApplied), index)
	if d.Begun() {
		row = append(row, d.Sum[:]...)
	}
	return row
}

// unpackApplied reads the row; nil is that of a state without any command. The fingerprint
// counts up to the applied index: between the newest command and that are none.
func unpackApplied(row []byte) (index uint64, d Fingerprint, err error) {
	if row == nil {
		return 0, d, nil
	}
	switch len(row) {
	case printedApplied:
		copy(d.Sum[:], row[plainApplied:])
		fallthrough
	case plainApplied:
		d.Index = binary.BigEndian.Uint64(row)
		return d.Index, d, nil
	}
	return 0, d, errPacked
}

// fingerprintsKept is how many of the newest fingerprints a node remembers, to compare them with
// those of nodes that have applied less. They are some 160 KiB.
const fingerprintsKept = 4096

// fingerprints are the newest fingerprints of a store, which adds those of each batch when that is
// committed. It may be used from any goroutine.
type fingerprints struct {
	mu   sync.Mutex
	list []Fingerprint // ascending, at most fingerprintsKept of them
	to   uint64        // the applied index
}

// restart drops what was known: the state is another one. d is the newest fingerprint.
func (s *fingerprints) restart(applied uint64, d Fingerprint) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list, s.to = s.list[:0], applied
	if d.Begun() {
		s.list = append(s.list, d)
	}
}

// extend adds the fingerprints of a batch up to applied.
func (s *fingerprints) extend(applied uint64, list []Fingerprint) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.to = applied
	if len(s.list)+len(list) > 2*fingerprintsKept || cap(s.list) == 0 { // moved once in fingerprintsKept entries
		kept := s.list[max(0, len(s.list)-fingerprintsKept):]
		s.list = append(make([]Fingerprint, 0, 2*fingerprintsKept), kept...)
	}
	s.list = append(s.list, list...)
}

// Fingerprint returns the fingerprint up to the newest applied entry; one that was not begun if
// there is none.
func (s *fingerprints) Fingerprint() Fingerprint {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.list) == 0 {
		return Fingerprint{}
	}
	return Fingerprint{s.to, s.list[len(s.list)-1].Sum}
}

// FingerprintAt returns the fingerprint up to index; ok is false if this node has not come there, or
// does not know it any more.
func (s *fingerprints) FingerprintAt(index uint64) (d Fingerprint, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if index > s.to {
		return d, false
	}
	i, found := slices.BinarySearchFunc(s.list, index, func(d Fingerprint, index uint64) int {
		switch {
		case d.Index < index:
			return -1
		case d.Index > index:
			return 1
		}
		return 0
	})
	switch {
	case found:
		return s.list[i], true
	case i == 0:
		return d, false
	}
	return Fingerprint{index, s.list[i-1].Sum}, true
}
