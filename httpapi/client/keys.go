package client

import (
	"context"
	"io"
	"iter"
	"net/url"
)

// CreateKey makes a key; its Secret is shown in this answer alone.
func (c *Client) CreateKey(ctx context.Context, k NewKey, opts ...Option) (*Key, error) {
	return call[Key](ctx, c, "POST", "/v1/keys", nil, k, opts)
}

// ListKeys returns one page of keys in order of creation.
func (c *Client) ListKeys(ctx context.Context, f KeyFilter) (*List[Key], error) {
	q := f.Page.query()
	add(q, "type", f.Type)
	add(q, "state", f.State)
	add(q, "environment", f.Environment)
	add(q, "name", f.Name)
	add(q, "created_by", f.CreatedBy)
	return call[List[Key]](ctx, c, "GET", "/v1/keys", q, nil, nil)
}

// Keys walks all keys that f selects, page by page. An error ends it.
func (c *Client) Keys(ctx context.Context, f KeyFilter) iter.Seq2[*Key, error] {
	return walk(func(cursor string) (*List[Key], error) {
		f.Cursor = cursor
		return c.ListKeys(ctx, f)
	})
}

// walk yields what get returns until it names no next cursor.
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

// GetKey reads a key.
func (c *Client) GetKey(ctx context.Context, id string) (*Key, error) {
	return call[Key](ctx, c, "GET", "/v1/keys/"+url.PathEscape(id), nil, nil, nil)
}

// UpdateKey changes the members in p.
func (c *Client) UpdateKey(ctx context.Context, id string, p Patch, opts ...Option) (*Key, error) {
	return call[Key](ctx, c, "PATCH", "/v1/keys/"+url.PathEscape(id), nil, p, opts)
}

// RotateKey replaces a key. overlap is a Go duration, "" the server's default.
func (c *Client) RotateKey(ctx context.Context, id, overlap string, opts ...Option) (*Key, error) {
	return call[Key](ctx, c, "POST", "/v1/keys/"+url.PathEscape(id)+"/rotate", nil, optional("overlap", overlap), opts)
}

// RevokeKey ends a key for good.
func (c *Client) RevokeKey(ctx context.Context, id, reason string, opts ...Option) (*Key, error) {
	return call[Key](ctx, c, "POST", "/v1/keys/"+url.PathEscape(id)+"/revoke", nil, optional("reason", reason), opts)
}

func optional(name, value string) Patch {
	p := Patch{}
	if value != "" {
		p[name] = value
	}
	return p
}

// RevokeKeys ends every key that b selects.
func (c *Client) RevokeKeys(ctx context.Context, b BulkRevocation, opts ...Option) (*RevokedKeys, error) {
	return call[RevokedKeys](ctx, c, "POST", "/v1/keys/revoke", nil, b, opts)
}

// ImportKeys takes over existing keys from NDJSON.
func (c *Client) ImportKeys(ctx context.Context, lines io.Reader, opts ...Option) (*List[ImportedLine], error) {
	opts = append([]Option{Header("Content-Type", "application/x-ndjson")}, opts...)
	return call[List[ImportedLine]](ctx, c, "POST", "/v1/keys/import", nil, lines, opts)
}

// VerifyKey asks for the proxy's verdict on a key.
func (c *Client) VerifyKey(ctx context.Context, v VerifyRequest) (*Verdict, error) {
	return call[Verdict](ctx, c, "POST", "/v1/keys/verify", nil, v, nil)
}

// RateLimit charges a bucket of the caller's own.
func (c *Client) RateLimit(ctx context.Context, r RateRequest) (*RateVerdict, error) {
	return call[RateVerdict](ctx, c, "POST", "/v1/ratelimit", nil, r, nil)
}
