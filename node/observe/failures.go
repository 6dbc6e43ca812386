package observe

import (
	"context"

	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/chain"
	"github.com/perfgate/perfgate/store/local"
)

// Failures sums failed requests over all nodes. Each node contributes its most frequent
// values, ten times as many as are asked for, so that only a rare one can be missed.
func (n *Nodes) Failures(ctx context.Context, q local.FailureQuery) (local.FailureCounts, []chain.Missing, error) {
	var all []local.FailureCounts
	most := q.Most
	q.Most *= 10
	missing, err := n.ask(ctx, &ask{Failures: &q}, question{wait: answerWait}, func(out *answer) error {
		if out.Failures != nil {
			all = append(all, *out.Failures)
		}
		return nil
	})
	if err != nil {
		return local.FailureCounts{}, nil, err
	}
	return local.MergeFailures(all, most), missing, nil
}

// Failing asks all nodes which credentials of an account were refused there lately. One that
// does not answer is left out.
func (n *Nodes) Failing(ctx context.Context, account store.AccountID) (list [][]byte) {
	_, err := n.ask(ctx, &ask{Failing: account}, question{wait: confirmWait, brief: true}, func(out *answer) error {
		list = append(list, out.Failing)
		return nil
	})
	if err != nil {
		return nil
	}
	return list
}
