package local

import (
	"encoding/binary"
	"hash/crc32"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"

	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/pack"
)

// The index of events: each block of a table, each block of its index and the table itself
// have a summary of the events in them, and a query skips those that cannot have what it looks
// for. Pebble hands a collector the keys of rows without their values, so the key of an
// event ends with what queries look for:
//
//	class:1 token:4…
//
// The class has the type of the event and its outcome. The tokens are hashes of its key, its
// actor's id and name, and its action unless that is [ActionRequest]. Events of earlier
// versions end before the class, and their blocks are never skipped.
//
// Summaries lie in the tables of their events: they are encrypted with the same key, and a
// compaction that drops events makes their summaries again.

const tokenLen = 4

// tokenOf is the hash of a text that queries look for. A CRC is enough: equal tokens of
// different texts only cost the reading of a block.
func tokenOf[T pack.Text](s T) uint32 { return crc32.Checksum([]byte(s), castagnoli) }

// Bits of a class: one for each type and each outcome, so that summaries are unions.
var (
	classTypes    = []store.EventType{store.EventCreate, store.EventRead, store.EventUpdate, store.EventDelete}
	classOutcomes = []store.Outcome{store.Success, store.Denied, store.Failed}
)

// classAny is in the summary of what may hold any event. A class never has it.
const classAny = 1 << 7

func classOf(t store.EventType, o store.Outcome) byte {
	var class byte
	if i := slices.Index(classTypes, t); i >= 0 {
		class |= 1 << i
	}
	if i := slices.Index(classOutcomes, o); i >= 0 {
		class |= 1 << (len(classTypes) + i)
	}
	return class
}

// appendTokens appends to the key of an event what queries look for in its value. The actor
// of an event about lost ones is the node.
// parsed is the request in the value, if it is at hand.
func appendTokens(key, value []byte, parsed *request[[]byte], node string) ([]byte, error) {
	if parsed != nil {
		return tokensOf(key, parsed), nil
	}
	if value[0] == kindDropped {
		key = append(key, classOf(store.EventDelete, store.Failed))
		key = binary.BigEndian.AppendUint32(key, tokenOf(node))
		return binary.BigEndian.AppendUint32(key, tokenOf(ActionDropped)), nil
	}
	_, v, err := splitMany(value)
	if err != nil {
		return key, err
	}
	f, err := parseRequest(v)
	if err != nil {
		return key, err
	}
	return tokensOf(key, &f), nil
}

func tokensOf(key []byte, f *request[[]byte]) []byte {
	key = append(key, classOf(eventTypeOf(f.action, f.methodName()), outcomeOf(f.status, len(f.reason) > 0)))
	if len(f.key) > 0 {
		key = binary.BigEndian.AppendUint32(key, tokenOf(f.key))
	}
	if len(f.by) > 0 && string(f.by) != string(f.key) {
		key = binary.BigEndian.AppendUint32(key, tokenOf(f.by))
	}
	if len(f.hint) > 0 {
		key = binary.BigEndian.AppendUint32(key, tokenOf(f.hint))
	}
	if len(f.name) > 0 {
		key = binary.BigEndian.AppendUint32(key, tokenOf(f.name))
	}
	if len(f.action) > 0 {
		key = binary.BigEndian.AppendUint32(key, tokenOf(f.action))
	}
	return key
}

// indexed is the part of an event's key that [appendTokens] made: nothing in a row of an
// earlier version.
type indexed []byte

func (x indexed) valid() bool { return len(x) == 0 || (len(x)-1)%tokenLen == 0 && x[0]&classAny == 0 }

// wanted is what a query looks for. It is the filter that skips blocks, and belongs to one
// iterator.
type wanted struct {
	types, outcomes byte // bits of classes, one of which an event must have; 0 takes all
	tokens          [][]byte
	account         []byte // its token; nil takes all
	owners          []owner
}

// wantedBy is what q looks for in the rows of a kind; nil if no summary can tell.
func wantedBy(q *store.EventQuery, row byte) *wanted {
	w := &wanted{types: classOf(q.EventType, ""), outcomes: classOf("", q.Outcome)}
	want := func(text string) {
		if text != "" {
			w.tokens = append(w.tokens, binary.BigEndian.AppendUint32(nil, tokenOf(text)))
		}
	}
	want(string(q.Key))
	want(q.User)
	if q.Action != ActionRequest {
		want(q.Action)
	}
	if row == rowEvent && q.Account != "" {
		w.account, w.owners = binary.BigEndian.AppendUint32(nil, accountToken(ownerOf(q.Account, false))), ownersOfAccount(q.Account)
	}
	if w.types|w.outcomes == 0 && len(w.tokens) == 0 && w.account == nil {
		return nil
	}
	return w
}

// filter makes an iterator pass over what is not looked for.
func (w *wanted) filter(o *pebble.IterOptions) {
	if w == nil {
		return
	}
	o.PointKeyFilters, o.SkipPoint = append(make([]pebble.BlockPropertyFilter, 0, 2), w), w.skip // Pebble adds another one
}

// accountToken is the token of the account of an owner, the same for its requests and refusals.
func accountToken[T pack.Text](of T) uint32 {
	if refuses(of) {
		of = of[1:]
	}
	return ^tokenOf(of[:min(len(of), maxName-1)]) // unlike the tokens of what is in events
}

// skip reports whether a row is not among the events that are looked for. Rows that it lets
// pass are compared in full.
func (w *wanted) skip(key []byte) bool {
	p, ok := parsePlace(key)
	if !ok {
		return false // the reader finds the damage
	}
	if w.account != nil && !slices.Contains(w.owners, owner(p.account)) {
		return true
	}
	return len(p.tokens) > 0 && !w.mayBe(p.tokens)
}

func (w *wanted) mayBe(x indexed) bool {
	if w.types != 0 && x[0]&w.types == 0 || w.outcomes != 0 && x[0]&w.outcomes == 0 {
		return false
	}
	for _, t := range w.tokens {
		if !x.has(t) {
			return false
		}
	}
	return true
}

func (x indexed) has(token []byte) bool {
	for t := x[1:]; len(t) >= tokenLen; t = t[tokenLen:] {
		if string(t[:tokenLen]) == string(token) {
			return true
		}
	}
	return false
}

// indexName names the summaries in tables. Another form of them needs another name: tables
// without summaries of a name are read whole.
const indexName = "perfgate.events.1"

// summaryFilter is the form of the tokens in a summary: ten bits for each, one in a hundred
// blocks is read in vain.
const summaryFilter = bloom.FilterPolicy(10)

// Name is part of the interface that Pebble asks for.
func (w *wanted) Name() string { return indexName }

// Intersects reports whether a block with a summary may hold what is looked for.
func (w *wanted) Intersects(summary []byte) (bool, error) {
	if len(summary) == 0 {
		return false, nil // no events
	}
	class, filter := summary[0], summary[1:]
	if class&classAny != 0 {
		return true, nil
	}
	if w.types != 0 && class&w.types == 0 || w.outcomes != 0 && class&w.outcomes == 0 {
		return false, nil
	}
	if w.account != nil && !summaryFilter.MayContain(pebble.TableFilter, filter, w.account) {
		return false, nil
	}
	for _, t := range w.tokens {
		if !summaryFilter.MayContain(pebble.TableFilter, filter, t) {
			return false, nil
		}
	}
	return true, nil
}

// SyntheticSuffixIntersects is never called: no suffix of these keys is replaced.
func (w *wanted) SyntheticSuffixIntersects([]byte, []byte) (bool, error) { return true, nil }

// Bounds of the tokens in one summary; beyond them, it says that its part may hold anything.
// Those of tables are kept in memory while a table is open, 5 KiB each.
const (
	maxBlockTokens = 4 << 10 // of a block, or a block of the index
	maxTableTokens = 4 << 10
)

// summarizer makes the summaries of a table that is written.
type summarizer struct{ block, previous, index, table summary }

// summary is the union of the classes and tokens of some events.
type summary struct {
	class  byte
	tokens []uint32
}

func newSummarizer() pebble.BlockPropertyCollector { return new(summarizer) }

func (*summarizer) Name() string { return indexName }

func (s *summarizer) AddPointKey(key pebble.InternalKey, _ []byte) error {
	k := key.UserKey
	if len(k) == 0 || k[0] != rowEvent && k[0] != rowStray {
		return nil
	}
	p, ok := parsePlace(k)
	if !ok || len(p.tokens) == 0 {
		s.block.class |= classAny
		return nil
	}
	s.block.class |= p.tokens[0]
	s.block.add(accountToken(p.account))
	for t := p.tokens[1:]; len(t) > 0; t = t[tokenLen:] {
		s.block.add(binary.BigEndian.Uint32(t))
	}
	return nil
}

// add adds a token. Neighbours are often equal.
func (u *summary) add(token uint32) {
	if n := len(u.tokens); n > 1 && (u.tokens[n-1] == token || u.tokens[n-2] == token) {
		return
	}
	u.tokens = append(u.tokens, token)
}

// settle sorts the tokens, and drops them if there are more than bound.
func (u *summary) settle(bound int) {
	if u.class&classAny == 0 {
		slices.Sort(u.tokens)
		u.tokens = slices.Compact(u.tokens)
		if len(u.tokens) > bound {
			u.class |= classAny
		}
	}
	if u.class&classAny != 0 {
		u.tokens = u.tokens[:0]
	}
}

// join adds what is in another one.
func (u *summary) join(o *summary) {
	u.class |= o.class
	if u.class&classAny == 0 {
		u.tokens = append(u.tokens, o.tokens...)
	}
}

// pack appends u as tables have it; nothing if there are no events.
func (u *summary) pack(dst []byte) []byte {
	if u.class == 0 {
		return dst
	}
	if u.class&classAny != 0 {
		return append(dst, classAny)
	}
	w := summaryFilter.NewWriter(pebble.TableFilter)
	var token [tokenLen]byte
	for _, t := range u.tokens {
		binary.BigEndian.PutUint32(token[:], t)
		w.AddKey(token[:])
	}
	return w.Finish(append(dst, u.class))
}

func (u *summary) reset() { u.class, u.tokens = 0, u.tokens[:0] }

func (s *summarizer) FinishDataBlock(dst []byte) ([]byte, error) {
	s.block.settle(maxBlockTokens)
	dst = s.block.pack(dst)
	s.previous, s.block = s.block, s.previous
	s.block.reset()
	return dst, nil
}

func (s *summarizer) AddPrevDataBlockToIndexBlock() {
	s.index.join(&s.previous)
	if len(s.index.tokens) > 2*maxBlockTokens {
		s.index.settle(maxBlockTokens)
	}
}

func (s *summarizer) FinishIndexBlock(dst []byte) ([]byte, error) {
	s.index.settle(maxBlockTokens)
	s.table.join(&s.index)
	s.table.settle(maxTableTokens)
	dst = s.index.pack(dst)
	s.index.reset()
	return dst, nil
}

func (s *summarizer) FinishTable(dst []byte) ([]byte, error) {
	return s.table.pack(dst), nil
}

func (*summarizer) AddRangeKeys(sstable.Span) error { return nil }

func (*summarizer) AddCollectedWithSuffixReplacement(_, _, _ []byte) error { return errCorrupt }

func (*summarizer) SupportsSuffixReplacement() bool { return false }
