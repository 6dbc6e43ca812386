package client

import (
	"context"
	"iter"
	"net/url"
)

// Accounts are an operator's calls about accounts. See [Client.Accounts].
type Accounts struct{ client *Client }

// Accounts returns the calls about accounts. [Client.GetAccount] is about the caller's own.
func (c *Client) Accounts() Accounts { return Accounts{c} }

// Create creates an account.
func (a Accounts) Create(ctx context.Context, account NewAccount, opts ...Option) (*Account, error) {
	return call[Account](ctx, a.client, "POST", "/v1/accounts", nil, account, opts)
}

// List returns one page of accounts in order of their ids.
func (a Accounts) List(ctx context.Context, p Page) (*List[Account], error) {
	return call[List[Account]](ctx, a.client, "GET", "/v1/accounts", p.query(), nil, nil)
}

// All iterates over all accounts. It ends after an error.
func (a Accounts) All(ctx context.Context) iter.Seq2[*Account, error] {
	return walk(func(cursor string) (*List[Account], error) {
		return a.List(ctx, Page{Cursor: cursor})
	})
}

// Get returns an account.
func (a Accounts) Get(ctx context.Context, id string) (*Account, error) {
	return call[Account](ctx, a.client, "GET", "/v1/accounts/"+url.PathEscape(id), nil, nil, nil)
}

// Update changes the members in p of an account.
func (a Accounts) Update(ctx context.Context, id string, p Patch, opts ...Option) (*Account, error) {
	return call[Account](ctx, a.client, "PATCH", "/v1/accounts/"+url.PathEscape(id), nil, p, opts)
}

// Delete deletes an account and its keys.
func (a Accounts) Delete(ctx context.Context, id string, opts ...Option) (*Deleted, error) {
	return call[Deleted](ctx, a.client, "DELETE", "/v1/accounts/"+url.PathEscape(id), nil, nil, opts)
}
