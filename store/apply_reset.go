package store

import "slices"

// The events that the changes in this file write.
var (
	clusterRestored  = Action{EventUpdate, "cluster.restore"}
	clusterRecovered = Action{EventUpdate, "cluster.recover"}
)

// ClusterReset makes another cluster of this state: one that was restored from a
// backup, or recovered from one of the nodes that are left. It follows the old
// cluster's last entry in the log of the new one's first node, which writes it
// while nothing runs; it is never proposed.
//
// The new id keeps the nodes of the old cluster out: they hold the same
// history, and could otherwise elect a leader of their own beside this one.
type ClusterReset struct {
	ClusterID string `json:"cluster_id"`
	Kind      string `json:"kind"` // ResetRestore or ResetRecover
	From      string `json:"from"` // the id that is given up
	// OperatorTokens, if there are any, replace those of the state.
	OperatorTokens []Hash `json:"operator_tokens,omitzero"`
	// Revoke names keys that are revoked in the same step: those that the lost
	// time had revoked, of any account. One that is unknown or revoked is passed
	// over; there are [ResetKeys] at most.
	Revoke []KeyID `json:"revoke,omitzero"`
	Reason string  `json:"reason,omitzero"` // of the audit event: the loss, for people
}

// The kinds of a [ClusterReset].
const (
	ResetRestore = "restore"
	ResetRecover = "recover"
)

// ResetKeys bounds [ClusterReset.Revoke].
const ResetKeys = MaxImport

// ResetReason is why a restore revokes a key, in the key and its audit event.
const ResetReason = "revoked between the backup and its restore"

func init() { register[ClusterReset]("cluster_reset") }

var eventsOfClusterReset = []Action{clusterRestored, clusterRecovered, keyRevoked}

// traits: a reset is written to the log of a stopped node, never proposed. It revokes
// keys and forgets the old cluster's nodes.
func (*ClusterReset) traits() Traits {
	return Traits{Takes: Yes, Waits: Yes, Vital: No, Level: levelOfMember, Events: eventsOfClusterReset}
}

func (in *ClusterReset) apply(t *txn) Result {
	old := t.state.set()
	switch {
	case in.Kind != ResetRestore && in.Kind != ResetRecover:
		return invalid("kind", "it must be %s or %s", ResetRestore, ResetRecover)
	case in.From != old.ClusterID:
		return refuse(Conflict, "the cluster is %s, not %s", old.ClusterID, in.From)
	case in.ClusterID == "" || len(in.ClusterID) > maxID || in.ClusterID == old.ClusterID:
		return invalid("cluster_id", "it must be a new one of 1 to %d characters", maxID)
	case len(in.OperatorTokens) > maxOperatorTokens:
		return invalid("operator_tokens", "there are more than %d", maxOperatorTokens)
	case len(in.Revoke) > ResetKeys:
		return invalid("revoke", "there are more than %d", ResetKeys)
	case len(in.Reason) > maxText:
		return invalid("reason", "it is longer than %d bytes", maxText)
	}
	// The pepper stays: the keys' hashes depend on it, and so the keys do.
	set := *old
	set.ClusterID, set.ResetAt = in.ClusterID, t.when.at
	if len(in.OperatorTokens) > 0 {
		set.setOperatorTokens(in.OperatorTokens)
	}
	t.settle()
	t.state.putSettings(set)
	in.forgetMembers(t)
	// What the lost time ended must not come back: people sign in again.
	for _, table := range []byte{rowSession, rowLinkUse} {
		t.rows.deleteRange([]byte{table}, []byte{table + 1})
	}
	var d diff
	d.text("cluster_id", in.From, in.ClusterID)
	d.number("operator_tokens", int64(len(old.OperatorTokens)), int64(len(set.OperatorTokens)))
	action := clusterRestored
	if in.Kind == ResetRecover {
		action = clusterRecovered
	}
	t.eventOf(operatorsAccount(t), action, "", in.ClusterID, in.Reason, d.changes(false))
	return Result{Keys: in.revokeAgain(t)}
}

// revokeAgain revokes the named keys, of any account, each among its own events.
func (in *ClusterReset) revokeAgain(t *txn) (revoked []KeyID) {
	cmd := t.cmd
	defer func() { t.cmd = cmd }()
	for _, id := range slices.Compact(slices.Sorted(slices.Values(in.Revoke))) {
		k, row := t.keys.byID(id)
		if k == nil || !k.RevokedAt.IsZero() || t.state.account(k.Account) == nil {
			continue
		}
		own := *cmd
		own.Account = k.Account
		t.cmd = &own
		t.endKey(row, k, ResetReason)
		revoked = append(revoked, id)
	}
	return revoked
}

// forgetMembers removes the nodes and secrets of the old cluster: the new one has
// other members, and must not trust the old ones.
func (*ClusterReset) forgetMembers(t *txn) {
	set := *t.state.set()
	set.CA, set.CAKey, set.Gossip, set.Members, set.ShareRosters = nil, nil, nil, nil, nil
	t.state.putSettings(set)
}
