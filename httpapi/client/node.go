package client

import (
	"context"
	"io"
	"net/url"
)

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
