package store

import "time"

// Level counts the features that change the content of the log or of the nodes'
// calls. A cluster's level is the lowest of its members' ([Store.ClusterLevel]); a
// newer feature is not used until every node has it.
//
//	1  a lone node
//	2  clusters: members, certificate authority, resets
//	3  stamps of the leader, prefixes of imports, limits of bulk revocations, lineages of keys
//	4  revocation of whole chains by one command, imports of keys that another account revoked
//	5  an audit log that is chained, with signed heads; limit rules and bounds on the requests
//	   in flight
//	6  limits that the nodes of a cluster share; operator tokens with names, users, sessions;
//	   state and key policy of accounts; webhooks; overlaps that end when the old key is no longer
//	   used
//	7  erasures of accounts
//	8  a log of the operators apart from that of the account "default"; hashes over all applied
//	   entries, compared by the leader; allowlists on trial; rotations of the pepper
const Level = 8

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
