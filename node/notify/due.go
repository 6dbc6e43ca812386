package notify

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/perfgate/perfgate/store"
)

// The pace of the looks at all keys, which the leader takes.
const (
	dueEvery = time.Minute // at least; a look takes at most a hundredth of the time
	duePart  = 100
	duePage  = 500
	dueRest  = 5 * time.Millisecond // between pages
)

// expiring are the times before a key's expiry at which an alert tells of it.
var expiring = []struct {
	name   string
	before time.Duration
}{{"1d", 24 * time.Hour}, {"7d", 7 * 24 * time.Hour}}

// KeyState is the part of the replicated state that the looks at keys read.
type KeyState interface {
	Accounts(after store.AccountID, limit int) ([]*store.Account, store.AccountID)
	Key(store.KeyID) (*store.Key, error)
	Keys(store.KeyQuery) ([]*store.Key, store.KeyID, error)
	Raised(store.AccountID, string) bool
}

// overlapTold is how long after the end of an overlap its notice is still sent: a leader that
// was away for longer tells nobody of what is old.
const overlapTold = 24 * time.Hour

// Due finds keys that expire soon, those that are due for rotation, and overlaps of rotations
// that end.
type Due struct {
	State  KeyState
	Alerts *Alerts
	Leads  func() bool
	Logger *slog.Logger
	Now    func() time.Time
}

// Run looks at all keys until ctx ends, while this node leads.
func (d *Due) Run(ctx context.Context) {
	wait := time.NewTimer(dueEvery)
	defer wait.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-wait.C:
		}
		began := time.Now()
		if d.Leads() {
			if err := d.Look(ctx); err != nil && ctx.Err() == nil {
				d.Logger.Warn("look for keys that expire or are due for rotation; tried again", "error", err)
			}
		}
		wait.Reset(max(dueEvery, duePart*time.Since(began)))
	}
}

// Look looks at all keys once.
func (d *Due) Look(ctx context.Context) error {
	var account store.AccountID
	for {
		page, next := d.State.Accounts(account, duePage)
		for _, a := range page {
			if err := d.keys(ctx, a.ID); err != nil {
				return err
			}
		}
		if next == "" {
			return nil
		}
		account = next
	}
}

func (d *Due) keys(ctx context.Context, account store.AccountID) error {
	q := store.KeyQuery{Account: account, Limit: duePage}
	for {
		q.Now = d.Now()
		keys, next, err := d.State.Keys(q)
		if err != nil {
			return err
		}
		for _, k := range keys {
			if err := d.judge(ctx, k, q.Now); err != nil {
				return err
			}
		}
		if next == "" {
			return nil
		}
		q.After = next
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(dueRest):
		}
	}
}

// judge raises what is due for k. A key that is being replaced, or that works no more,
// needs nobody's attention.
func (d *Due) judge(ctx context.Context, k *store.Key, now time.Time) error {
	if !k.OverlapEndsAt.IsZero() {
		return d.overlap(ctx, k, now)
	}
	if k.State(now) != store.Active {
		return nil
	}
	if !k.ExpiresAt.IsZero() {
		for _, e := range expiring {
			if left := k.ExpiresAt.Sub(now); left <= e.before {
				cause := fmt.Sprintf("%s:%s:%d:%s", store.NoticeExpiring, k.ID, k.ExpiresAt.Unix(), e.name)
				if err := d.raise(ctx, k, store.NoticeExpiring, cause, k.ExpiresAt.Add(24*time.Hour), map[string]any{
					"key": store.NoticeOfKey(k), "expires_at": k.ExpiresAt.UTC(),
				}); err != nil {
					return err
				}
				break
			}
		}
	}
	if due := k.CreatedAt.Add(store.RotationDue); !now.Before(due) {
		cause := fmt.Sprintf("%s:%s", store.NoticeRotation, k.ID)
		return d.raise(ctx, k, store.NoticeRotation, cause, now.Add(store.MaxAlertTime-time.Hour), map[string]any{
			"key": store.NoticeOfKey(k), "created_at": k.CreatedAt.UTC(), "rotation_due_at": due.UTC(),
		})
	}
	return nil
}

// overlap raises what is due for a key that was replaced: a day before its overlap ends, unless
// the rotation has just told that, and once it has ended.
func (d *Due) overlap(ctx context.Context, k *store.Key, now time.Time) error {
	end := k.OverlapEndsAt
	switch state := k.State(now); {
	case state == store.Rotating && end.Sub(now) <= 24*time.Hour && !d.rotatedLately(k, end):
		cause := fmt.Sprintf("%s:%s:%d:overlap", store.NoticeExpiring, k.ID, end.Unix())
		return d.raise(ctx, k, store.NoticeExpiring, cause, end.Add(24*time.Hour), map[string]any{
			"key": store.NoticeOfKey(k), "expires_at": end.UTC(), "replaced_by": k.ReplacedBy,
		})
	case state == store.Revoked && k.RevokedAt.IsZero() && now.Sub(end) < overlapTold:
		cause := fmt.Sprintf("%s:%s:%d:overlap", store.NoticeRevoked, k.ID, end.Unix())
		return d.raise(ctx, k, store.NoticeRevoked, cause, end.Add(2*overlapTold), map[string]any{
			"key": store.NoticeOfKey(k), "reason": "rotated", "actor": store.Actor{Type: store.ActorSystem, ID: "system"}, "replaced_by": k.ReplacedBy,
		})
	}
	return nil
}

// rotatedLately reports whether the overlap had no more than a day from its beginning.
func (d *Due) rotatedLately(k *store.Key, end time.Time) bool {
	next, err := d.State.Key(k.ReplacedBy)
	return err == nil && next != nil && end.Sub(next.CreatedAt) <= 24*time.Hour
}

func (d *Due) raise(ctx context.Context, k *store.Key, kind, cause string, until time.Time, data map[string]any) error {
	if d.State.Raised(k.Account, cause) {
		return nil
	}
	return d.Alerts.Raise(ctx, k.Account, store.Alert{Type: kind, Cause: cause, Key: k.ID, Until: until}, func() any { return data })
}
