package store

import (
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/perfgate/perfgate/store/chain"
)

// settings are the cluster's own facts. A published value is never changed.
type settings struct {
	ClusterID      string `json:"cluster_id"`
	Pepper         Hash   `json:"pepper"` // the current one
	OperatorTokens []Hash `json:"operator_tokens"`
	DefaultTier    string `json:"default_tier"`
	Imported       bool   `json:"imported"` // by a command without prefixes

	// Of a cluster that was opened; see [ClusterOpen].
	CA      []byte   `json:"ca,omitzero"`
	CAKey   []byte   `json:"ca_key,omitzero"`
	Gossip  [][]byte `json:"gossip,omitzero"`
	Members []Member `json:"members,omitzero"` // by name; removed ones too
	// ShareRosters are the settled one, then the pending ones; Shared says that there was
	// one, also before a reset.
	ShareRosters []ShareRoster `json:"rosters,omitzero"`
	Shared       bool          `json:"shared,omitzero"`
	// ResetAt is the time of the last [ClusterReset]; zero if there was none.
	ResetAt time.Time `json:"reset_at,omitzero"`

	// TokenFacts say more of some of OperatorTokens.
	TokenFacts []OperatorToken `json:"operator_token_facts,omitzero"`

	// The key that signs the heads of the audit log; see [AuditKey].
	AuditSeed []byte      `json:"audit_seed,omitzero"`
	AuditKeys []chain.Key `json:"audit_keys,omitzero"` // oldest first
	// OperatorsLog says that events of no account are apart; see [OperatorsLog].
	OperatorsLog bool `json:"operators_log,omitzero"`

	// Turn is what the rotations of Pepper have left; nil before the first. See [PepperRotate].
	Turn *pepperTurn `json:"pepper_turn,omitzero"`
}

// facts are the settings as they are published: all that readers learn of the cluster
// itself and of its nodes. It may be used from any goroutine; apply alone replaces the
// settings, after their row is committed.
type facts struct {
	settled   atomic.Pointer[settings]
	restoring atomic.Bool // the rows may be newer than settled
}

// Initialized reports whether the cluster has begun its life: [Init] is applied.
func (f *facts) Initialized() bool { return f.settled.Load().ClusterID != "" }

// ClusterID is the cluster's name; "" before Init.
func (f *facts) ClusterID() string { return f.settled.Load().ClusterID }

// ResetAt is the time at which the state was restored or recovered: usage before
// that may be in no month's count. It is the zero time if it never was.
func (f *facts) ResetAt() time.Time { return f.settled.Load().ResetAt }

// Pepper is the current pepper, which keys the hashes of new API keys. [facts.Peppers] also
// has the one before.
func (f *facts) Pepper() Hash { return f.settled.Load().Pepper }

// OperatorTokens are the SHA-256 of the tokens that operators may use, expired ones too.
func (f *facts) OperatorTokens() []Hash { return f.settled.Load().OperatorTokens }

// DefaultTier is the tier of accounts that do not name one.
func (f *facts) DefaultTier() string { return f.settled.Load().DefaultTier }

// Trust holds the secrets by which the nodes of a cluster trust each other.
type Trust struct {
	CA, CAKey []byte
	// Gossip are the keys that are accepted, the one to use first.
	Gossip [][]byte
}

// Trust returns the secrets of [ClusterOpen]; its CA is nil in a cluster that no node
// has ever opened.
func (f *facts) Trust() Trust {
	set := f.settled.Load()
	return Trust{CA: set.CA, CAKey: set.CAKey, Gossip: set.Gossip}
}

// Members lists the nodes of the cluster, by name.
func (f *facts) Members() []Member {
	return f.settled.Load().present()
}

// Member returns the facts of the node id, also after its removal.
func (f *facts) Member(id string) (Member, bool) { return f.settled.Load().member(id) }

// Removed reports whether the node id was a member and is none any more.
func (f *facts) Removed(id string) bool {
	m, ok := f.settled.Load().member(id)
	return ok && !m.Removed.IsZero()
}

// RemovedMembers lists the ids of nodes that were members.
func (f *facts) RemovedMembers() (ids []string) {
	for _, m := range f.settled.Load().Members {
		if !m.Removed.IsZero() {
			ids = append(ids, m.ID)
		}
	}
	return ids
}

// ShareRosters are the nodes that share limits: the settled roster, then the pending
// ones. They are not changed.
func (f *facts) ShareRosters() []ShareRoster { return f.settled.Load().ShareRosters }

// present lists the members that were not removed.
func (set *settings) present() []Member {
	return slices.DeleteFunc(slices.Clone(set.Members), func(m Member) bool { return !m.Removed.IsZero() })
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
func (f *facts) ClusterLevel() int { return levelOf(f.settled.Load()) }

func levelOf(set *settings) int {
	level := Level
	for _, m := range set.present() {
		level = min(level, m.Level)
	}
	return level
}

func (d database) readSettings() (*settings, error) {
	set := new(settings)
	row, err := d.get(settingsRow)
	if row != nil && err == nil {
		err = json.Unmarshal(row, set)
	}
	if err != nil {
		return nil, fmt.Errorf("read the settings: %w", err)
	}
	return set, nil
}
