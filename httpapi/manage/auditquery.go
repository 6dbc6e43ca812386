package manage

import (
	"strings"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
)

// query reads what a call asks for of a log. Events hold the id of a user and not the address,
// so an address stands for the id of the user who has it now, if the caller may know of them.
func (h *Audit) query(c *rest.Call, q *rest.Query) (store.EventQuery, error) {
	log, err := logOf(c, q)
	if err != nil {
		return store.EventQuery{}, err
	}
	eq := eventQuery(log, q)
	if !strings.Contains(eq.User, "@") {
		return eq, nil
	}
	u, err := h.People.UserByEmail(eq.User)
	if u != nil && (c.Caller.Operates() || u.Account == c.Account && u.Role != store.RoleOperator) {
		eq.User = string(u.ID)
	}
	return eq, err
}

// eventQuery reads the filters of a call, for a log.
func eventQuery(log store.EventQuery, q *rest.Query) store.EventQuery {
	eq := store.EventQuery{
		Account: log.Account, WithOperators: log.WithOperators,
		Key: store.KeyID(q.Text("key")), User: q.Text("user"), Action: q.Text("action"),
		EventType: store.EventType(q.OneOf("event_type", "create", "read", "update", "delete")),
		Outcome:   store.Outcome(q.OneOf("outcome", "success", "denied", "error")),
	}
	eq.From, eq.To = q.Period("start_date", "end_date")
	eq.Newest = q.OneOf("order", "desc", "asc") != "asc"
	return eq
}

// logOf reads which log a call asks for. Operators read that of the account "default"
// together with their own, unless they name one.
func logOf(c *rest.Call, q *rest.Query) (store.EventQuery, error) {
	name, operates := q.OneOf("log", "account", "operators"), c.Caller.Operates()
	switch {
	case name == "operators" && !operates:
		return store.EventQuery{}, fault.Newf(fault.Forbidden, "Only operators may read the log of the operators; leave log out.")
	case name == "operators" && c.Account != store.DefaultAccount:
		return store.EventQuery{}, rest.InvalidQuery("log", "operators belong to no account; leave %s out, or log", rest.AccountHeader)
	case name == "operators":
		return store.EventQuery{Account: store.Operators}, nil
	}
	return store.EventQuery{Account: c.Account, WithOperators: name == "" && operates && c.Account == store.DefaultAccount}, nil
}
