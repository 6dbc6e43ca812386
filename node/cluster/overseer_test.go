package cluster

import (
	"errors"
	"testing"
	"time"

	"github.com/perfgate/perfgate/node/replica"
)

// A leader is to lead no more when an entry was asked for and none confirmed, within its
// term, for longer than a disk may take.
func TestStalled(t *testing.T) {
	t.Parallel()
	s := opened(t, nil)
	o, u := s.overseer, &s.leadership.unconfirmed
	limit := int64(replica.LivenessOf(s.r).Limit())
	now := s.Clock.Now()
	for _, step := range []struct {
		name  string
		since int64
		at    int64
		want  bool
	}{
		{"its term begins", now - limit, now, false},
		{"it may be busy with the term before", now - limit, now + limit - 1, false},
		{"nothing was asked for", 0, now + 2*limit, false},
		{"something was asked for just now", now + 2*limit - 1, now + 2*limit, false},
		{"for as long as may be", now + limit, now + 2*limit, false},
		{"for longer", now + limit - 1, now + 2*limit, true},
	} {
		u.since.Store(step.since)
		if err := o.stalled(step.at); (err != nil) != step.want {
			t.Errorf("%s: %v", step.name, err)
		}
	}
	u.confirmed()
	u.asked(5)
	if u.asked(7); u.since.Load() != 5 {
		t.Errorf("asked at 5 and at 7, it waits since %d", u.since.Load())
	}
}

// A leader that cannot be replaced leads on: without a majority nobody is elected, and where no
// node has applied more, another leader would be no better.
func TestStalledLeaderLeadsOn(t *testing.T) {
	t.Parallel()
	s := opened(t, nil)
	o := s.overseer
	o.end(t.Context(), errors.New("nothing is confirmed"))
	p := s.joined("n2")
	p.hears(nil)
	o.end(t.Context(), errApplying)
	if !s.r.Leads() || s.r.Failed() != nil {
		t.Errorf("it leads: %v, has failed: %v", s.r.Leads(), s.r.Failed())
	}
}

// A leader ends only where another node leads a later term and its own Raft does not notice. If
// nobody is elected, it leads on: the voters' disks may be slower than its own.
func TestStuckLeaderEnds(t *testing.T) {
	t.Parallel()
	s := opened(t, nil)
	p := s.voter("n2")
	o := s.overseer
	if err := o.stalled(s.Clock.Now()); err != nil {
		t.Fatal(err)
	}
	s.ends.Store(true)
	why := errors.New("nothing is confirmed")
	asked := p.count(callStatus)
	p.answers(callStatus, func([]byte) any { return wireStatus{Leader: "n1", Term: o.term} })
	for deadline := time.Now().Add(time.Minute); p.count(callStatus) < asked+2; {
		if time.Now().After(deadline) {
			t.Fatal("nobody asked the other voter who leads")
		}
		o.end(t.Context(), why) // the puppet is elected by nobody
	}
	if err := s.r.Failed(); err != nil || !s.r.Leads() {
		t.Fatalf("nobody else leads, and it has failed: %v, leads: %v", err, s.r.Leads())
	}
	p.answers(callStatus, func([]byte) any { return wireStatus{Leader: "n2", Term: o.term + 1} })
	for deadline := time.Now().Add(time.Minute); s.r.Failed() == nil && time.Now().Before(deadline); {
		o.end(t.Context(), why)
	}
	if err := s.r.Failed(); !errors.Is(err, why) {
		t.Errorf("it has failed: %v", err)
	}
}
