package store

import (
	"bytes"
	"errors"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/perfgate/perfgate/limiter"
	"github.com/perfgate/perfgate/store/chain"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the transcripts, and write command fixtures that are missing")

// samples are commands of every kind with every member set. One with members that were
// added later has their name after a dot: the fixture of the kind stays as it was.
func samples() map[string]*Command {
	at := epoch.Add(123456789)
	limits := &Limits{PerMinute: ptr(int64(60)), Burst: ptr(int64(120)), PerMonth: ptr(int64(1000))}
	key := Key{
		ID: "key_0123456789abcdefABCDEF", Hash: hashOf("k"), Account: "acct_a", Type: Live, Name: "Production Server",
		Environment: "production", Scopes: []string{"custom", "read"}, Hint: "pk_live_0123…STUV",
		Life: Life{CreatedAt: at, CreatedBy: "op", ExpiresAt: at.Add(time.Hour)}, Limits: limits, MaxCostPerCall: ptr(Money(10_000_000)), MonthlyBudget: ptr(5 * MoneyUnit),
		Allowlist: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("2001:db8::/32")},
		Routes:    []string{"/v1/"}, Metadata: map[string]string{"team": "a", "owner": "b"}, Imported: true,
	}
	rehashed := key
	rehashed.Generation = 3
	erasureNode := ErasureNode{ID: "n1", Name: "one", At: at, Log: 9, OldKeys: true, Backups: []string{"b"}, Count: 2}
	list := map[string]*Command{
		"audit_key":     {Change: &AuditKey{Seed: bytes.Repeat([]byte{7}, 32), First: true}},
		"audit_head":    {Change: &AuditHead{Stream: "evt_abcdefgh", Node: "n1", Seq: 1000, Begin: 5, Accounts: 2, Root: chain.Hash{1, 2}, Time: at}},
		"operators_log": {Change: &OperatorsLog{}},

		"init":       {Change: &Init{ClusterID: "c1", Pepper: hashOf("p"), OperatorToken: hashOf("t"), DefaultTier: "free"}},
		"key_create": {Once: &Once{Scope: hashOf("s"), Body: hashOf("b")}, Change: &KeyCreate{Key: key}},
		"key_update": {Match: 7, Change: &KeyUpdate{
			ID: key.ID, Name: ptr("n"), Environment: ptr(""), Scopes: &[]string{}, Disabled: ptr(false), ExpiresAt: &key.ExpiresAt,
			Limits: limits, MaxCostPerCall: key.MaxCostPerCall, MonthlyBudget: key.MonthlyBudget, Allowlist: &key.Allowlist,
			Routes: &[]string{}, Metadata: &map[string]string{}, Clear: []string{"expires_at"},
		}},
		"key_create.rehashed":     {Change: &KeyCreate{Key: rehashed}},
		"key_import.retired":      {Change: &KeyImport{Keys: []Key{key}, Lines: []int{3}, Prefixes: []string{"sk_live_"}, Retired: []Hash{hashOf("old")}}},
		"key_rotate.rehashed":     {Change: &KeyRotate{ID: key.ID, New: "key_new", Hash: hashOf("n"), Generation: 3, Hint: "h"}},
		"key_revoke_bulk.unmoved": {Change: &KeyRevokeBulk{IDs: []KeyID{key.ID}, Unmoved: 1}},
		"pepper_rotate":           {Change: &PepperRotate{Pepper: hashOf("p2")}},
		"pepper_finish":           {Change: &PepperFinish{Generation: 3, Counted: 71}},
		"keys_rehash":             {Change: &KeysRehash{Generation: 3, Keys: []Rehash{{key.ID, hashOf("k2")}}}},
		"key_rotate":              {Change: &KeyRotate{ID: key.ID, New: "key_new", Hash: hashOf("n"), Hint: "h", OverlapEndsAt: at.Add(24 * time.Hour)}},
		"key_rotate.until_unused": {Change: &KeyRotate{ID: key.ID, New: "key_new", Hash: hashOf("n"), Hint: "h", OverlapEndsAt: at.Add(24 * time.Hour), UntilUnused: true}},
		"key_rotate.maker":        {Change: &KeyRotate{ID: key.ID, New: "key_new", Hash: hashOf("n"), Hint: "h", CreatedBy: "usr_a"}},
		"key_rotate.counts":       {Change: &KeyRotate{ID: key.ID, New: "key_new", Hash: hashOf("n"), Hint: "h", Counts: true}},

		"key_revoke":      {Change: &KeyRevoke{ID: key.ID, Reason: "leaked"}},
		"key_revoke.path": {Change: &KeyRevoke{ID: key.ID, Reason: "leaked"}},
		"key_revoke_bulk": {Change: &KeyRevokeBulk{
			IDs: []KeyID{key.ID}, CreatedBy: "op", Type: ptr(Test), Environment: ptr(""), CreatedBefore: at, Reason: "r", After: "key_x",
		}},
		"key_revoke_bulk.limit": {Change: &KeyRevokeBulk{CreatedBy: "op", Limit: 500}},
		"key_revoke_bulk.last":  {Change: &KeyRevokeBulk{IDs: []KeyID{key.ID}, Last: "key_new"}},
		"key_import.prefixes":   {Change: &KeyImport{Keys: []Key{key}, Lines: []int{3}, Prefixes: []string{"sk_live_"}}},
		"key_import.reassign":   {Change: &KeyImport{Keys: []Key{key}, Lines: []int{3}, Prefixes: []string{"sk_live_"}, Reassign: true}},

		"key_import":          {Change: &KeyImport{Keys: []Key{key}, Lines: []int{3}}},
		"allowlist_set":       {Change: &AllowlistSet{Entries: []AllowEntry{{CIDR: key.Allowlist[0], Note: "office"}}}},
		"allowlist_set.trial": {Change: &AllowlistSet{Entries: []AllowEntry{{CIDR: key.Allowlist[0], Note: "office"}}, ConfirmBy: at}},
		"allowlist_confirm":   {Change: &AllowlistConfirm{}},
		"allowlist_revert":    {Change: &AllowlistRevert{Index: 7}},
		"account_create":      {Change: &AccountCreate{Account: Account{ID: "acct_a", Name: "Acme", Tier: "pro", Region: "eu", Limits: limits, TestLimits: limits, BrowserKeys: BrowserBlock, Alerts: []int{80}, RetentionDays: 90}}},
		"account_update": {Change: &AccountUpdate{
			Name: ptr(""), Tier: ptr("pro"), Region: ptr("us"), Limits: limits, TestLimits: limits, BrowserKeys: ptr(BrowserAllow),
			Alerts: &[]int{}, RetentionDays: ptr(7), Clear: []string{"limits"},
		}},
		"account_update.policy": {Change: &AccountUpdate{Suspended: ptr(true), KeyPolicy: &KeyPolicy{MaxTTL: 90 * 86400, MustExpire: true, MaxKeys: 10}}},
		"account_update.rules": {Change: &AccountUpdate{Limits: inFlight, Rules: &[]LimitRule{{
			Name: "chat", Match: RuleMatch{Type: ptr(Live), Environment: ptr("production"), Route: ptr("POST /v1/chat")}, Per: PerKey, Requests: 600,
			Window: limiter.EachHour, Burst: ptr(int64(60)), Shadow: true, Until: at.Add(time.Hour),
		}}}},
		"grant.rule":     {Change: &Grant{Node: "n1", Asks: []GrantAsk{{Account: "acct_a", Type: Live, Key: key.ID, Rule: "chat", Day: 20513, Want: 5}}}},
		"account_delete": {Change: &AccountDelete{}},
		"tier_put":       {Change: &TierPut{Tier: Tier{Name: "gold", Live: *limits, Test: Limits{}, IPAllowlist: true}, Create: true}},
		"tier_delete":    {Change: &TierDelete{Name: "gold"}},
		"grant":          {Change: &Grant{Node: "n1", Asks: []GrantAsk{{Account: "acct_a", Type: Live, Key: key.ID, Budget: true, Month: 24314, Want: 5, Give: 1}}}},
		"operator_token_create": {Change: &OperatorTokenCreate{Token: OperatorToken{
			ID: "op_0123456789ab", Name: "CI", Hash: hashOf("o"), CreatedAt: at, CreatedBy: "op", ExpiresAt: at.Add(time.Hour),
		}}},
		"user_create": {Change: &UserCreate{User: User{
			ID: "usr_a", Email: "Ada@example.com", Name: "Ada", Role: RoleOwner, Account: "acct_a", Disabled: true, Operated: true, Password: "$argon2id$", Subject: "https://idp a",
			Setup: hashOf("s"), SetupEnds: at, TOTP: []byte("totp"), TOTPStep: 7, Recovery: []Hash{hashOf("r")}, Known: []string{"192.0.2.1"}, CreatedAt: at, CreatedBy: "op", LastSignInAt: at,
		}}},
		"user_update": {Change: &UserUpdate{
			ID: "usr_a", Name: ptr(""), Role: ptr(RoleViewer), Disabled: ptr(false), Password: ptr("$argon2id$"), Subject: ptr(""), Setup: ptr(hashOf("s")), SetupEnds: &at,
			TOTP: &[]byte{}, TOTPStep: ptr(int64(0)), Recovery: &[]Hash{}, Keep: "ses_a", Force: true,
		}},
		"user_delete":         {Change: &UserDelete{ID: "usr_a", Force: true}},
		"session_start.keeps": {Change: &SessionStart{Session: Session{Kind: OfUser, Owner: "usr_a", Hash: hashOf("s"), Ends: at}, Setup: true, Keeps: true, Used: hashOf("u")}},
		"session_start": {Change: &SessionStart{Session: Session{
			ID: "ses_a", Kind: OfUser, Owner: "usr_a", Account: "acct_a", Hash: hashOf("x"), Token: hashOf("t"), Scopes: []string{"admin"}, Name: "n", Setup: true,
			Created: at, Seen: at, Ends: at, Idle: 1800, IP: "192.0.2.1", Agent: "curl",
		}, Setup: true, Used: hashOf("s"), Recovery: true, TOTPStep: 7, Link: "lnk_a", Password: ptr("$argon2id$"), Check: "$argon2id$", Subject: "https://idp a"}},
		"session_seen": {Change: &SessionSeen{Owner: "usr_a", ID: "ses_a"}},
		"session_end":  {Change: &SessionEnd{Owner: "usr_a", ID: "ses_a"}},
		"link_create":  {Change: &LinkCreate{Link: Link{ID: "lnk_a", Account: "acct_a", Hash: hashOf("l"), Scopes: []string{"admin"}, Created: at, By: "op", Ends: at}}},

		"operator_token_delete": {Change: &OperatorTokenDelete{ID: "op_0123456789ab", Force: true}},

		"operator_tokens": {Change: &OperatorTokens{Hashes: []Hash{hashOf("o")}}},
		"cluster_open":    {Change: &ClusterOpen{CA: []byte("ca"), CAKey: []byte("key"), Gossip: []byte("gossip")}},
		"member_put": {Change: &MemberPut{Member: Member{
			ID: "n1", Name: "one", Address: "10.0.0.1:7000", Region: "eu", Version: "v2", Level: 2, Stale: true, JoinedAt: at, Removed: at,
		}}},
		"member_remove":     {Change: &MemberRemove{ID: "n1", Gossip: []byte("gossip")}},
		"fingerprint_begin": {Change: &FingerprintBegin{}},
		"roster_put":        {Change: &RosterPut{Nodes: []string{"n1", "n2"}}},
		"roster_put.first":  {Change: &RosterPut{Nodes: []string{"n1", "n2"}, Whole: true}},
		"roster_settle":     {Change: &RosterSettle{Index: 12}},
		"webhook_create": {Change: &WebhookCreate{Webhook: Webhook{
			ID: "whk_a", Account: "acct_a", URL: "https://example.com/hook", Events: []string{NoticeRevoked}, Enabled: true, Disabled: DisabledGone,
			Signing: Signing{Secret: "whsec_a", OldSecret: "whsec_b", OldUntil: at}, CreatedAt: at, CreatedBy: "op", Created: 1, Modified: 2,
		}}},
		"webhook_update":      {Change: &WebhookUpdate{ID: "whk_a", URL: ptr("https://example.com/hook"), Events: &[]string{}, Enabled: ptr(false)}},
		"webhook_rotate":      {Change: &WebhookRotate{ID: "whk_a", Secret: "whsec_c", OldUntil: at}},
		"webhook_rotate.keep": {Change: &WebhookRotate{ID: "whk_a", Secret: "whsec_c", OldUntil: at, Keep: true}},
		"deliveries_done.url": {Change: &DeliveriesDone{Results: []DeliveryResult{{Account: "acct_a", Webhook: "whk_a", Place: Place{7, 1}, State: Undelivered, Gone: true, URL: "https://a.example/"}}}},
		"webhook_delete":      {Change: &WebhookDelete{ID: "whk_a"}},
		"webhook_test":        {Change: &WebhookTest{ID: "whk_a"}},
		"webhook_redeliver":   {Change: &WebhookRedeliver{ID: "whk_a", Places: []Place{{7, 1}}, Since: at, After: Place{6, 2}}},
		"deliveries_done": {Change: &DeliveriesDone{Results: []DeliveryResult{{
			Account: "acct_a", Webhook: "whk_a", Place: Place{7, 1}, Try: &Try{At: at, Status: 503, Error: "e", DurationMS: 12}, State: Pending, Next: at, Gone: true,
		}}}},
		"incident_open": {Change: &IncidentOpen{Incident: Incident{
			ID: "inc_a", Account: "acct_a", Title: "Leak", Match: IncidentMatch{IDs: []KeyID{key.ID}, CreatedBy: "op", Type: ptr(Test), Environment: ptr(""), CreatedBefore: at},
			Action: IncidentRevoke, Freeze: true, OpenedAt: at, OpenedBy: Actor{Type: ActorOperator, ID: "op"}, ClosedAt: at, ClosedBy: Actor{Type: ActorOperator, ID: "op"},
			IncidentDone: IncidentDone{Head: jsontext.Value(`{}`), Keys: []KeyID{key.ID}, Matched: 3, Revoked: 2, Rotated: 1}, Created: 1, Modified: 2,
		}}},
		"incident_note":       {Change: &IncidentNote{ID: "inc_a", Done: IncidentDone{Head: jsontext.Value(`{}`), Keys: []KeyID{key.ID}, Matched: 3, Revoked: 2, Rotated: 1}}},
		"key_rotate_many":     {Change: &KeyRotateMany{Rotations: []KeyRotate{{ID: key.ID, New: "key_new", Hash: hashOf("n"), Hint: "h", OverlapEndsAt: at, Counts: true, Incident: "inc_a"}}}},
		"incident_close":      {Change: &IncidentClose{ID: "inc_a"}},
		"key_rotate.incident": {Change: &KeyRotate{ID: key.ID, New: "key_new", Hash: hashOf("n"), Hint: "h", Incident: "inc_a"}},
		"erasure_schedule":    {Change: &ErasureSchedule{ID: "ers_a", Everything: true, EffectiveAt: at}},
		"erasure_cancel":      {Change: &ErasureCancel{ID: "ers_a"}},
		"erasure_run":         {Change: &ErasureRun{ID: "ers_a"}},
		"erasure_run.again": {Change: &ErasureRun{ID: "ers_a", Again: &Erasure{
			ID: "ers_a", Account: "acct_a", Everything: true, State: ErasureDone, RequestedAt: at, RequestedBy: Actor{Type: ActorUser, ID: "usr_a"}, EffectiveAt: at,
			CancelledAt: at, CancelledBy: Actor{Type: ActorUser, ID: "usr_a"}, ErasedAt: at, Index: 7, Nodes: []ErasureNode{erasureNode}, DoneAt: at, Modified: 8,
		}}},
		"erasure_report": {Change: &ErasureReport{ID: "ers_a", Node: erasureNode}},
		"digest":         {Change: &Digest{From: at, To: at.Add(time.Hour)}},
		"alert":          {Change: &Alert{Type: NoticeExposed, Cause: "key.exposed:key_a", Key: key.ID, Data: jsontext.Value(`{"a":1}`), Until: at}},
		"cluster_reset": {Change: &ClusterReset{
			ClusterID: "c2", Kind: ResetRestore, From: "c1", OperatorTokens: []Hash{hashOf("o")}, Revoke: []KeyID{key.ID}, Reason: "r",
		}},
	}
	for _, c := range list {
		c.At = at
		c.Actor = Actor{Type: ActorUser, ID: "user_1", Name: "Ada"}
		c.Account = "acct_a"
		c.IP, c.Agent = "192.0.2.1", "curl/8"
		c.Request.RequestInfo = RequestInfo{ID: "r1", Method: "POST", Route: "/v1/keys"}
	}
	r := &list["key_revoke.path"].Request
	r.Path, r.StartedAt = "/v1/keys/key_a/revoke", at.Truncate(time.Millisecond)
	return list
}

// Commands that were ever written must be read for ever: the files in
// testdata/commands are never changed, only added to.
func TestCommandFixtures(t *testing.T) {
	all := samples()
	var got []string
	for name := range all {
		kind, _, _ := strings.Cut(name, ".")
		got = append(got, kind)
	}
	slices.Sort(got)
	if got = slices.Compact(got); !slices.Equal(got, Kinds()) {
		t.Errorf("there are samples of %v, and kinds of commands %v", got, Kinds())
	}
	for name, want := range all {
		path := filepath.Join("testdata", "commands", name+".v1")
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) && *rewrite {
			if err := os.WriteFile(path, want.Encode(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		wire, err := os.ReadFile(path)
		if err != nil {
			t.Errorf("%v (go test -rewrite makes it)", err)
			continue
		}
		got, err := DecodeCommand(wire)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if again := want.Encode(); !bytes.Equal(again, wire) {
			t.Errorf("%s: encoded as\n%s\nwant\n%s", name, again, wire)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: decoded as\n%+v\nwant\n%+v", name, got, want)
		}
	}
}

func TestDecodeCommandIsStrict(t *testing.T) {
	const head = "\x01" + `{"at":"2026-03-01T12:00:00Z","actor":{"type":"system","id":"n"},`
	for _, tc := range []struct{ name, wire string }{
		{"empty", ""},
		{"version 0", "\x00{}"},
		{"a later version", "\x02" + head[1:] + `"account_delete":{}}`},
		{"no change", head + `"account":"a"}`},
		{"two changes", head + `"account_delete":{},"tier_delete":{"name":"x"}}`},
		{"unknown change", head + `"account_merge":{}}`},
		{"unknown member", head + `"tier_delete":{"name":"x","force":true}}`},
		{"another case", head + `"Account_Delete":{}}`},
		{"member twice", head + `"account_delete":{},"account_delete":{}}`},
		{"null for a change", head + `"account_delete":null}`},
		{"null beside a change", head + `"tier_delete":null,"account_delete":{}}`},
		{"trailing bytes", head + `"account_delete":{}} {}`},
		{"wrong type", head + `"tier_delete":{"name":7}}`},
		{"short hash", head + `"operator_tokens":{"hashes":["ab"]}}`},
	} {
		if c, err := DecodeCommand([]byte(tc.wire)); err == nil {
			t.Errorf("%s: decoded as %+v", tc.name, c)
		}
	}
	if _, err := DecodeCommand([]byte(head + `"account_delete":{}}`)); err != nil {
		t.Errorf("the control: %v", err)
	}
}

// A client's User-Agent need not be UTF-8, and must not stop the log.
func TestEncodeForeignBytes(t *testing.T) {
	c := &Command{At: epoch, Agent: "a\xffb\x00", Change: &AccountDelete{}}
	got, err := DecodeCommand(c.Encode())
	if err != nil || got.Agent != "a\uFFFDb\x00" {
		t.Errorf("%q %v", got.Agent, err)
	}
}

// Nobody outside writes to the log, but a damaged entry must stop a node with a
// sentence, not a panic; and a decoded command must encode to the same meaning.
func FuzzDecodeCommand(f *testing.F) {
	for _, c := range samples() {
		f.Add(c.Encode())
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		c, err := DecodeCommand(wire)
		if err != nil {
			return
		}
		again, err := DecodeCommand(c.Encode())
		if err != nil {
			t.Fatalf("cannot be read again: %v", err)
		}
		if !bytes.Equal(c.Encode(), again.Encode()) {
			t.Errorf("%s\nis written as\n%s\nthen as\n%s", wire, c.Encode(), again.Encode())
		}
	})
}
