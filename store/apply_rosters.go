package store

import "slices"

// ShareRoster is the nodes whose parts of the limits add up to the whole, by id, sorted; see
// package limiter/roster. First says that the cluster had none before, and Whole that the
// buckets then begin full.
type ShareRoster struct {
	Index uint64   `json:"index"` // of the entry that announced it
	Nodes []string `json:"nodes"`
	First bool     `json:"first,omitzero"`
	Whole bool     `json:"whole,omitzero"`
}

// maxRosters bounds the rosters that are pending: each settles some seconds after the
// last one was announced.
const maxRosters = 16

// LevelOfRosters is the level of nodes that share limits.
const LevelOfRosters = 6

// RosterPut announces the nodes that share limits from now on. The first roster is
// settled at once; any other counts beside the ones before it until it is settled. Whole
// says of the first that no node has admitted anything before it, or that each counted for
// itself.
type RosterPut struct {
	Nodes []string `json:"nodes"`
	Whole bool     `json:"whole,omitzero"`
}

func init() { register[RosterPut]("roster_put") }

// traits: no caller waits for a roster, and the leader counts it among the entries that
// a serving lease requires.
func (*RosterPut) traits() Traits {
	return Traits{Takes: No, Waits: No, Vital: Yes, Level: LevelOfRosters, Events: noEvents}
}

func (in *RosterPut) apply(t *txn) Result {
	set := *t.state.set()
	nodes := slices.Compact(slices.Sorted(slices.Values(in.Nodes)))
	switch n := len(set.ShareRosters); {
	case len(nodes) == 0 || len(nodes) > maxMembers:
		return invalid("nodes", "there must be 1 to %d", maxMembers)
	case n >= maxRosters:
		return refuse(Conflict, "%d rosters are pending", n-1)
	case n > 0 && slices.Equal(set.ShareRosters[n-1].Nodes, nodes):
		return refuse(Conflict, "the roster has these nodes already")
	}
	for _, id := range nodes {
		if m, ok := set.member(id); !ok || !m.Removed.IsZero() {
			return invalid("nodes", "%s is no member", id)
		}
	}
	r := ShareRoster{Index: t.index, Nodes: nodes, First: !set.Shared, Whole: in.Whole && !set.Shared}
	set.ShareRosters, set.Shared = append(slices.Clone(set.ShareRosters), r), true
	t.state.putSettings(set)
	return Result{}
}

// RosterSettle drops the rosters before the one that was announced at Index: no node
// uses more than that gives it any more.
type RosterSettle struct {
	Index uint64 `json:"index"`
}

func init() { register[RosterSettle]("roster_settle") }

// traits implements [Change].
func (*RosterSettle) traits() Traits {
	return Traits{Takes: No, Waits: No, Vital: Yes, Level: LevelOfRosters, Events: noEvents}
}

func (in *RosterSettle) apply(t *txn) Result {
	set := *t.state.set()
	i := slices.IndexFunc(set.ShareRosters, func(r ShareRoster) bool { return r.Index == in.Index })
	if i <= 0 {
		return refuse(Conflict, "no roster of index %d is pending", in.Index)
	}
	set.ShareRosters = slices.Clone(set.ShareRosters[i:])
	t.state.putSettings(set)
	return Result{}
}
