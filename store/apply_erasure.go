package store

import (
	"bytes"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
)

// The events that the changes in this file write.
var (
	erasureScheduled = Action{EventCreate, "erasure.create"}
	erasureCancelled = Action{EventUpdate, "erasure.cancel"}
	erasureApplied   = Action{EventDelete, "erasure.apply"}
	erasureCompleted = Action{EventUpdate, "erasure.complete"}
)

// eraser is a transaction as erasures see it.
type eraser struct{ *txn }

// erasure returns the erasure id of the command's account, or the refusal. The account
// itself may be gone.
func (t eraser) erasure(id ErasureID) (*Erasure, *Refusal) {
	row := t.rows.get(erasureRow(t.cmd.Account, id))
	if row == nil || !validID(id) {
		return nil, refuse(NotFound, "there is no erasure %q", id).Refusal
	}
	e, err := decodeErasure(row)
	if err != nil {
		t.rows.fault(err)
		return nil, refuse(NotFound, "there is no erasure %q", id).Refusal
	}
	return e, nil
}

func (t eraser) putErasure(e *Erasure) {
	e.Modified = t.index
	t.rows.put(erasureRow(e.Account, e.ID), t.rows.json(e))
	t.rows.put(erasureIDRow(e.ID), []byte(e.Account))
	if e.Over() {
		t.rows.delete(openErasureRow(e.ID))
	} else {
		t.rows.put(openErasureRow(e.ID), nil)
	}
}

// ErasureSchedule schedules the erasure of the command's account.
type ErasureSchedule struct {
	ID          ErasureID `json:"id"`
	Everything  bool      `json:"everything,omitzero"`
	EffectiveAt time.Time `json:"effective_at"`
}

func init() { register[ErasureSchedule]("erasure_schedule") }

var eventsOfErasureSchedule = []Action{erasureScheduled}

// traits: nothing is taken before its time.
func (*ErasureSchedule) traits() Traits {
	return Traits{Takes: No, Waits: Yes, Vital: No, Level: LevelOfErasures, Events: eventsOfErasureSchedule}
}

func (in *ErasureSchedule) apply(t *txn) Result {
	if _, no := t.owner(); no != nil {
		return Result{Refusal: no}
	}
	switch {
	case !validID(in.ID):
		return invalid("id", "it must have 1 to %d letters, digits, \"_\" or \"-\"", maxID)
	case t.rows.get(erasureIDRow(in.ID)) != nil:
		return refuse(Conflict, "there is an erasure %q already", in.ID)
	case in.Everything && t.cmd.Account == DefaultAccount:
		return refuse(Conflict, "the account %q always exists; erase its data without \"everything\"", DefaultAccount)
	}
	if no := (eraser{t}).roomForErasure(); no != nil {
		return Result{Refusal: no}
	}
	e := &Erasure{
		ID: in.ID, Account: t.cmd.Account, Everything: in.Everything, State: ErasureScheduled,
		RequestedAt: t.when.at, RequestedBy: nameless(t.cmd.Actor), EffectiveAt: in.EffectiveAt.UTC(),
	}
	eraser{t}.putErasure(e)
	var d diff
	d.flag("everything", false, e.Everything)
	d.text("effective_at", "", e.EffectiveAt.Format(time.RFC3339))
	t.event(erasureScheduled, "", string(e.ID), "", d.changes(true))
	return Result{Erasure: e}
}

// nameless is a without its name: the ledger outlives the people.
func nameless(a Actor) Actor { return Actor{Type: a.Type, ID: a.ID} }

// roomForErasure refuses a second erasure while one is open, and removes the oldest one
// beyond the bound. A later erasure removes all that an earlier one did.
func (t eraser) roomForErasure() (no *Refusal) {
	t.settle() // a scan sees committed rows
	n := 0
	var oldest *Erasure
	from := accountRows(rowErasure, t.cmd.Account)
	t.rows.scan(from, prefixEnd(from), func(_, value []byte) error {
		e, err := decodeErasure(value)
		if err != nil {
			return err
		}
		if n++; oldest == nil || e.RequestedAt.Before(oldest.RequestedAt) {
			oldest = e
		}
		if !e.Over() {
			no = refuse(Conflict, "the erasure %s of the account is %s already", e.ID, e.State).Refusal
			return errEnough
		}
		return nil
	})
	if no == nil && n >= MaxErasures {
		t.rows.delete(erasureRow(oldest.Account, oldest.ID))
		t.rows.delete(erasureIDRow(oldest.ID))
	}
	return no
}

// ErasureCancel ends an erasure before its time.
type ErasureCancel struct {
	ID ErasureID `json:"id"`
}

func init() { register[ErasureCancel]("erasure_cancel") }

var eventsOfErasureCancel = []Action{erasureCancelled}

// traits implements [Change].
func (*ErasureCancel) traits() Traits {
	return Traits{Takes: No, Waits: Yes, Vital: No, Level: LevelOfErasures, Events: eventsOfErasureCancel}
}

// LevelOfErasureTags is the level of nodes that compare the tag of an erasure. Those before it
// ignore one, so all do while such a node is there.
const LevelOfErasureTags = 8

// LevelOfSignedLedgers is the first level of nodes that read a signed ledger of erasures.
const LevelOfSignedLedgers = 8

func (in *ErasureCancel) apply(t *txn) Result {
	e, no := eraser{t}.erasure(in.ID)
	switch {
	case no != nil:
		return Result{Refusal: no}
	case levelOf(t.state.set()) >= LevelOfErasureTags && !t.matches(e.Modified):
		return changedMeanwhile()
	case e.State == ErasureCancelled:
		return Result{Erasure: e}
	case e.State != ErasureScheduled:
		return refuse(Conflict, "the erasure is %s; what is erased cannot come back", e.State)
	}
	e.State, e.CancelledAt, e.CancelledBy = ErasureCancelled, t.when.at, nameless(t.cmd.Actor)
	eraser{t}.putErasure(e)
	t.event(erasureCancelled, "", string(e.ID), "", nil)
	return Result{Erasure: e}
}

// ErasureRun erases the command's account from the state, when the time of the erasure ID
// has come. Again, from the ledger of another state, needs neither: a restore erases with
// it what came back.
type ErasureRun struct {
	ID    ErasureID `json:"id"`
	Again *Erasure  `json:"again,omitzero"`
}

func init() { register[ErasureRun]("erasure_run") }

var eventsOfErasureRun = []Action{erasureApplied}

// traits: keys and sessions may end.
func (*ErasureRun) traits() Traits {
	return Traits{Takes: Yes, Waits: Yes, Vital: No, Level: LevelOfErasures, Events: eventsOfErasureRun}
}

func (in *ErasureRun) apply(t *txn) Result {
	var e *Erasure
	if in.Again != nil {
		again := *in.Again
		if e = &again; !validID(e.ID) || !validID(e.Account) || e.Account != t.cmd.Account || e.ErasedAt.IsZero() {
			return invalid("again", "it must be an erasure of the account that took place")
		}
	} else {
		found, no := eraser{t}.erasure(in.ID)
		if no != nil {
			return Result{Refusal: no}
		}
		e = found
		switch {
		case e.State != ErasureScheduled:
			return refuse(Conflict, "the erasure is %s", e.State)
		case t.when.now().Before(e.EffectiveAt):
			return refuse(Conflict, "the erasure is due at %s", e.EffectiveAt.Format(time.RFC3339))
		}
	}
	eraser{t}.erase(e)
	e.State, e.ErasedAt, e.Index, e.Nodes, e.DoneAt = ErasureRunning, t.when.at, t.index, nil, time.Time{}
	eraser{t}.putErasure(e)
	var d diff
	d.flag("everything", false, e.Everything)
	t.eventOf(e.Account, erasureApplied, "", string(e.ID), "", d.changes(true))
	if t.state.account(e.Account) == nil {
		// The events of an account that does not exist cannot be queried; see AccountDelete.
		t.eventOf(operatorsAccount(t), erasureApplied, "", string(e.ID), string(e.Account), d.changes(true))
	}
	return Result{Erasure: e}
}

// erase removes what the state holds about the account, and with Everything the account.
// The end of its chain stays, so that later events go on with it.
func (t eraser) erase(e *Erasure) {
	t.settle() // scans see committed rows
	old := t.state.account(e.Account)
	var people []*User
	t.eachUser(func(u *User) error {
		if u.Account == e.Account {
			people = append(people, u)
		}
		return nil
	})
	for _, u := range people {
		t.endSessions(string(u.ID), "")
		u.Known, u.LastSignInAt = nil, time.Time{}
		t.rows.put(userRow(u.ID), t.rows.json(u))
	}
	t.endSessions(string(e.Account), "")
	t.rows.endLinks(e.Account)
	for _, w := range t.state.hooks()[e.Account] {
		queues(t).forget(w.ID)
	}
	t.eraseIncidents(e.Account)
	t.eraseCauses(e.Account)
	t.eraseResults(e.Account)
	if e.Everything && old != nil && e.Account != DefaultAccount {
		t.removeAccount(old, people)
	}
	t.eraseEvents(e.Account)
}

// eraseEvents removes the account's events. Its chain notes the time, as for events that
// have expired.
func (t eraser) eraseEvents(account AccountID) {
	from := accountRows(rowEvent, account)
	t.rows.deleteRange(from, prefixEnd(from))
	if l, ok := t.link(account); ok && l.now.Events > 0 {
		l.keep(t.chain.heads)
		l.now.since = max(l.now.since, l.now.Time+1)
		t.rows.put(named(rowLink, account), packLink(&l))
	}
}

// forget removes the deliveries of an endpoint.
func (t queues) forget(id WebhookID) {
	q := t.rows.queue(id)
	for _, table := range []byte{rowPending, rowFinished} {
		from := deliveryRows(table, id)
		t.rows.scan(from, prefixEnd(from), func(row, _ []byte) error {
			t.rows.delete(slices.Clone(row))
			return nil
		})
	}
	t.rows.addPending(-q.Pending)
	q.Pending, q.Finished = 0, 0
	t.rows.putQueue(id, q)
}

// eraseIncidents removes the incidents that are closed. An open one holds a freeze, and
// goes with the account, or when it is closed and erased.
func (t eraser) eraseIncidents(account AccountID) {
	from := accountRows(rowIncident, account)
	t.rows.scan(from, prefixEnd(from), func(row, value []byte) error {
		var n Incident
		if err := json.Unmarshal(value, &n); err != nil {
			return err
		}
		if !n.ClosedAt.IsZero() {
			t.rows.delete(slices.Clone(row))
		}
		return nil
	})
}

// eraseCauses removes the causes of the account's alerts: they name keys and addresses.
func (t eraser) eraseCauses(account AccountID) {
	own := causeRow(account, "")
	from := []byte{rowCause, causeByAge}
	t.rows.scan(from, prefixEnd(from), func(row, _ []byte) error {
		if cause := row[2+8:]; bytes.HasPrefix(cause, own) {
			t.rows.delete(slices.Clone(row))
			t.rows.delete(slices.Clone(cause))
		}
		return nil
	})
}

// eraseResults removes the stored results of repeatable commands that show the account.
// They are those of one day.
func (t eraser) eraseResults(account AccountID) {
	name := t.rows.json(string(account))
	of, itself := append([]byte(`"account":`), name...), append([]byte(`"id":`), name...)
	t.rows.scan([]byte{rowOnce}, []byte{rowOnce + 1}, func(row, value []byte) error {
		if bytes.Contains(value, of) || bytes.Contains(value, itself) {
			t.rows.delete(slices.Clone(row)) // the row by age goes with its time
		}
		return nil
	})
}

// ErasureReport says that a node has removed what its files held. With the report of the
// last member the erasure is done.
type ErasureReport struct {
	ID   ErasureID   `json:"id"`
	Node ErasureNode `json:"node"`
}

func init() { register[ErasureReport]("erasure_report") }

var eventsOfErasureReport = []Action{erasureCompleted}

// traits: nodes report for themselves.
func (*ErasureReport) traits() Traits {
	return Traits{Takes: No, Waits: No, Vital: No, Level: LevelOfErasures, Events: eventsOfErasureReport}
}

func (in *ErasureReport) apply(t *txn) Result {
	e, no := eraser{t}.erasure(in.ID)
	switch {
	case no != nil:
		return Result{Refusal: no}
	case e.State != ErasureRunning:
		return refuse(Conflict, "the erasure is %s", e.State)
	case !validID(in.Node.ID) || len(in.Node.Name) > maxName || len(in.Node.Backups) > MaxErasureBackups:
		return invalid("node", "it must have an id, and at most %d backups", MaxErasureBackups)
	}
	e.Nodes = append(slices.DeleteFunc(e.Nodes, func(n ErasureNode) bool { return n.ID == in.Node.ID }), in.Node)
	slices.SortFunc(e.Nodes, func(a, b ErasureNode) int { return bytes.Compare([]byte(a.ID), []byte(b.ID)) })
	done := true
	for _, m := range t.state.set().present() {
		done = done && e.Reported(m.ID)
	}
	if done {
		e.State, e.DoneAt = ErasureDone, t.when.at
	}
	eraser{t}.putErasure(e)
	if !done {
		return Result{Erasure: e}
	}
	account := e.Account
	if t.state.account(account) == nil {
		account = operatorsAccount(t)
	}
	t.eventOf(account, erasureCompleted, "", string(e.ID), "", nil)
	return Result{Erasure: e}
}
