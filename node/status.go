package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/httpapi"
	"github.com/perfgate/perfgate/store"
)

// statusTimeout bounds the question to the leader: a cluster that is in trouble
// is when its status is asked for.
const statusTimeout = time.Second

// The states of a node in the cluster's status.
const (
	stateReady       = "ready"
	stateStarting    = "starting"
	stateDraining    = "draining"
	stateUnreachable = "unreachable"
)

// state is this node's own word of itself.
func (c *cluster) state() string {
	switch {
	case c.Draining():
		return stateDraining
	case !c.Serving():
		return stateStarting
	}
	return stateReady
}

// Ready says why this node should not get traffic.
func (c *cluster) Ready() error {
	switch {
	case !c.Serving():
		return errors.New("the node holds no serving lease")
	case time.Duration(c.watch.skew.Load()).Abs() > skewUnready:
		return errors.New("the node's clock is wrong")
	}
	return nil
}

// Status describes the cluster: the leader's word where it can be had, else what
// this node sees by itself.
func (c *cluster) Status(ctx context.Context) httpapi.ClusterStatus {
	if s, err := c.statusAsLeader(); err == nil {
		return s
	}
	if id, addr, ok := c.leader(); ok && string(id) != c.self.ID {
		ctx, cancel := context.WithTimeout(ctx, statusTimeout)
		defer cancel()
		if s, err := call[httpapi.ClusterStatus](ctx, c.Mesh, addr, string(id), callStatus, nil); err == nil && s.ClusterID != "" {
			c.addOwn(&s)
			return s
		}
	}
	return c.statusAlone()
}

// statusAsLeader is the status from what the nodes told this one.
func (c *cluster) statusAsLeader() (httpapi.ClusterStatus, error) {
	if !c.r.leads.isOpen() {
		return httpapi.ClusterStatus{}, errNotTaken
	}
	s := c.blank()
	s.Leader = c.r.cfg.Name
	now := c.Clock.Now()
	left, reported := map[string]int64{}, map[string]uint64{}
	for _, h := range c.table.Status(now) {
		reported[h.ID] = h.Rep
		// The leader counts a little longer than the node does.
		left[h.ID] = min(max(0, h.Until-now), int64(c.Lease)) / int64(time.Millisecond)
	}
	servers := c.servers()
	applied := c.r.Store().Applied()
	voters, there := 0, 0
	for _, m := range c.r.Store().Members() {
		n := c.describe(m, servers)
		f, heard := c.told.of(m.ID)
		ms := left[m.ID]
		n.LeaseMS = &ms
		switch {
		case m.ID == c.self.ID:
			n.Role, n.State, n.AppliedIndex, n.LastContactMS = "leader", c.state(), applied, 0
		case !heard:
			n.State, n.LastContactMS = stateUnreachable, -1
		default:
			n.Version, n.Region = f.Version, f.Region // as it says itself; the state follows
			n.AppliedIndex, n.State, n.LastContactMS = max(f.Applied, reported[m.ID]), f.State, (now-f.seen)/int64(time.Millisecond)
			if n.State == stateStarting && ms > 0 {
				n.State = stateReady // it said so before it got this lease
			}
			if now-f.seen > int64(2*voterSilence) {
				n.State = stateUnreachable
			}
		}
		if n.Role != "nonvoter" {
			voters++
			if n.State != stateUnreachable {
				there++
			}
		}
		s.Reasons = append(s.Reasons, trouble(&n, &f, applied)...)
		s.Nodes = append(s.Nodes, n)
	}
	if len(s.Nodes) == 0 {
		s.Reasons = append(s.Reasons, "the cluster is being formed")
	}
	if spare := there - (voters/2 + 1); voters > 1 && spare == 0 && there < voters {
		s.Reasons = append(s.Reasons, fmt.Sprintf("%d of %d voters are there; one more failure stops writes", there, voters))
	}
	if r := c.r.disks(); r != "" {
		s.Reasons = append(s.Reasons, c.r.cfg.Name+": "+r)
	}
	s.Healthy = len(s.Reasons) == 0
	return s, nil
}

// lagTold is how many entries a node may be behind before its status says so.
const lagTold = 10_000

// trouble is what is wrong with one node.
func trouble(n *httpapi.NodeStatus, f *facts, applied uint64) (out []string) {
	switch {
	case n.State == stateUnreachable && n.LastContactMS < 0:
		out = append(out, n.Name+": not heard of since this leader was elected")
	case n.State == stateUnreachable:
		out = append(out, fmt.Sprintf("%s: not heard of for %v", n.Name, (time.Duration(n.LastContactMS)*time.Millisecond).Round(time.Second)))
	case n.State == stateStarting:
		out = append(out, n.Name+": holds no serving lease")
	case n.State == stateReady && n.LeaseMS != nil && *n.LeaseMS == 0:
		out = append(out, n.Name+": serves on without a lease")
	}
	if f.Full {
		out = append(out, n.Name+": the disk is full; writes are refused")
	}
	if n.State != stateUnreachable && n.AppliedIndex+lagTold < applied {
		out = append(out, fmt.Sprintf("%s: %d entries behind", n.Name, applied-n.AppliedIndex))
	}
	if n.Role == "nonvoter" && n.State != stateUnreachable {
		out = append(out, n.Name+": has no vote yet")
	}
	return out
}

// statusAlone is what a node without a leader can tell.
func (c *cluster) statusAlone() httpapi.ClusterStatus {
	s := c.blank()
	s.Reasons = append(s.Reasons, "no leader: a majority of the voters is not in contact")
	servers := c.servers()
	alive := c.alive()
	for _, m := range c.r.Store().Members() {
		n := c.describe(m, servers)
		n.State, n.LastContactMS = stateUnreachable, -1
		if _, ok := alive[m.ID]; ok {
			n.State = stateStarting
		}
		if m.ID == c.self.ID {
			n.State, n.AppliedIndex, n.LastContactMS = c.state(), c.r.Store().Applied(), 0
			ms := c.lease.Left(c.Clock.Now()).Milliseconds()
			n.LeaseMS = &ms
		} else if n.State == stateUnreachable {
			s.Reasons = append(s.Reasons, n.Name+": not heard of")
		}
		s.Nodes = append(s.Nodes, n)
	}
	c.addOwn(&s)
	return s
}

// addOwn adds what this node has found out about itself.
func (c *cluster) addOwn(s *httpapi.ClusterStatus) {
	if why := c.watch.reason.Load(); why != nil {
		s.Reasons = append(s.Reasons, c.r.cfg.Name+": "+*why)
	}
	s.Healthy = len(s.Reasons) == 0
}

// blank is a status without nodes.
func (c *cluster) blank() httpapi.ClusterStatus {
	return httpapi.ClusterStatus{
		ClusterID: c.r.Store().ClusterID(), Term: c.r.engine.raft.CurrentTerm(), Reasons: []string{}, Nodes: []httpapi.NodeStatus{},
	}
}

// describe is what the state tells of a member.
func (c *cluster) describe(m store.Member, servers []raft.Server) httpapi.NodeStatus {
	n := httpapi.NodeStatus{Name: m.Name, Role: "nonvoter", Version: m.Version, Region: m.Region}
	i := slices.IndexFunc(servers, func(s raft.Server) bool { return string(s.ID) == m.ID })
	if i >= 0 && servers[i].Suffrage == raft.Voter {
		n.Role = "voter"
	}
	return n
}

// disks says what is wrong with this node's disk.
func (r *Replica) disks() string {
	if r.space.Full() {
		return "the disk is full; writes are refused"
	}
	return ""
}
