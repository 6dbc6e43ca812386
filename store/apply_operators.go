package store

// operatorsLogBegun is the event that the change in this file writes.
var operatorsLogBegun = Action{EventCreate, "operators_log.create"}

// LevelOfOperatorsLog is the level of nodes that keep the events of operators apart.
const LevelOfOperatorsLog = 8

// OperatorsLog begins the log of the operators: events that belong to no account are written
// there from now on, and no longer among those of [DefaultAccount]. It is a command, so that
// all nodes of a cluster begin at the same entry, once all of them know that log.
type OperatorsLog struct{}

func init() { register[OperatorsLog]("operators_log") }

var eventsOfOperatorsLog = []Action{operatorsLogBegun}

// traits: where an event is written opens and closes nothing.
func (*OperatorsLog) traits() Traits {
	return Traits{Takes: No, Waits: No, Vital: No, Level: LevelOfOperatorsLog, Events: eventsOfOperatorsLog}
}

func (*OperatorsLog) apply(t *txn) Result {
	set := *t.state.set()
	if set.OperatorsLog {
		return refuse(Conflict, "the operators have a log of their own already")
	}
	set.OperatorsLog = true
	t.state.putSettings(set)
	t.eventOf(operatorsAccount(t), operatorsLogBegun, "", "", "", nil)
	return Result{}
}

// HasOperatorsLog reports whether events of no account are apart.
func (f *facts) HasOperatorsLog() bool { return f.settled.Load().OperatorsLog }

// operatorsAccount is the account of events that belong to no account: "" once the operators have
// a log of their own.
func operatorsAccount(t *txn) AccountID {
	if t.state.set().OperatorsLog {
		return ""
	}
	return DefaultAccount
}

// operatedAccount is the account of an event about somebody of an account: operators belong to
// none once they have a log of their own. Until then nodes of older versions apply, too.
func operatedAccount(t *txn, account AccountID, operator bool) AccountID {
	if operator && t.state.set().OperatorsLog {
		return ""
	}
	return account
}
