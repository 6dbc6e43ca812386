package notify

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/store"
)

// The bounds of failures: an alert tells of an account with manyFailures in failureSpan, over
// all nodes.
const (
	manyFailures   = 20
	failureSpan    = 5 * time.Minute
	failedAccounts = 1024 // that are counted at once
	failureShown   = 5    // addresses in an alert, and hints
)

// failures counts the credentials of an account that were refused on one node, or on all.
type failures struct {
	Count   int            `json:"failures"`
	Since   time.Time      `json:"since"`
	Reasons map[string]int `json:"reasons"`
	From    map[string]int `json:"addresses"` // failureShown at most
	Hints   []string       `json:"hints"`     // the same, sorted
}

func (f *failures) add(reasons map[string]int, from map[string]int, hints []string) {
	for reason, n := range reasons {
		f.Reasons[reason] += n
		f.Count += n
	}
	for addr, n := range from {
		if _, ok := f.From[addr]; ok || len(f.From) < failureShown {
			f.From[addr] += n
		}
	}
	for _, hint := range hints {
		if i, known := slices.BinarySearch(f.Hints, hint); !known && len(f.Hints) < failureShown {
			f.Hints = slices.Insert(f.Hints, i, hint)
		}
	}
}

func newFailures(since time.Time) *failures {
	return &failures{Since: since, Reasons: map[string]int{}, From: map[string]int{}, Hints: []string{}}
}

// Failed implements [admit.Watcher]. Failures of no known account are the operators':
// those of the account default. A node that has its own part of manyFailures asks the others: of
// many on all nodes, one at least has that. It asks one question at a time, and none once there is
// an alert.
func (a *Alerts) Failed(account store.AccountID, code fault.Code, hint string, client netip.Addr) {
	if account == "" {
		account = store.DefaultAccount
	}
	now := a.cfg.Now()
	part := manyFailures
	if a.cfg.Nodes != nil {
		part = max(1, manyFailures/max(1, a.cfg.Nodes()))
	}
	var hints []string
	if hint != "" {
		hints = []string{hint}
	}
	a.mu.Lock()
	f := a.failures[account]
	if f == nil || now.Sub(f.Since) > failureSpan {
		if f == nil && len(a.failures) >= failedAccounts {
			clear(a.failures)
		}
		f = newFailures(now)
		a.failures[account] = f
	}
	f.add(map[string]int{string(code): 1}, map[string]int{client.String(): 1}, hints)
	ask := f.Count >= part
	a.mu.Unlock()
	if !ask {
		return
	}
	slot, ok := a.once(occurrence{kind: store.NoticeFailures, account: account, n: hour(now)})
	if ok {
		a.send(signal{
			slot: slot, account: account, kind: store.NoticeFailures, until: now.Add(2 * time.Hour), failed: true,
			cause: fmt.Sprintf("%s:%d", store.NoticeFailures, hour(now)),
		})
	}
}

// failed is how many failures of an account this node has counted lately.
func (a *Alerts) failed(account store.AccountID) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	if f := a.failures[account]; f != nil {
		return f.Count
	}
	return 0
}

// Failing tells another node, in JSON, which credentials of an account were refused here in the
// last minutes; nil if none was.
func (a *Alerts) Failing(account store.AccountID) []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	f := a.failures[account]
	if f == nil || a.cfg.Now().Sub(f.Since) > failureSpan {
		return nil
	}
	raw, err := json.Marshal(f)
	if err != nil {
		return nil
	}
	return raw
}

// storm asks all nodes for the failures of a signal's account, and reports whether there are
// many. The alert shows them together. A node that does not answer is left out.
func (a *Alerts) storm(ctx context.Context, s *signal) bool {
	var parts [][]byte
	if a.cfg.Everywhere != nil {
		parts = a.cfg.Everywhere(ctx, s.account)
	} else {
		parts = append(parts, a.Failing(s.account))
	}
	all := newFailures(a.cfg.Now())
	for _, raw := range parts {
		var f failures
		if raw == nil || json.Unmarshal(raw, &f) != nil {
			continue
		}
		if f.Since.Before(all.Since) {
			all.Since = f.Since
		}
		all.add(f.Reasons, f.From, f.Hints)
	}
	s.data = func() any {
		return map[string]any{"failures": all.Count, "since": all.Since.UTC().Format(store.NoticeTime), "reasons": all.Reasons, "addresses": all.From, "hints": all.Hints}
	}
	return all.Count >= manyFailures
}
