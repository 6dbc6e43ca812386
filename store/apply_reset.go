package store

import "slices"

func (t *txn) resetCluster(in *ClusterReset) Result {
	old := t.set()
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
	// The pepper stays: it is what makes the keys' hashes, and so the keys, good.
	set := *old
	set.ClusterID, set.ResetAt = in.ClusterID, t.at
	if len(in.OperatorTokens) > 0 {
		set.OperatorTokens = slices.Clone(in.OperatorTokens)
	}
	t.putSettings(set)
	t.forgetMembers()
	var d diff
	d.text("cluster_id", in.From, in.ClusterID)
	d.number("operator_tokens", int64(len(old.OperatorTokens)), int64(len(set.OperatorTokens)))
	t.event(EventUpdate, "cluster."+in.Kind, "", in.ClusterID, in.Reason, d.changes(false))
	return Result{Keys: t.revokeAgain(in.Revoke)}
}

// revokeAgain revokes keys of whatever account, each among its own events.
func (t *txn) revokeAgain(ids []KeyID) (revoked []KeyID) {
	cmd := t.cmd
	defer func() { t.cmd = cmd }()
	for _, id := range slices.Compact(slices.Sorted(slices.Values(ids))) {
		k, row := t.keyByID(id)
		if k == nil || !k.RevokedAt.IsZero() || t.account(k.Account) == nil {
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

// forgetMembers removes what the state holds about the nodes of the cluster that
// was: the new one has other members, and must not believe the old ones.
func (t *txn) forgetMembers() {
	set := *t.set()
	set.CA, set.CAKey, set.Gossip, set.Members = nil, nil, nil, nil
	t.putSettings(set)
}
