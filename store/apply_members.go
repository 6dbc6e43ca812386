package store

import (
	"cmp"
	"slices"
	"time"
)

// The events that the changes in this file write.
var (
	clusterOpened = Action{EventCreate, "cluster.open"}
	memberJoined  = Action{EventCreate, "cluster.join"}
	memberUpdated = Action{EventUpdate, "cluster.update"}
	memberRemoved = Action{EventDelete, "cluster.remove"}
)

// The bounds of the members' facts.
const (
	maxMembers  = 99
	maxAddress  = 300
	gossipKey   = 32
	gossipKeys  = 2 // the one in use and the one before
	maxTrust    = 4 << 10
	removedKept = 60 * 24 * time.Hour // longer than any certificate lives
	maxRemoved  = 1000
)

// ClusterOpen gives the cluster the secrets by which its nodes trust each other. It is made
// once, when the first node opens its cluster listener.
type ClusterOpen struct {
	CA     []byte `json:"ca"`     // certificate, DER
	CAKey  []byte `json:"ca_key"` // its private key, PKCS #8
	Gossip []byte `json:"gossip"` // key of the gossip's encryption, 32 bytes
}

func init() { register[ClusterOpen]("cluster_open") }

var eventsOfClusterOpen = []Action{clusterOpened}

// traits implements [Change].
func (*ClusterOpen) traits() Traits {
	return Traits{Takes: No, Waits: No, Vital: No, Level: levelOfMember, Events: eventsOfClusterOpen}
}

func (in *ClusterOpen) apply(t *txn) Result {
	set := *t.state.set()
	switch {
	case set.CA != nil:
		return refuse(Conflict, "the cluster has a certificate authority already")
	case len(in.CA) == 0 || len(in.CA) > maxTrust || len(in.CAKey) == 0 || len(in.CAKey) > maxTrust:
		return invalid("ca", "it must have 1 to %d bytes", maxTrust)
	case len(in.Gossip) != gossipKey:
		return invalid("gossip", "it must have %d bytes", gossipKey)
	}
	set.CA, set.CAKey, set.Gossip = in.CA, in.CAKey, [][]byte{in.Gossip}
	t.state.putSettings(set)
	t.eventOf(operatorsAccount(t), clusterOpened, "", set.ClusterID, "", nil)
	return Result{}
}

// MemberPut adds a node or replaces its facts. Apply sets JoinedAt, and
// refuses a node that was removed and a name that another member has.
type MemberPut struct {
	Member Member `json:"member"`
}

func init() { register[MemberPut]("member_put") }

var eventsOfMemberPut = []Action{memberJoined, memberUpdated}

// traits implements [Change].
func (*MemberPut) traits() Traits {
	return Traits{Takes: No, Waits: No, Vital: No, Level: levelOfMember, Events: eventsOfMemberPut}
}

func (in *MemberPut) apply(t *txn) Result {
	m := in.Member
	switch {
	case m.ID == "" || len(m.ID) > maxID:
		return invalid("id", "it must have 1 to %d characters", maxID)
	case m.Name == "" || len(m.Name) > maxID:
		return invalid("name", "it must have 1 to %d characters", maxID)
	case m.Address == "" || len(m.Address) > maxAddress || len(m.Region) > maxName || len(m.Version) > maxName:
		return invalid("address", "it or the region or version is missing or too long")
	case m.Level < levelOfMember:
		return invalid("level", "it must be %d or more", levelOfMember)
	}
	set := *t.state.set()
	set.Members = slices.Clone(set.Members)
	now := 0
	for _, o := range set.Members {
		switch {
		case !o.Removed.IsZero():
		case o.ID != m.ID && o.Name == m.Name:
			return refuse(Conflict, "there is a node %q already", m.Name)
		case o.ID != m.ID:
			now++
		}
	}
	if now >= maxMembers {
		return refuse(LimitReached, "a cluster has %d nodes at most", maxMembers)
	}
	m.JoinedAt, m.Removed = t.when.at, time.Time{}
	i := slices.IndexFunc(set.Members, func(o Member) bool { return o.ID == m.ID })
	if i < 0 {
		set.Members = append(set.Members, m)
		sortMembers(set.Members)
		t.state.putSettings(set)
		t.eventOf(operatorsAccount(t), memberJoined, "", m.Name, "", diffMembers(Member{}, m, true))
		return Result{}
	}
	old := set.Members[i]
	if !old.Removed.IsZero() {
		return refuse(Conflict, "the node was removed from the cluster; empty its data directory to join it as a new one")
	}
	if old.Facts(m) {
		return Result{}
	}
	m.JoinedAt = old.JoinedAt
	set.Members[i] = m
	sortMembers(set.Members)
	t.state.putSettings(set)
	t.eventOf(operatorsAccount(t), memberUpdated, "", m.Name, "", diffMembers(old, m, false))
	return Result{}
}

// MemberRemove ends a node's membership and gives the others a new gossip key.
type MemberRemove struct {
	ID     string `json:"id"`
	Gossip []byte `json:"gossip"`
}

func init() { register[MemberRemove]("member_remove") }

var eventsOfMemberRemove = []Action{memberRemoved}

// traits: the node must serve no more when its removal is answered.
func (*MemberRemove) traits() Traits {
	return Traits{Takes: Yes, Waits: Yes, Vital: No, Level: levelOfMember, Events: eventsOfMemberRemove}
}

func (in *MemberRemove) apply(t *txn) Result {
	if len(in.Gossip) != gossipKey {
		return invalid("gossip", "it must have %d bytes", gossipKey)
	}
	set := *t.state.set()
	i := slices.IndexFunc(set.Members, func(m Member) bool { return m.ID == in.ID && m.Removed.IsZero() })
	if i < 0 {
		return refuse(NotFound, "there is no such node")
	}
	set.Members = slices.Clone(set.Members)
	set.Members[i].Removed = t.when.keptFrom()
	gone := set.Members[i]
	set.Members = dropForgotten(set.Members, t.when.now())
	set.Gossip = slices.Insert(slices.Clone(set.Gossip), 0, in.Gossip)
	set.Gossip = set.Gossip[:min(len(set.Gossip), gossipKeys)]
	t.state.putSettings(set)
	t.eventOf(operatorsAccount(t), memberRemoved, "", gone.Name, "", diffMembers(gone, Member{}, false))
	return Result{}
}

// dropForgotten drops nodes that were removed so long ago that no certificate of
// theirs is valid any more, and the oldest beyond maxRemoved.
func dropForgotten(list []Member, now time.Time) []Member {
	list = slices.DeleteFunc(list, func(m Member) bool {
		return !m.Removed.IsZero() && now.Sub(m.Removed) > removedKept
	})
	for removed := 0; ; removed = 0 {
		oldest := -1
		for i, m := range list {
			if m.Removed.IsZero() {
				continue
			}
			removed++
			if oldest < 0 || m.Removed.Before(list[oldest].Removed) {
				oldest = i
			}
		}
		if removed <= maxRemoved {
			return list
		}
		list = slices.Delete(list, oldest, oldest+1)
	}
}

func sortMembers(list []Member) {
	slices.SortFunc(list, func(a, b Member) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
}

func diffMembers(old, m Member, created bool) []byte {
	var d diff
	d.text("id", old.ID, m.ID)
	d.text("name", old.Name, m.Name)
	d.text("address", old.Address, m.Address)
	d.text("region", old.Region, m.Region)
	d.text("version", old.Version, m.Version)
	d.number("level", int64(old.Level), int64(m.Level))
	return d.changes(created)
}
