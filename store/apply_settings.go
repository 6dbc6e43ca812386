package store

// The events that the changes in this file write.
var (
	clusterInitialized    = Action{EventCreate, "cluster.init"}
	operatorTokensUpdated = Action{EventUpdate, "operator_tokens.update"}
)

// maxOperatorTokens bounds the operator tokens: each request that carries one is
// compared with all.
const maxOperatorTokens = 100

// Init is the first command of a cluster's life; a second one is refused.
type Init struct {
	ClusterID     string `json:"cluster_id"`
	Pepper        Hash   `json:"pepper"`
	OperatorToken Hash   `json:"operator_token"` // SHA-256 of the token
	DefaultTier   string `json:"default_tier"`
}

func init() { register[Init]("init") }

var eventsOfInit = []Action{clusterInitialized}

// traits: nothing was allowed before the first command.
func (*Init) traits() Traits {
	return Traits{Takes: No, Waits: Yes, Vital: No, Level: 1, Events: eventsOfInit}
}

// Founds reports whether c begins a cluster's life. No other command may be the first one
// of a log: a node takes a log with commands and without a state for that of a cluster
// whose state was lost.
func (c *Command) Founds() bool {
	_, ok := c.Change.(*Init)
	return ok
}

func (in *Init) apply(t *txn) Result {
	if t.state.set().ClusterID != "" {
		return refuse(Conflict, "the cluster is initialised already, as %s", t.state.set().ClusterID)
	}
	if in.ClusterID == "" || len(in.ClusterID) > maxID {
		return invalid("cluster_id", "it must have 1 to %d characters", maxID)
	}
	if !builtinTier(in.DefaultTier) {
		return invalid("default_tier", "there is no tier %q", in.DefaultTier)
	}
	t.state.putSettings(settings{
		ClusterID:      in.ClusterID,
		Pepper:         in.Pepper,
		OperatorTokens: []Hash{in.OperatorToken},
		DefaultTier:    in.DefaultTier,
	})
	for _, tier := range builtinTiers() {
		tier.Created, tier.Modified = t.index, t.index
		t.state.putTier(&tier)
	}
	account := Account{
		ID:            DefaultAccount,
		Name:          "Default",
		Tier:          in.DefaultTier,
		BrowserKeys:   BrowserAlert,
		RetentionDays: DefaultRetention,
		CreatedAt:     t.when.at,
		Created:       t.index,
		Modified:      t.index,
		AllowModified: t.index,
	}
	state := t.state.rules.newState(&account, t.state.tier(in.DefaultTier), nil)
	t.state.putAccount(state)
	t.eventOf(operatorsAccount(t), clusterInitialized, "", in.ClusterID, "", nil)
	return Result{Account: &state.Account}
}

// OperatorTokens replaces the set of operator tokens' SHA-256 hashes.
type OperatorTokens struct {
	Hashes []Hash `json:"hashes"`
}

func init() { register[OperatorTokens]("operator_tokens") }

var eventsOfOperatorTokens = []Action{operatorTokensUpdated}

// traits: a token that is left out is refused from then on.
func (*OperatorTokens) traits() Traits {
	return Traits{Takes: Yes, Waits: Yes, Vital: No, Level: 1, Events: eventsOfOperatorTokens}
}

func (in *OperatorTokens) apply(t *txn) Result {
	if n := len(in.Hashes); n == 0 || n > maxOperatorTokens {
		return invalid("hashes", "there must be 1 to %d operator tokens", maxOperatorTokens)
	}
	set := *t.state.set()
	before := len(set.OperatorTokens)
	set.setOperatorTokens(in.Hashes)
	t.state.putSettings(set)
	var d diff
	d.number("operator_tokens", int64(before), int64(len(in.Hashes)))
	t.eventOf(operatorsAccount(t), operatorTokensUpdated, "", "", "", d.changes(false))
	return Result{}
}
