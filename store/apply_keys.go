package store

import (
	"net/netip"
	"time"
)

// The events that the changes in this file write.
var (
	keyCreated = Action{EventCreate, "key.create"}
	keyUpdated = Action{EventUpdate, "key.update"}
	keyRotated = Action{EventUpdate, "key.rotate"}
	keyRevoked = Action{EventDelete, "key.revoke"}
)

// target returns the key that the command changes, or the refusal. Another
// account's key does not exist for the caller.
func (t *txn) target(id KeyID) (*Key, []byte, *Refusal) {
	if _, no := t.owner(); no != nil {
		return nil, nil, no
	}
	k, row := t.keys.byID(id)
	if k == nil || k.Account != t.cmd.Account {
		return nil, nil, refuse(NotFound, "there is no key %q", id).Refusal
	}
	if !t.matches(k.Modified) {
		return nil, nil, changedMeanwhile().Refusal
	}
	return k, row, nil
}

// admitKey checks a key that is to be added and sets the fields that apply decides. Its
// hash must be vacant, or else must not exist.
func (t *txn) admitKey(k *Key, vacant bool) *Refusal {
	if k.Account == "" {
		k.Account = t.cmd.Account
	}
	if k.Account != t.cmd.Account {
		return invalid("account", "the key is of another account than the command").Refusal
	}
	k.CreatedAt = t.when.at
	if k.CreatedBy == "" {
		k.CreatedBy = t.cmd.Actor.ID
	}
	k.ExpiresAt = k.ExpiresAt.UTC()
	k.OverlapEndsAt, k.RevokedAt, k.RevokedBy, k.RevokeReason = time.Time{}, time.Time{}, "", ""
	k.Replaces, k.ReplacedBy, k.Lineage, k.UntilUnused = "", "", nil, false
	if r := normalizeKey(k); r != nil {
		return r
	}
	if r := t.state.account(k.Account).KeyPolicy.expiry(k.CreatedAt, k.ExpiresAt); r != nil {
		return r
	}
	if !vacant && t.rows.get(hashRow(nil, &k.Hash)) != nil || t.rows.get(formerRow(&k.Hash, k.Account)) != nil {
		return refuse(Conflict, "this key exists already").Refusal
	}
	if t.rows.get(named(rowKeyID, k.ID)) != nil {
		return refuse(Conflict, "there is a key %q already", k.ID).Refusal
	}
	return nil
}

// KeyCreate adds one key. Apply sets Created and Modified, and refuses a hash
// or id that exists.
type KeyCreate struct {
	Key Key `json:"key"`
}

func init() { register[KeyCreate]("key_create") }

var eventsOfKeyCreate = []Action{keyCreated}

// traits: a new key only adds rights.
func (in *KeyCreate) traits() Traits {
	level := max(levelOfRules(false, in.Key.Limits), levelOfGeneration(in.Key.Generation))
	return Traits{Takes: No, Waits: Yes, Vital: No, Level: level, Events: eventsOfKeyCreate}
}

func (in *KeyCreate) apply(t *txn) Result {
	a, no := t.owner()
	if no != nil {
		return Result{Refusal: no}
	}
	if t.keyRoom(a) == 0 {
		return Result{Refusal: noKeyRoom(a)}
	}
	if no := t.frozen(); no != nil {
		return Result{Refusal: no}
	}
	if no := t.state.hashed(in.Key.Generation); no != nil {
		return Result{Refusal: no}
	}
	k := in.Key
	if no := t.admitKey(&k, false); no != nil {
		return Result{Refusal: no}
	}
	t.noteImported(k.Imported)
	t.keys.add(&k, t.index, 0)
	t.event(keyCreated, k.ID, string(k.ID), "", diffKeys(&Key{}, &k, true))
	t.notify(k.Account, NoticeCreated, &createdNotice{NoticeOfKey(&k), t.cmd.Actor})
	return Result{Key: &k}
}

// noteImported lets every credential be looked up, for imports without prefixes.
func (t *txn) noteImported(imported bool) {
	if imported && !t.state.set().Imported {
		set := *t.state.set()
		set.Imported = true
		t.state.putSettings(set)
	}
}

// KeyUpdate changes the fields that are set; Clear names fields to empty, by
// their JSON names (expires_at, limits, max_cost_per_call, monthly_budget).
type KeyUpdate struct {
	ID             KeyID              `json:"id"`
	Name           *string            `json:"name,omitzero"`
	Environment    *string            `json:"environment,omitzero"`
	Scopes         *[]string          `json:"scopes,omitzero"`
	Disabled       *bool              `json:"disabled,omitzero"`
	ExpiresAt      *time.Time         `json:"expires_at,omitzero"`
	Limits         *Limits            `json:"limits,omitzero"`
	MaxCostPerCall *Money             `json:"max_cost_per_call,omitzero"`
	MonthlyBudget  *Money             `json:"monthly_budget,omitzero"`
	Allowlist      *[]netip.Prefix    `json:"allowlist,omitzero"`
	Routes         *[]string          `json:"routes,omitzero"`
	Metadata       *map[string]string `json:"metadata,omitzero"`
	Clear          []string           `json:"clear,omitzero"`
}

func init() { register[KeyUpdate]("key_update") }

var eventsOfKeyUpdate = []Action{keyUpdated}

// traits: whether a new value allows less than the old one depends on the key, so
// every update counts as taking.
func (in *KeyUpdate) traits() Traits {
	return Traits{Takes: Yes, Waits: Yes, Vital: No, Level: levelOfRules(false, in.Limits), Events: eventsOfKeyUpdate}
}

func (in *KeyUpdate) apply(t *txn) Result {
	old, row, no := t.target(in.ID)
	if no != nil {
		return Result{Refusal: no}
	}
	if old.State(t.when.at) == Revoked {
		return refuse(Conflict, "the key is revoked and can no longer be changed")
	}
	k := *old
	assign(&k.Name, in.Name)
	assign(&k.Environment, in.Environment)
	assign(&k.Scopes, in.Scopes)
	assign(&k.Disabled, in.Disabled)
	assign(&k.Allowlist, in.Allowlist)
	assign(&k.Routes, in.Routes)
	assign(&k.Metadata, in.Metadata)
	if in.ExpiresAt != nil {
		k.ExpiresAt = in.ExpiresAt.UTC()
	}
	if in.Limits != nil {
		k.Limits = in.Limits
	}
	if in.MaxCostPerCall != nil {
		k.MaxCostPerCall = in.MaxCostPerCall
	}
	if in.MonthlyBudget != nil {
		k.MonthlyBudget = in.MonthlyBudget
	}
	for _, field := range in.Clear {
		switch field {
		case "expires_at":
			k.ExpiresAt = time.Time{}
		case "limits":
			k.Limits = nil
		case "max_cost_per_call":
			k.MaxCostPerCall = nil
		case "monthly_budget":
			k.MonthlyBudget = nil
		default:
			return invalid("clear", "%q cannot be cleared", field)
		}
	}
	if r := normalizeKey(&k); r != nil {
		return Result{Refusal: r}
	}
	a := t.state.account(k.Account)
	if !k.ExpiresAt.Equal(old.ExpiresAt) {
		if r := a.KeyPolicy.expiry(k.CreatedAt, k.ExpiresAt); r != nil {
			return Result{Refusal: r}
		}
	}
	if old.State(t.when.at) == Expired && k.State(t.when.at) != Expired {
		if no := k.revive(t, a); no != nil {
			return Result{Refusal: no}
		}
	}
	t.keys.put(row, &k, t.index)
	t.event(keyUpdated, k.ID, string(k.ID), "", diffKeys(old, &k, false))
	return Result{Key: &k}
}

// KeyRotate adds New, a key with the settings of ID (apply copies them), and
// ends ID at OverlapEndsAt.
type KeyRotate struct {
	ID            KeyID     `json:"id"`
	New           KeyID     `json:"new"`
	Hash          Hash      `json:"hash"`
	Generation    uint64    `json:"generation,omitzero"` // of the pepper of Hash
	Hint          string    `json:"hint"`
	OverlapEndsAt time.Time `json:"overlap_ends_at"`
	// Counts has the new key go on with the counts of the old one: its own limits and
	// its budget.
	Counts bool `json:"counts,omitzero"`
	// UntilUnused lets the leader revoke ID before OverlapEndsAt, once it is no longer used.
	UntilUnused bool `json:"until_unused,omitzero"`
	// Incident is the open incident that rotates the key although it freezes the account.
	Incident IncidentID `json:"incident,omitzero"`
	// CreatedBy is the creator of the new key, where that is not the actor.
	CreatedBy string `json:"created_by,omitzero"`
}

// The levels of members of [KeyRotate].
const (
	LevelOfMakers      = 8 // CreatedBy
	LevelOfCounts      = 3 // Counts
	LevelOfUntilUnused = 6 // UntilUnused
)

func init() { register[KeyRotate]("key_rotate") }

var eventsOfKeyRotate = []Action{keyRotated, keyCreated}

// traits: the old key ends, at once or after the overlap.
func (in *KeyRotate) traits() Traits {
	t := Traits{Takes: Yes, Waits: Yes, Vital: No, Level: 1, Events: eventsOfKeyRotate}
	if in.Counts {
		t.Level = LevelOfCounts
	}
	if in.UntilUnused {
		t.Level = LevelOfUntilUnused
	}
	if in.Incident != "" {
		t.Level = LevelOfIncidents
	}
	if in.CreatedBy != "" {
		t.Level = LevelOfMakers
	}
	t.Level = max(t.Level, levelOfGeneration(in.Generation))
	return t
}

func (in *KeyRotate) apply(t *txn) Result { return in.rotate(t, 0) }

// rotate makes the new key number n of the entry.
func (in *KeyRotate) rotate(t *txn, n uint32) Result {
	old, row, no := t.target(in.ID)
	if no != nil {
		return Result{Refusal: no}
	}
	if no := t.mayRotate(in.Incident); no != nil {
		return Result{Refusal: no}
	}
	if no := t.state.hashed(in.Generation); no != nil {
		return Result{Refusal: no}
	}
	switch state := old.State(t.when.at); {
	case !old.OverlapEndsAt.IsZero() && state != Revoked:
		return refuse(Conflict, "the key is being replaced by %s already", old.ReplacedBy)
	case state == Revoked || state == Expired:
		return refuse(Conflict, "the key is %s; create a new one instead", state)
	}
	k := *old
	k.ID, k.Hash, k.Generation, k.Hint = in.New, in.Hash, in.Generation, in.Hint
	k.CreatedBy = t.cmd.Actor.ID
	if in.CreatedBy != "" {
		k.CreatedBy = in.CreatedBy
	}
	k.Imported = false
	if p := t.state.account(k.Account).KeyPolicy; p != nil && p.MaxTTL != 0 {
		// The new key lives as long as the policy allows, or as the old one did.
		if most := t.when.at.Add(p.Life()); k.ExpiresAt.IsZero() || k.ExpiresAt.After(most) {
			k.ExpiresAt = most
		}
	}
	if r := t.admitKey(&k, false); r != nil {
		return Result{Refusal: r}
	}
	k.Replaces = old.ID
	if in.Counts {
		l := old.lineage()
		k.Lineage = &l
	}

	end := *old
	end.ReplacedBy = k.ID
	if overlap := in.OverlapEndsAt.UTC(); overlap.After(t.when.at) {
		end.OverlapEndsAt, end.UntilUnused = overlap, in.UntilUnused
	} else {
		end.RevokedAt, end.RevokedBy, end.RevokeReason = t.when.at, t.cmd.Actor.ID, "rotated"
	}
	t.keys.put(row, &end, t.index)
	t.keys.add(&k, t.index, n)
	t.event(keyRotated, end.ID, string(k.ID), "", diffKeys(old, &end, false))
	t.event(keyCreated, k.ID, string(k.ID), "", diffKeys(&Key{}, &k, true))
	data := &rotatedNotice{Key: NoticeOfKey(&k), Replaces: NoticeOfKey(old), Actor: t.cmd.Actor}
	if !end.OverlapEndsAt.IsZero() {
		data.OverlapEndsAt = &end.OverlapEndsAt
	}
	t.notify(k.Account, NoticeRotated, data)
	return Result{Key: &k}
}

// KeyRevoke revokes one key; revoking a revoked one changes nothing and succeeds.
type KeyRevoke struct {
	ID     KeyID  `json:"id"`
	Reason string `json:"reason,omitzero"`
}

func init() { register[KeyRevoke]("key_revoke") }

var eventsOfKeyRevoke = []Action{keyRevoked}

// traits: a repeat changes nothing, but its answer promises the same as the first.
func (*KeyRevoke) traits() Traits {
	return Traits{Takes: Yes, Waits: Yes, Vital: No, Level: 1, Events: eventsOfKeyRevoke}
}

func (in *KeyRevoke) apply(t *txn) Result {
	k, row, no := t.target(in.ID)
	if no != nil {
		return Result{Refusal: no}
	}
	if len(in.Reason) > maxText {
		return invalid("reason", "it is longer than %d bytes", maxText)
	}
	if k.RevokedAt.IsZero() {
		k = t.endKey(row, k, in.Reason)
	}
	return Result{Key: k}
}

// endKey revokes a key now. A key past its overlap is revoked by that already; the time
// at which its owner asked for it is kept all the same.
func (t *txn) endKey(row []byte, old *Key, reason string) *Key {
	k := *old
	k.RevokedAt, k.RevokedBy, k.RevokeReason = t.when.at, t.cmd.Actor.ID, reason
	t.keys.put(row, &k, t.index)
	t.event(keyRevoked, k.ID, string(k.ID), reason, diffKeys(old, &k, false))
	t.notify(k.Account, NoticeRevoked, &revokedNotice{NoticeOfKey(&k), reason, t.cmd.Actor, t.cmd.IP})
	return &k
}
