package node

import (
	"context"
	"time"

	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/insight"
)

const (
	// maxFindings bounds the findings that wait to be raised. One beyond it raises no alert;
	// GET /v1/security/events shows it all the same.
	maxFindings = 256
	// findingKnown is how long a finding is remembered, so that it is raised once.
	findingKnown = 7 * 24 * time.Hour
	findingEvery = 5 * time.Second // between two tries to raise one
	findingTries = 24
)

// openFindings starts what raises an alert for each finding about a key, and returns the
// function that takes the findings. All nodes give the same finding the same id.
func openFindings(n *Node) func(insight.Finding) {
	queue := make(chan insight.Finding, maxFindings)
	n.background.run(func(ctx context.Context) {
		for {
			select {
			case <-ctx.Done():
				return
			case f := <-queue:
				raiseAgain(ctx, n, &f)
			}
		}
	})
	return func(f insight.Finding) {
		if f.Key == "" { // failed credentials have an alert of their own
			return
		}
		select {
		case queue <- f:
		default:
		}
	}
}

// raiseAgain raises a finding, again and again while there is no leader to take it: its
// cause is unique, so that a repeat is harmless.
func raiseAgain(ctx context.Context, n *Node, f *insight.Finding) {
	tick := time.NewTicker(findingEvery)
	defer tick.Stop()
	for range findingTries {
		err := raiseFinding(ctx, n, f)
		if err == nil || ctx.Err() != nil {
			return
		}
		n.log.Debug("an unusual request raises no alert yet", "key_id", f.Key, "kind", f.Kind, "error", err)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
	n.log.Warn("an unusual request raises no alert; GET /v1/security/events shows it", "key_id", f.Key, "kind", f.Kind)
}

func raiseFinding(ctx context.Context, n *Node, f *insight.Finding) error {
	return n.alerts.Raise(ctx, store.AccountID(f.Account), store.Alert{
		Type: store.NoticeAnomaly, Cause: store.NoticeAnomaly + ":" + f.ID, Key: store.KeyID(f.Key), Until: f.At.Add(findingKnown),
	}, func() any {
		return map[string]any{"finding": f.ID, "kind": f.Kind, "key": f.Key, "at": f.At.UTC(), "subject": f.Subject, "usual": f.Usual, "seen": f.Seen}
	})
}
