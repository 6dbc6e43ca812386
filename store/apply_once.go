package store

import (
	"fmt"

	"github.com/go-json-experiment/json"
)

// stored is the row of an idempotent command's result.
type stored struct {
	At     int64  `json:"at"` // Unix nanoseconds of the first command
	Body   Hash   `json:"body"`
	Result Result `json:"result"`
}

// repeat answers a command whose first run is remembered. Refusals are not: they
// changed nothing, and what stood in the way may be gone.
func (t *txn) repeat(once *Once) (Result, bool) {
	row := t.get(named(rowOnce, once.Scope[:]))
	if row == nil {
		return Result{}, false
	}
	var first stored
	if err := json.Unmarshal(row, &first); err != nil {
		t.fault(fmt.Errorf("read a stored result: %w", err))
		return Result{}, true
	}
	if age := t.at.UnixNano() - first.At; age >= int64(OnceRetention) {
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
func (t *txn) remember(once *Once, r *Result) {
	row := named(rowOnce, once.Scope[:])
	if old := t.get(row); old != nil {
		var first stored
		if err := json.Unmarshal(old, &first); err != nil {
			t.fault(fmt.Errorf("read a stored result: %w", err))
			return
		}
		t.delete(onceAgeRow(timeOf(first.At), &once.Scope))
	}
	t.put(row, t.json(&stored{At: unixNano(t.at), Body: once.Body, Result: *r}))
	t.put(onceAgeRow(t.at, &once.Scope), nil)
}
