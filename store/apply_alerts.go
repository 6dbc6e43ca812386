package store

import (
	"bytes"
	"slices"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// The events that the changes in this file write.
var alertRaised = Action{EventCreate, "alert.raise"}

// The bounds of alerts.
const (
	maxCause     = 256
	maxAlertData = 8 << 10
	// MaxAlertTime bounds how long a cause is remembered.
	MaxAlertTime = 400 * 24 * time.Hour
)

// Alert tells the account's endpoints of something that nobody changed: a limit that is
// exceeded, a key that expires. Every node may find the same cause; the first alert of a
// cause counts, and others are ignored until Until.
type Alert struct {
	Type  string         `json:"type"`
	Cause string         `json:"cause"` // unique in the account
	Key   KeyID          `json:"key,omitzero"`
	Data  jsontext.Value `json:"data"`
	Until time.Time      `json:"until"`
}

func init() { register[Alert]("alert") }

var eventsOfAlert = []Action{alertRaised}

// traits: alerts are made by nodes for themselves.
func (*Alert) traits() Traits {
	return Traits{Takes: No, Waits: No, Vital: No, Level: LevelOfWebhooks, Events: eventsOfAlert}
}

// apply answers with 1 as [Result.Matched] if the alert is the first of its cause.
func (in *Alert) apply(t *txn) Result {
	if _, no := t.owner(); no != nil {
		return Result{Refusal: no}
	}
	switch {
	case !slices.Contains(Notices, in.Type):
		return invalid("type", "there is no type %q", in.Type)
	case in.Cause == "" || len(in.Cause) > maxCause:
		return invalid("cause", "it must have 1 to %d bytes", maxCause)
	case len(in.Data) == 0 || len(in.Data) > maxAlertData:
		return invalid("data", "it must have 1 to %d bytes", maxAlertData)
	case in.Until.Sub(t.when.wall()) > MaxAlertTime:
		return invalid("until", "it must be at most %v away", MaxAlertTime)
	}
	row := causeRow(t.cmd.Account, in.Cause)
	if t.rows.get(row) != nil {
		return Result{}
	}
	t.rows.put(row, []byte{1})
	t.rows.append(causeAgeRow(in.Until, row), nil)
	t.event(alertRaised, in.Key, in.Type, in.Cause, nil)
	t.notify(t.cmd.Account, in.Type, in.Data)
	return Result{Matched: 1}
}

// Causes are remembered in table r, by account and by age.
const (
	causeByAccount = 0
	causeByAge     = 1
)

func causeRow(account AccountID, cause string) []byte {
	b := append([]byte{rowCause, causeByAccount}, account...)
	return append(append(b, 0), cause...)
}

// causeAgeRow holds the whole row of the cause after its time.
func causeAgeRow(until time.Time, row []byte) []byte {
	return append(appendSortedTime([]byte{rowCause, causeByAge}, until), row...)
}

// sweepCauses forgets up to rows causes whose time is over.
func (t sweeper) sweepCauses(rows int) {
	from := []byte{rowCause, causeByAge}
	t.rows.scan(from, appendSortedTime(bytes.Clone(from), t.when.now()), func(row, _ []byte) error {
		if rows--; rows < 0 {
			return errEnough
		}
		row = bytes.Clone(row)
		t.rows.delete(row)
		t.rows.delete(row[2+8:])
		return nil
	})
}

// Raised reports whether an alert of a cause was raised and is remembered.
func (o *outbox) Raised(account AccountID, cause string) bool {
	v, err := o.from.get(causeRow(account, cause))
	return v != nil && err == nil // apply reads it again
}
