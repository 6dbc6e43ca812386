package share

import (
	"encoding/binary"
	"errors"

	"github.com/perfgate/perfgate/limiter/pool"
	"github.com/perfgate/perfgate/limiter/share"
	"github.com/perfgate/perfgate/store/pack"
)

// The form of a batch: version, boot of the sender, boot that it is meant for (0: any),
// number of items, items. Numbers are varints. From version 2 on terms have an owner; answers
// have no terms, and stay in version 1.
const (
	wireVersion = 1
	wireOwners  = 2
)

// maxItems bounds the items of a batch: some 60 bytes each.
const maxItems = 512

// The kinds of items.
const (
	isFetch byte = iota + 1
	isReply
	isRenew
	isRenewed
	isReturn
	isHint // has no answer
)

// item is one message about one bucket; the member of its kind is set.
type item struct {
	to      share.Peer // of what waits in a queue: the process that it is for; not sent
	kind    byte
	name    pool.Name
	terms   pool.Terms // of fetch, renew, return and hint
	fetch   share.Fetch
	reply   share.Reply
	renew   share.Renew
	renewed share.Renewed
	back    share.Return
	hint    share.State
}

// hasTerms reports whether an item of the kind says the limit of its bucket.
func hasTerms(kind byte) bool { return kind != isReply && kind != isRenewed }

// batch is what one call carries, or its answer.
type batch struct {
	owners   bool
	from, to uint64
	items    []item
}

var errWire = errors.New("a message of the limits is cut short or of another version")

func (b *batch) encode() []byte {
	out := []byte{wireVersion}
	if b.owners {
		out[0] = wireOwners
	}
	out = binary.AppendUvarint(out, b.from)
	out = binary.AppendUvarint(out, b.to)
	out = binary.AppendUvarint(out, uint64(len(b.items)))
	for i := range b.items {
		out = b.items[i].encode(out, b.owners)
	}
	return out
}

func (m *item) encode(out []byte, owners bool) []byte {
	out = append(append(out, m.kind), m.name[:]...)
	ints := func(vs ...int64) {
		for _, v := range vs {
			out = binary.AppendVarint(out, v)
		}
	}
	if hasTerms(m.kind) {
		p := m.terms.Pace
		ints(p.Burst, p.Rate, p.Weight, p.Tick, int64(m.terms.Created))
		if owners {
			out = binary.AppendUvarint(out, uint64(m.terms.Owner))
		}
	}
	switch m.kind {
	case isFetch:
		f := &m.fetch
		ints(int64(f.ID), f.Need, f.Room, f.Tok, int64(f.Part), demand(f.Demand), flag(f.Charge), flag(f.All))
	case isReply:
		r := &m.reply
		ints(int64(r.ID), r.Tokens, r.Held, r.Wait, r.State.Tok, int64(r.State.Part), demand(r.State.Demand), int64(len(r.Grants)))
		for _, g := range r.Grants {
			ints(flag(g.Home), g.Stamp, int64(g.Part))
		}
	case isRenew:
		ints(int64(m.renew.ID), m.renew.Stamp, int64(m.renew.Part))
	case isRenewed:
		r := &m.renewed
		ints(int64(r.ID), r.Stamp, int64(r.Part), int64(r.Short), r.Left)
	case isHint:
		ints(m.hint.Tok, int64(m.hint.Part), demand(m.hint.Demand))
	case isReturn:
		ints(int64(m.back.ID), m.back.Stamp, int64(m.back.Part), m.back.Tokens)
	}
	return out
}

// demand is in thousandths on the wire.
func demand(d float64) int64 { return int64(min(max(d, 0), 1e12) * 1000) }

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// decode reads a batch; items of a kind that is not known make it unreadable.
func decode(p []byte) (b batch, err error) {
	r := pack.NewReader(p)
	switch r.Byte() {
	case wireVersion:
	case wireOwners:
		b.owners = true
	default:
		r.Fail()
	}
	b.from, b.to = r.Uvarint(), r.Uvarint()
	n := r.Uvarint()
	if r.Bad() || n > maxItems {
		return batch{}, errWire
	}
	b.items = make([]item, n)
	for i := range b.items {
		if !b.items[i].decode(&r, b.owners) {
			return batch{}, errWire
		}
	}
	if len(r.Rest()) > 0 {
		return batch{}, errWire
	}
	return b, nil
}

func (m *item) decode(r *pack.Reader[[]byte], owners bool) bool {
	m.kind = r.Byte()
	copy(m.name[:], r.Take(uint64(len(m.name))))
	if hasTerms(m.kind) {
		m.terms = pool.Terms{Pace: share.Pace{Burst: r.Varint(), Rate: r.Varint(), Weight: r.Varint(), Tick: r.Varint()}, Created: uint64(r.Varint())}
		if owners {
			m.terms.Owner = pool.Owner(r.Uvarint())
		}
		if !m.terms.Pace.Valid() {
			return false
		}
	}
	switch m.kind {
	case isFetch:
		m.fetch = share.Fetch{
			ID: uint64(r.Varint()), Need: r.Varint(), Room: r.Varint(), Tok: r.Varint(), Part: share.Part(r.Varint()),
			Demand: float64(r.Varint()) / 1000, Charge: r.Varint() != 0, All: r.Varint() != 0,
		}
		f := &m.fetch
		return !r.Bad() && part(f.Part) && level(f.Need) && level(f.Room) && level(max(f.Tok, -f.Tok))
	case isReply:
		q := &m.reply
		q.ID, q.Tokens, q.Held, q.Wait = uint64(r.Varint()), r.Varint(), r.Varint(), r.Varint()
		q.State = share.State{Tok: r.Varint(), Part: share.Part(r.Varint()), Demand: float64(r.Varint()) / 1000}
		n := r.Varint()
		if r.Bad() || n < 0 || n > 64 || !level(q.Tokens) || !level(q.Held) || !part(q.State.Part) {
			return false
		}
		for range n {
			g := share.Grant{Home: r.Varint() != 0, Stamp: r.Varint(), Part: share.Part(r.Varint())}
			if !part(g.Part) {
				return false
			}
			q.Grants = append(q.Grants, g)
		}
	case isRenew:
		m.renew = share.Renew{ID: uint64(r.Varint()), Stamp: r.Varint(), Part: share.Part(r.Varint())}
		return !r.Bad() && part(m.renew.Part)
	case isRenewed:
		m.renewed = share.Renewed{ID: uint64(r.Varint()), Stamp: r.Varint(), Part: share.Part(r.Varint()), Short: share.Part(r.Varint()), Left: r.Varint()}
		return !r.Bad() && part(m.renewed.Part) && part(m.renewed.Short)
	case isHint:
		m.hint = share.State{Tok: r.Varint(), Part: share.Part(r.Varint()), Demand: float64(r.Varint()) / 1000}
		return !r.Bad() && part(m.hint.Part) && level(max(m.hint.Tok, -m.hint.Tok))
	case isReturn:
		m.back = share.Return{ID: uint64(r.Varint()), Stamp: r.Varint(), Part: share.Part(r.Varint()), Tokens: r.Varint()}
		return !r.Bad() && part(m.back.Part) && level(m.back.Tokens)
	default:
		return false
	}
	return !r.Bad()
}

func part(p share.Part) bool { return p >= 0 && p <= share.One }

// level keeps sums of levels within 64 bits.
func level(n int64) bool { return n >= 0 && n < 1<<62+1<<61 }
