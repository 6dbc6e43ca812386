package store

import "slices"

// maxOperatorTokens bounds the operator tokens: each request that carries one is
// compared with all.
const maxOperatorTokens = 100

func (t *txn) init(in *Init) Result {
	if t.set().ClusterID != "" {
		return refuse(Conflict, "the cluster is initialised already, as %s", t.set().ClusterID)
	}
	if in.ClusterID == "" || len(in.ClusterID) > maxID {
		return invalid("cluster_id", "it must have 1 to %d characters", maxID)
	}
	if !builtinTier(in.DefaultTier) {
		return invalid("default_tier", "there is no tier %q", in.DefaultTier)
	}
	t.putSettings(settings{
		ClusterID:      in.ClusterID,
		Pepper:         in.Pepper,
		OperatorTokens: []Hash{in.OperatorToken},
		DefaultTier:    in.DefaultTier,
	})
	for _, tier := range builtinTiers() {
		t.storeTier(tier, t.index)
	}
	account := Account{
		ID:            DefaultAccount,
		Name:          "Default",
		Tier:          in.DefaultTier,
		BrowserKeys:   BrowserAlert,
		RetentionDays: defaultRetention,
		CreatedAt:     t.at,
		Created:       t.index,
		Modified:      t.index,
		AllowModified: t.index,
	}
	state := newState(&account, t.tier(in.DefaultTier), nil)
	t.putAccount(state)
	t.event(EventCreate, "cluster.init", "", in.ClusterID, "", nil)
	return Result{Account: &state.Account}
}

func (t *txn) setOperatorTokens(in *OperatorTokens) Result {
	if n := len(in.Hashes); n == 0 || n > maxOperatorTokens {
		return invalid("hashes", "there must be 1 to %d operator tokens", maxOperatorTokens)
	}
	set := *t.set()
	before := len(set.OperatorTokens)
	set.OperatorTokens = slices.Clone(in.Hashes)
	t.putSettings(set)
	var d diff
	d.number("operator_tokens", int64(before), int64(len(in.Hashes)))
	t.event(EventUpdate, "operator_tokens.update", "", "", "", d.changes(false))
	return Result{}
}
