package notify

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/perfgate/perfgate/store"
)

// A digest is sent in each period in which something needs attention, and tells each event
// once, whichever node leads.
func TestDigests(t *testing.T) {
	l := newLedger(t)
	now := time.Now()
	var mails []string
	fail := false
	digester := func() *Digester {
		return &Digester{
			State: l, Every: 24 * time.Hour, Propose: l.propose, Node: "n1", Now: func() time.Time { return now },
			Send: func(_ context.Context, subject, text string) error {
				if fail {
					return errors.New("connection refused")
				}
				mails = append(mails, subject+"\n"+text)
				return nil
			},
		}
	}
	nodes := []*Digester{digester(), digester()}
	pass := func(d time.Duration) {
		t.Helper()
		now = now.Add(d)
		l.mu.Lock()
		l.ahead += d
		l.mu.Unlock()
		for _, n := range nodes {
			if err := n.round(t.Context()); (err != nil) != fail {
				t.Errorf("round: %v", err)
			}
		}
	}
	alert := func(cause string, key store.KeyID) {
		t.Helper()
		l.do(t, &store.Alert{Type: store.NoticeExposed, Cause: cause, Key: key, Data: jsontext.Value("{}"), Until: now.Add(time.Hour)})
	}
	pass(0)
	alert("first", "key_a")
	l.do(t, &store.KeyCreate{Key: store.Key{ID: "key_x", Hash: store.Hash{9}, Name: "x", Scopes: []string{"read"}}})
	l.do(t, &store.KeyRevoke{ID: "key_x", Reason: "leaked"})
	pass(23 * time.Hour)
	if len(mails) != 0 {
		t.Errorf("mails before their time: %q", mails)
	}
	pass(time.Hour + time.Second)
	if len(mails) != 1 || !strings.HasPrefix(mails[0], "perfgate: 2 events need attention\n") || !strings.Contains(mails[0], "key.exposed  key key_a") ||
		!strings.Contains(mails[0], "Account default (Default)") || !strings.Contains(mails[0], "key key_x was reported as leaked") {
		t.Errorf("mails %q", mails)
	}
	pass(25 * time.Hour)
	pass(25 * time.Hour)
	if len(mails) != 1 {
		t.Errorf("mails about nothing: %q", mails[1:])
	}
	for i := range digestLines + 5 {
		alert(strings.Repeat("x", i+1), "")
	}
	fail = true
	pass(25 * time.Hour)
	fail = false
	pass(time.Hour)
	if len(mails) != 2 || !strings.HasPrefix(mails[1], "perfgate: 205 events") || !strings.Contains(mails[1], "and 5 more.") {
		t.Errorf("%d mails after a failure", len(mails))
	}
}
