package pool

import (
	"slices"

	"github.com/perfgate/perfgate/limiter/roster"
	"github.com/perfgate/perfgate/limiter/share"
)

// views is the peers to ask, made once for all buckets: of those that every node has a
// part of, and of tiny ones by their home. It is immutable.
type views struct {
	spread *share.Peers
	tiny   []*share.Peers // by the home's place in settled
	// settled is the settled roster, at step.
	settled roster.Roster
	step    int
}

// view publishes a line with the peers to ask under it. p.changing is held.
func (p *Pool) view(line *roster.Line) {
	v := &views{spread: &share.Peers{Home: nobody}}
	if line != nil {
		v.step = line.Now()
		if n := len(line.Last().Nodes); n > 0 {
			v.spread.Base = share.One / share.Part(n)
		}
		for i, id := range p.reach.Nodes {
			if has(line, id) {
				v.spread.Up = append(v.spread.Up, p.reach.Peers[i])
			}
		}
		if rs := line.Rosters(); len(rs) > 0 {
			v.settled = rs[0]
			for _, home := range rs[0].Nodes {
				ps := *v.spread
				ps.Tiny, ps.Here = true, home == p.self
				if i := slices.Index(p.reach.Nodes, home); i >= 0 {
					ps.Home = p.reach.Peers[i]
				}
				v.tiny = append(v.tiny, &ps)
			}
		}
	}
	p.views.Store(v)
	p.line.Store(line)
}

// nobody is no peer.
const nobody share.Peer = -1

func has(line *roster.Line, id string) bool {
	return slices.ContainsFunc(line.Rosters(), func(r roster.Roster) bool { return slices.Contains(r.Nodes, id) })
}

// Peers are the nodes that a bucket may ask. They are not changed.
func (b *Bucket) Peers() *share.Peers {
	v := b.In.pool.views.Load()
	if !b.tiny {
		return v.spread
	}
	i := int(b.home)
	if v.step != int(b.step) { // b is caught up at its next use
		i = slices.Index(v.settled.Nodes, v.settled.Home(b.Name))
	}
	if i < 0 || i >= len(v.tiny) {
		return v.spread
	}
	return v.tiny[i]
}
