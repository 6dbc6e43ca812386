package store

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
)

// Change is one kind of change of the state. Each kind is a type of its own in the
// file of its topic, which holds all there is to say about it: its members, its
// traits, how it is applied, and [register], which gives it its name on the wire.
// Only this package can add a kind, since every node must know them all.
type Change interface {
	// apply checks the change against the state of t and makes it, or refuses it and
	// leaves the state as it is. It depends on nothing but t and the change itself.
	apply(t *txn) Result
	// traits says how the nodes of a cluster treat the change. It may depend on the
	// change's own values, never on the state: each node must come to the same answer.
	traits() Traits
}

// Traits say how the nodes of a cluster treat a change. None of them has a default:
// a change that leaves one out stops the program at its start ([register]).
type Traits struct {
	// Takes: the change may take a right away, so its answer waits until no node
	// admits requests under the old state. Where the effect depends on more than the
	// change itself, the answer is Yes.
	Takes Answer
	// Waits: the answer waits for the serving nodes at all. It does not where nodes
	// write for themselves: no caller could go to another node with it.
	Waits Answer
	// Vital: the change is accepted even when the disk is full.
	Vital Answer
	// Level is the lowest level of a node that can apply the change; see [Level].
	Level int
	// Events lists the audit events that the change may write; noEvents if none. It
	// is a package variable: the traits are asked for several times for each write.
	Events []Action
}

// Answer is yes or no. Its zero value is neither, so that nothing is answered by
// being forgotten.
type Answer uint8

// The answers.
const (
	No Answer = iota + 1
	Yes
)

// Action is the type and name of an audit event.
type Action struct {
	Type EventType
	Name string
}

// noEvents states that a change writes no audit event.
var noEvents = []Action{}

// missing names a trait that is not stated; "" if all are.
func (t Traits) missing() string {
	stated := func(a Answer) bool { return a == Yes || a == No }
	switch {
	case !stated(t.Takes):
		return "Takes"
	case !stated(t.Waits):
		return "Waits"
	case !stated(t.Vital):
		return "Vital"
	case t.Level < 1 || t.Level > Level:
		return "Level"
	case t.Events == nil || slices.Contains(t.Events, Action{}):
		return "Events"
	}
	return ""
}

// Takes reports whether c may take a right away; see [Traits]. An answer that is
// not stated for c's values counts as Yes.
func (c *Command) Takes() bool { return c.Change.traits().Takes != No }

// Waits reports whether the answer to c waits for the serving nodes; see [Traits].
// An answer that is not stated for c's values counts as Yes.
func (c *Command) Waits() bool { return c.Change.traits().Waits != No }

// Vital reports whether c is accepted even when the disk is full; see [Traits].
func (c *Command) Vital() bool { return c.Change.traits().Vital == Yes }

// Level is the lowest level of a node that can apply c; see [Level].
func (c *Command) Level() int { return c.Change.traits().Level }

// The kinds of changes, by their names on the wire and by their types. They are
// written while the package is initialized, and only read from then on.
var (
	kinds = make(map[string]func() Change)
	names = make(map[reflect.Type]string)
)

// register makes *T a kind of change that is called name on the wire. It panics
// where the name or the type stands for another kind, where the name is one of the
// command's own members, and where a trait is not stated.
func register[T any, P interface {
	*T
	Change
}](name string) {
	kind := reflect.TypeFor[P]()
	if _, taken := inHead([]byte(name)); taken || kinds[name] != nil || names[kind] != "" || name == "" {
		panic(fmt.Sprintf("BUG: the change %v cannot be called %q", kind, name))
	}
	if missing := P(new(T)).traits().missing(); missing != "" {
		panic(fmt.Sprintf("BUG: the change %v does not state the trait %s", kind, missing))
	}
	kinds[name] = func() Change { return P(new(T)) }
	names[kind] = name
}

// ActionsThatTake lists the names of the audit events, sorted, of which each may tell
// that a right was taken away: those of changes that may take one, but for events
// of type [EventCreate], since a creation takes nothing.
func ActionsThatTake() []string {
	actions := make(map[string]bool)
	for _, empty := range kinds {
		t := empty().traits()
		if t.Takes == No {
			continue
		}
		for _, a := range t.Events {
			if a.Type != EventCreate {
				actions[a.Name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(actions))
}

// Kinds lists the names of all kinds of changes, sorted.
func Kinds() []string { return slices.Sorted(maps.Keys(kinds)) }

// Kind is the name of c's change on the wire; "" if there is none that is registered.
func (c *Command) Kind() string { return names[reflect.TypeOf(c.Change)] }
