package store

import (
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// LevelOfIncidents is the level of nodes that know incidents.
const LevelOfIncidents = 6

// IncidentID names an incident: "inc_" and 22 base62 characters.
type IncidentID string

// The actions of incidents.
const (
	IncidentRevoke = "revoke"
	IncidentRotate = "rotate"
	IncidentNone   = "none"
)

// The bounds of incidents.
const (
	MaxIncidents = 1_000 // of an account; the oldest closed ones go first
	maxPinned    = 256 << 10
)

// IncidentMatch selects the keys that an incident is about, as [KeyRevokeBulk] does.
type IncidentMatch struct {
	IDs           []KeyID   `json:"ids,omitzero"`
	CreatedBy     string    `json:"created_by,omitzero"`
	Type          *KeyType  `json:"type,omitzero"`
	Environment   *string   `json:"environment,omitzero"`
	CreatedBefore time.Time `json:"created_before,omitzero"`
}

// Incident is a breach, or what is feared to be one, and what was done about it. One read
// from the store is shared and must not be changed.
type Incident struct {
	ID      IncidentID    `json:"id"`
	Account AccountID     `json:"account"`
	Title   string        `json:"title"`
	Match   IncidentMatch `json:"match"`
	Action  string        `json:"action"`
	Freeze  bool          `json:"freeze,omitzero"` // while it is open, the account makes no keys

	OpenedAt time.Time `json:"opened_at"`
	OpenedBy Actor     `json:"opened_by"`
	ClosedAt time.Time `json:"closed_at,omitzero"` // zero: it is open
	ClosedBy Actor     `json:"closed_by,omitzero"`
	IncidentDone
	Created  uint64 `json:"created"`
	Modified uint64 `json:"modified"` // ETag
}

// IncidentDone is what was found and done.
type IncidentDone struct {
	Head    jsontext.Value `json:"head,omitzero"` // signed heads of the audit log when it was opened
	Keys    []KeyID        `json:"keys,omitzero"` // affected, MaxImport at most
	Matched int            `json:"matched,omitzero"`
	Revoked int            `json:"revoked,omitzero"`
	Rotated int            `json:"rotated,omitzero"`
}

// The events that the changes in this file write.
var (
	incidentOpened  = Action{EventCreate, "incident.open"}
	incidentUpdated = Action{EventUpdate, "incident.update"}
	incidentClosed  = Action{EventUpdate, "incident.close"}
)

// incidentRow is the row of an incident; frozenRow holds the open ones of an account that
// freeze it.
func incidentRow(account AccountID, id IncidentID) []byte {
	return append(accountRows(rowIncident, account), id...)
}

func frozenRow(account AccountID) []byte { return named(rowIncident, account) }

// frozen refuses to make a key while an incident freezes the account.
func (t *txn) frozen() *Refusal {
	ids := t.rows.freezers(t.cmd.Account)
	if len(ids) == 0 {
		return nil
	}
	return refuse(Conflict, "no key can be made while the incident %s is open; close it first", ids[0]).Refusal
}

func (p *pending) freezers(account AccountID) (ids []IncidentID) {
	if row := p.get(frozenRow(account)); row != nil {
		if err := json.Unmarshal(row, &ids); err != nil {
			p.fault(fmt.Errorf("read what freezes %s: %w", account, err))
		}
	}
	return ids
}

func (t *txn) putFreezers(ids []IncidentID) {
	if len(ids) == 0 {
		t.rows.delete(frozenRow(t.cmd.Account))
		return
	}
	t.rows.put(frozenRow(t.cmd.Account), t.rows.json(ids))
}

// mayRotate refuses a rotation while the account is frozen, unless it is part of an
// incident that is open.
func (t *txn) mayRotate(by IncidentID) *Refusal {
	no := t.frozen()
	if no == nil || !slices.Contains(t.rows.freezers(t.cmd.Account), by) {
		return no
	}
	return nil
}

// incident returns the incident that the command changes, or the refusal.
func (t *txn) incident(id IncidentID) (*Incident, *Refusal) {
	if _, no := t.owner(); no != nil {
		return nil, no
	}
	row := t.rows.get(incidentRow(t.cmd.Account, id))
	if row == nil || !validID(id) {
		return nil, refuse(NotFound, "there is no incident %q", id).Refusal
	}
	in := new(Incident)
	if err := json.Unmarshal(row, in); err != nil {
		t.rows.fault(fmt.Errorf("read an incident: %w", err))
		return nil, refuse(NotFound, "there is no incident %q", id).Refusal
	}
	if !t.matches(in.Modified) {
		return nil, changedMeanwhile().Refusal
	}
	return in, nil
}

func (t *txn) putIncident(in *Incident) {
	in.Modified = t.index
	t.rows.put(incidentRow(in.Account, in.ID), t.rows.json(in))
}

// IncidentOpen opens an incident. From then on the account is frozen, if it says so.
type IncidentOpen struct {
	Incident Incident `json:"incident"`
}

func init() { register[IncidentOpen]("incident_open") }

var eventsOfIncidentOpen = []Action{incidentOpened}

// traits: a freeze takes nothing from the keys that exist.
func (*IncidentOpen) traits() Traits {
	return Traits{Takes: No, Waits: Yes, Vital: No, Level: LevelOfIncidents, Events: eventsOfIncidentOpen}
}

func (in *IncidentOpen) apply(t *txn) Result {
	if _, no := t.owner(); no != nil {
		return Result{Refusal: no}
	}
	n := in.Incident
	switch {
	case !validID(n.ID):
		return invalid("id", "it must have 1 to %d letters, digits, \"_\" or \"-\"", maxID)
	case n.Title == "" || len(n.Title) > maxText:
		return invalid("title", "it must have 1 to %d bytes", maxText)
	case n.Action != IncidentRevoke && n.Action != IncidentRotate && n.Action != IncidentNone:
		return invalid("action", "it must be revoke, rotate or none")
	case len(n.Match.IDs) > MaxImport:
		return invalid("ids", "there are more than %d", MaxImport)
	case t.rows.get(incidentRow(t.cmd.Account, n.ID)) != nil:
		return refuse(Conflict, "there is an incident %q already", n.ID)
	}
	if !t.roomForIncident() {
		return refuse(LimitReached, "the account has %d open incidents; close some first", MaxIncidents)
	}
	n.Account, n.OpenedAt, n.OpenedBy, n.Created = t.cmd.Account, t.when.at, t.cmd.Actor, t.index
	n.ClosedAt, n.ClosedBy, n.IncidentDone = time.Time{}, Actor{}, IncidentDone{}
	t.putIncident(&n)
	if n.Freeze {
		t.putFreezers(append(t.rows.freezers(t.cmd.Account), n.ID))
	}
	var d diff
	d.text("title", "", n.Title)
	d.text("action", "", n.Action)
	d.flag("freeze", false, n.Freeze)
	t.event(incidentOpened, "", string(n.ID), "", d.changes(true))
	t.notify(n.Account, NoticeIncident, map[string]any{"incident": n.ID, "title": n.Title, "action": n.Action, "freeze": n.Freeze, "actor": n.OpenedBy})
	return Result{Incident: &n}
}

// roomForIncident makes room for one more incident, by the removal of the oldest closed
// one if need be.
func (t *txn) roomForIncident() bool {
	t.settle() // a scan sees committed rows
	n := 0
	var oldest []byte
	var created uint64
	from := accountRows(rowIncident, t.cmd.Account)
	t.rows.scan(from, prefixEnd(from), func(row, value []byte) error {
		var in Incident
		if err := json.Unmarshal(value, &in); err != nil {
			return err
		}
		if n++; !in.ClosedAt.IsZero() && (oldest == nil || in.Created < created) {
			oldest, created = slices.Clone(row), in.Created
		}
		return nil
	})
	if n >= MaxIncidents && oldest != nil {
		t.rows.delete(oldest)
		n--
	}
	return n < MaxIncidents
}

// IncidentNote adds to what was found and done. Keys are added, up to [MaxImport].
type IncidentNote struct {
	ID   IncidentID   `json:"id"`
	Done IncidentDone `json:"done"`
}

func init() { register[IncidentNote]("incident_note") }

var eventsOfIncidentNote = []Action{incidentUpdated}

// traits implements [Change].
func (*IncidentNote) traits() Traits {
	return Traits{Takes: No, Waits: Yes, Vital: No, Level: LevelOfIncidents, Events: eventsOfIncidentNote}
}

func (in *IncidentNote) apply(t *txn) Result {
	n, no := t.incident(in.ID)
	switch {
	case no != nil:
		return Result{Refusal: no}
	case !n.ClosedAt.IsZero():
		return refuse(Conflict, "the incident is closed")
	case len(in.Done.Head) > maxPinned || len(in.Done.Keys) > MaxImport:
		return invalid("done", "it is too large")
	}
	if in.Done.Head != nil {
		n.Head = in.Done.Head
	}
	n.Keys = append(n.Keys, in.Done.Keys...)
	n.Keys = n.Keys[:min(len(n.Keys), MaxImport)]
	var d diff
	d.number("matched", int64(n.Matched), int64(n.Matched+in.Done.Matched))
	d.number("revoked", int64(n.Revoked), int64(n.Revoked+in.Done.Revoked))
	d.number("rotated", int64(n.Rotated), int64(n.Rotated+in.Done.Rotated))
	n.Matched, n.Revoked, n.Rotated = n.Matched+in.Done.Matched, n.Revoked+in.Done.Revoked, n.Rotated+in.Done.Rotated
	t.putIncident(n)
	t.event(incidentUpdated, "", string(n.ID), "", d.changes(false))
	return Result{Incident: n}
}

// IncidentClose ends an incident, and its freeze. Closing a closed one changes nothing.
type IncidentClose struct {
	ID IncidentID `json:"id"`
}

func init() { register[IncidentClose]("incident_close") }

var eventsOfIncidentClose = []Action{incidentClosed}

// traits implements [Change].
func (*IncidentClose) traits() Traits {
	return Traits{Takes: No, Waits: Yes, Vital: No, Level: LevelOfIncidents, Events: eventsOfIncidentClose}
}

func (in *IncidentClose) apply(t *txn) Result {
	n, no := t.incident(in.ID)
	if no != nil {
		return Result{Refusal: no}
	}
	if !n.ClosedAt.IsZero() {
		return Result{Incident: n}
	}
	n.ClosedAt, n.ClosedBy = t.when.at, t.cmd.Actor
	t.putIncident(n)
	t.putFreezers(slices.DeleteFunc(t.rows.freezers(t.cmd.Account), func(id IncidentID) bool { return id == n.ID }))
	t.event(incidentClosed, "", string(n.ID), "", nil)
	return Result{Incident: n}
}

// dropIncidents removes the incidents of an account that is deleted.
func (t *txn) dropIncidents(account AccountID) {
	t.rows.delete(frozenRow(account))
	from := accountRows(rowIncident, account)
	t.rows.deleteRange(from, prefixEnd(from))
}

// MaxRotations bounds the keys that one command rotates.
const MaxRotations = 1_000

// KeyRotateMany rotates keys as [KeyRotate] does each; one that cannot be rotated is
// reported and does not stop the others. [Result.Lines] has the new keys, by the number of
// the rotation, from 1 on.
type KeyRotateMany struct {
	Rotations []KeyRotate `json:"rotations"`
}

func init() { register[KeyRotateMany]("key_rotate_many") }

// traits implements [Change].
func (in *KeyRotateMany) traits() Traits {
	t := Traits{Takes: Yes, Waits: Yes, Vital: No, Level: LevelOfIncidents, Events: eventsOfKeyRotate}
	for i := range in.Rotations {
		t.Level = max(t.Level, in.Rotations[i].traits().Level)
	}
	return t
}

func (in *KeyRotateMany) apply(t *txn) Result {
	if _, no := t.owner(); no != nil {
		return Result{Refusal: no}
	}
	if n := len(in.Rotations); n == 0 || n > MaxRotations {
		return invalid("rotations", "there must be 1 to %d", MaxRotations)
	}
	for i := range in.Rotations {
		if no := t.state.hashed(in.Rotations[i].Generation); no != nil {
			return Result{Refusal: no} // of the command, so that the proposer hashes all again
		}
	}
	r := Result{Lines: make([]ImportLine, len(in.Rotations))}
	for i := range in.Rotations {
		line := &r.Lines[i]
		line.Line = i + 1
		one := in.Rotations[i].rotate(t, uint32(i))
		if one.Refusal != nil {
			line.Error = one.Refusal.Message
			continue
		}
		line.ID = one.Key.ID
	}
	return r
}
