package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/perfgate/perfgate/node/lease"
	"github.com/perfgate/perfgate/node/replica"
)

// The bounds of renewals and reports.
const (
	renewTimeout = 1100 * time.Millisecond // a little beyond lease.GrantWithin
	renewalsMax  = 3                       // under way at a time; the leader takes lease.MaxPending
	renewAgain   = 30 * time.Millisecond   // after one that met no leader
	reportLinger = 3 * time.Millisecond    // before the applied index is reported by a call
	reportWait   = 100 * time.Millisecond  // before a report that failed is repeated
	skewWarned   = 500 * time.Millisecond  // between this wall clock and the leader's
)

// otherRegion is the reason for which a cluster refuses a node of another region.
func otherRegion(node, cluster string) string {
	return fmt.Sprintf("node.region is %q here and %q on the leader; give all nodes the same.", node, cluster)
}

// grant is the leader's part of a renewal.
func (l *leadership) grant(ctx context.Context, f *selfReport) (renewed, error) {
	if !l.r.Leads() || f.Term != l.term.Load() {
		return renewed{}, replica.ErrNotTaken
	}
	if l.r.Store().Removed(f.ID) {
		return renewed{}, replica.Decline(replica.ErrForbidden, "The node was removed from the cluster.")
	}
	if f.Lease != int64(l.Lease) {
		// It would serve for longer than writes wait.
		return renewed{}, replica.Decline(replica.ErrForbidden, "cluster.lease is %v here and %v on the leader; give all nodes the same.", time.Duration(f.Lease), l.Lease)
	}
	if f.Region != l.Region {
		// It would serve accounts whose data must stay elsewhere.
		return renewed{}, replica.Decline(replica.ErrForbidden, "%s", otherRegion(f.Region, l.Region))
	}
	l.Clock.Sync()
	now := l.Clock.Now()
	// A node that has not served yet has nothing to serve on with.
	var ticket lease.Ticket
	var err error
	if !l.inTerm(f.Term, func() {
		ticket, err = l.table.Renew(lease.Node{ID: f.ID, Boot: f.Boot}, f.Applied, f.Stale && f.Served, now)
		if !errors.Is(err, lease.ErrOldBoot) {
			l.reports.put(f, now)
		}
	}) {
		return renewed{}, replica.ErrNotTaken
	}
	if !errors.Is(err, lease.ErrOldBoot) {
		l.clocks.judge(&l.reports)
	}
	if err != nil {
		return renewed{}, replica.Refuse(replica.ErrUnavailable, err)
	}
	// A lease that is not granted must not make writes wait for it.
	granted := false
	defer func() {
		if !granted {
			l.table.Drop(ticket)
		}
	}()
	if err := l.checkState(f); err != nil {
		return renewed{}, err
	}
	// By the commit alone: under load, to apply takes longer than a renewal may.
	l.unconfirmed.asked(now)
	if err := l.r.ConfirmTerm(ctx, f.Term); err != nil {
		return renewed{}, replica.Refuse(replica.ErrUnavailable, err)
	}
	l.unconfirmed.confirmed()
	select {
	case <-l.table.Ready(ticket):
	case <-ctx.Done():
		return renewed{}, replica.Refuse(replica.ErrUnavailable, ctx.Err())
	}
	if granted = l.table.Grant(ticket, f.Term, l.Clock.Now()); !granted {
		return renewed{}, replica.Refuse(replica.ErrUnavailable, errors.New("the renewal came too late"))
	}
	return l.answer(f.ID), nil
}

// answer is what is told to the node id, whose lease is granted.
func (l *leadership) answer(id string) renewed {
	m, ok := l.r.Store().Member(id)
	got := renewed{Wall: l.Clock.Wall(), Stale: ok && m.Stale}
	l.clocks.mark(&got)
	return got
}

// strained reports whether large changes are to wait; see [replica.Writer].
func (l *leadership) strained() bool {
	now := l.Clock.Now()
	return late(l.table.Status(now), now, l.ledSince.Load(), l.Lease)
}

// late reports whether a node has less than three quarters of its lease left; one that is not
// late has nine tenths. Whatever keeps it from renewing (it applies slowly, its disk or the
// leader's is busy), it gets over the work that is under way with the rest of its lease,
// while new work could go on for ever. A node that is down costs no more than writes wait
// for in any case, the end of its lease. One that is heard of is late, too, for as long as
// a lease after it lost its own, and before it has one of a leader that is new.
func late(held []lease.Holding, now, ledSince int64, d time.Duration) bool {
	enough := int64(d / 4 * 3)
	return slices.ContainsFunc(held, func(h lease.Holding) bool {
		heard := h.LastSeen != 0 && now-h.LastSeen <= int64(contactFresh)
		switch {
		case h.Stale:
			return false
		case h.Until != 0:
			return h.Until-now < enough
		case h.Ended != 0:
			return heard && now-h.Ended < int64(d)
		}
		return heard && now-ledSince < enough
	})
}

// report is the index that a node has applied.
type report struct {
	Boot    uint64 `json:"boot"`
	Term    uint64 `json:"term"`
	Applied uint64 `json:"applied"`
	// Left says that this boot serves no more: it stops.
	Left bool `json:"left,omitzero"`
}

// sendReports reports to the leader the index that is applied here, as soon as it
// changes and many changes at once, until ctx ends. Every write waits for these.
func (h *holder) sendReports(ctx context.Context) {
	var sent uint64
	for {
		next := h.r.Changed()
		if now := h.applied(); now != sent {
			// The answer to a notice reports it sooner and costs less.
			timer := time.NewTimer(reportLinger)
			select {
			case <-ctx.Done():
				timer.Stop()
				return
			case <-timer.C:
			}
			if now = h.applied(); h.reader.reported.Load() >= now {
				sent = now
				continue
			}
			if h.report(ctx, report{Boot: h.self.Boot, Term: h.currentTerm(), Applied: now}) == nil {
				sent = now
				continue
			}
			timer.Reset(reportWait)
			select {
			case <-ctx.Done():
				timer.Stop()
				return
			case <-timer.C:
			}
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-next:
		}
	}
}

func (h *holder) report(ctx context.Context, rep report) error {
	id, addr, ok := h.peers.leader()
	if !ok {
		return replica.ErrNotTaken
	}
	if string(id) == h.self.ID {
		return h.leadership.heard(h.self.ID, rep)
	}
	ctx, cancel := context.WithTimeout(ctx, renewTimeout)
	defer cancel()
	_, err := call[bool](ctx, h.mesh, addr, string(id), callReport, encode(&rep))
	return err
}

// heard notes a report. A process that has left can never serve again, as if its
// successor had come already.
func (l *leadership) heard(id string, rep report) error {
	n := lease.Node{ID: id, Boot: rep.Boot}
	if rep.Left {
		n.Boot++
		rep.Applied = 0
	}
	if !l.inTerm(rep.Term, func() { l.table.Report(n, rep.Applied, l.Clock.Now()) }) {
		return replica.ErrNotTaken
	}
	return nil
}
