package client

import (
	"context"
	"net/url"
	"time"
)

// OperatorToken is an operator token. Name is nil for the one that the installation
// began with.
type OperatorToken struct {
	ID         string     `json:"id"`
	Name       *string    `json:"name"`
	State      string     `json:"state"` // active, expired
	CreatedAt  *time.Time `json:"created_at"`
	CreatedBy  *string    `json:"created_by"`
	ExpiresAt  *time.Time `json:"expires_at"`
	LastUsedAt *time.Time `json:"last_used_at"`
	LastUsedIP *string    `json:"last_used_ip"`

	// Token is the token itself. It is set by the creation; a repeat of that sets
	// SecretWithheld instead.
	Token          *string `json:"token,omitempty"`
	SecretWithheld bool    `json:"secret_withheld,omitempty"`
}

// NewOperatorToken is an operator token to be created.
type NewOperatorToken struct {
	Name      string     `json:"name"`
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
}

// OperatorTokens are an operator's calls about operator tokens. See [OperatorTokensOf].
type OperatorTokens struct{ client *Client }

// OperatorTokensOf returns the calls of c about operator tokens.
func OperatorTokensOf(c *Client) OperatorTokens { return OperatorTokens{c} }

// Create creates an operator token; the answer is the only one that holds it.
func (t OperatorTokens) Create(ctx context.Context, token NewOperatorToken, opts ...Option) (*OperatorToken, error) {
	return call[OperatorToken](ctx, t.client, "POST", "/v1/operator-tokens", nil, token, opts)
}

// List returns one page of operator tokens in the order of their creation.
func (t OperatorTokens) List(ctx context.Context, p Page) (*List[OperatorToken], error) {
	return call[List[OperatorToken]](ctx, t.client, "GET", "/v1/operator-tokens", p.query(), nil, nil)
}

// Delete ends an operator token for good. The last one needs [Force].
func (t OperatorTokens) Delete(ctx context.Context, id string, opts ...Option) (*Deleted, error) {
	return call[Deleted](ctx, t.client, "DELETE", "/v1/operator-tokens/"+url.PathEscape(id), nil, nil, opts)
}
