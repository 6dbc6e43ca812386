package mesh

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/hashicorp/memberlist"
)

// delegate receives memberlist's callbacks; all but NotifyMsg run under its lock.
type delegate struct{ g *Members }

func (d delegate) NotifyJoin(n *memberlist.Node)   { d.g.record(n, Alive) }
func (d delegate) NotifyUpdate(n *memberlist.Node) { d.g.record(n, Alive) }

func (d delegate) NotifyLeave(n *memberlist.Node) { d.g.record(n, Dead) }

// NotifyAlive refuses nodes that were removed: they know the gossip keys until these
// change.
func (d delegate) NotifyAlive(n *memberlist.Node) error {
	if d.g.mesh.conf.Denied(n.Name) {
		return fmt.Errorf("node %s: %w", n.Name, ErrDenied)
	}
	return nil
}

func (d delegate) NotifyConflict(old, new *memberlist.Node) {
	d.g.conf.Logger.Warn("a node id is used at two addresses: a data directory was copied, or the node moved",
		"node", old.Name, "addr", old.Address(), "other", new.Address())
}

func (d delegate) NodeMeta(int) []byte { return *d.g.meta.Load() }

func (d delegate) NotifyMsg(b []byte) {
	if d.g.conf.Message != nil {
		d.g.conf.Message(slices.Clone(b)) // memberlist reuses b
	}
}

func (d delegate) GetBroadcasts(int, int) [][]byte { return nil }
func (d delegate) LocalState(bool) []byte          { return nil }
func (d delegate) MergeRemoteState([]byte, bool)   {}

// gossipLog logs memberlist's lines at the debug level, ignoring their own:
// memberlist logs a peer that does not answer as an error.
type gossipLog struct{ log *slog.Logger }

func (l *gossipLog) Write(line []byte) (int, error) {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		text := strings.TrimSpace(string(line))
		if _, after, ok := strings.Cut(text, "] memberlist: "); ok && strings.HasPrefix(text, "[") {
			text = after
		}
		l.log.Debug(text, "from", "memberlist")
	}
	return len(line), nil
}
