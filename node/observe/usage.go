package observe

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/perfgate/perfgate/store/chain"
	"github.com/perfgate/perfgate/store/local"
)

// Usage sums usage over all nodes, ordered by time, then group. It answers
// [local.ErrTooWide] where a node does, and beyond [local.MaxUsageRows] rows.
func (n *Nodes) Usage(ctx context.Context, q local.UsageQuery) ([]local.UsageRow, []chain.Missing, error) {
	type slot struct {
		at    time.Time
		group string
	}
	sums := make(map[slot]*local.UsageRow)
	missing, err := n.ask(ctx, &ask{Usage: &q}, question{wait: answerWait}, func(out *answer) error {
		for i := range out.Usage {
			r := &out.Usage[i]
			at := slot{r.Time.UTC(), r.Group}
			have := sums[at]
			if have == nil {
				if len(sums) == local.MaxUsageRows {
					return local.ErrTooWide
				}
				sums[at] = r
				continue
			}
			have.Add(r)
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	rows := make([]local.UsageRow, 0, len(sums))
	for _, r := range sums {
		rows = append(rows, *r)
	}
	slices.SortFunc(rows, func(a, b local.UsageRow) int { return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Group, b.Group)) })
	return rows, missing, nil
}
