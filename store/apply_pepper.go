package store

import (
	"fmt"
	"time"
)

// The events that the changes in this file write.
var (
	pepperRotated  = Action{EventUpdate, "pepper.rotate"}
	pepperFinished = Action{EventUpdate, "pepper.finish"}
)

// LevelOfPeppers is the level of nodes that know a retired pepper.
const LevelOfPeppers = 8

// PepperRotate makes Pepper the current one. The one before is retired: keys hashed under it
// are still found, until [PepperFinish]. A second rotation is refused until then, so that
// there are never more than two peppers.
type PepperRotate struct {
	Pepper Hash `json:"pepper"`
}

func init() { register[PepperRotate]("pepper_rotate") }

var eventsOfPepperRotate = []Action{pepperRotated}

// traits: every key stays valid.
func (*PepperRotate) traits() Traits {
	return Traits{Takes: No, Waits: Yes, Vital: No, Level: LevelOfPeppers, Events: eventsOfPepperRotate}
}

func (in *PepperRotate) apply(t *txn) Result {
	set := *t.state.set()
	turn := set.turn()
	switch {
	case turn.Rotating:
		return refuse(Conflict, "a rotation of the pepper is under way; finish it first: perfgate keyring finish-pepper")
	case in.Pepper == Hash{}, in.Pepper == set.Pepper:
		return invalid("pepper", "it must be a new one")
	}
	next := pepperTurn{Generation: turn.Generation + 1, Rotating: true, Retired: set.Pepper, StartedAt: t.when.at}
	set.Pepper, set.Turn = in.Pepper, &next
	t.state.putSettings(set)
	eventOfTurn(t, pepperRotated, turn.Generation, next.Generation)
	return Result{}
}

// PepperFinish drops the retired pepper, so that keys that are still hashed under it are
// found no longer. The proposer has counted the keys that would be lost, and found none.
type PepperFinish struct {
	Generation uint64 `json:"generation"` // of the current pepper
	// Counted is the index up to which the proposer had applied the log before it counted.
	// The command is refused if a key has come back to life since.
	Counted uint64 `json:"counted"`
}

func init() { register[PepperFinish]("pepper_finish") }

var eventsOfPepperFinish = []Action{pepperFinished}

// traits: a key that was not moved is found no longer.
func (*PepperFinish) traits() Traits {
	return Traits{Takes: Yes, Waits: Yes, Vital: No, Level: LevelOfPeppers, Events: eventsOfPepperFinish}
}

func (in *PepperFinish) apply(t *txn) Result {
	set := *t.state.set()
	turn := set.turn()
	switch {
	case !turn.Rotating || turn.Generation != in.Generation:
		return refuse(Conflict, "no rotation of the pepper to generation %d is under way", in.Generation)
	case turn.Revived > in.Counted:
		return refuse(Conflict, "a key that had expired was prolonged while the keys were counted; try again")
	}
	next := pepperTurn{Generation: turn.Generation}
	set.Turn = &next
	t.state.putSettings(set)
	eventOfTurn(t, pepperFinished, turn.Generation, next.Generation)
	return Result{}
}

// eventOfTurn tells the generations before and after; never a pepper.
func eventOfTurn(t *txn, a Action, before, after uint64) {
	var d diff
	d.number("generation", int64(before), int64(after))
	t.eventOf(operatorsAccount(t), a, "", fmt.Sprintf("generation %d", after), "", d.changes(false))
}

// KeysRehash moves keys from the retired pepper to the current one: a node has seen their
// secrets and hashed them again. Nothing else of a key changes, not even its ETag: a key that
// is revoked stays revoked. One that is gone, or was moved already, is passed over.
type KeysRehash struct {
	Generation uint64   `json:"generation"` // of the pepper of the hashes
	Keys       []Rehash `json:"keys"`       // [MaxRehash] at most
}

// Rehash is the new hash of a key.
type Rehash struct {
	ID   KeyID `json:"id"`
	Hash Hash  `json:"hash"`
}

// MaxRehash bounds one [KeysRehash], since no node is to apply a command for long.
const MaxRehash = 500

func init() { register[KeysRehash]("keys_rehash") }

// traits: nodes propose it for themselves, and a key is found before and after.
func (*KeysRehash) traits() Traits {
	return Traits{Takes: No, Waits: No, Vital: No, Level: LevelOfPeppers, Events: noEvents}
}

func (in *KeysRehash) apply(t *txn) Result {
	if t.state.settings != nil {
		// The rotation may be in this batch. Readers must learn of the new pepper before
		// they can no longer find a key under the old one.
		t.settle()
	}
	switch turn := t.state.set().turn(); {
	case !turn.Rotating || turn.Generation != in.Generation:
		return refuse(Conflict, "no rotation of the pepper to generation %d is under way", in.Generation)
	case len(in.Keys) > MaxRehash:
		return invalid("keys", "there are more than %d", MaxRehash)
	}
	for i := range in.Keys {
		in.Keys[i].apply(t, in.Generation)
	}
	return Result{}
}

// apply moves one key, unless its hash is another key's by now.
func (in *Rehash) apply(t *txn, generation uint64) {
	k, row := t.keys.byID(in.ID)
	switch {
	case k == nil || k.Generation+1 != generation || t.state.account(k.Account) == nil:
	case in.Hash == Hash{} || t.rows.get(hashRow(nil, &in.Hash)) != nil:
	case k.Imported && t.keys.reassigned(k):
	default:
		t.keys.rehash(row, k, in.Hash, generation)
	}
}

// levelOfGeneration is the level of nodes that know the pepper of a hash.
func levelOfGeneration(generation uint64) int {
	if generation == 0 {
		return 1
	}
	return LevelOfPeppers
}

// hashed refuses a hash that was not made under the current pepper.
func (d *draft) hashed(generation uint64) *Refusal {
	if now := d.set().turn().Generation; generation != now {
		return refuse(Conflict, "the pepper was rotated meanwhile, from generation %d to %d; send the request again", generation, now).Refusal
	}
	return nil
}

// revive makes room in account a for k, which had expired. It keeps [PepperFinish] from
// dropping the pepper of a key that had expired when the keys were counted, and refuses a key
// whose pepper was dropped: no request would find it.
func (k *Key) revive(t *txn, a *AccountState) *Refusal {
	if t.keyRoom(a) == 0 {
		return noKeyRoom(a)
	}
	set := *t.state.set()
	switch turn := set.turn(); {
	case k.Generation == turn.Generation:
	case !turn.Rotating || k.Generation+1 != turn.Generation:
		return refuse(Conflict, "the pepper of this key was dropped after it had expired, so that it cannot be used again; create another key").Refusal
	default:
		turn.Revived = t.index
		set.Turn = &turn
		t.state.putSettings(set)
	}
	return nil
}

// pepperTurn is the state of the rotations of the pepper. A published value is never changed.
type pepperTurn struct {
	Generation uint64    `json:"generation"` // of the current pepper: the rotations so far
	Rotating   bool      `json:"rotating,omitzero"`
	Retired    Hash      `json:"retired,omitzero"`    // while Rotating, the pepper of the generation before
	StartedAt  time.Time `json:"started_at,omitzero"` // of the rotation that is under way
	Revived    uint64    `json:"revived,omitzero"`    // index at which a key of the retired pepper was prolonged last
}

// turn returns a copy of set's; it is zero before the first rotation.
func (set *settings) turn() pepperTurn {
	if set.Turn == nil {
		return pepperTurn{}
	}
	return *set.Turn
}

// Peppers are the keys of the hashes of API keys, from one reading of the settings.
type Peppers struct {
	Generation uint64 // of Current; 0 is the first
	Current    Hash
	// Retired is the pepper before, of the generation before, while Rotating. Keys that
	// were not used since the rotation began are found under it.
	Retired  Hash
	Rotating bool
	// Unsettled says that another state is being put in the place of this one, so that a
	// key which is not found may be there all the same.
	Unsettled bool
}

// Peppers returns the current pepper and the retired one.
func (f *facts) Peppers() Peppers {
	// In this order: a restore that has ended by the first look has published its settings.
	restoring := f.restoring.Load()
	set := f.settled.Load()
	p := Peppers{Current: set.Pepper, Unsettled: restoring}
	if set.Turn != nil {
		p.Generation, p.Retired, p.Rotating = set.Turn.Generation, set.Turn.Retired, set.Turn.Rotating
	}
	return p
}

// PepperRotatedAt is when the rotation of the pepper began that is under way.
func (f *facts) PepperRotatedAt() time.Time { return f.settled.Load().turn().StartedAt }

// Unmoved lists keys that are not hashed under the pepper of this generation and are neither
// revoked nor expired at now; most of them at most, from a place on, "" for the beginning. It
// returns the place to go on from, "" at the end. A page may be short, even empty, and yet not
// the last one: a call looks at no more than 100,000 keys. Keys of accounts that are deleted
// may be among them.
func (d database) Unmoved(generation uint64, now time.Time, from string, most int) (out []*Key, next string, err error) {
	begin := []byte{rowKey}
	if from != "" {
		begin = []byte(from)
	}
	seen := 0
	err = d.scanRange(begin, []byte{rowKey + 1}, func(row, value []byte) error {
		if seen++; seen > listRows || len(out) == most {
			next = string(row)
			return errEnough
		}
		k, err := unpackKey(value)
		if err != nil {
			return err
		}
		if state := k.State(now); k.Generation != generation && state != Revoked && state != Expired {
			out = append(out, k)
		}
		return nil
	})
	if err != nil {
		return nil, "", fmt.Errorf("read keys under a retired pepper: %w", err)
	}
	return out, next, nil
}
