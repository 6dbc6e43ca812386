package cluster

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/store"
)

const (
	// statusTimeout bounds the question to the leader: a cluster that is in trouble
	// is when its status is asked for.
	statusTimeout = time.Second
	// electionGrace is how long after a change of leader a status waits for the new one
	// to answer, and nodes that it has not heard of are not taken for unreachable.
	electionGrace = 2 * voterSilence
	statusPoll    = 20 * time.Millisecond
)

// status describes the cluster, as this node knows it or as the leader reports it.
type status struct {
	*node
	clocks     *clocks
	peers      *peers
	leadership *leadership
	holder     *holder
	diagnosis  *diagnosis
	founding   *founding
}

// Status implements [replica.Operator].
func (c *Cluster) Status(ctx context.Context) replica.Status {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	for {
		if s, err := c.status.ofLeader(ctx); err == nil {
			return s
		}
		if id, addr, ok := c.peers.leader(); ok && string(id) != c.self.ID {
			if got, err := call[wireStatus](ctx, c.mesh, addr, string(id), callStatus, nil); err == nil && got.ClusterID != "" {
				s := got.status()
				c.diagnosis.addOwn(&s)
				return s
			}
		}
		// Right after a change of leader, the new one is about to answer.
		if c.Clock.Now()-c.holder.changed.Load() > int64(electionGrace) || !sleep(ctx, statusPoll) {
			return c.status.statusAlone()
		}
	}
}

// sleep waits for d and reports whether ctx still runs then.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// ofLeader is statusAsLeader, in a leader's first moments after the nodes that are
// there have reported to it, which takes some milliseconds.
func (st *status) ofLeader(ctx context.Context) (replica.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, reportsWait)
	defer cancel()
	for st.r.Leads() && len(st.expected()) > 0 && sleep(ctx, reportsPoll) {
	}
	return st.statusAsLeader()
}

// expected are the members that have not reported to this leader yet, and that gossip
// takes for alive, in the first moments of its term.
func (st *status) expected() map[string]bool {
	out := map[string]bool{}
	if st.Clock.Now()-st.leadership.ledSince.Load() > int64(electionGrace) {
		return out
	}
	alive := st.peers.alive()
	for _, m := range st.r.Store().Members() {
		if _, heard := st.leadership.reports.of(m.ID); !heard && m.ID != st.self.ID {
			if _, ok := alive[m.ID]; ok {
				out[m.ID] = true
			}
		}
	}
	return out
}

// statusAsLeader is the status from the reports of the nodes to this one.
func (st *status) statusAsLeader() (replica.Status, error) {
	if !st.r.Leads() {
		return replica.Status{}, replica.ErrNotTaken
	}
	s := st.blank()
	s.Leader = st.Name
	now := st.Clock.Now()
	left, reported := map[string]int64{}, map[string]uint64{}
	for _, h := range st.leadership.table.Status(now) {
		reported[h.ID] = h.Rep
		// The leader counts a little longer than the node does.
		left[h.ID] = min(max(0, h.Until-now), int64(st.Lease)) / int64(time.Millisecond)
	}
	servers := st.servers()
	applied := st.r.Store().Applied()
	expected := st.expected()
	voters, there := 0, 0
	for _, m := range st.r.Store().Members() {
		n := st.describe(m, servers)
		f, heard := st.leadership.reports.of(m.ID)
		ms := left[m.ID]
		n.LeaseMS = &ms
		switch {
		case m.ID == st.self.ID:
			n.Role, n.State, n.AppliedIndex, n.LastContactMS = "leader", st.holder.state(), applied, 0
		case !heard:
			n.State, n.LastContactMS = replica.StateUnreachable, -1
			if expected[m.ID] {
				n.State = replica.StateStarting
			}
		default:
			n.Version, n.Region = f.Version, f.Region // as it says itself; the state follows
			n.AppliedIndex, n.State, n.LastContactMS = max(f.Applied, reported[m.ID]), f.State, (now-f.seen)/int64(time.Millisecond)
			if n.State == replica.StateStarting && ms > 0 {
				n.State = replica.StateReady // it said so before it got this lease
			}
			if now-f.seen > int64(2*voterSilence) {
				n.State = replica.StateUnreachable
			}
		}
		if n.Role != "nonvoter" {
			voters++
			if n.State != replica.StateUnreachable {
				there++
			}
		}
		// A leader that is new does not know the leases of the one before it.
		alone := f.Stale && now-st.leadership.ledSince.Load() > int64(st.Lease)
		s.Reasons = append(append(s.Reasons, trouble(&n, &f, applied, alone)...), st.clocks.trouble(&f)...)
		s.Nodes = append(s.Nodes, n)
	}
	s.Reasons = append(s.Reasons, st.troubleOfAll(voters, there)...)
	if w := st.clocks.disagreement(&st.leadership.reports); w != "" {
		s.Warnings = append(s.Warnings, w)
	}
	s.Healthy = len(s.Reasons) == 0
	return s, nil
}

// troubleOfAll lists the faults of the cluster as a whole, and of this node's disk.
func (st *status) troubleOfAll(voters, there int) (out []string) {
	if voters == 0 {
		out = append(out, "the cluster is being formed")
	}
	if spare := there - (voters/2 + 1); voters > 1 && spare == 0 && there < voters {
		out = append(out, fmt.Sprintf("%d of %d voters are there; one more failure stops writes", there, voters))
	}
	if r := st.founding.reason(voters); r != "" {
		out = append(out, r)
	}
	if r := st.r.Disk().Reason(); r != "" {
		out = append(out, st.Name+": "+r)
	}
	return out
}

// lagTold is how many entries a node may be behind before its status says so.
const lagTold = 10_000

// trouble lists the faults of one node. alone says that a node without a lease is one
// that serves on without any.
func trouble(n *replica.NodeStatus, f *selfReport, applied uint64, alone bool) (out []string) {
	switch {
	case n.State == replica.StateUnreachable && n.LastContactMS < 0:
		out = append(out, n.Name+": not heard of since this leader was elected")
	case n.State == replica.StateUnreachable:
		out = append(out, fmt.Sprintf("%s: no contact for %v", n.Name, (time.Duration(n.LastContactMS)*time.Millisecond).Round(time.Second)))
	case n.State == replica.StateStarting && n.LastContactMS < 0: // it is about to report
	case n.State == replica.StateStarting:
		out = append(out, n.Name+": holds no serving lease")
	case alone && n.State == replica.StateReady && n.LeaseMS != nil && *n.LeaseMS == 0:
		out = append(out, n.Name+": serving without a lease")
	}
	if f.Full {
		out = append(out, n.Name+": the disk is full; writes are refused")
	}
	if f.Rotten {
		out = append(out, n.Name+": a file of its state is damaged; "+replica.HealRotten)
	}
	if n.State != replica.StateUnreachable && n.AppliedIndex+lagTold < applied {
		out = append(out, fmt.Sprintf("%s: %d entries behind", n.Name, applied-n.AppliedIndex))
	}
	if n.Role == "nonvoter" && n.State != replica.StateUnreachable {
		out = append(out, n.Name+": not a voter yet")
	}
	return out
}

// statusAlone is the status as a node without a leader sees it.
func (st *status) statusAlone() replica.Status {
	s := st.blank()
	s.Reasons = append(s.Reasons, "no leader: a majority of the voters is not in contact")
	servers := st.servers()
	alive := st.peers.alive()
	for _, m := range st.r.Store().Members() {
		n := st.describe(m, servers)
		n.State, n.LastContactMS = replica.StateUnreachable, -1
		if _, ok := alive[m.ID]; ok {
			n.State = replica.StateStarting
		}
		if m.ID == st.self.ID {
			n.State, n.AppliedIndex, n.LastContactMS = st.holder.state(), st.r.Store().Applied(), 0
			ms := st.holder.lease.Left(st.Clock.Now()).Milliseconds()
			n.LeaseMS = &ms
		} else if n.State == replica.StateUnreachable {
			s.Reasons = append(s.Reasons, n.Name+": not heard of")
		}
		s.Nodes = append(s.Nodes, n)
	}
	st.diagnosis.addOwn(&s)
	return s
}

// blank is a status without nodes.
func (st *status) blank() replica.Status {
	return replica.Status{
		ClusterID: st.r.Store().ClusterID(), Term: st.r.Raft().CurrentTerm(), Reasons: []string{}, Nodes: []replica.NodeStatus{},
	}
}

// describe is a member's entry from the state.
func (st *status) describe(m store.Member, servers []raft.Server) replica.NodeStatus {
	n := replica.NodeStatus{Name: m.Name, Role: "nonvoter", Version: m.Version, Region: m.Region}
	i := slices.IndexFunc(servers, func(s raft.Server) bool { return string(s.ID) == m.ID })
	if p := st.leadership.promoting.Load(); i >= 0 && servers[i].Suffrage == raft.Voter && (p == nil || *p != servers[i].ID) {
		n.Role = "voter"
	}
	return n
}
