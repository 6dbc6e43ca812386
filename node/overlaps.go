package node

import (
	"context"
	"time"

	"github.com/perfgate/perfgate/httpapi/manage"
	"github.com/perfgate/perfgate/store"
)

// Figures of overlaps that end when the old key is no longer used.
const (
	overlapEvery = 30 * time.Second
	maxOverlaps  = 1000 // keys that the nodes are asked about at once
)

// endOverlaps revokes, on the leader, rotated keys that were not used on any node for
// [manage.UnusedFor]. It ends with ctx.
func (n *Node) endOverlaps(ctx context.Context) {
	whileLeading(ctx, n, overlapEvery, func() { n.overall.endUnused(ctx, n, n.clock.Wall(), maxOverlaps) })
}

// endUnused does so once, at now, and asks the nodes about so many keys at a time.
func (o *overall) endUnused(ctx context.Context, n *Node, now time.Time, page int) {
	for after, first := "", true; ctx.Err() == nil && (first || after != ""); first = false {
		keys, next, err := n.store.UntilUnused(now, after, page)
		if err != nil {
			n.log.Error("look for rotated keys that are no longer used", "error", err)
			return
		}
		if len(keys) > 0 && !o.endUnusedOf(ctx, n, now, keys) {
			return
		}
		after = next
	}
}

// endUnusedOf ends the overlaps of some keys. While a node does not answer, no overlap ends: it
// may be the one on which the key is used.
func (o *overall) endUnusedOf(ctx context.Context, n *Node, now time.Time, keys []*store.Key) (answered bool) {
	ids := make([]store.KeyID, len(keys))
	for i, k := range keys {
		ids[i] = k.ID
	}
	uses, missing, err := o.observed.Load().CertainUses(ctx, ids)
	if err != nil || len(missing) > 0 {
		n.log.Warn("overlaps of rotations go on, because not every node says whether the old keys are used", "missing", missing, "error", err)
		return false
	}
	for _, k := range keys {
		if !n.replica.Leads() { // the next leader goes on
			return false
		}
		last := uses[k.ID].At
		if next, err := n.store.Key(k.ReplacedBy); err == nil && next != nil && next.CreatedAt.After(last) {
			last = next.CreatedAt
		}
		if now.Sub(last) < manage.UnusedFor {
			continue
		}
		_, err := n.proposeGrant(ctx, &store.Command{
			At: n.clock.Wall(), Account: k.Account, Actor: n.startup.system(), Change: &store.KeyRevoke{ID: k.ID, Reason: "rotated"},
		})
		if err != nil && ctx.Err() == nil {
			n.log.Warn("end the overlap of a rotation; tried again", "key", k.ID, "error", err)
		}
	}
	return true
}
