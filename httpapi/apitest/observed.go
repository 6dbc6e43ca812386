package apitest

import (
	"context"

	"github.com/perfgate/perfgate/httpapi/manage"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/chain"
	"github.com/perfgate/perfgate/store/insight"
	"github.com/perfgate/perfgate/store/local"
)

// observed is what one node knows of requests.
type observed struct {
	local *local.Local
	rig   *Rig
}

// Observed is what the rig's one node knows of requests.
func (g *Rig) Observed() manage.Observed { return observed{g.Local, g} }

// Usage implements [manage.Observed].
func (o observed) Usage(_ context.Context, q local.UsageQuery) ([]local.UsageRow, []chain.Missing, error) {
	rows, err := o.local.Usage(q)
	return rows, append([]chain.Missing{}, o.rig.Backend.Silent...), err
}

// Failures implements [manage.Observed].
func (o observed) Failures(_ context.Context, q local.FailureQuery) (local.FailureCounts, []chain.Missing, error) {
	counts, err := o.local.Failures(q)
	return counts, []chain.Missing{}, err
}

// LastUses implements [manage.Observed].
func (o observed) LastUses(_ context.Context, keys []store.KeyID) (map[store.KeyID]local.LastUse, []chain.Missing) {
	uses := make(map[store.KeyID]local.LastUse)
	for _, key := range keys {
		if u, ok := o.local.LastUsed(key); ok {
			uses[key] = u
		}
	}
	return uses, []chain.Missing{}
}

// Findings implements [manage.Observed].
func (o observed) Findings(_ context.Context, q insight.Query) ([]insight.Finding, []chain.Missing, error) {
	out := []insight.Finding{}
	for _, f := range o.rig.Findings {
		if q.Selects(&f) && !f.At.Before(q.From) && f.At.Before(q.To) {
			out = append(out, f)
		}
	}
	return out, []chain.Missing{}, nil
}

// Profiles implements [manage.Observed].
func (o observed) Profiles(context.Context, []store.KeyID) (map[store.KeyID]insight.Profile, []chain.Missing, error) {
	return o.rig.Profiles, []chain.Missing{}, nil
}
