package observe

import (
	"context"

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
