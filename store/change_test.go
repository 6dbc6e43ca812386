package store

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// traitRows are the traits that the guarantee about revoked rights asks for, by
// kind and by the values that decide. A write that may take a right (revoke,
// disable, expiry, scopes, routes, limits, allowlist, end of a rotation, deletion
// of an account, tier) takes; where the change does not show it, it takes.
var traitRows = []struct {
	name                string
	change              Change
	takes, waits, vital Answer
	level               int
	events              string
}{
	{"init", &Init{}, No, Yes, No, 1, "cluster.init"},
	{"operator_tokens", &OperatorTokens{}, Yes, Yes, No, 1, "operator_tokens.update"},

	{"operator_token_create", &OperatorTokenCreate{}, No, Yes, No, 6, "operator_token.create"},
	{"operator_token_delete", &OperatorTokenDelete{}, Yes, Yes, No, 6, "operator_token.delete"},

	{"user_create", &UserCreate{}, No, Yes, No, 6, "user.create"},
	{"user_update", &UserUpdate{}, Yes, Yes, No, 6, "user.update"},
	{"user_delete", &UserDelete{}, Yes, Yes, No, 6, "user.delete"},
	{"session_start keeps", &SessionStart{Setup: true, Keeps: true}, Yes, Yes, No, 8, "session.create session_link.open"},
	{"session_start", &SessionStart{}, Yes, Yes, No, 6, "session.create session_link.open"},
	{"session_seen", &SessionSeen{}, No, No, No, 6, ""},
	{"session_end", &SessionEnd{}, Yes, Yes, No, 6, "session.delete"},
	{"link_create", &LinkCreate{}, No, Yes, No, 6, "session_link.create"},

	{"key_create", &KeyCreate{}, No, Yes, No, 1, "key.create"},
	{"key_create rehashed", &KeyCreate{Key: Key{Generation: 1}}, No, Yes, No, 8, "key.create"},
	{"key_import rehashed", &KeyImport{Keys: []Key{{Generation: 1}}, Prefixes: []string{""}}, No, Yes, No, 8, "key.import"},
	{"key_import retired", &KeyImport{Keys: []Key{{}}, Prefixes: []string{""}, Retired: make([]Hash, 1)}, No, Yes, No, 8, "key.import"},
	{"key_rotate rehashed", &KeyRotate{Generation: 1}, Yes, Yes, No, 8, "key.rotate key.create"},
	{"key_revoke_bulk unmoved", &KeyRevokeBulk{IDs: []KeyID{"key_a"}, Unmoved: 1}, Yes, Yes, No, 8, "key.revoke"},
	{"pepper_rotate", &PepperRotate{}, No, Yes, No, 8, "pepper.rotate"},
	{"pepper_finish", &PepperFinish{}, Yes, Yes, No, 8, "pepper.finish"},
	{"keys_rehash", &KeysRehash{}, No, No, No, 8, ""},
	{"key_create in flight", &KeyCreate{Key: Key{Limits: inFlight}}, No, Yes, No, 5, "key.create"},
	{"key_import in flight", &KeyImport{Keys: []Key{{Limits: inFlight}}, Prefixes: []string{""}}, No, Yes, No, 5, "key.import"},
	{"key_import", &KeyImport{}, No, Yes, No, 1, "key.import"},
	{"key_import prefixes", &KeyImport{Prefixes: []string{""}}, No, Yes, No, 3, "key.import"},
	{"key_import reassign", &KeyImport{Prefixes: []string{""}, Reassign: true}, No, Yes, No, 4, "key.import"},
	{"key_revoke", &KeyRevoke{ID: "key_a"}, Yes, Yes, No, 1, "key.revoke"},
	{"key_revoke_bulk ids", &KeyRevokeBulk{IDs: []KeyID{"key_a"}}, Yes, Yes, No, 1, "key.revoke"},
	{"key_revoke_bulk filter", &KeyRevokeBulk{CreatedBy: "op"}, Yes, Yes, No, 1, "key.revoke"},
	{"key_revoke_bulk limit", &KeyRevokeBulk{CreatedBy: "op", Limit: 5}, Yes, Yes, No, 3, "key.revoke"},
	{"key_revoke_bulk last", &KeyRevokeBulk{IDs: []KeyID{"key_a"}, Last: "key_a"}, Yes, Yes, No, 4, "key.revoke"},
	{"key_rotate at once", &KeyRotate{}, Yes, Yes, No, 1, "key.rotate key.create"},
	{"key_rotate counts", &KeyRotate{Counts: true}, Yes, Yes, No, 3, "key.rotate key.create"},
	{"key_rotate until unused", &KeyRotate{UntilUnused: true, Counts: true}, Yes, Yes, No, 6, "key.rotate key.create"},
	{"key_rotate maker", &KeyRotate{CreatedBy: "usr_a"}, Yes, Yes, No, 8, "key.rotate key.create"},
	{"key_rotate overlap", &KeyRotate{OverlapEndsAt: epoch.Add(time.Hour)}, Yes, Yes, No, 1, "key.rotate key.create"},

	{"key_update disable", &KeyUpdate{Disabled: ptr(true)}, Yes, Yes, No, 1, "key.update"},
	{"key_update enable", &KeyUpdate{Disabled: ptr(false)}, Yes, Yes, No, 1, "key.update"},
	{"key_update expiry", &KeyUpdate{ExpiresAt: ptr(epoch)}, Yes, Yes, No, 1, "key.update"},
	{"key_update no expiry", &KeyUpdate{Clear: []string{"expires_at"}}, Yes, Yes, No, 1, "key.update"},
	{"key_update scopes", &KeyUpdate{Scopes: &[]string{"read"}}, Yes, Yes, No, 1, "key.update"},
	{"key_update routes", &KeyUpdate{Routes: &[]string{"/v1/"}}, Yes, Yes, No, 1, "key.update"},
	{"key_update all routes", &KeyUpdate{Routes: &[]string{}}, Yes, Yes, No, 1, "key.update"},
	{"key_update limits", &KeyUpdate{Limits: &Limits{}}, Yes, Yes, No, 1, "key.update"},
	{"key_update in flight", &KeyUpdate{Limits: inFlight}, Yes, Yes, No, 5, "key.update"},
	{"key_update cost", &KeyUpdate{MaxCostPerCall: ptr(Money(1))}, Yes, Yes, No, 1, "key.update"},
	{"key_update budget", &KeyUpdate{MonthlyBudget: ptr(Money(1))}, Yes, Yes, No, 1, "key.update"},
	{"key_update allowlist", &KeyUpdate{Allowlist: ptr(newKey("a").Allowlist)}, Yes, Yes, No, 1, "key.update"},
	{"key_update name", &KeyUpdate{Name: ptr("b")}, Yes, Yes, No, 1, "key.update"},

	{"audit_key", &AuditKey{}, No, Yes, No, 5, "audit_key.create audit_key.rotate"},
	{"audit_head", &AuditHead{}, No, No, No, 5, ""},
	{"operators_log", &OperatorsLog{}, No, No, No, 8, "operators_log.create"},

	{"allowlist_set", &AllowlistSet{Entries: make([]AllowEntry, 1)}, Yes, Yes, No, 1, "allowlist.update"},
	{"allowlist_set on trial", &AllowlistSet{ConfirmBy: epoch}, Yes, Yes, No, 8, "allowlist.update"},
	{"allowlist_confirm", &AllowlistConfirm{}, No, Yes, No, 8, "allowlist.confirm"},
	{"allowlist_revert", &AllowlistRevert{}, Yes, Yes, No, 8, "allowlist.revert"},
	{"allowlist_set empty", &AllowlistSet{}, Yes, Yes, No, 1, "allowlist.update"},

	{"account_create", &AccountCreate{}, No, Yes, No, 1, "account.create"},
	{"account_update tier", &AccountUpdate{Tier: ptr("free")}, Yes, Yes, No, 1, "account.update"},
	{"account_update limits", &AccountUpdate{Limits: &Limits{}}, Yes, Yes, No, 1, "account.update"},
	{"account_update test limits", &AccountUpdate{TestLimits: &Limits{}}, Yes, Yes, No, 1, "account.update"},
	{"account_update own limits gone", &AccountUpdate{Clear: []string{"limits"}}, Yes, Yes, No, 1, "account.update"},
	{"account_update browser keys", &AccountUpdate{BrowserKeys: ptr(BrowserBlock)}, Yes, Yes, No, 1, "account.update"},
	{"account_create rules", &AccountCreate{Account: Account{Rules: make([]LimitRule, 1)}}, No, Yes, No, 5, "account.create"},
	{"account_create in flight", &AccountCreate{Account: Account{TestLimits: inFlight}}, No, Yes, No, 5, "account.create"},
	{"account_update rules", &AccountUpdate{Rules: &[]LimitRule{}}, Yes, Yes, No, 5, "account.update"},
	{"account_update in flight", &AccountUpdate{Limits: inFlight}, Yes, Yes, No, 5, "account.update"},
	{"account_create policy", &AccountCreate{Account: Account{KeyPolicy: &KeyPolicy{}}}, No, Yes, No, 6, "account.create"},
	{"account_update suspended", &AccountUpdate{Suspended: ptr(false)}, Yes, Yes, No, 6, "account.update"},
	{"account_update policy", &AccountUpdate{KeyPolicy: &KeyPolicy{}}, Yes, Yes, No, 6, "account.update"},
	{"account_update no policy", &AccountUpdate{Clear: []string{"key_policy"}}, Yes, Yes, No, 6, "account.update"},
	{"account_delete", &AccountDelete{}, Yes, Yes, No, 1, "account.delete"},

	{"tier_put new", &TierPut{Create: true}, No, Yes, No, 1, "tier.create tier.update"},
	{"tier_put replaced", &TierPut{}, Yes, Yes, No, 1, "tier.create tier.update"},
	{"tier_put rules", &TierPut{Tier: Tier{Rules: make([]LimitRule, 1)}}, Yes, Yes, No, 5, "tier.create tier.update"},
	{"tier_put in flight", &TierPut{Tier: Tier{Test: *inFlight}, Create: true}, No, Yes, No, 5, "tier.create tier.update"},
	{"tier_delete", &TierDelete{}, Yes, Yes, No, 1, "tier.delete"},

	{"webhook_create", &WebhookCreate{}, No, Yes, No, 6, "webhook.create"},
	{"webhook_update", &WebhookUpdate{}, No, Yes, No, 6, "webhook.update"},
	{"webhook_rotate", &WebhookRotate{}, No, Yes, No, 6, "webhook.rotate"},
	{"webhook_rotate again", &WebhookRotate{Keep: true}, No, Yes, No, 8, "webhook.rotate"},
	{"webhook_delete", &WebhookDelete{}, No, Yes, No, 6, "webhook.delete"},
	{"webhook_test", &WebhookTest{}, No, Yes, No, 6, "webhook.test"},
	{"webhook_redeliver", &WebhookRedeliver{}, No, Yes, No, 6, "webhook.redeliver"},
	{"deliveries_done", &DeliveriesDone{}, No, No, No, 6, "webhook.disable webhook.overflow"},
	{"deliveries_done gone", &DeliveriesDone{Results: []DeliveryResult{{URL: "https://a.example/"}}}, No, No, No, 8, "webhook.disable webhook.overflow"},
	{"key_rotate_many", &KeyRotateMany{}, Yes, Yes, No, 6, "key.rotate key.create"},
	{"key_rotate_many maker", &KeyRotateMany{Rotations: []KeyRotate{{}, {CreatedBy: "usr_a"}}}, Yes, Yes, No, 8, "key.rotate key.create"},
	{"incident_open", &IncidentOpen{}, No, Yes, No, 6, "incident.open"},
	{"incident_note", &IncidentNote{}, No, Yes, No, 6, "incident.update"},
	{"incident_close", &IncidentClose{}, No, Yes, No, 6, "incident.close"},
	{"key_rotate incident", &KeyRotate{Incident: "inc_a"}, Yes, Yes, No, 6, "key.rotate key.create"},
	{"erasure_schedule", &ErasureSchedule{}, No, Yes, No, 7, "erasure.create"},
	{"erasure_cancel", &ErasureCancel{}, No, Yes, No, 7, "erasure.cancel"},
	{"erasure_run", &ErasureRun{}, Yes, Yes, No, 7, "erasure.apply"},
	{"erasure_report", &ErasureReport{}, No, No, No, 7, "erasure.complete"},
	{"digest", &Digest{}, No, No, No, 6, ""},
	{"alert", &Alert{}, No, No, No, 6, "alert.raise"},

	{"grant", &Grant{}, No, No, Yes, 1, ""},
	{"grant given back", &Grant{Asks: []GrantAsk{{Give: 1}}}, No, No, Yes, 1, ""},

	{"grant of a rule", &Grant{Asks: []GrantAsk{{}, {Rule: "r"}}}, No, No, Yes, 5, ""},

	{"cluster_open", &ClusterOpen{}, No, No, No, 2, "cluster.open"},
	{"member_put", &MemberPut{}, No, No, No, 2, "cluster.join cluster.update"},
	{"member_remove", &MemberRemove{}, Yes, Yes, No, 2, "cluster.remove"},
	{"roster_put", &RosterPut{}, No, No, Yes, 6, ""},
	{"roster_settle", &RosterSettle{}, No, No, Yes, 6, ""},
	{"fingerprint_begin", &FingerprintBegin{}, No, No, Yes, 8, ""},
	{"cluster_reset restore", &ClusterReset{Kind: ResetRestore}, Yes, Yes, No, 2, "cluster.restore cluster.recover key.revoke"},
	{"cluster_reset recover", &ClusterReset{Kind: ResetRecover}, Yes, Yes, No, 2, "cluster.restore cluster.recover key.revoke"},
}

// inFlight is limits with a member of a later level.
var inFlight = &Limits{MaxConcurrent: ptr(int64(3))}

func TestTraits(t *testing.T) {
	listed := map[string]bool{}
	for _, row := range traitRows {
		c := &Command{Change: row.change}
		kind, _, _ := strings.Cut(row.name, " ")
		if listed[kind] = true; c.Kind() != kind {
			t.Errorf("%s: the change is called %q", row.name, c.Kind())
		}
		got := row.change.traits()
		var events []string
		for _, a := range got.Events {
			events = append(events, a.Name)
		}
		if got.Takes != row.takes || got.Waits != row.waits || got.Vital != row.vital || got.Level != row.level || strings.Join(events, " ") != row.events {
			t.Errorf("%s: %+v, want %+v", row.name, got, row)
		}
		if c.Takes() != (row.takes == Yes) || c.Waits() != (row.waits == Yes) || c.Vital() != (row.vital == Yes) || c.Level() != row.level {
			t.Errorf("%s: the command's traits are not its change's", row.name)
		}
	}
	for _, kind := range Kinds() {
		if !listed[kind] {
			t.Errorf("no row gives the traits of %s", kind)
		}
	}
}

// Every trait is stated, for a change without values and for one with all of them.
func TestTraitsAreStated(t *testing.T) {
	for kind, c := range samples() {
		for _, change := range []Change{c.Change, kinds[c.Kind()]()} {
			if missing := change.traits().missing(); missing != "" {
				t.Errorf("%s does not state %s", kind, missing)
			}
		}
	}
}

// The list is derived from the traits: every event of a change that may take a right
// away is in it but creations, and none of a change that never does.
func TestActionsThatTake(t *testing.T) {
	got := ActionsThatTake()
	want := strings.Fields("account.delete account.update allowlist.revert allowlist.update cluster.recover cluster.remove cluster.restore erasure.apply " +
		"key.revoke key.rotate key.update operator_token.delete operator_tokens.update pepper.finish session.delete tier.delete tier.update user.delete user.update")
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	for kind, c := range samples() {
		for _, a := range c.Change.traits().Events {
			if in := slices.Contains(got, a.Name); in && kinds[c.Kind()]().traits().Takes == No || !in && c.Takes() && a.Type != EventCreate {
				t.Errorf("%s of %s is in the list: %v", a.Name, kind, in)
			}
		}
	}
}

// unstated is a change that states no trait, at least not always.
type unstated struct{ Traits }

func (*unstated) apply(*txn) Result { return Result{} }
func (u *unstated) traits() Traits  { return u.Traits }

// A trait that is forgotten stops the program where the change is registered, and
// where only some values of the change reach it, nothing is risked.
func TestUnstatedTraits(t *testing.T) {
	full := Traits{Takes: No, Waits: No, Vital: No, Level: 1, Events: noEvents}
	if full.missing() != "" {
		t.Fatal("the control states everything")
	}
	for i := range reflect.TypeFor[Traits]().NumField() {
		some := full
		reflect.ValueOf(&some).Elem().Field(i).SetZero()
		if want := reflect.TypeFor[Traits]().Field(i).Name; some.missing() != want {
			t.Errorf("without %s, %q is missing", want, some.missing())
		}
	}
	for _, bad := range []Traits{{3, No, No, 1, noEvents}, {No, No, No, Level + 1, noEvents}, {No, No, No, 1, []Action{{}}}} {
		if bad.missing() == "" {
			t.Errorf("%+v passes", bad)
		}
	}
	c := &Command{Change: &unstated{}}
	if !c.Takes() || !c.Waits() || c.Vital() {
		t.Error("what is not stated is risked")
	}
	for name, do := range map[string]func(){
		"a change without traits":  func() { register[unstated]("unstated") },
		"a name twice":             func() { register[stated]("key_create") },
		"a type twice":             func() { register[KeyCreate]("key_create_2") },
		"the name of a member":     func() { register[stated]("actor") },
		"no name":                  func() { register[stated]("") },
		"encoding what is unknown": func() { (&Command{Change: &stated{}}).Encode() },
		"encoding nothing":         func() { (&Command{}).Encode() },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			do()
		}()
	}
}

// stated is a change with all traits that is not registered.
type stated struct{}

func (*stated) apply(*txn) Result { return Result{} }
func (*stated) traits() Traits {
	return Traits{Takes: No, Waits: No, Vital: No, Level: 1, Events: noEvents}
}

// Every type with traits is registered: one that is not could not be encoded.
func TestEveryChangeIsRegistered(t *testing.T) {
	registered := map[string]bool{}
	for kind := range names {
		registered[kind.Elem().Name()] = true
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Recv == nil || fn.Name.Name != "traits" {
				continue
			}
			found++
			if name := fn.Recv.List[0].Type.(*ast.StarExpr).X.(*ast.Ident).Name; !registered[name] {
				t.Errorf("the change %s is not registered", name)
			}
		}
	}
	if found != len(kinds) {
		t.Errorf("%d types have traits, %d are registered", found, len(kinds))
	}
}

// The events that each kind of change writes are those that it states.
func TestEventsOfChanges(t *testing.T) {
	h := empty(t)
	seen := map[string][]Action{}
	do := func(c *Command) {
		t.Helper()
		h.must(c)
		kind := c.Kind()
		for _, account := range []AccountID{DefaultAccount, "acct_a", Operators} {
			for e, err := range h.Events(EventQuery{Account: account}) {
				if err != nil {
					t.Fatal(err)
				}
				if a := (Action{e.EventType, e.Action}); e.Seq == h.index && !slices.Contains(seen[kind], a) {
					seen[kind] = append(seen[kind], a)
				}
			}
		}
	}
	member := Member{ID: "n1", Name: "one", Address: "h:1", Level: 2}
	moved := member
	moved.Address = "h:2"
	do(&Command{Change: &Init{ClusterID: "c1", DefaultTier: "enterprise"}})
	do(&Command{Change: &OperatorTokens{Hashes: []Hash{{1}}}})
	do(&Command{Change: &OperatorTokenCreate{Token: OperatorToken{Name: "a", Hash: Hash{2}}}})
	do(&Command{Change: &OperatorTokenDelete{ID: OperatorTokenID(Hash{2})}})
	do(&Command{Change: &UserCreate{User: User{ID: "usr_a", Email: "a@example.com", Role: RoleOwner, Setup: hashOf("s"), SetupEnds: epoch.Add(time.Hour)}}})
	do(&Command{Change: &SessionStart{Session: Session{Kind: OfUser, Owner: "usr_a", Hash: hashOf("x"), Ends: epoch.Add(time.Hour)}, Setup: true, Used: hashOf("s")}})
	do(&Command{Change: &SessionSeen{Owner: "usr_a", ID: SessionIDOf(hashOf("x"))}})
	do(&Command{Change: &SessionEnd{Owner: "usr_a", ID: SessionIDOf(hashOf("x"))}})
	do(&Command{Change: &UserUpdate{ID: "usr_a", Name: ptr("A")}})
	do(&Command{Change: &UserDelete{ID: "usr_a"}})
	do(&Command{Change: &LinkCreate{Link: Link{Hash: hashOf("l"), Ends: epoch.Add(time.Hour)}}})
	do(&Command{Change: &SessionStart{Session: Session{Kind: OfLink, Owner: "default", Account: "default", Hash: hashOf("y"), Ends: epoch.Add(time.Hour)}, Link: LinkID(hashOf("l")), Used: hashOf("l")}})
	do(&Command{Change: &ClusterOpen{CA: []byte("c"), CAKey: []byte("k"), Gossip: make([]byte, gossipKey)}})
	do(&Command{Change: &MemberPut{Member: member}})
	do(&Command{Change: &MemberPut{Member: moved}})
	do(&Command{Change: &MemberRemove{ID: "n1", Gossip: make([]byte, gossipKey)}})
	do(create("a"))
	do(create("b"))
	do(create("c"))
	do(&Command{Change: &KeyImport{Keys: []Key{newKey("d")}}})
	do(&Command{Change: &KeyUpdate{ID: "key_a", Name: ptr("x")}})
	do(&Command{Change: &KeyRotate{ID: "key_a", New: "key_e", Hash: hashOf("e")}})
	do(&Command{Change: &KeyRotateMany{Rotations: []KeyRotate{{ID: "key_e", New: "key_g", Hash: hashOf("g")}}}})
	do(&Command{Change: &KeyRevoke{ID: "key_b"}})
	do(&Command{Change: &KeyRevokeBulk{IDs: []KeyID{"key_c"}}})
	do(&Command{Change: &PepperRotate{Pepper: Hash{9}}})
	do(&Command{Change: &KeysRehash{Generation: 1, Keys: []Rehash{{"key_a", hashOf("a under 9")}}}})
	do(&Command{Change: &PepperFinish{Generation: 1}})
	do(&Command{Change: &WebhookCreate{Webhook: newHook("a")}})
	do(&Command{Change: &WebhookUpdate{ID: "whk_a", Events: &[]string{NoticeTest}}})
	do(&Command{Change: &WebhookRotate{ID: "whk_a", Secret: "whsec_YQ=="}})
	do(&Command{Change: &WebhookTest{ID: "whk_a"}})
	tested := DeliveryResult{Account: DefaultAccount, Webhook: "whk_a", Place: Place{Index: h.index}, Try: &Try{At: h.at, Status: 410}, State: Undelivered, Gone: true}
	h.fillQueue("whk_a")
	h.must(&Command{Change: &Alert{Type: NoticeTest, Cause: "lost", Data: jsontext.Value("{}"), Until: h.at}})
	do(&Command{Change: &DeliveriesDone{Results: []DeliveryResult{tested}}})
	h.must(&Command{Change: &WebhookUpdate{ID: "whk_a", Enabled: ptr(true)}})
	do(&Command{Change: &WebhookRedeliver{ID: "whk_a", Since: epoch}})
	do(&Command{Change: &Alert{Type: NoticeExposed, Cause: "c", Data: jsontext.Value("{}"), Until: h.at}})
	do(&Command{Change: &IncidentOpen{Incident: Incident{ID: "inc_a", Title: "t", Action: IncidentNone}}})
	do(&Command{Change: &IncidentNote{ID: "inc_a", Done: IncidentDone{Matched: 1}}})
	do(&Command{Change: &IncidentClose{ID: "inc_a"}})
	do(&Command{Change: &WebhookDelete{ID: "whk_a"}})
	do(&Command{Change: &AllowlistSet{}})
	h.must(&Command{Change: &AllowlistSet{ConfirmBy: h.at.Add(time.Minute)}})
	do(&Command{Change: &AllowlistConfirm{}})
	h.must(&Command{Change: &AllowlistSet{ConfirmBy: h.at.Add(time.Minute)}})
	do(&Command{Change: &AllowlistRevert{}})
	do(&Command{Account: "acct_a", Change: &AccountCreate{Account: Account{ID: "acct_a"}}})
	do(&Command{Account: "acct_a", Change: &AccountUpdate{Name: ptr("A")}})
	do(&Command{Account: "acct_a", Change: &ErasureSchedule{ID: "ers_a", EffectiveAt: h.at}})
	do(&Command{Account: "acct_a", Change: &ErasureCancel{ID: "ers_a"}})
	do(&Command{Account: "acct_a", Change: &ErasureSchedule{ID: "ers_b", EffectiveAt: h.at}})
	do(&Command{Account: "acct_a", Change: &ErasureRun{ID: "ers_b"}})
	do(&Command{Account: "acct_a", Change: &ErasureReport{ID: "ers_b", Node: ErasureNode{ID: "n1"}}})
	do(&Command{Account: "acct_a", Change: &AccountDelete{}})
	do(&Command{Change: &TierPut{Tier: Tier{Name: "gold"}}})
	do(&Command{Change: &TierPut{Tier: Tier{Name: "gold"}}})
	do(&Command{Change: &TierDelete{Name: "gold"}})
	do(&Command{Change: &Grant{Asks: []GrantAsk{{Account: DefaultAccount, Type: Live, Month: Month(epoch), Want: 1}}}})
	do(&Command{Change: &ClusterReset{ClusterID: "c2", From: "c1", Kind: ResetRestore, Revoke: []KeyID{"key_d"}}})
	do(&Command{Change: &ClusterReset{ClusterID: "c3", From: "c2", Kind: ResetRecover}})
	do(&Command{Change: &AuditKey{Seed: make([]byte, 32)}})
	do(&Command{Change: &AuditKey{Seed: make([]byte, 32)}})
	do(&Command{Change: &OperatorsLog{}})
	order := func(list []Action) []Action {
		return slices.SortedFunc(slices.Values(list), func(a, b Action) int { return strings.Compare(a.Name, b.Name) })
	}
	for _, kind := range Kinds() {
		if got, want := order(seen[kind]), order(kinds[kind]().traits().Events); !slices.Equal(got, want) {
			t.Errorf("%s wrote %v and states %v", kind, got, want)
		}
	}
}
