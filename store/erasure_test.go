package store

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/store/chain"
)

// erased is an erasure of an account that has taken place.
func erased(h *harness, account AccountID, id ErasureID, everything bool) *Erasure {
	h.Helper()
	h.must(&Command{Account: account, Actor: Actor{Type: ActorUser, ID: "usr_o", Name: "Olga Owner"}, Change: &ErasureSchedule{ID: id, Everything: everything, EffectiveAt: h.at}})
	return h.must(&Command{Account: account, Actor: Actor{Type: ActorSystem, ID: "n1"}, Change: &ErasureRun{ID: id}}).Erasure
}

// Nothing personal of an erased account is in any row. Its chain states the gap and verifies,
// also against a head that was kept before.
func TestErasure(t *testing.T) {
	for _, everything := range []bool{false, true} {
		t.Run(fmt.Sprint("everything=", everything), func(t *testing.T) {
			h := begun(t)
			h.must(&Command{Change: &AuditKey{Seed: make([]byte, 32), First: true}})
			h.must(&Command{Account: "acct_a", Change: &AccountCreate{Account: Account{ID: "acct_a", Tier: "pro"}}})
			ada := Actor{Type: ActorUser, ID: "usr_a", Name: "Ada Secretname"}
			one := create("one")
			one.Account, one.Actor, one.IP, one.Agent, one.Once = "acct_a", ada, "192.0.2.77", "SecretAgent/1", &Once{Scope: Hash{1}, Body: Hash{2}}
			h.must(one)
			h.must(&Command{Account: "acct_a", Change: &UserCreate{User: User{ID: "usr_a", Email: "ada@example.com", Role: RoleOwner, Account: "acct_a", Password: "$argon2id$1", Known: []string{"192.0.2.77"}}}})
			h.must(&Command{Account: "acct_a", Change: &SessionStart{Session: Session{ID: "ses_a", Kind: OfUser, Owner: "usr_a", Account: "acct_a", IP: "192.0.2.77", Agent: "SecretAgent/1", Hash: hashOf("s"), Created: h.at, Seen: h.at, Ends: h.at.Add(time.Hour)}, Check: "$argon2id$1"}})
			h.must(&Command{Account: "acct_a", Actor: ada, Change: &WebhookCreate{Webhook: Webhook{ID: "whk_a", URL: "https://a.example/", Enabled: true, Signing: Signing{Secret: "whsec_YQ=="}}}})
			h.must(&Command{Account: "acct_a", Actor: ada, Change: &WebhookTest{ID: "whk_a"}})
			h.must(&Command{Account: "acct_a", Change: &Alert{Type: NoticeExposed, Cause: "key.exposed:192.0.2.77", Data: []byte(`{}`), Until: h.at.Add(time.Hour)}})
			h.must(&Command{Account: "acct_a", Actor: ada, Change: &IncidentOpen{Incident: Incident{ID: "inc_a", Title: "t", Action: IncidentNone}}})
			h.must(&Command{Account: "acct_a", Actor: ada, Change: &IncidentClose{ID: "inc_a"}})
			other := create("other")
			other.IP = "198.51.100.1"
			h.must(other)
			personal := []string{"192.0.2.77", "SecretAgent", "Secretname"}
			before := dump(t, h.Store)
			for _, s := range personal {
				if !strings.Contains(before, s) {
					t.Fatalf("%s is nowhere before the erasure: the test proves nothing", s)
				}
			}
			h.must(&Command{Change: &AuditHead{Stream: chain.Changes, Time: h.at}})
			kept := h.keptHead("acct_a")

			erased(h, "acct_a", "ers_a", everything)
			h.must(&Command{Change: &AuditHead{Stream: chain.Changes, Time: h.at}})
			after := dump(t, h.Store)
			for _, s := range append(personal, "Olga") {
				if strings.Contains(after, s) {
					t.Errorf("%s is still there", s)
				}
			}
			if !strings.Contains(after, "198.51.100.1") {
				t.Error("data of another account is gone")
			}
			r, list := exported(h, EventQuery{Account: "acct_a"}, kept)
			if len(r.Findings) > 0 || len(list) != 1 || list[0].Action != "erasure.apply" || r.Proven != 1 || r.Chains[0].Before == 0 {
				t.Errorf("%d events, %+v", len(list), r)
			}
			if got := h.Cell("acct_a"); everything != (got == nil || got.Load() == nil) {
				t.Errorf("the account: %v", got)
			}
			if n, err := h.Erasures().Removed(&Erasure{Account: "acct_a", Everything: everything}); err != nil || n == everything {
				t.Errorf("keys are removed: %v, %v", n, err)
			}
		})
	}
}

// An erasure is done when all members have reported, and a member that is gone is not
// waited for.
func TestErasureWaitsForMembers(t *testing.T) {
	h := begun(t)
	h.must(&Command{Change: &ClusterOpen{CA: []byte("ca"), CAKey: []byte("key"), Gossip: make([]byte, 32)}})
	for _, id := range []string{"n1", "n2", "n3"} {
		h.must(&Command{Change: &MemberPut{Member: Member{ID: id, Name: id, Address: "127.0.0.1:1", Level: Level}}})
	}
	erased(h, DefaultAccount, "ers_a", false)
	report := func(id string) *Erasure {
		return h.must(&Command{Change: &ErasureReport{ID: "ers_a", Node: ErasureNode{ID: id, Name: id, At: h.at}}}).Erasure
	}
	for _, id := range []string{"n1", "n2", "n1"} {
		if e := report(id); e.State != ErasureRunning {
			t.Fatalf("done after %s: %+v", id, e)
		}
	}
	if open, err := h.Erasures().Open(); err != nil || len(open) != 1 || len(open[0].Nodes) != 2 {
		t.Fatalf("open: %+v, %v", open, err)
	}
	h.must(&Command{Change: &MemberRemove{ID: "n3", Gossip: append(make([]byte, 31), 1)}})
	if e := report("n1"); e.State != ErasureDone || len(e.Nodes) != 2 {
		t.Fatalf("without n3: %+v", e)
	}
	if open, err := h.Erasures().Open(); err != nil || len(open) != 0 {
		t.Fatalf("open: %+v, %v", open, err)
	}
	if e, err := h.Erasures().Get("ers_a"); err != nil || e == nil || e.State != ErasureDone {
		t.Fatalf("%+v, %v", e, err)
	}
}

// Erasures of an account are bounded; the ledger of a backup tells which are missing in it.
func TestErasureLedger(t *testing.T) {
	h := begun(t)
	for i := range MaxErasures + 3 {
		erased(h, DefaultAccount, ErasureID(fmt.Sprint("ers_", i)), false)
		h.must(&Command{Change: &ErasureReport{ID: ErasureID(fmt.Sprint("ers_", i)), Node: ErasureNode{ID: "n1", At: h.at}}})
	}
	all, err := h.Erasures().All()
	if err != nil || len(all) != MaxErasures || all[0].ID != ErasureID(fmt.Sprint("ers_", MaxErasures+2)) {
		t.Fatalf("%d erasures, %v", len(all), err)
	}
	if e, err := h.Erasures().Get("ers_0"); err != nil || e != nil {
		t.Errorf("the oldest one: %+v, %v", e, err)
	}
	var of ErasuresOf
	if err := h.scan([]byte{rowErasure}, of.Add); err != nil {
		t.Fatal(err)
	}
	again := *all[0]
	again.ID = "ers_new"
	cancelled := Erasure{ID: "ers_c", State: ErasureCancelled}
	if left := of.Left(append(all, &again, &cancelled)); len(left) != 1 || left[0].ID != "ers_new" {
		t.Errorf("left: %+v", left)
	}
}

// The tag of an erasure is compared only once all nodes do: earlier ones ignore it, and a
// change must have the same end on all.
func TestTagOfAnErasureWaitsForOldNodes(t *testing.T) {
	h := begun(t)
	h.must(&Command{Account: "acct_a", Change: &AccountCreate{Account: Account{ID: "acct_a"}}})
	for _, level := range []int{LevelOfErasureTags - 1, LevelOfErasureTags} {
		h.must(&Command{Change: &MemberPut{Member: Member{ID: "n1", Name: "n1", Address: "127.0.0.1:1", Level: level}}})
		id := ErasureID(fmt.Sprint("ers_", level))
		h.must(&Command{Account: "acct_a", Change: &ErasureSchedule{ID: id, EffectiveAt: h.at.Add(time.Hour)}})
		c := &Command{Account: "acct_a", Match: 1, Change: &ErasureCancel{ID: id}}
		if level < LevelOfErasureTags {
			h.must(c)
		} else {
			h.refused(PreconditionFailed, c)
		}
	}
}
