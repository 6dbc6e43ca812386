package store

import (
	"slices"
	"time"
)

// Level counts the features that change the content of the log or of the nodes'
// calls. A cluster's level is the lowest of its members' ([Store.ClusterLevel]); a
// newer feature is not used until every node has it.
//
//	1  a lone node
//	2  clusters: members, certificate authority, resets
//	3  stamps of the leader, prefixes of imports, limits of bulk revocations, lineages of keys
const Level = 3

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
	Stale    bool      `json:"stale,omitzero"` // it keeps serving without a lease: cluster.when_isolated = "serve"
	JoinedAt time.Time `json:"joined_at"`
	Removed  time.Time `json:"removed_at,omitzero"`
}

// Facts reports whether m and o say the same of a node, the times aside.
func (m Member) Facts(o Member) bool {
	m.JoinedAt, m.Removed, o.JoinedAt, o.Removed = time.Time{}, time.Time{}, time.Time{}, time.Time{}
	return m == o
}

// Trust holds the secrets by which the nodes of a cluster trust each other.
type Trust struct {
	CA, CAKey []byte
	// Gossip are the keys that are accepted, the one to use first.
	Gossip [][]byte
}

// Trust returns the secrets of [ClusterOpen]; its CA is nil in a cluster that no node
// has ever opened.
func (s *Store) Trust() Trust {
	set := s.settled.Load()
	return Trust{CA: set.CA, CAKey: set.CAKey, Gossip: set.Gossip}
}

// Members lists the nodes of the cluster, by name.
func (s *Store) Members() []Member {
	return slices.DeleteFunc(slices.Clone(s.settled.Load().Members), func(m Member) bool { return !m.Removed.IsZero() })
}

// Member returns the facts of the node id, also after its removal.
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
