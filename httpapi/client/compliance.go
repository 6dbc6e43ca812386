package client

import (
	"context"
	"time"
)

// Compliance is the compliance report of a node.
type Compliance struct {
	GeneratedAt time.Time `json:"generated_at"`
	Node        string    `json:"node"`
	Version     string    `json:"version"`
	ClusterID   string    `json:"cluster_id"`
	Region      *string   `json:"region"`
	Data        []Control `json:"data"`
}

// Control is one control of the report with its evidence.
type Control struct {
	Control    string   `json:"control"`
	Title      string   `json:"title"`
	State      string   `json:"state"` // met, attention
	Setting    string   `json:"setting"`
	Fact       string   `json:"fact"`
	Verify     string   `json:"verify"`
	References []string `json:"references"`
	Items      []string `json:"items"` // that need attention, 100 at most
	Count      int      `json:"count"` // of all such items
}

// Compliance reads the compliance report of the node that is asked.
func (c *Client) Compliance(ctx context.Context) (*Compliance, error) {
	return call[Compliance](ctx, c, "GET", "/v1/compliance", nil, nil, nil)
}
