package client

import (
	"context"
	"io"
	"iter"
	"net/url"
)

// CreateKey creates a key. Its Secret is in this answer only.
func (c *Client) CreateKey(ctx context.Context, k NewKey, opts ...Option) (*Key, error) {
	return call[Key](ctx, c, "POST", "/v1/keys", nil, k, opts)
}

// ListKeys returns one page of keys, in order of creation unless f sorts.
func (c *Client) ListKeys(ctx context.Context, f KeyFilter) (*List[Key], error) {
	q := f.Page.query()
	add(q, "type", f.Type)
	add(q, "state", f.State)
	add(q, "environment", f.Environment)
	add(q, "name", f.Name)
	add(q, "created_by", f.CreatedBy)
	add(q, "q", f.Q)
	add(q, "due", f.Due)
	add(q, "sort", f.Sort)
	return call[List[Key]](ctx, c, "GET", "/v1/keys", q, nil, nil)
}

// Keys iterates over all keys that f selects, page by page. It ends after an error.
func (c *Client) Keys(ctx context.Context, f KeyFilter) iter.Seq2[*Key, error] {
	return walk(func(cursor string) (*List[Key], error) {
		f.Cursor = cursor
		return c.ListKeys(ctx, f)
	})
}

// walk yields the items of each page that get returns, until a page has no next
// cursor.
func walk[T any](get func(cursor string) (*List[T], error)) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		for cursor := ""; ; {
			page, err := get(cursor)
			if err != nil {
				yield(nil, err)
				return
			}
			for i := range page.Data {
				if !yield(&page.Data[i], nil) {
					return
				}
			}
			if page.Next == nil {
				return
			}
			cursor = *page.Next
		}
	}
}

// GetKey returns a key.
func (c *Client) GetKey(ctx context.Context, id string) (*Key, error) {
	return call[Key](ctx, c, "GET", "/v1/keys/"+url.PathEscape(id), nil, nil, nil)
}

// UpdateKey changes the members in p of a key.
func (c *Client) UpdateKey(ctx context.Context, id string, p Patch, opts ...Option) (*Key, error) {
	return call[Key](ctx, c, "PATCH", "/v1/keys/"+url.PathEscape(id), nil, p, opts)
}

// RotateKey creates a key that replaces another. Both are accepted for the overlap,
// a duration such as "24h" or "7d"; "" selects the server's default.
func (c *Client) RotateKey(ctx context.Context, id, overlap string, opts ...Option) (*Key, error) {
	return call[Key](ctx, c, "POST", "/v1/keys/"+url.PathEscape(id)+"/rotate", nil, optional("overlap", overlap), opts)
}

// RevokeKey revokes a key for good. reason may be empty.
func (c *Client) RevokeKey(ctx context.Context, id, reason string, opts ...Option) (*Key, error) {
	return call[Key](ctx, c, "POST", "/v1/keys/"+url.PathEscape(id)+"/revoke", nil, optional("reason", reason), opts)
}

// RevokeChain is [Client.RevokeKey] for a key together with all keys that it replaces
// or that replace it.
func (c *Client) RevokeChain(ctx context.Context, id, reason string, opts ...Option) (*Key, error) {
	body := optional("reason", reason)
	body["chain"] = true
	return call[Key](ctx, c, "POST", "/v1/keys/"+url.PathEscape(id)+"/revoke", nil, body, opts)
}

// optional returns a body with one member, or none if value is empty.
func optional(name, value string) Patch {
	p := Patch{}
	if value != "" {
		p[name] = value
	}
	return p
}

// RevokeKeys revokes all keys that b selects.
func (c *Client) RevokeKeys(ctx context.Context, b BulkRevocation, opts ...Option) (*RevokedKeys, error) {
	return call[RevokedKeys](ctx, c, "POST", "/v1/keys/revoke", nil, b, opts)
}

// RevokeLeakedKey reports that a key was found where it must not be; it needs no token.
// The answer is the same for every text: the node revokes the key afterwards, if it is
// one that is alive.
func (c *Client) RevokeLeakedKey(ctx context.Context, key string) error {
	_, err := call[struct{}](ctx, c, "POST", "/v1/keys/revoke-leaked", nil, Patch{"key": key}, nil)
	return err
}

// ImportKeys imports existing keys from NDJSON, one key per line.
func (c *Client) ImportKeys(ctx context.Context, lines io.Reader, opts ...Option) (*List[ImportedLine], error) {
	opts = append([]Option{Header("Content-Type", "application/x-ndjson")}, opts...)
	return call[List[ImportedLine]](ctx, c, "POST", "/v1/keys/import", nil, lines, opts)
}

// VerifyKey returns the proxy's verdict on a request with a key.
func (c *Client) VerifyKey(ctx context.Context, v VerifyRequest) (*Verdict, error) {
	return call[Verdict](ctx, c, "POST", "/v1/keys/verify", nil, v, nil)
}

// RateLimit charges a bucket that the caller defines.
func (c *Client) RateLimit(ctx context.Context, r RateRequest) (*RateVerdict, error) {
	return call[RateVerdict](ctx, c, "POST", "/v1/ratelimit", nil, r, nil)
}
