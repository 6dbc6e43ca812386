package client

import (
	"context"
	"io"
	"iter"
	"net/url"
)

// CreateManagedAccount creates an account.
func (c *Client) CreateManagedAccount(ctx context.Context, a NewAccount, opts ...Option) (*Account, error) {
	return call[Account](ctx, c, "POST", "/v1/accounts", nil, a, opts)
}

// ListManagedAccounts returns one page of accounts in order of their ids.
func (c *Client) ListManagedAccounts(ctx context.Context, p Page) (*List[Account], error) {
	return call[List[Account]](ctx, c, "GET", "/v1/accounts", p.query(), nil, nil)
}

// ManagedAccounts iterates over all accounts. It ends after an error.
func (c *Client) ManagedAccounts(ctx context.Context) iter.Seq2[*Account, error] {
	return walk(func(cursor string) (*List[Account], error) {
		return c.ListManagedAccounts(ctx, Page{Cursor: cursor})
	})
}

// GetManagedAccount returns an account.
func (c *Client) GetManagedAccount(ctx context.Context, id string) (*Account, error) {
	return call[Account](ctx, c, "GET", "/v1/accounts/"+url.PathEscape(id), nil, nil, nil)
}

// UpdateManagedAccount changes the members in p of an account.
func (c *Client) UpdateManagedAccount(ctx context.Context, id string, p Patch, opts ...Option) (*Account, error) {
	return call[Account](ctx, c, "PATCH", "/v1/accounts/"+url.PathEscape(id), nil, p, opts)
}

// DeleteManagedAccount deletes an account and its keys.
func (c *Client) DeleteManagedAccount(ctx context.Context, id string, opts ...Option) (*Deleted, error) {
	return call[Deleted](ctx, c, "DELETE", "/v1/accounts/"+url.PathEscape(id), nil, nil, opts)
}

// CreateTier creates a tier.
func (c *Client) CreateTier(ctx context.Context, t Tier, opts ...Option) (*Tier, error) {
	return call[Tier](ctx, c, "POST", "/v1/tiers", nil, t, opts)
}

// ListTiers returns one page of tiers in order of their names.
func (c *Client) ListTiers(ctx context.Context, p Page) (*List[Tier], error) {
	return call[List[Tier]](ctx, c, "GET", "/v1/tiers", p.query(), nil, nil)
}

// GetTier returns a tier.
func (c *Client) GetTier(ctx context.Context, name string) (*Tier, error) {
	return call[Tier](ctx, c, "GET", "/v1/tiers/"+url.PathEscape(name), nil, nil, nil)
}

// UpdateTier changes the members in p of a tier.
func (c *Client) UpdateTier(ctx context.Context, name string, p Patch, opts ...Option) (*Tier, error) {
	return call[Tier](ctx, c, "PATCH", "/v1/tiers/"+url.PathEscape(name), nil, p, opts)
}

// DeleteTier deletes a tier that no account uses.
func (c *Client) DeleteTier(ctx context.Context, name string, opts ...Option) (*Deleted, error) {
	return call[Deleted](ctx, c, "DELETE", "/v1/tiers/"+url.PathEscape(name), nil, nil, opts)
}

// Backup writes a backup of the current state to w. After an error, w holds an
// incomplete backup.
func (c *Client) Backup(ctx context.Context, w io.Writer) error {
	return c.Do(ctx, "GET", "/v1/backup", nil, nil, w)
}

// Cluster describes the cluster as the server sees it.
func (c *Client) Cluster(ctx context.Context) (*Cluster, error) {
	return call[Cluster](ctx, c, "GET", "/v1/cluster", nil, nil, nil)
}

// TransferLeadership makes the node named to the leader; "" lets the cluster choose.
func (c *Client) TransferLeadership(ctx context.Context, to string, opts ...Option) (*Cluster, error) {
	body := map[string]string{}
	if to != "" {
		body["to"] = to
	}
	return call[Cluster](ctx, c, "POST", "/v1/cluster/transfer-leadership", nil, body, opts)
}

// RemoveNode removes a node from the cluster.
func (c *Client) RemoveNode(ctx context.Context, name string, opts ...Option) (*Deleted, error) {
	return call[Deleted](ctx, c, "DELETE", "/v1/cluster/nodes/"+url.PathEscape(name), nil, nil, opts)
}
