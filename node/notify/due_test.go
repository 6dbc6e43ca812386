package notify

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/store"
)

// The end of an overlap is told of: a day before, where the rotation did not do so itself, and
// once it has come, unless that is long ago. A replaced key that was revoked told so itself.
func TestOverlapEnds(t *testing.T) {
	l := newLedger(t)
	now := time.Now()
	rotate := func(name string, overlap time.Duration) {
		t.Helper()
		l.key(t, name, nil)
		l.do(t, &store.KeyRotate{ID: store.KeyID("key_" + name), New: store.KeyID("key_" + name + "_new"), Hash: store.Hash{2, name[0]}, OverlapEndsAt: now.Add(overlap)})
	}
	rotate("day", 24*time.Hour)
	rotate("week", 7*24*time.Hour)
	rotate("gone", 24*time.Hour)
	l.do(t, &store.KeyRevoke{ID: "key_gone", Reason: "leaked"})
	d := Due{State: l, Alerts: l.alerts(func() time.Time { return now }), Now: func() time.Time { return now }}
	seen := 0
	look := func(at time.Duration, want ...string) {
		t.Helper()
		now = now.Add(at)
		for range 2 {
			if err := d.Look(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		types, bodies := l.notices(t)
		var got []string
		for i, body := range bodies[seen:] {
			name, _, _ := strings.Cut(body[strings.Index(body, `"id":"key_`)+10:], `"`)
			got = append(got, types[seen+i]+" "+name)
		}
		seen = len(types)
		if !slices.Equal(got, want) {
			t.Errorf("%v: notices %q, want %q", at, got, want)
		}
	}
	seen = 4 // of the rotations and the revocation
	look(time.Hour)
	look(23*time.Hour, "key.revoked day")
	look(5*24*time.Hour, "key.expiring week")
	look(24*time.Hour+time.Minute, "key.revoked week")
	look(10 * 24 * time.Hour)

	old := newLedger(t)
	old.ahead = -30 * 24 * time.Hour
	old.key(t, "old", nil)
	old.do(t, &store.KeyRotate{ID: "key_old", New: "key_new", Hash: store.Hash{2}, OverlapEndsAt: time.Now().Add(-28 * 24 * time.Hour)})
	d = Due{State: old, Alerts: old.alerts(time.Now), Now: time.Now}
	if err := d.Look(t.Context()); err != nil {
		t.Fatal(err)
	}
	if types, _ := old.notices(t); slices.Contains(types, store.NoticeRevoked) {
		t.Errorf("notices %v of an overlap that ended long ago", types)
	}
}
