package store

import (
	"crypto/ed25519"
	"time"

	"github.com/perfgate/perfgate/store/chain"
)

// The events that the changes in this file write.
var (
	auditKeyCreated = Action{EventCreate, "audit_key.create"}
	auditKeyRotated = Action{EventUpdate, "audit_key.rotate"}
)

// The bounds of the audit log's facts.
const (
	maxAuditKeys = 100 // kept, the oldest go first: with them, a head that was kept for longer cannot be followed
	maxStream    = 64
	maxHeads     = 1000 // streams: nodes, and the disks that they lost
)

// AuditKey gives the cluster a key that signs the heads of its audit log. The first one
// begins the chain of changes; each later one is endorsed by the one before it.
type AuditKey struct {
	Seed  []byte `json:"seed"`           // of the Ed25519 key, 32 bytes
	First bool   `json:"first,omitzero"` // refuse if there is one already
}

func init() { register[AuditKey]("audit_key") }

var eventsOfAuditKey = []Action{auditKeyCreated, auditKeyRotated}

// traits: a key opens nothing.
func (*AuditKey) traits() Traits {
	return Traits{Takes: No, Waits: Yes, Vital: No, Level: LevelOfChain, Events: eventsOfAuditKey}
}

func (in *AuditKey) apply(t *txn) Result {
	set := *t.state.set()
	before := set.signer()
	switch {
	case len(in.Seed) != ed25519.SeedSize:
		return invalid("seed", "it must have %d bytes", ed25519.SeedSize)
	case in.First && before != nil:
		return refuse(Conflict, "there is a key for the audit log already")
	}
	key := chain.NewKey(ed25519.NewKeyFromSeed(in.Seed), before, millis(t.when.at))
	set.AuditSeed = in.Seed
	set.AuditKeys = append(dropOldKeys(set.AuditKeys, maxAuditKeys-1), key)
	t.state.putSettings(set)
	action := auditKeyRotated
	if before == nil {
		action = auditKeyCreated
	}
	if t.chain.begin == 0 {
		// Events of before are numbered by their entries.
		t.chain.begin, t.chain.seq = t.index, t.index-1
	}
	t.eventOf(operatorsAccount(t), action, "", key.ID, "", nil)
	return Result{}
}

// AuditHead signs the head of a stream as it is now. A head of the stream of a node says
// how far it is; one that is behind the newest head is refused, since that node lost
// events.
type AuditHead struct {
	Stream string `json:"stream"`
	Node   string `json:"node,omitzero"` // its name
	// Of a node's stream; the state itself knows the changes.
	Seq      uint64     `json:"seq,omitzero"`
	Begin    uint64     `json:"begin,omitzero"`
	Accounts int64      `json:"accounts,omitzero"`
	Root     chain.Hash `json:"root,omitzero"`
	Time     time.Time  `json:"time"`
}

func init() { register[AuditHead]("audit_head") }

// traits: heads are made by nodes for themselves.
func (*AuditHead) traits() Traits {
	return Traits{Takes: No, Waits: No, Vital: No, Level: LevelOfChain, Events: noEvents}
}

func (in *AuditHead) apply(t *txn) Result {
	key := t.state.set().signer()
	switch {
	case key == nil:
		return refuse(Conflict, "there is no key for the audit log yet")
	case in.Stream == "" || len(in.Stream) > maxStream || len(in.Node) > maxID:
		return invalid("stream", "it must have 1 to %d bytes", maxStream)
	}
	old, err := t.head(in.Stream)
	if err != nil {
		t.rows.fault(err)
		return Result{}
	}
	h := chain.Head{Stream: in.Stream, Node: in.Node, Number: 1, Time: millis(in.Time), Seq: in.Seq, Begin: in.Begin, Accounts: in.Accounts, Root: in.Root}
	if old == nil && t.streams() >= maxHeads {
		return refuse(LimitReached, "there are %d streams of audit events already", maxHeads)
	}
	if old != nil {
		h.Number, h.Previous = old.Number+1, old.Hash()
		if in.Seq < old.Seq && in.Stream != chain.Changes {
			return refuse(Conflict, "the stream %s of node %s ends with event %d, but its head of %s knew event %d: the node lost events, or its data was put back to an earlier state",
				in.Stream, in.Node, in.Seq, old.Time.Format(time.RFC3339), old.Seq)
		}
	}
	if in.Stream == chain.Changes && !in.changes(t, &h) {
		return Result{}
	}
	h.Sign(key)
	t.rows.put(named(rowHead, in.Stream), t.rows.json(&h))
	return Result{}
}

// streams counts those that have heads.
func (t *txn) streams() (n int) {
	t.settle() // a scan sees committed rows
	t.rows.scan([]byte{rowHead}, []byte{rowHead + 1}, func(_, _ []byte) error {
		n++
		return nil
	})
	return n
}

// changes completes the head of the changes: it seals all chains.
func (in *AuditHead) changes(t *txn, h *chain.Head) bool {
	t.settle() // a scan sees committed rows
	if t.rows.err != nil {
		return false
	}
	t.chain.heads++
	list, err := chains(t.rows.committed.db, t.chain.heads)
	if err != nil {
		t.rows.fault(err)
		return false
	}
	h.Number, h.Seq, h.Begin, h.Accounts, h.Root = t.chain.heads, t.chain.seq, t.chain.begin, int64(len(list)), chain.AccountsRoot(list)
	return true
}

// head reads the newest head of a stream, those of this batch included.
func (t *txn) head(stream string) (*chain.Head, error) {
	v := t.rows.get(named(rowHead, stream))
	if v == nil {
		return nil, t.rows.err
	}
	return decodeHead(v)
}
