package store

import (
	"slices"
	"time"
)

// Level counts the features that change what the log or the nodes' calls hold.
// A cluster's level is the lowest of its members' ([Store.ClusterLevel]); what is
// newer than that is not used until every node is.
//
//	1  a lone node
//	2  clusters: members, certificate authority, resets
const Level = 2

// levelOfMember is the lowest level that can be a member of a cluster at all.
const levelOfMember = 2

// Member is one node of the cluster, or, once Removed is set, one that was: its
// certificate is refused from then on, and only a wiped data directory, which
// makes it another node, brings the machine back.
type Member struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	Address  string    `json:"address"` // HOST:PORT of its cluster listener
	Region   string    `json:"region,omitzero"`
	Version  string    `json:"version,omitzero"`
	Level    int       `json:"level"`
	Stale    bool      `json:"stale,omitzero"` // it serves on without a lease: cluster.when_isolated = "serve"
	JoinedAt time.Time `json:"joined_at"`
	Removed  time.Time `json:"removed_at,omitzero"`
}

// Facts reports whether m and o say the same of a node, the times aside.
func (m Member) Facts(o Member) bool {
	m.JoinedAt, m.Removed, o.JoinedAt, o.Removed = time.Time{}, time.Time{}, time.Time{}, time.Time{}
	return m == o
}

// ClusterOpen gives the cluster what its nodes know each other by. It is made
// once, when the first node opens its cluster listener.
type ClusterOpen struct {
	CA     []byte `json:"ca"`     // certificate, DER
	CAKey  []byte `json:"ca_key"` // its private key, PKCS #8
	Gossip []byte `json:"gossip"` // key of the gossip's encryption, 32 bytes
}

// MemberPut adds a node or replaces what is known of it. Apply sets JoinedAt, and
// refuses a node that was removed and a name that another member has.
type MemberPut struct {
	Member Member `json:"member"`
}

// MemberRemove ends a node's membership and gives the others a new gossip key.
type MemberRemove struct {
	ID     string `json:"id"`
	Gossip []byte `json:"gossip"`
}

// Trust is what the nodes of a cluster know each other by.
type Trust struct {
	CA, CAKey []byte
	// Gossip are the keys that are accepted, the one to use first.
	Gossip [][]byte
}

// Trust returns what [ClusterOpen] made; its CA is nil in a cluster that no node
// has ever opened.
func (s *Store) Trust() Trust {
	set := s.settled.Load()
	return Trust{CA: set.CA, CAKey: set.CAKey, Gossip: set.Gossip}
}

// Members lists the nodes of the cluster, by name.
func (s *Store) Members() []Member {
	return slices.DeleteFunc(slices.Clone(s.settled.Load().Members), func(m Member) bool { return !m.Removed.IsZero() })
}

// Member returns what is known of the node id, also after its removal.
func (s *Store) Member(id string) (Member, bool) { return s.settled.Load().member(id) }

// Removed reports whether the node id was a member and is none any more.
func (s *Store) Removed(id string) bool {
	m, ok := s.settled.Load().member(id)
	return ok && !m.Removed.IsZero()
}

// RemovedMembers lists the ids of nodes that were members.
func (s *Store) RemovedMembers() (ids []string) {
	for _, m := range s.settled.Load().Members {
		if !m.Removed.IsZero() {
			ids = append(ids, m.ID)
		}
	}
	return ids
}

func (set *settings) member(id string) (Member, bool) {
	for _, m := range set.Members {
		if m.ID == id {
			return m, true
		}
	}
	return Member{}, false
}

// ClusterLevel is the lowest level of the members; this program's own where there
// are none.
func (s *Store) ClusterLevel() int {
	level := Level
	for _, m := range s.settled.Load().Members {
		if m.Removed.IsZero() {
			level = min(level, m.Level)
		}
	}
	return level
}

// Level is the lowest level of a node that can apply c.
func (c *Command) Level() int {
	if c.ClusterOpen != nil || c.MemberPut != nil || c.MemberRemove != nil || c.ClusterReset != nil {
		return levelOfMember
	}
	return 1
}

// Takes reports whether c can take a right away: its answer then waits until no
// node admits the old state any more (contract, section 8).
func (c *Command) Takes() bool {
	return c.KeyUpdate != nil || c.KeyRotate != nil || c.KeyRevoke != nil || c.KeyRevokeBulk != nil ||
		c.AllowlistSet != nil || c.AccountUpdate != nil || c.AccountDelete != nil ||
		c.TierPut != nil && !c.TierPut.Create || c.TierDelete != nil || c.OperatorTokens != nil ||
		c.MemberRemove != nil
}

// Waits reports whether c's answer waits for the serving nodes at all. What nodes
// do among themselves does not: no caller could go to another node with it.
func (c *Command) Waits() bool {
	return c.Grant == nil && c.ClusterOpen == nil && c.MemberPut == nil
}
