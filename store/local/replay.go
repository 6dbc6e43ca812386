package local

import (
	"fmt"
	"time"

	"github.com/perfgate/perfgate/store"
)

// Traffic is what one key did on one route, with one status, in one step.
type Traffic struct {
	Time        time.Time // of the step's begin
	Key         store.KeyID
	Type        store.KeyType
	Environment string
	Route       string
	Status      int
	Requests    int64
	Denied      int64
	Units       int64
}

// Replay calls use with the traffic of an account from one time to another, step by step
// in order of time; a zero to is now. The value is valid during the call. An error of use
// ends it. Like Usage it reads MaxUsageScan rows at most, and answers ErrTooWide beyond.
func (l *Local) Replay(account store.AccountID, step Step, from, to time.Time, use func(*Traffic) error) error {
	i := 0
	for i < len(steps) && steps[i].step != step {
		i++
	}
	if i == len(steps) {
		return fmt.Errorf("replay by the step %q, which is unknown", step)
	}
	if err := l.turn(false); err != nil {
		return err
	}
	if err := l.enter(); err != nil {
		return err
	}
	defer l.leave()
	q := UsageQuery{Account: account, From: from, To: to}
	environments := summing{lookup: l.cfg.Environment}
	var t Traffic
	err := l.scan(&q, rowUsage, steps[i].code, steps[i].minutes, func(at time.Time, row, value []byte) error {
		r, ok := parseRow(row)
		if !ok {
			return errCorrupt
		}
		n, err := parseTally(value)
		if err != nil {
			return err
		}
		t = Traffic{
			Time: at, Key: store.KeyID(r.key), Environment: environments.environment(&r), Route: string(r.route), Status: r.status,
			Requests: int64(n.requests), Denied: int64(n.denied), Units: int64(n.units),
		}
		if r.live() {
			t.Type = store.Live
		}
		return use(&t)
	}, func(time.Time) {})
	if err != nil {
		return fmt.Errorf("replay usage: %w", err)
	}
	return nil
}

// Kept is how long rows of a step are kept; 0 if there is no such step.
func Kept(step Step) time.Duration {
	for _, s := range steps {
		if s.step == step {
			return s.keep
		}
	}
	return 0
}
