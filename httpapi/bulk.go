package httpapi

import (
	"time"

	"github.com/perfgate/perfgate/store"
)

// maxBulkIDs bounds the ids that one bulk revocation may name.
const maxBulkIDs = 10_000

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
// Of a dry run IDs are the keys that would be revoked, and Revoked is 0. IDs are
// cut at [maxBulkIDs].
type revokedKeys struct {
	Matched    int           `json:"matched"`
	Revoked    int           `json:"revoked"`
	DryRun     bool          `json:"dry_run"`
	IDs        []store.KeyID `json:"ids"`
	Revocation *Revocation   `json:"revocation"`
}

func revokeKeys(c *call, in *bulk) (any, error) {
	switch {
	case in.IDs == nil && in.CreatedBy == nil && in.Type == nil && in.Environment == nil && in.CreatedBefore == nil:
		return nil, invalid("", "name at least one of ids, created_by, type, environment, created_before")
	case in.IDs != nil && len(in.IDs) == 0:
		return nil, invalid("ids", "is empty; leave it out to not filter by it")
	case len(in.IDs) > maxBulkIDs:
		return nil, invalid("ids", "names %d keys, and one call may name %d", len(in.IDs), maxBulkIDs)
	case in.CreatedBy != nil && *in.CreatedBy == "":
		return nil, invalid("created_by", "is empty; leave it out to not filter by it")
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
		return c.dryRun(cmd)
	}
	return c.revokeAll(cmd)
}

// revokeAll carries cmd out in as many commands as it takes: each one looks at
// a bounded number of keys. A repeat runs through the same commands and finds
// each one's result; what a broken run left over, the repeat completes.
func (c *call) revokeAll(cmd *store.KeyRevokeBulk) (any, error) {
	out := revokedKeys{}
	var first *store.Once
	for {
		rc, err := c.propose(&store.Command{KeyRevokeBulk: cmd})
		if err != nil {
			return nil, err
		}
		out.Matched += rc.Matched
		out.Revoked += len(rc.Keys)
		out.IDs = append(out.IDs, rc.Keys[:min(len(rc.Keys), maxBulkIDs-len(out.IDs))]...)
		out.Revocation = c.revocation(rc)
		if rc.Next == "" {
			return out, nil
		}
		next := *cmd
		next.After = rc.Next
		cmd = &next
		if c.once != nil {
			if first == nil {
				first = c.once
			}
			c.once = &store.Once{Scope: digest(string(first.Scope[:]), string(rc.Next)), Body: first.Body}
		}
	}
}

// dryRun finds what cmd would revoke, after every write answered so far. The
// ids that it shows are cut at [maxBulkIDs]; the count is not.
func (c *call) dryRun(cmd *store.KeyRevokeBulk) (any, error) {
	if err := c.Backend.Linearize(c.r.Context()); err != nil {
		return nil, err
	}
	named := map[store.KeyID]bool{}
	for _, id := range cmd.IDs {
		named[id] = true
	}
	out := revokedKeys{DryRun: true}
	q := store.KeyQuery{Account: c.account, Now: c.now, Type: cmd.Type, Environment: cmd.Environment, CreatedBy: cmd.CreatedBy, Limit: maxLimit}
	for more := true; more; more = q.After != "" {
		keys, next, err := c.Store.Keys(q)
		if err != nil {
			return nil, err
		}
		for _, k := range keys {
			if len(named) > 0 && !named[k.ID] || !cmd.CreatedBefore.IsZero() && !k.CreatedAt.Before(cmd.CreatedBefore) {
				continue
			}
			out.Matched++
			if k.RevokedAt.IsZero() && len(out.IDs) < maxBulkIDs {
				out.IDs = append(out.IDs, k.ID)
			}
		}
		if err := c.r.Context().Err(); err != nil {
			return nil, err
		}
		q.After = next
	}
	return out, nil
}
