package store

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

func manyNodes(n int) (nodes []string) {
	for i := range n {
		nodes = append(nodes, fmt.Sprint("n", i))
	}
	return nodes
}

// refusals are the reasons for which each kind of change is refused, in a state
// with the keys a and gone (revoked), the account acct_a, the tier gold, which
// acct_a uses, the member n1 and the removed member n0.
var refusals = []struct {
	name  string
	c     Command
	why   Reason
	field string
}{
	{"key_create: no account", Command{Account: "acct_none", Change: &KeyCreate{Key: newKey("b")}}, NotFound, ""},
	{"key_create: of another account", Command{Change: &KeyCreate{Key: Key{ID: "key_b", Hash: hashOf("b"), Account: "acct_a"}}}, InvalidValue, "account"},
	{"key_create: the same hash", Command{Change: &KeyCreate{Key: Key{ID: "key_b", Hash: hashOf("a")}}}, Conflict, ""},
	{"key_create: the same id", Command{Change: &KeyCreate{Key: Key{ID: "key_a", Hash: hashOf("b")}}}, Conflict, ""},
	{"key_create: no hash", Command{Change: &KeyCreate{Key: Key{ID: "key_b"}}}, InvalidValue, "hash"},
	{"key_create: a long hint", Command{Change: &KeyCreate{Key: Key{ID: "key_b", Hash: hashOf("b"), Hint: strings.Repeat("x", maxText+1)}}}, InvalidValue, "hint"},

	{"key_update: unknown", Command{Change: &KeyUpdate{ID: "key_none"}}, NotFound, ""},
	{"key_update: another account's", Command{Account: "acct_a", Change: &KeyUpdate{ID: "key_a"}}, NotFound, ""},
	{"key_update: changed since", Command{Match: 1, Change: &KeyUpdate{ID: "key_a"}}, PreconditionFailed, ""},
	{"key_update: revoked", Command{Change: &KeyUpdate{ID: "key_gone"}}, Conflict, ""},
	{"key_update: clears the name", Command{Change: &KeyUpdate{ID: "key_a", Clear: []string{"name"}}}, InvalidValue, "clear"},

	{"key_rotate: unknown", Command{Change: &KeyRotate{ID: "key_none", New: "key_b", Hash: hashOf("b")}}, NotFound, ""},
	{"key_rotate: revoked", Command{Change: &KeyRotate{ID: "key_gone", New: "key_b", Hash: hashOf("b")}}, Conflict, ""},
	{"key_rotate: into one that exists", Command{Change: &KeyRotate{ID: "key_a", New: "key_gone", Hash: hashOf("b")}}, Conflict, ""},
	{"key_rotate: without a hash", Command{Change: &KeyRotate{ID: "key_a", New: "key_b"}}, InvalidValue, "hash"},

	{"key_revoke: unknown", Command{Change: &KeyRevoke{ID: "key_none"}}, NotFound, ""},
	{"key_revoke: another account's", Command{Account: "acct_a", Change: &KeyRevoke{ID: "key_a"}}, NotFound, ""},
	{"key_revoke: changed since", Command{Match: 1, Change: &KeyRevoke{ID: "key_a"}}, PreconditionFailed, ""},
	{"key_revoke: a long reason", Command{Change: &KeyRevoke{ID: "key_a", Reason: strings.Repeat("x", maxText+1)}}, InvalidValue, "reason"},

	{"key_revoke_bulk: no account", Command{Account: "acct_none", Change: &KeyRevokeBulk{CreatedBy: "op"}}, NotFound, ""},
	{"key_revoke_bulk: no filter", Command{Change: &KeyRevokeBulk{Reason: "all"}}, InvalidValue, "ids"},
	{"key_revoke_bulk: many ids", Command{Change: &KeyRevokeBulk{IDs: make([]KeyID, MaxImport+1)}}, InvalidValue, "ids"},
	{"key_revoke_bulk: a long reason", Command{Change: &KeyRevokeBulk{CreatedBy: "op", Reason: strings.Repeat("x", maxText+1)}}, InvalidValue, "reason"},
	{"key_revoke_bulk: last without ids", Command{Change: &KeyRevokeBulk{CreatedBy: "op", Last: "key_a"}}, InvalidValue, "last"},
	{"key_revoke_bulk: after an unknown key", Command{Change: &KeyRevokeBulk{CreatedBy: "op", After: "key_none"}}, NotFound, ""},

	{"key_import: no account", Command{Account: "acct_none", Change: &KeyImport{}}, NotFound, ""},
	{"key_import: prefixes of other keys", Command{Change: &KeyImport{Prefixes: []string{"sk_"}}}, InvalidValue, "prefixes"},
	{"key_import: too many", Command{Change: &KeyImport{Keys: make([]Key, MaxImport+1)}}, LimitReached, ""},

	{"webhook_create: no account", Command{Account: "acct_none", Change: &WebhookCreate{Webhook: newHook("b")}}, NotFound, ""},
	{"webhook_create: the same id", Command{Change: &WebhookCreate{Webhook: newHook("a")}}, Conflict, ""},
	{"webhook_create: no id", Command{Change: &WebhookCreate{Webhook: Webhook{URL: "https://a", Signing: Signing{Secret: "whsec_"}}}}, InvalidValue, "id"},
	{"webhook_create: no secret", Command{Change: &WebhookCreate{Webhook: Webhook{ID: "whk_b", URL: "https://a"}}}, InvalidValue, "secret"},
	{"webhook_update: another account's", Command{Account: "acct_a", Change: &WebhookUpdate{ID: "whk_a"}}, NotFound, ""},
	{"webhook_update: changed since", Command{Match: 1, Change: &WebhookUpdate{ID: "whk_a"}}, PreconditionFailed, ""},
	{"webhook_update: no URL", Command{Change: &WebhookUpdate{ID: "whk_a", URL: ptr("")}}, InvalidValue, "url"},
	{"webhook_update: an unknown type", Command{Change: &WebhookUpdate{ID: "whk_a", Events: &[]string{"key.borrowed"}}}, InvalidValue, "events"},
	{"webhook_rotate: unknown", Command{Change: &WebhookRotate{ID: "whk_none", Secret: "whsec_YQ=="}}, NotFound, ""},
	{"webhook_rotate: without a secret", Command{Change: &WebhookRotate{ID: "whk_a"}}, InvalidValue, "secret"},
	{"webhook_delete: another account's", Command{Account: "acct_a", Change: &WebhookDelete{ID: "whk_a"}}, NotFound, ""},
	{"webhook_test: unknown", Command{Change: &WebhookTest{ID: "whk_none"}}, NotFound, ""},
	{"webhook_test: disabled", Command{Change: &WebhookTest{ID: "whk_off"}}, Conflict, ""},
	{"webhook_redeliver: unknown", Command{Change: &WebhookRedeliver{ID: "whk_none", Since: epoch}}, NotFound, ""},
	{"webhook_redeliver: disabled", Command{Change: &WebhookRedeliver{ID: "whk_off", Since: epoch}}, Conflict, ""},
	{"webhook_redeliver: nothing", Command{Change: &WebhookRedeliver{ID: "whk_a"}}, InvalidValue, "since"},
	{"webhook_redeliver: no such delivery", Command{Change: &WebhookRedeliver{ID: "whk_a", Places: []Place{{1, 1}}}}, NotFound, ""},
	{"webhook_redeliver: too many", Command{Change: &WebhookRedeliver{ID: "whk_a", Places: make([]Place, MaxRedeliveries+1)}}, InvalidValue, "places"},
	{"deliveries_done: too many", Command{Change: &DeliveriesDone{Results: make([]DeliveryResult, MaxDone+1)}}, LimitReached, ""},
	{"key_rotate_many: no account", Command{Account: "acct_none", Change: &KeyRotateMany{Rotations: make([]KeyRotate, 1)}}, NotFound, ""},
	{"key_rotate_many: too many", Command{Change: &KeyRotateMany{Rotations: make([]KeyRotate, MaxRotations+1)}}, InvalidValue, "rotations"},
	{"incident_open: no account", Command{Account: "acct_none", Change: &IncidentOpen{}}, NotFound, ""},
	{"incident_open: no title", Command{Change: &IncidentOpen{Incident: Incident{ID: "inc_b", Action: IncidentNone}}}, InvalidValue, "title"},
	{"incident_open: no action", Command{Change: &IncidentOpen{Incident: Incident{ID: "inc_b", Title: "t"}}}, InvalidValue, "action"},
	{"incident_open: many ids", Command{Change: &IncidentOpen{Incident: Incident{ID: "inc_b", Title: "t", Action: IncidentNone, Match: IncidentMatch{IDs: make([]KeyID, MaxImport+1)}}}}, InvalidValue, "ids"},
	{"incident_note: unknown", Command{Change: &IncidentNote{ID: "inc_b"}}, NotFound, ""},
	{"incident_close: unknown", Command{Change: &IncidentClose{ID: "inc_b"}}, NotFound, ""},
	{"digest: of another end", Command{Change: &Digest{From: epoch, To: epoch.Add(time.Hour)}}, Conflict, ""},
	{"digest: no time", Command{Change: &Digest{}}, InvalidValue, "to"},
	{"alert: no account", Command{Account: "acct_none", Change: &Alert{}}, NotFound, ""},
	{"alert: no cause", Command{Change: &Alert{Type: NoticeExposed, Data: jsontext.Value("{}")}}, InvalidValue, "cause"},
	{"alert: long data", Command{Change: &Alert{Type: NoticeExposed, Cause: "c", Data: jsontext.Value(`"` + strings.Repeat("x", maxAlertData) + `"`)}}, InvalidValue, "data"},
	{"alert: for ever", Command{Change: &Alert{Type: NoticeExposed, Cause: "c", Data: jsontext.Value("{}"), Until: epoch.AddDate(10, 0, 0)}}, InvalidValue, "until"},

	{"allowlist_set: no account", Command{Account: "acct_none", Change: &AllowlistSet{}}, NotFound, ""},
	{"allowlist_set: changed since", Command{Match: 99, Change: &AllowlistSet{}}, PreconditionFailed, ""},
	{"allowlist_set: not in the tier", Command{Change: &AllowlistSet{Entries: []AllowEntry{{CIDR: newKeyAllow[0]}}}}, FeatureNotInTier, ""},
	{"allowlist_set: too many", Command{Account: "acct_a", Change: &AllowlistSet{Entries: make([]AllowEntry, MaxAllowlist+1)}}, LimitReached, ""},
	{"allowlist_set: confirmed in the past", Command{Account: "acct_a", Change: &AllowlistSet{ConfirmBy: epoch}}, InvalidValue, "confirm_within"},
	{"allowlist_confirm: no trial", Command{Account: "acct_a", Change: &AllowlistConfirm{}}, Conflict, ""},
	{"allowlist_confirm: no account", Command{Account: "acct_none", Change: &AllowlistConfirm{}}, NotFound, ""},
	{"allowlist_revert: no trial", Command{Account: "acct_a", Change: &AllowlistRevert{Index: 3}}, Conflict, ""},
	{"allowlist_set: no address", Command{Account: "acct_a", Change: &AllowlistSet{Entries: make([]AllowEntry, 1)}}, InvalidValue, "entries"},
	{"allowlist_set: a long note", Command{Account: "acct_a", Change: &AllowlistSet{Entries: []AllowEntry{{CIDR: newKeyAllow[0], Note: strings.Repeat("x", maxText+1)}}}}, InvalidValue, "entries"},

	{"roster_put: nobody", Command{Change: &RosterPut{}}, InvalidValue, "nodes"},
	{"roster_put: too many", Command{Change: &RosterPut{Nodes: manyNodes(maxMembers + 1)}}, InvalidValue, "nodes"},
	{"roster_put: no member", Command{Change: &RosterPut{Nodes: []string{"n1", "n9"}}}, InvalidValue, "nodes"},
	{"roster_put: a removed member", Command{Change: &RosterPut{Nodes: []string{"n0"}}}, InvalidValue, "nodes"},
	{"fingerprint_begin: begun", Command{Change: &FingerprintBegin{}}, Conflict, ""},
	{"pepper_rotate: none", Command{Change: &PepperRotate{}}, InvalidValue, "pepper"},
	{"pepper_finish: no rotation", Command{Change: &PepperFinish{}}, Conflict, ""},
	{"keys_rehash: no rotation", Command{Change: &KeysRehash{}}, Conflict, ""},
	{"roster_settle: not pending", Command{Change: &RosterSettle{Index: 1}}, Conflict, ""},

	{"audit_key: short", Command{Change: &AuditKey{Seed: make([]byte, 31)}}, InvalidValue, "seed"},
	{"operators_log: again", Command{Change: &OperatorsLog{}}, Conflict, ""},
	{"audit_head: no key", Command{Change: &AuditHead{Stream: "changes"}}, Conflict, ""},

	{"account_create: exists", Command{Change: &AccountCreate{Account: Account{ID: "acct_a"}}}, Conflict, ""},
	{"account_create: no tier", Command{Change: &AccountCreate{Account: Account{ID: "acct_b", Tier: "none"}}}, InvalidValue, "tier"},
	{"account_update: unknown", Command{Account: "acct_none", Change: &AccountUpdate{}}, NotFound, ""},
	{"account_update: changed since", Command{Account: "acct_a", Match: 1, Change: &AccountUpdate{}}, PreconditionFailed, ""},
	{"account_update: a short life", Command{Account: "acct_a", Change: &AccountUpdate{KeyPolicy: &KeyPolicy{MaxTTL: 1}}}, InvalidValue, "key_policy.max_ttl"},
	{"account_update: too many keys", Command{Account: "acct_a", Change: &AccountUpdate{KeyPolicy: &KeyPolicy{MaxKeys: MaxPolicyKeys + 1}}}, InvalidValue, "key_policy.max_keys"},
	{"account_delete: unknown", Command{Account: "acct_none", Change: &AccountDelete{}}, NotFound, ""},
	{"account_delete: the default one", Command{Account: DefaultAccount, Change: &AccountDelete{}}, Conflict, ""},
	{"account_delete: changed since", Command{Account: "acct_a", Match: 1, Change: &AccountDelete{}}, PreconditionFailed, ""},

	{"tier_put: a bad name", Command{Change: &TierPut{Tier: Tier{Name: "a b"}}}, InvalidValue, "name"},
	{"tier_put: no limit", Command{Change: &TierPut{Tier: Tier{Name: "b", Live: *limitOf(0, 1)}}}, InvalidValue, "live.requests_per_minute"},
	{"tier_put: no test limit", Command{Change: &TierPut{Tier: Tier{Name: "b", Test: *limitOf(1, 0)}}}, InvalidValue, "test.requests_per_month"},
	{"tier_put: exists", Command{Change: &TierPut{Tier: Tier{Name: "gold"}, Create: true}}, Conflict, ""},
	{"tier_put: changed since", Command{Match: 1, Change: &TierPut{Tier: Tier{Name: "gold"}}}, PreconditionFailed, ""},
	{"tier_delete: unknown", Command{Change: &TierDelete{Name: "none"}}, NotFound, ""},
	{"tier_delete: built in", Command{Change: &TierDelete{Name: "pro"}}, Conflict, ""},
	{"tier_delete: changed since", Command{Match: 1, Change: &TierDelete{Name: "gold"}}, PreconditionFailed, ""},
	{"tier_delete: in use", Command{Change: &TierDelete{Name: "gold"}}, Conflict, ""},

	{"grant: too many", Command{Change: &Grant{Asks: make([]GrantAsk, maxAsks+1)}}, InvalidValue, "asks"},
	{"init: a second one", Command{Change: &Init{ClusterID: "c2", DefaultTier: "free"}}, Conflict, ""},
	{"operator_tokens: none", Command{Change: &OperatorTokens{}}, InvalidValue, "hashes"},
	{"operator_tokens: too many", Command{Change: &OperatorTokens{Hashes: make([]Hash, maxOperatorTokens+1)}}, InvalidValue, "hashes"},
	{"operator_token_create: no hash", Command{Change: &OperatorTokenCreate{Token: OperatorToken{Name: "a"}}}, InvalidValue, "hash"},
	{"operator_token_create: no name", Command{Change: &OperatorTokenCreate{Token: OperatorToken{Hash: hashOf("n")}}}, InvalidValue, "name"},
	{"operator_token_create: a long name", Command{Change: &OperatorTokenCreate{Token: OperatorToken{Hash: hashOf("n"), Name: strings.Repeat("x", maxName+1)}}}, InvalidValue, "name"},
	{"operator_token_create: exists", Command{Change: &OperatorTokenCreate{Token: OperatorToken{Hash: Hash{2}, Name: "a"}}}, Conflict, ""},
	{"user_create: no address", Command{Change: &UserCreate{User: User{ID: "usr_a", Role: RoleOwner, Email: "a"}}}, InvalidValue, "email"},
	{"user_create: no role", Command{Change: &UserCreate{User: User{ID: "usr_a", Role: "king", Email: "a@b"}}}, InvalidValue, "role"},
	{"user_create: no account", Command{Change: &UserCreate{User: User{ID: "usr_a", Role: RoleOwner, Email: "a@b", Account: "acct_none"}}}, NotFound, ""},
	{"user_update: unknown", Command{Change: &UserUpdate{ID: "usr_none"}}, NotFound, ""},
	{"user_delete: unknown", Command{Change: &UserDelete{ID: "usr_none"}}, NotFound, ""},
	{"session_start: no end", Command{Change: &SessionStart{Session: Session{Kind: OfUser, Owner: "usr_a", Hash: hashOf("x")}}}, InvalidValue, "session"},
	{"session_start: no user", Command{Change: &SessionStart{Session: Session{Kind: OfUser, Owner: "usr_a", Hash: hashOf("x"), Ends: epoch.Add(time.Hour)}}}, InvalidCredentials, ""},
	{"session_start: no token", Command{Change: &SessionStart{Session: Session{Kind: OfToken, Owner: "op_a", Hash: hashOf("x"), Ends: epoch.Add(time.Hour)}}}, InvalidCredentials, ""},
	{"session_start: no link", Command{Change: &SessionStart{Session: Session{Kind: OfLink, Owner: "default", Account: "default", Hash: hashOf("x"), Ends: epoch.Add(time.Hour)}}}, InvalidCredentials, ""},
	{"session_start: no kind", Command{Change: &SessionStart{Session: Session{Owner: "default", Hash: hashOf("x"), Ends: epoch.Add(time.Hour)}}}, InvalidValue, "kind"},
	{"session_seen: unknown", Command{Change: &SessionSeen{Owner: "usr_a", ID: "ses_a"}}, NotFound, ""},
	{"session_end: unknown", Command{Change: &SessionEnd{Owner: "usr_a", ID: "ses_a"}}, NotFound, ""},
	{"link_create: no end", Command{Change: &LinkCreate{Link: Link{Hash: hashOf("l")}}}, InvalidValue, "link"},
	{"operator_token_delete: unknown", Command{Change: &OperatorTokenDelete{ID: "op_0"}}, NotFound, ""},
	{"operator_token_delete: the last one", Command{Change: &OperatorTokenDelete{ID: OperatorTokenID(Hash{2})}}, WouldLockOut, ""},

	{"cluster_open: a second one", Command{Change: &ClusterOpen{CA: []byte("c"), CAKey: []byte("k"), Gossip: make([]byte, gossipKey)}}, Conflict, ""},
	{"member_put: no id", Command{Change: &MemberPut{Member: Member{Name: "b", Address: "h:1", Level: Level}}}, InvalidValue, "id"},
	{"member_put: no name", Command{Change: &MemberPut{Member: Member{ID: "n2", Address: "h:1", Level: Level}}}, InvalidValue, "name"},
	{"member_put: no address", Command{Change: &MemberPut{Member: Member{ID: "n2", Name: "b", Level: Level}}}, InvalidValue, "address"},
	{"member_put: an old level", Command{Change: &MemberPut{Member: Member{ID: "n2", Name: "b", Address: "h:1", Level: 1}}}, InvalidValue, "level"},
	{"member_put: a name in use", Command{Change: &MemberPut{Member: Member{ID: "n2", Name: "one", Address: "h:1", Level: Level}}}, Conflict, ""},
	{"member_put: a removed node", Command{Change: &MemberPut{Member: Member{ID: "n0", Name: "zero", Address: "h:0", Level: Level}}}, Conflict, ""},
	{"member_remove: a short key", Command{Change: &MemberRemove{ID: "n1"}}, InvalidValue, "gossip"},
	{"member_remove: unknown", Command{Change: &MemberRemove{ID: "n9", Gossip: make([]byte, gossipKey)}}, NotFound, ""},
	{"member_remove: twice", Command{Change: &MemberRemove{ID: "n0", Gossip: make([]byte, gossipKey)}}, NotFound, ""},

	{"erasure_schedule: no account", Command{Account: "acct_x", Change: &ErasureSchedule{ID: "ers_a"}}, NotFound, ""},
	{"erasure_schedule: no id", Command{Change: &ErasureSchedule{}}, InvalidValue, "id"},
	{"erasure_schedule: of the default account", Command{Change: &ErasureSchedule{ID: "ers_a", Everything: true}}, Conflict, ""},
	{"erasure_cancel: unknown", Command{Change: &ErasureCancel{ID: "ers_a"}}, NotFound, ""},
	{"erasure_run: unknown", Command{Change: &ErasureRun{ID: "ers_a"}}, NotFound, ""},
	{"erasure_run: another account", Command{Change: &ErasureRun{Again: &Erasure{ID: "ers_a", Account: "acct_a", ErasedAt: epoch}}}, InvalidValue, "again"},
	{"erasure_run: a scheduled one again", Command{Change: &ErasureRun{Again: &Erasure{ID: "ers_a", Account: DefaultAccount}}}, InvalidValue, "again"},
	{"erasure_report: unknown", Command{Change: &ErasureReport{ID: "ers_a"}}, NotFound, ""},

	{"cluster_reset: no such kind", Command{Change: &ClusterReset{ClusterID: "c2", From: "c1", Kind: "move"}}, InvalidValue, "kind"},
	{"cluster_reset: another cluster", Command{Change: &ClusterReset{ClusterID: "c2", From: "c9", Kind: ResetRestore}}, Conflict, ""},
	{"cluster_reset: the same id", Command{Change: &ClusterReset{ClusterID: "c1", From: "c1", Kind: ResetRestore}}, InvalidValue, "cluster_id"},
	{"cluster_reset: many tokens", Command{Change: &ClusterReset{ClusterID: "c2", From: "c1", Kind: ResetRestore, OperatorTokens: make([]Hash, maxOperatorTokens+1)}}, InvalidValue, "operator_tokens"},
	{"cluster_reset: many keys", Command{Change: &ClusterReset{ClusterID: "c2", From: "c1", Kind: ResetRestore, Revoke: make([]KeyID, ResetKeys+1)}}, InvalidValue, "revoke"},
	{"cluster_reset: a long reason", Command{Change: &ClusterReset{ClusterID: "c2", From: "c1", Kind: ResetRestore, Reason: strings.Repeat("x", maxText+1)}}, InvalidValue, "reason"},
}

// A refused command answers with its reason and field, and changes no row but the
// applied index: its idempotency key stays free, and no event is written.
func TestRefusals(t *testing.T) {
	h := begun(t)
	member := func(id, name string) *MemberPut {
		return &MemberPut{Member: Member{ID: id, Name: name, Address: "h:" + id, Level: Level}}
	}
	h.must(create("a"))
	h.must(&Command{Change: &OperatorsLog{}})
	h.must(create("gone"))
	h.must(&Command{Change: &KeyRevoke{ID: "key_gone"}})
	h.must(&Command{Change: &TierPut{Tier: Tier{Name: "gold", IPAllowlist: true}}})
	h.must(&Command{Change: &AccountCreate{Account: Account{ID: "acct_a", Tier: "gold"}}})
	h.must(&Command{Change: &ClusterOpen{CA: []byte("c"), CAKey: []byte("k"), Gossip: make([]byte, gossipKey)}})
	h.must(&Command{Change: &FingerprintBegin{}})
	h.must(&Command{Change: member("n0", "zero")})
	h.must(&Command{Change: member("n1", "one")})
	h.must(&Command{Change: &MemberRemove{ID: "n0", Gossip: make([]byte, gossipKey)}})

	h.must(&Command{Change: &WebhookCreate{Webhook: newHook("a")}})
	off := newHook("off")
	off.Enabled = false
	h.must(&Command{Change: &WebhookCreate{Webhook: off}})

	rows := func() (out []string) {
		for line := range strings.SplitSeq(dump(t, h.Store), "\n") {
			if !strings.HasPrefix(line, `"sapplied"`) {
				out = append(out, line)
			}
		}
		return out
	}
	before := strings.Join(rows(), "\n")
	kinds := map[string]bool{}
	for _, tc := range refusals {
		kind, _, _ := strings.Cut(tc.name, ":")
		if c := tc.c; c.Kind() != kind {
			t.Errorf("%s: the change is a %s", tc.name, c.Kind())
		}
		kinds[kind] = true
		c := tc.c
		c.At = h.at.Add(time.Millisecond) // before the sweeper's next round
		c.Once = &Once{Scope: hashOf("scope"), Body: hashOf(tc.name)}
		r := h.do(&c)
		if r.Refusal == nil || r.Refusal.Reason != tc.why || r.Refusal.Field != tc.field || r.Refusal.Message == "" {
			t.Errorf("%s: %+v, want %s of %q", tc.name, r.Refusal, tc.why, tc.field)
		}
		if r.Index != h.index || r.Repeat {
			t.Errorf("%s: index %d, repeat %v", tc.name, r.Index, r.Repeat)
		}
	}
	if after := strings.Join(rows(), "\n"); after != before {
		t.Errorf("a refused command changed a row: %s", firstDifference(after, before))
	}
	for _, kind := range Kinds() {
		if !kinds[kind] {
			t.Errorf("no refusal of %s", kind)
		}
	}
}
