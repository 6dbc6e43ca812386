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
	Keys(store.KeyQuery) ([]*store.Key, store.KeyID, error)
	Raised(store.AccountID, string) bool
}

// Due finds keys that expire soon, and those that are due for rotation.
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

func (d *Due) raise(ctx context.Context, k *store.Key, kind, cause string, until time.Time, data map[string]any) error {
	if d.State.Raised(k.Account, cause) {
		return nil
	}
	return d.Alerts.Raise(ctx, k.Account, store.Alert{Type: kind, Cause: cause, Key: k.ID, Until: until}, func() any { return data })
}
