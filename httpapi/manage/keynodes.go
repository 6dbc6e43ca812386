package manage

import (
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
)

// keyOnNodes is a key's newest change and how far each node is with it.
type keyOnNodes struct {
	ID    store.KeyID    `json:"id"`
	State store.KeyState `json:"state"`
	Index uint64         `json:"index"`
	Nodes []keyOnNode    `json:"nodes"`
}

type keyOnNode struct {
	Name string `json:"name"`
	How  string `json:"how"` // applied, waiting
}

// KeyNodes tells which nodes have applied the newest change of a key. A write waits for them
// by itself; this call shows the wait while it goes on, from what the leader has heard. It never says that a lease has
// ended: a leader that was elected a moment ago does not know the leases of the one before,
// so only the answer of the write itself can tell.
func (h *Cluster) KeyNodes(c *rest.Call) (*keyOnNodes, error) {
	k, err := h.Keys.key(c)
	if err != nil {
		return nil, err
	}
	out := &keyOnNodes{ID: k.ID, State: k.State(c.Now), Index: k.Modified, Nodes: []keyOnNode{}}
	for _, n := range h.Node.Cluster(c.Request.Context()).Nodes {
		how := "waiting"
		if n.AppliedIndex >= k.Modified {
			how = "applied"
		}
		out.Nodes = append(out.Nodes, keyOnNode{n.Name, how})
	}
	return out, nil
}
