package notify

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/store"
)

// The bounds of alerts.
const (
	maxSignals   = 1024            // that wait to become alerts; one beyond it comes again with the next request
	seenSlots    = 1 << 14         // causes that are remembered without asking the state, 8 bytes each
	raiseAgain   = time.Second     // between attempts
	raiseFor     = 2 * time.Minute // after which a cause is left to its next occurrence
	raiseTimeout = 12 * time.Second
)

// AlertState is the part of the replicated state that alerts read.
type AlertState interface {
	Raised(store.AccountID, string) bool
	Key(store.KeyID) (*store.Key, error)
	ClusterLevel() int
	Initialized() bool
	Cell(store.AccountID) *store.Cell
}

// AlertConfig holds the parts of [Alerts].
type AlertConfig struct {
	State   AlertState
	Node    string
	Propose func(context.Context, *store.Command) (store.Result, error)
	Logger  *slog.Logger
	Now     func() time.Time
	// Nodes counts the members, and Everywhere asks them all what [Alerts.Failing] answers
	// there; nil on a lone node.
	Nodes      func() int
	Everywhere func(context.Context, store.AccountID) [][]byte
}

// Alerts turns what this node's requests show into alerts, each cause once. It implements
// [admit.Watcher].
type Alerts struct {
	cfg     AlertConfig
	signals chan signal
	seed    maphash.Seed
	seen    [seenSlots]atomic.Uint64 // hashes of causes, by their lowest bits

	mu       sync.Mutex
	failures map[store.AccountID]*failures // guarded by mu
}

// signal is a cause that this node has found.
type signal struct {
	slot    uint64 // of seen
	account store.AccountID
	kind    string
	cause   string
	key     store.KeyID
	until   time.Time
	data    func() any // made where nobody waits
	// failed asks for the failures of all nodes: the alert is raised only if there are many.
	failed bool
}

// NewAlerts returns the alerts; [Alerts.Run] must run beside them.
func NewAlerts(cfg AlertConfig) *Alerts {
	return &Alerts{cfg: cfg, signals: make(chan signal, maxSignals), seed: maphash.MakeSeed(), failures: make(map[store.AccountID]*failures)}
}

var _ admit.Watcher = (*Alerts)(nil)

// first reports whether a cause was not seen lately, and the slot that remembers it.
func (a *Alerts) first(hash uint64) (slot uint64, ok bool) {
	slot = hash % seenSlots
	if a.seen[slot].Load() == hash {
		return slot, false
	}
	return slot, a.seen[slot].Swap(hash) != hash
}

// send hands s to Run without waiting.
func (a *Alerts) send(s signal) {
	select {
	case a.signals <- s:
	default:
		a.seen[s.slot].Store(0) // the next request finds it again
	}
}

// occurrence is a cause of an account or key in a span of time, as it is hashed.
type occurrence struct {
	kind    string
	account store.AccountID
	key     store.KeyID
	policy  string
	typ     store.KeyType
	n       int64
	period  int
}

// once is [Alerts.first] of an occurrence.
func (a *Alerts) once(o occurrence) (slot uint64, ok bool) {
	return a.first(maphash.Comparable(a.seed, o))
}

// hour is the number of the hour of t since 1970.
func hour(t time.Time) int64 { return t.Unix() / 3600 }

// Exposed implements [admit.Watcher]: once a day for each key.
func (a *Alerts) Exposed(key *store.Record, client netip.Addr, refused bool) {
	now := a.cfg.Now()
	day := int64(store.Day(now))
	slot, ok := a.once(occurrence{kind: store.NoticeExposed, key: key.ID, n: day})
	state := key.Account.Load()
	if !ok || state == nil {
		return
	}
	a.send(signal{
		slot: slot, account: state.ID, kind: store.NoticeExposed, key: key.ID, until: now.Add(48 * time.Hour),
		cause: fmt.Sprintf("%s:%s:%d", store.NoticeExposed, key.ID, day),
		data: func() any {
			return map[string]any{"key": a.key(key.ID), "ip": client.String(), "refused": refused, "day": now.UTC().Format(time.DateOnly)}
		},
	})
}

// Refused implements [admit.Watcher]: once an hour for each key.
func (a *Alerts) Refused(key *store.Record, policy string, limit int64) {
	now := a.cfg.Now()
	slot, ok := a.once(occurrence{kind: store.NoticeRateLimit, key: key.ID, n: hour(now)})
	state := key.Account.Load()
	if !ok || state == nil {
		return
	}
	a.send(signal{
		slot: slot, account: state.ID, kind: store.NoticeRateLimit, key: key.ID, until: now.Add(2 * time.Hour),
		cause: fmt.Sprintf("%s:%s:%d", store.NoticeRateLimit, key.ID, hour(now)),
		data: func() any {
			return map[string]any{"key": a.key(key.ID), "policy": policy, "limit": amount(policy, limit)}
		},
	})
}

// Spent implements [admit.Watcher]: once for each threshold and calendar window.
func (a *Alerts) Spent(key *store.Record, s admit.Spent) {
	percent := s.Percent()
	for _, t := range s.Account.AlertThresholds() {
		if percent < t {
			continue
		}
		counted := store.KeyID(s.Key)
		slot, ok := a.once(occurrence{store.NoticeThreshold, s.Account.ID, counted, s.Policy, key.Type, int64(t), s.Period})
		if !ok {
			continue
		}
		period, until := fmt.Sprintf("%04d-%02d", s.Period/12, s.Period%12+1), 40*24*time.Hour
		if s.Daily {
			period, until = time.Unix(int64(s.Period)*24*3600, 0).UTC().Format(time.DateOnly), 3*24*time.Hour
		}
		shown := store.KeyID("")
		if counted != "" {
			shown = key.ID
		}
		a.send(signal{
			slot: slot, account: s.Account.ID, kind: store.NoticeThreshold, key: shown, until: a.cfg.Now().Add(until),
			cause: fmt.Sprintf("%s:%s:%s:%s:%s:%d", store.NoticeThreshold, s.Policy, key.Type, counted, period, t),
			data: func() any {
				data := map[string]any{
					"policy": s.Policy, "type": key.Type.String(), "key": nil, "percent": t, "period": period,
					"limit": amount(s.Policy, s.Limit), "used": amount(s.Policy, min(s.Used, s.Limit)),
				}
				if shown != "" {
					data["key"] = a.key(shown)
				}
				return data
			},
		})
	}
}

// amount shows a budget as money, and everything else as units.
func amount(policy string, n int64) any {
	if policy != "budget" {
		return n
	}
	return jsontext.Value(store.Money(n).AppendDecimal(nil))
}

// key shows a key in a notice.
func (a *Alerts) key(id store.KeyID) any {
	k, err := a.cfg.State.Key(id)
	if err != nil || k == nil {
		return map[string]any{"id": id}
	}
	return store.NoticeOfKey(k)
}

// Run raises alerts until ctx ends.
func (a *Alerts) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-a.signals:
			a.carryOut(ctx, &s)
		}
	}
}

// carryOut raises s, again and again for a while where there is no leader.
func (a *Alerts) carryOut(ctx context.Context, s *signal) {
	for s.failed {
		before := a.failed(s.account)
		if a.storm(ctx, s) {
			break
		}
		a.seen[s.slot].Store(0) // further failures ask again
		if a.failed(s.account) == before || ctx.Err() != nil {
			return
		}
		// Those that came while the nodes were asked may have been the last.
	}
	began := time.Now()
	for {
		err := a.Raise(ctx, s.account, store.Alert{Type: s.kind, Cause: s.cause, Key: s.key, Until: s.until}, s.data)
		if err == nil {
			return
		}
		if time.Since(began) > raiseFor {
			a.cfg.Logger.Warn("an alert is not raised; its next occurrence is", "type", s.kind, "account", s.account, "error", err)
			a.seen[s.slot].Store(0)
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(raiseAgain):
		}
	}
}

// errTooEarly is the reason why there are no alerts while a cluster is upgraded.
var errTooEarly = errors.New("not all nodes know alerts yet")

// Raise raises an alert unless its cause is known already. The account must not hold two
// causes of one name; data makes the data of the notice, which must hold no secret.
func (a *Alerts) Raise(ctx context.Context, account store.AccountID, alert store.Alert, data func() any) error {
	switch {
	case !a.cfg.State.Initialized() || a.cfg.State.ClusterLevel() < store.LevelOfWebhooks:
		return errTooEarly
	case a.cfg.State.Cell(account) == nil, a.cfg.State.Raised(account, alert.Cause):
		return nil
	}
	raw, err := json.Marshal(data(), json.Deterministic(true), jsontext.AllowInvalidUTF8(true))
	if err != nil {
		return fmt.Errorf("encode an alert: %w", err)
	}
	alert.Data, alert.Until = raw, alert.Until.UTC().Truncate(time.Second)
	ctx, cancel := context.WithTimeout(ctx, raiseTimeout)
	defer cancel()
	r, err := a.cfg.Propose(ctx, &store.Command{
		At: a.cfg.Now().UTC().Truncate(time.Millisecond), Account: account,
		Actor: store.Actor{Type: store.ActorSystem, ID: "system", Name: a.cfg.Node}, Change: &alert,
	})
	switch {
	case err != nil:
		return err
	case r.Refusal != nil && r.Refusal.Reason != store.NotFound: // the account was deleted meanwhile
		return r.Refusal
	}
	return nil
}
