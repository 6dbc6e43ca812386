package manage

import (
	"slices"
	"strconv"
	"time"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
)

// bulk is the body of POST /v1/keys/revoke: keys that pass every filter that is
// set are revoked.
type bulk struct {
	IDs           []store.KeyID  `json:"ids"`
	CreatedBy     *string        `json:"created_by"`
	Type          *store.KeyType `json:"type"`
	Environment   *string        `json:"environment"`
	CreatedBefore *time.Time     `json:"created_before"`
	Reason        *string        `json:"reason"`
	DryRun        bool           `json:"dry_run"`
}

// revokedKeys is its answer. Matched counts keys that are revoked already too.
// Of a dry run IDs are the keys that would be revoked, and Revoked is 0. StillValid are
// keys that are accepted afterwards although they replaced a key that is revoked by the
// call or named in it, or were replaced by one. Both lists are cut at [store.MaxImport].
type revokedKeys struct {
	Matched    int              `json:"matched"`
	Revoked    int              `json:"revoked"`
	DryRun     bool             `json:"dry_run"`
	IDs        []store.KeyID    `json:"ids"`
	StillValid []store.KeyID    `json:"still_valid"`
	Revocation *rest.Revocation `json:"revocation"`
}

// Check implements [rest.Checker].
func (in *bulk) Check(*rest.Call) error {
	var faults fault.List
	switch {
	case in.IDs == nil && in.CreatedBy == nil && in.Type == nil && in.Environment == nil && in.CreatedBefore == nil:
		faults.Add(rest.Invalid("", "name at least one of ids, created_by, type, environment, created_before"))
	case in.IDs != nil && len(in.IDs) == 0:
		faults.Add(rest.Invalid("ids", "is empty; leave it out to not filter by it"))
	case len(in.IDs) > store.MaxImport:
		return rest.Invalid("ids", "names %d keys, and one call may name %d", len(in.IDs), store.MaxImport)
	}
	if in.CreatedBy != nil && *in.CreatedBy == "" {
		faults.Add(rest.Invalid("created_by", "is empty; leave it out to not filter by it"))
	}
	for i, id := range in.IDs {
		if !rest.IsID(string(id), "key_") {
			faults.Add(rest.Invalid("ids."+strconv.Itoa(i), `is not the id of a key: one begins with "key_"; if it is a key itself, nothing was changed and the key is as valid as before`))
		}
	}
	_, err := (&reason{in.Reason}).text()
	faults.Add(err)
	return faults.Err()
}

// RevokeMany revokes every key that passes the filters of in.
func (h *Keys) RevokeMany(c *rest.Call, in *bulk) (*revokedKeys, error) {
	if err := in.Check(c); err != nil {
		return nil, err
	}
	why, err := (&reason{in.Reason}).text()
	if err != nil {
		return nil, err
	}
	cmd := &store.KeyRevokeBulk{IDs: in.IDs, Type: in.Type, Environment: in.Environment, Reason: why}
	if in.CreatedBy != nil {
		cmd.CreatedBy = *in.CreatedBy
	}
	if in.CreatedBefore != nil {
		cmd.CreatedBefore = in.CreatedBefore.UTC()
	}
	if in.DryRun {
		return h.dryRun(c, cmd)
	}
	return h.revokeAll(c, cmd)
}

// bulkStep is the number of keys that one command revokes; see importStep.
const bulkStep = 500

// revokeAll carries cmd out in as many commands as it takes: each one looks at
// a bounded number of keys. A repeat runs through the same commands and finds
// the result of each; it completes the rest of a run that broke off.
func (h *Keys) revokeAll(c *rest.Call, cmd *store.KeyRevokeBulk) (*revokedKeys, error) {
	out := &revokedKeys{}
	others := newPartners(h, c, cmd)
	step := *cmd
	if len(cmd.IDs) == 0 && h.Store.ClusterLevel() >= store.LevelOfBulkLimit {
		step.Limit = bulkStep
	}
	left := slices.Compact(slices.Sorted(slices.Values(cmd.IDs)))
	for {
		step.IDs = left[:min(len(left), bulkStep)]
		left = left[len(step.IDs):]
		next := step
		rc, err := c.Propose(&store.Command{Change: &next})
		if err != nil {
			return nil, err
		}
		out.Matched += rc.Matched
		out.Revoked += len(rc.Keys)
		out.IDs = append(out.IDs, rc.Keys[:min(len(rc.Keys), store.MaxImport-len(out.IDs))]...)
		out.Revocation = worse(out.Revocation, c.Revoked(rc))
		if err := others.ofAll(slices.Concat(step.IDs, rc.Keys)); err != nil {
			return nil, err
		}
		switch {
		case len(left) > 0:
			c.Continue("from " + string(left[0]))
		case rc.Next != "":
			step.After = rc.Next
			c.Continue(string(rc.Next))
		default:
			out.StillValid = others.valid
			return out, nil
		}
	}
}

// worse is the report of a revocation in steps: of the last step, unless an earlier one
// is not effective everywhere.
func worse(before, last *rest.Revocation) *rest.Revocation {
	if before != nil && !before.Effective {
		return before
	}
	return last
}

// dryRun finds the keys that cmd would revoke, after every write answered so far.
// The ids that it shows are cut at [store.MaxImport]; the count is not.
func (h *Keys) dryRun(c *rest.Call, cmd *store.KeyRevokeBulk) (*revokedKeys, error) {
	if err := c.Linearize(); err != nil {
		return nil, err
	}
	out := &revokedKeys{DryRun: true}
	others := newPartners(h, c, cmd)
	q := store.KeyQuery{Account: c.Account, Now: c.Now, Type: cmd.Type, Environment: cmd.Environment, CreatedBy: cmd.CreatedBy, Limit: rest.MaxLimit}
	for more := true; more; more = q.After != "" {
		keys, next, err := h.Store.Keys(q)
		if err != nil {
			return nil, err
		}
		for _, k := range keys {
			if !others.selects(k) {
				continue
			}
			out.Matched++
			if k.RevokedAt.IsZero() && len(out.IDs) < store.MaxImport {
				out.IDs = append(out.IDs, k.ID)
			}
			if !k.RevokedAt.IsZero() && !others.named[k.ID] {
				continue
			}
			if err := others.of(k); err != nil {
				return nil, err
			}
		}
		if err := c.Request.Context().Err(); err != nil {
			return nil, err
		}
		q.After = next
	}
	out.StillValid = others.valid
	return out, nil
}
