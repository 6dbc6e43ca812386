package local

import (
	"iter"
	"time"

	"github.com/perfgate/perfgate/store"
)

// Failures streams the refused requests among the events that q selects: failed
// authentications and everything else that admission turned down, each with its
// reason, address and, in Actor.Name, the hint of the credential. q.Outcome is
// not looked at; a request that this node could not serve (5xx) is not a failure.
func (l *Local) Failures(q store.EventQuery) iter.Seq2[*store.Event, error] {
	q.Outcome = store.Denied
	return l.Events(q)
}

// FailureCount is how often one reason turned requests of one key down. Key is
// empty where the credential named none.
type FailureCount struct {
	Reason string
	Key    store.KeyID
	Count  int64
	Last   time.Time
}

// MaxFailureCounts bounds the answer of CountFailures.
const MaxFailureCounts = 10_000

// CountFailures sums the refused requests that q selects by reason and key, in
// no order. It reads every one of them: give q a time window. It answers
// [ErrTooWide] beyond MaxFailureCounts.
func (l *Local) CountFailures(q store.EventQuery) ([]FailureCount, error) {
	type group struct {
		reason string
		key    store.KeyID
	}
	index := make(map[group]int)
	var out []FailureCount
	for e, err := range l.Failures(q) {
		if err != nil {
			return nil, err
		}
		g := group{e.Reason, e.KeyID}
		i, ok := index[g]
		if !ok {
			if len(out) >= MaxFailureCounts {
				return nil, ErrTooWide
			}
			i = len(out)
			index[g] = i
			out = append(out, FailureCount{Reason: e.Reason, Key: e.KeyID})
		}
		out[i].Count++
		out[i].Last = e.Time // events come in order of time
	}
	return out, nil
}
