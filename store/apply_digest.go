package store

import (
	"fmt"
	"time"

	"github.com/perfgate/perfgate/store/pack"
)

// Digest notes that what happened up to To was told by e-mail, so that another leader does
// not tell it again. From is the end of the digest before; zero for the first.
type Digest struct {
	From time.Time `json:"from,omitzero"`
	To   time.Time `json:"to"`
}

func init() { register[Digest]("digest") }

// traits: digests are made by nodes for themselves.
func (*Digest) traits() Traits {
	return Traits{Takes: No, Waits: No, Vital: No, Level: LevelOfWebhooks, Events: noEvents}
}

func (in *Digest) apply(t *txn) Result {
	last, err := unpackTime(t.rows.get(digestRow))
	switch {
	case err != nil:
		t.rows.fault(err)
		return Result{}
	case !last.Equal(in.From):
		return refuse(Conflict, "the last digest ended at another time")
	case !in.To.After(in.From):
		return invalid("to", "it must be after from")
	}
	t.rows.put(digestRow, pack.AppendTime(nil, in.To))
	return Result{}
}

func unpackTime(row []byte) (time.Time, error) {
	if row == nil {
		return time.Time{}, nil
	}
	u := unpack(string(row))
	at := u.Time()
	if u.err() != nil {
		return time.Time{}, fmt.Errorf("read the end of the last digest: %w", u.err())
	}
	return at, nil
}

// LastDigest is the time up to which digests have told of events; zero before the first.
func (o *outbox) LastDigest() (time.Time, error) {
	row, err := o.from.get(digestRow)
	if err != nil {
		return time.Time{}, fmt.Errorf("read the end of the last digest: %w", err)
	}
	return unpackTime(row)
}
