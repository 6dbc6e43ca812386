package observe

import (
	"context"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/chain"
	"github.com/perfgate/perfgate/store/insight"
	"github.com/perfgate/perfgate/store/local"
)

// confirmWait bounds the wait for other nodes that may know what is new to this one.
const confirmWait = 3 * time.Second

// refuted reports whether another node knew better: a key that a load balancer sends to
// this node for the first time is not new in a country from which it used others, and was
// not silent while others served it.
func (n *Nodes) refuted(ctx context.Context, f *insight.Finding) bool {
	if len(n.others()) == 0 {
		return false
	}
	switch f.Kind {
	case insight.Country, insight.Network:
		known := false
		_, err := n.ask(ctx, &ask{Refute: f}, question{wait: confirmWait}, func(out *answer) error {
			known = known || out.Refuted
			return nil
		})
		return err == nil && known
	case insight.Silence:
		// Days that the silence covers whole.
		q := local.UsageQuery{Account: store.AccountID(f.Account), Key: store.KeyID(f.Key), Step: local.StepDay,
			From: f.At.Add(-time.Duration(f.Window)*time.Second).AddDate(0, 0, 1), To: f.At.AddDate(0, 0, -1).Truncate(24 * time.Hour)}
		rows, _, err := n.Usage(ctx, q)
		return err == nil && len(rows) > 0
	}
	return false
}

// ownFindings are the findings of this node, the newest first.
func (n *Nodes) ownFindings(q *insight.Query) (out []insight.Finding, err error) {
	var bad error
	err = n.cfg.Local.Notes().Each(q.From, q.To, func(note []byte) bool {
		var f insight.Finding
		if bad = json.Unmarshal(note, &f); bad != nil {
			return false
		}
		if q.Selects(&f) {
			out = append(out, f)
		}
		return len(out) < q.Most
	})
	if err == nil {
		err = bad
	}
	return out, err
}

// Findings lists the findings of all nodes, the newest first. One that several nodes made
// is listed once, as the first of them made it.
func (n *Nodes) Findings(ctx context.Context, q insight.Query) ([]insight.Finding, []chain.Missing, error) {
	all := make(map[string]insight.Finding)
	missing, err := n.ask(ctx, &ask{Findings: &q}, question{wait: answerWait}, func(out *answer) error {
		for _, f := range out.Findings {
			if have, ok := all[f.ID]; !ok || f.At.Before(have.At) {
				all[f.ID] = f
			}
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	out := make([]insight.Finding, 0, len(all))
	for _, f := range all {
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b insight.Finding) int {
		if c := b.At.Compare(a.At); c != 0 {
			return c
		}
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	return out[:min(q.Most, len(out))], missing, nil
}

// profile is what one node knows of a key.
type profile struct {
	Key     store.KeyID     `json:"key"`
	Profile insight.Profile `json:"profile"`
}

// ownProfiles are what this node knows of keys.
func (n *Nodes) ownProfiles(keys []store.KeyID) (out []profile) {
	for _, key := range keys[:min(maxUses, len(keys))] {
		if p := n.cfg.Watcher.profile(key); !p.Last.IsZero() {
			out = append(out, profile{key, p})
		}
	}
	return out
}

// Profiles merges what all nodes know of keys. Addresses are those of the node that saw
// most; users are the latest ones of all.
func (n *Nodes) Profiles(ctx context.Context, keys []store.KeyID) (map[store.KeyID]insight.Profile, []chain.Missing, error) {
	all := make(map[store.KeyID]insight.Profile)
	missing := []chain.Missing{}
	for len(keys) > 0 {
		part := keys[:min(maxUses, len(keys))]
		keys = keys[len(part):]
		var err error
		missing, err = n.ask(ctx, &ask{Profiles: part}, question{wait: answerWait}, func(out *answer) error {
			for _, p := range out.Profiles {
				have := all[p.Key]
				have.Merge(&p.Profile)
				all[p.Key] = have
			}
			return nil
		})
		if err != nil {
			return nil, nil, err
		}
	}
	return all, missing, nil
}

// tell hands a finding that was confirmed to the part of the node that reports it.
func (n *Nodes) tell(f insight.Finding) {
	if n.cfg.Found != nil {
		n.cfg.Found(f)
	}
}
