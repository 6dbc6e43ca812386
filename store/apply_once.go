package store

import (
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
)

// stored is the row of an idempotent command's result.
type stored struct {
	At     int64  `json:"at"` // cluster time of the first command, Unix nanoseconds
	Body   Hash   `json:"body"`
	Result Result `json:"result"`
}

// repeat answers a command that was applied before, if that is remembered. Refusals are not: they
// changed nothing, and the obstacle may be gone.
func (once *Once) repeat(t *txn) (Result, bool) {
	row := t.rows.get(named(rowOnce, once.Scope[:]))
	if row == nil {
		return Result{}, false
	}
	var first stored
	if err := json.Unmarshal(row, &first); err != nil {
		t.rows.fault(fmt.Errorf("read a stored result: %w", err))
		return Result{}, true
	}
	if age := t.when.now().UnixNano() - first.At; age >= int64(OnceRetention) {
		return Result{}, false
	}
	if first.Body != once.Body {
		r := refuse(IdempotencyMismatch, "this Idempotency-Key was used with another body")
		r.Index = t.index
		return r, true
	}
	first.Result.Repeat = true
	return first.Result, true
}

// remember keeps a result for [OnceRetention]. One that it replaces is too old
// to matter, but still has its place by age.
func (once *Once) remember(t *txn, r *Result) {
	row := named(rowOnce, once.Scope[:])
	if old := t.rows.get(row); old != nil {
		var first stored
		if err := json.Unmarshal(old, &first); err != nil {
			t.rows.fault(fmt.Errorf("read a stored result: %w", err))
			return
		}
		t.rows.delete(onceAgeRow(timeOf(first.At), &once.Scope))
	}
	at := t.when.at
	if t.when.clock.now != 0 {
		at = timeOf(t.when.clock.now)
	}
	t.rows.put(row, t.rows.json(&stored{At: unixNano(at), Body: once.Body, Result: *r}))
	t.rows.put(onceAgeRow(at, &once.Scope), nil)
}

// Repeated reports whether a command with this once was applied and its result is still
// remembered at now: a command like it will be answered with that.
func (s *Store) Repeated(once *Once, now time.Time) (bool, error) {
	row, err := s.get(named(rowOnce, once.Scope[:]))
	if row == nil || err != nil {
		return false, err
	}
	var first stored
	if err := json.Unmarshal(row, &first); err != nil {
		return false, fmt.Errorf("read a stored result: %w", err)
	}
	return first.Body == once.Body && now.UnixNano()-first.At < int64(OnceRetention), nil
}
