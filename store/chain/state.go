package chain

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
)

// MarkSize is the number of bytes of each leaf among the marks of a segment.
const MarkSize = 4

// Segment is a part of an account's chain in a stream: the events between two seals.
type Segment struct {
	First uint64 `json:"first"` // numbers of its first and last event; those between
	Last  uint64 `json:"last"`  // may be other accounts'
	Count uint64 `json:"count"`
	Time  int64  `json:"time"` // of its last event, Unix milliseconds
	Root  Hash   `json:"root"`
	Marks []byte `json:"marks,omitzero"` // of each event; none of a single one
	// MarksHash stands in the place of the marks where all events are hidden.
	MarksHash *Hash `json:"marks_hash,omitzero"`
}

func (g *Segment) marksHash() Hash {
	if g.MarksHash != nil {
		return *g.MarksHash
	}
	return sha256.Sum256(g.Marks)
}

// State is the end of a chain: its last link, the number and time of its last event, and
// how many events it has had.
type State struct {
	Link   Hash   `json:"link"`
	Seq    uint64 `json:"seq"`
	Events uint64 `json:"events"`
	Time   int64  `json:"time"` // Unix milliseconds; 0 before the first event
}

// Genesis is the state of the chain of an account in a stream before its first event. The
// stream is chained from the event numbered begin on.
func Genesis(stream, account string, begin uint64) State {
	b := append([]byte("perfgate audit chain 1\n"), 0)
	b = appendText(b, stream)
	b = appendText(b, account)
	b = binary.BigEndian.AppendUint64(b, begin)
	return State{Link: sha256.Sum256(b), Seq: begin - min(begin, 1)}
}

// Next is the state after a segment.
func (s State) Next(g *Segment) State {
	b := append(make([]byte, 0, 192), "perfgate audit link 1\n"...)
	b = append(b, s.Link[:]...)
	for _, n := range []uint64{s.Seq, s.Events, uint64(s.Time), g.First, g.Last, g.Count, uint64(g.Time)} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	b = append(b, g.Root[:]...)
	marks := g.marksHash()
	b = append(b, marks[:]...)
	return State{Link: sha256.Sum256(b), Seq: g.Last, Events: s.Events + g.Count, Time: g.Time}
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// Open is a segment that is being written.
type Open struct {
	tree        Tree
	first, last uint64
	time        int64
	marks       []byte
}

// Add adds the event numbered seq, of a time in Unix milliseconds.
func (o *Open) Add(seq uint64, time int64, leaf Hash) {
	if o.tree.n == 0 {
		o.first = seq
	}
	o.last, o.time = seq, time
	o.tree.Append(leaf)
	o.marks = append(o.marks, leaf[:MarkSize]...)
}

// Len is the number of events added since the last seal.
func (o *Open) Len() uint64 { return o.tree.n }

// Seal returns the segment of the events that were added, and begins the next one. Its
// marks are valid until the next Add.
func (o *Open) Seal() Segment {
	g := Segment{First: o.first, Last: o.last, Count: o.tree.n, Time: o.time, Root: o.tree.Root()}
	if g.Count > 1 {
		g.Marks = o.marks
	}
	o.tree.Reset()
	o.marks = o.marks[:0]
	return g
}

// Account is an account's chain in the tree of a head.
type Account struct {
	Account string
	State
	Since int64 // events of before have expired, Unix milliseconds; 0 if none have
}

func (a *Account) leaf() Hash {
	b := append([]byte{0}, "perfgate audit account 1\n"...)
	b = appendText(b, a.Account)
	b = append(b, a.Link[:]...)
	for _, n := range []uint64{a.Seq, a.Events, uint64(a.Time), uint64(a.Since)} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return sha256.Sum256(b)
}

// SortAccounts puts accounts in the order of the tree.
func SortAccounts(list []Account) {
	slices.SortFunc(list, func(a, b Account) int { return cmp.Compare(a.Account, b.Account) })
}

// AccountsRoot is the root over all accounts' chains, which must be sorted.
func AccountsRoot(list []Account) Hash {
	var t Tree
	for i := range list {
		t.Append(list[i].leaf())
	}
	return t.Root()
}

// Path leads from an account's chain to the root of a head.
type Path struct {
	Index  int64  `json:"index"`
	Size   int64  `json:"size"`
	Hashes []Hash `json:"hashes"`
}

// storedHashes are the hashes of a tree in the order that package tlog gives them.
type storedHashes []tlog.Hash

// ReadHashes implements [tlog.HashReader].
func (s storedHashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, at := range indexes {
		if at < 0 || at >= int64(len(s)) {
			return nil, errProof
		}
		out[i] = s[at]
	}
	return out, nil
}

// PathTo is the path of the account in a sorted list; an error if it is not in it.
func PathTo(list []Account, account string) (Path, error) {
	at, ok := slices.BinarySearchFunc(list, account, func(a Account, name string) int { return cmp.Compare(a.Account, name) })
	if !ok {
		return Path{}, errors.New("the account has no chain")
	}
	var stored storedHashes
	for i := range list {
		more, err := tlog.StoredHashesForRecordHash(int64(i), tlog.Hash(list[i].leaf()), stored)
		if err != nil {
			return Path{}, err
		}
		stored = append(stored, more...)
	}
	proof, err := tlog.ProveRecord(int64(len(list)), int64(at), stored)
	if err != nil {
		return Path{}, err
	}
	p := Path{Index: int64(at), Size: int64(len(list)), Hashes: []Hash{}}
	for _, h := range proof {
		p.Hashes = append(p.Hashes, Hash(h))
	}
	return p, nil
}

// Check reports whether p leads from the account's chain to root.
func (p *Path) Check(a Account, root Hash) error {
	proof := make(tlog.RecordProof, 0, len(p.Hashes))
	for _, h := range p.Hashes {
		proof = append(proof, tlog.Hash(h))
	}
	return tlog.CheckRecord(proof, p.Size, tlog.Hash(root), p.Index, tlog.Hash(a.leaf()))
}
