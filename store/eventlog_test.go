package store

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/perfgate/perfgate/store/chain"
)

// recordOf is e as an export holds it.
func recordOf(e *Event) *chain.Record {
	return &chain.Record{e.ID, strconv.FormatUint(e.Seq, 10), e.Time.Format(chain.TimeFormat), string(e.EventType), e.Action,
		string(e.Actor.Type), e.Actor.ID, e.Actor.Name, string(e.Account), string(e.KeyID), e.Target, string(e.Outcome), e.Reason, e.IP, e.Country, e.UserAgent,
		20: "", 21: string(e.Changes)}
}

// exported reads the events that q selects and their proof, and verifies both.
func exported(h *harness, q EventQuery, kept ...chain.HeadFile) (*chain.Report, []*Event) {
	h.Helper()
	l := h.OpenEventLog()
	defer l.Close()
	v := chain.NewVerifier()
	var list []*Event
	for e, err := range l.Events(q) {
		if err != nil {
			h.Fatal(err)
		}
		v.Add(recordOf(e), e.Hash)
		list = append(list, e)
	}
	p := chain.Proof{Version: chain.Version, Order: "asc", Keys: h.AuditKeys()}
	if q.Newest {
		p.Order = "desc"
	}
	if !q.From.IsZero() {
		p.From = q.From.UnixMilli()
	}
	for part, err := range l.Proof(q) {
		switch {
		case err != nil:
			h.Fatal(err)
		case part.Chain != nil:
			p.Chains = append(p.Chains, *part.Chain)
		default:
			c := &p.Chains[len(p.Chains)-1]
			c.Segments = append(c.Segments, *part.Shown)
		}
	}
	return v.Verify(&p, chain.Trust{Kept: kept}), list
}

func (h *harness) keptHead(account AccountID) chain.HeadFile {
	h.Helper()
	l := h.OpenEventLog()
	defer l.Close()
	k, err := l.Kept(account)
	if err != nil || k == nil {
		h.Fatalf("kept head: %v, %v", k, err)
	}
	return chain.HeadFile{Account: string(account), Data: []chain.KeptHead{*k}, Keys: h.AuditKeys()}
}

// Every account's changes are proven, in both orders, with filters, over restarts, restores
// and rotations of the key, while events go on after the head.
func TestEventLogProof(t *testing.T) {
	h := begun(t)
	h.must(create("before"))
	h.must(&Command{Change: &AuditKey{Seed: make([]byte, 32), First: true}})
	head := func() { h.must(&Command{Change: &AuditHead{Stream: chain.Changes, Time: h.at}}) }
	for _, a := range []AccountID{"acct_a", "acct_b"} {
		h.must(&Command{Account: a, Change: &AccountCreate{Account: Account{ID: a, Name: string(a)}}})
	}
	for i := range 30 {
		h.must(&Command{Account: []AccountID{"acct_a", "acct_b", ""}[i%3], Change: &AccountUpdate{Name: ptr(fmt.Sprint("name ", i))}})
		if i%7 == 0 {
			head()
		}
	}
	kept := h.keptHead("acct_a")
	h.must(&Command{Change: &AuditKey{Seed: append(make([]byte, 31), 1)}})
	head()
	h.must(&Command{Account: "acct_a", Change: &AccountUpdate{Name: ptr("after the head")}})
	check := func(name string) {
		t.Helper()
		for _, account := range []AccountID{DefaultAccount, "acct_a", "acct_b"} {
			for _, q := range []EventQuery{{}, {Newest: true}, {Action: "account.create"}, {From: epoch.Add(20 * time.Second)}, {To: epoch.Add(20 * time.Second)}, {Action: "none"}} {
				q.Account = account
				var keep []chain.HeadFile
				if account == "acct_a" && q.From.IsZero() {
					keep = append(keep, kept)
				}
				r, list := exported(h, q, keep...)
				if len(r.Findings) > 0 || r.Proven+r.Unchained != len(list) || r.Compared != len(keep) {
					t.Errorf("%s: %+v: %d events: %+v", name, q, len(list), r)
				}
				if q == (EventQuery{Account: DefaultAccount}) && (r.Unchained != 2 || r.Proven < 10) {
					t.Errorf("%s: %+v", name, r)
				}
				if q == (EventQuery{Account: "acct_a"}) && list[len(list)-1].Changes == nil {
					t.Errorf("%s: the last event is %+v", name, list[len(list)-1])
				}
			}
		}
	}
	check("at first")
	h.reopen()
	check("after a restart")
	head()
	check("after another head")
}

// Old events leave a gap that the proof counts; later events are still proven.
func TestEventLogGap(t *testing.T) {
	h := begun(t)
	h.must(&Command{Change: &AuditKey{Seed: make([]byte, 32), First: true}})
	for range 5 {
		h.must(&Command{Change: &AccountUpdate{Name: ptr(h.at.String())}})
	}
	h.at = h.at.Add(31 * 24 * time.Hour)
	for range 4 { // the sweeper works through the accounts
		h.must(&Command{Change: &AccountUpdate{Name: ptr(h.at.String())}})
		h.at = h.at.Add(time.Minute)
	}
	h.must(&Command{Change: &AuditHead{Stream: chain.Changes, Time: h.at}})
	r, list := exported(h, EventQuery{Account: DefaultAccount})
	if len(r.Findings) > 0 || len(list) != 4 || r.Proven != 4 || r.Chains[0].Before != 6 {
		t.Errorf("%d events, %+v", len(list), r)
	}
}

// A row that somebody changes in the database is named, and so is one that is taken out.
func TestEventLogTampering(t *testing.T) {
	h := begun(t)
	h.must(&Command{Change: &AuditKey{Seed: make([]byte, 32), First: true}})
	for i := range 9 {
		h.must(&Command{Change: &AccountUpdate{Name: ptr(fmt.Sprint("name ", i))}})
	}
	h.must(&Command{Change: &AuditHead{Stream: chain.Changes, Time: h.at}})
	_, list := exported(h, EventQuery{Account: DefaultAccount})
	row := func(e *Event) []byte {
		var found []byte
		if err := h.scan(accountRows(rowEvent, DefaultAccount), func(row, value []byte) error {
			if got, _, err := unpackEvent(row, value); err == nil && got.ID == e.ID {
				found = slices.Clone(row)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return found
	}
	for i, e := range list[3:7] {
		at := row(e)
		value, err := h.get(at)
		if err != nil {
			t.Fatal(err)
		}
		changed := slices.Clone(value)
		changed[len(changed)-5] ^= 1
		for name, do := range map[string]func() error{"changed": func() error { return h.db.Set(at, changed, nil) }, "removed": func() error { return h.db.Delete(at, nil) }} {
			if err := do(); err != nil {
				t.Fatal(err)
			}
			r, _ := exported(h, EventQuery{Account: DefaultAccount})
			want := e.Seq
			if name == "removed" {
				want++ // the first event that does not follow
			}
			if len(r.Findings) != 1 || r.Findings[0].Seq != want {
				t.Errorf("%d %s: %+v", i, name, r.Findings)
			}
			if err := h.db.Set(at, value, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
}
