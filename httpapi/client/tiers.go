package client

import (
	"context"
	"net/url"
)

// Tiers are an operator's calls about tiers. See [Client.Tiers].
type Tiers struct{ client *Client }

// Tiers returns the calls about tiers.
func (c *Client) Tiers() Tiers { return Tiers{c} }

// Create creates a tier.
func (t Tiers) Create(ctx context.Context, tier Tier, opts ...Option) (*Tier, error) {
	return call[Tier](ctx, t.client, "POST", "/v1/tiers", nil, tier, opts)
}

// List returns one page of tiers in order of their names.
func (t Tiers) List(ctx context.Context, p Page) (*List[Tier], error) {
	return call[List[Tier]](ctx, t.client, "GET", "/v1/tiers", p.query(), nil, nil)
}

// Get returns a tier.
func (t Tiers) Get(ctx context.Context, name string) (*Tier, error) {
	return call[Tier](ctx, t.client, "GET", "/v1/tiers/"+url.PathEscape(name), nil, nil, nil)
}

// Update changes the members in p of a tier.
func (t Tiers) Update(ctx context.Context, name string, p Patch, opts ...Option) (*Tier, error) {
	return call[Tier](ctx, t.client, "PATCH", "/v1/tiers/"+url.PathEscape(name), nil, p, opts)
}

// Delete deletes a tier that no account uses.
func (t Tiers) Delete(ctx context.Context, name string, opts ...Option) (*Deleted, error) {
	return call[Deleted](ctx, t.client, "DELETE", "/v1/tiers/"+url.PathEscape(name), nil, nil, opts)
}
