package cluster

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/perfgate/perfgate/limiter/roster"
	"github.com/perfgate/perfgate/node/mesh"
	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/store"
)

// Share says what this node does in limits that the nodes spend together. It is called
// before Enter, if at all: without it the node shares no limits, and announces no roster.
func (c *Cluster) Share(s Sharing) { c.sharing = s }

// Sharing is the node's part in limits that the nodes spend together. Its functions may
// be called before the node admits requests; it then shares nothing yet.
type Sharing struct {
	// Serve answers a batch of another node's.
	Serve func(node string, body []byte) ([]byte, error)
	// Follow takes the rosters of the state over. It is called before an index is
	// reported as applied.
	Follow func()
}

// maxShareBody bounds a batch, in bytes.
const maxShareBody = 256 << 10

// goneAfter is the silence after which a node's parts of the limits are given to the
// others. A node that is restarted is back before that, and settling takes longer than a
// restart.
const goneAfter = 30 * time.Second

// Exchange sends a batch of limits to a node and returns its answer.
func (c *Cluster) Exchange(ctx context.Context, id string, body []byte) ([]byte, error) {
	if c.mesh == nil {
		return nil, replica.ErrNotTaken
	}
	return c.mesh.Call(ctx, c.peers.addressOf(id, c.configured(id)), id, callShare, body)
}

// Leased reports whether this node holds a serving lease; [Cluster.Serving] may be true
// without one.
func (c *Cluster) Leased() bool { return c.holder.serving() && !c.holder.alone() }

// Rosters are the state's rosters of the nodes that share limits.
func (c *Cluster) Rosters() []roster.Roster { return rostersOf(c.r.Store()) }

// New reports whether this is the first process of its node: it had no state when it
// started. Enter has returned.
func (c *Cluster) New() bool { return c.fresh }

// Boot is the number of this process among those of its node.
func (c *Cluster) Boot() uint64 { return c.self.Boot }

func (s *server) serveShare(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxShareBody))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if s.sharing.Serve == nil {
		http.Error(w, "this node shares no limits", http.StatusNotFound)
		return
	}
	out, err := s.sharing.Serve(mesh.PeerID(r.Context()), body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Write(out)
}

// settlement is the leader's wait before a roster settles, in one term. The goroutine of
// the reconciler has it.
type settlement struct {
	term    uint64
	settler roster.Settler
	apart   bool // in an earlier term or in this one, each node counted for itself
}

// share brings the roster of the nodes that share limits in line with the members: it
// announces another one, and settles it once nobody uses more than that gives it.
func (rec *reconciler) share(ctx context.Context) error {
	s, l := rec.r.Store(), rec.leadership
	rosters := rostersOf(s)
	if s.ClusterLevel() < store.LevelOfRosters {
		rec.settlement.apart = true
		return nil
	}
	if rec.sharing.Serve == nil || len(rosters) == 0 && len(s.Members()) < rec.Expect {
		return nil
	}
	term := l.term.Load()
	if rec.settlement.term != term {
		rec.settlement = settlement{term: term, apart: rec.settlement.apart}
	}
	// A lease is granted only to nodes that have applied the announcement, from here on.
	// Of no other entry: a node may lag with those that no write waits for.
	announced := uint64(0)
	if n := len(rosters); n > 0 {
		announced = rosters[n-1].Index
	}
	if !l.table.Require(term, announced, rec.Clock.Now()) {
		return nil
	}
	now := rec.Clock.Now()
	reports := rec.shareReports(now)
	old := l.ledSince.Load() + rec.expiry()
	want := rec.sharers(now)
	var faults []error
	if n := len(rosters); n == 0 || !rosters[n-1].Same(want) {
		faults = append(faults, rec.propose(ctx, &store.RosterPut{Nodes: want, Whole: n == 0 && (rec.begun || rec.settlement.apart)}))
	}
	if rec.settlement.settler.Ready(rosters, reports, s.Removed, old, now) {
		faults = append(faults, rec.propose(ctx, &store.RosterSettle{Index: rosters[len(rosters)-1].Index}))
	}
	return errors.Join(faults...)
}

// expiry is how long the leader counts a lease.
func (rec *reconciler) expiry() int64 { return int64(rec.Lease) + int64(rec.Lease)/20 + 1 }

func (rec *reconciler) propose(ctx context.Context, c store.Change) error {
	_, err := rec.r.Write(ctx, &store.Command{At: rec.Clock.Wall().UTC(), Actor: systemActor(rec.Name), Change: c})
	return err
}

// rostersOf are the state's rosters.
func rostersOf(s *store.Store) []roster.Roster {
	var out []roster.Roster
	for _, r := range s.ShareRosters() {
		out = append(out, roster.Roster{Index: r.Index, Nodes: r.Nodes, First: r.First, Whole: r.Whole})
	}
	return out
}

// shareReports is what this leader knows of the nodes.
func (rec *reconciler) shareReports(now int64) map[string]roster.Report {
	out := map[string]roster.Report{}
	for _, h := range rec.leadership.table.Status(now) {
		r := roster.Report{Applied: h.Rep, Until: h.Until, Stale: h.Stale}
		if h.Pending {
			r.Until = now + rec.expiry()
		}
		out[h.ID] = r
	}
	return out
}

// sharers are the members that are to share: all but those that were not heard of for a
// while.
func (rec *reconciler) sharers(now int64) (ids []string) {
	led := now - rec.leadership.ledSince.Load()
	for _, m := range rec.r.Store().Members() {
		f, heard := rec.leadership.reports.of(m.ID)
		silent := !heard && led > int64(goneAfter) || heard && now-f.seen > int64(goneAfter)
		if m.ID == rec.self.ID || !silent {
			ids = append(ids, m.ID)
		}
	}
	slices.Sort(ids)
	return ids
}
