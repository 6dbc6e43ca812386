package mesh

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
)

const (
	// MaxMeta bounds the data that a member publishes about itself, in bytes.
	MaxMeta = memberlist.MetaMaxSize - 1 // one byte is ours
	// MaxMessage bounds a message, in bytes: encrypted, it fits a datagram that no
	// network fragments.
	MaxMessage = 1200

	gossipBytes = 1280                   // of plaintext in a datagram; encryption adds 29
	rejoinEvery = 10 * time.Second       // while another member is alive
	alonePause  = time.Second            // while none is
	metaTimeout = 500 * time.Millisecond // to publish new metadata
	deadMemory  = 10 * time.Minute       // for which a dead member is listed
	reclaimTime = 10 * time.Second       // after which a dead node's id may come from another address
)

// State is gossip's opinion of a member. It is a hint: correctness must not depend
// on it.
type State string

// The states of a member.
const (
	Alive State = "alive" // or suspected, which may still be refuted
	Dead  State = "dead"  // did not answer
	Left  State = "left"  // announced it
)

// Member is a node as known to gossip. Since is by this node's clock.
type Member struct {
	ID    string
	Addr  string // ip:port
	Meta  []byte
	State State
	Since time.Time
}

// MembersConfig configures the gossip of a node.
type MembersConfig struct {
	Keys [][]byte // 32 bytes each; the first encrypts, all decrypt
	Meta []byte   // at most MaxMeta
	// Event is called when a member came, changed or went, one call at a time, with no
	// lock held. Changes of one member during a call are reported once, as its latest
	// state. It may be nil.
	Event func(Member)
	// Message is called with a message of another member. It owns msg and must not
	// block, because gossip waits for it. nil: messages are dropped.
	Message func(msg []byte)
	Logger  *slog.Logger

	tune func(*memberlist.Config) // for tests
}

// Members is a node's part in the gossip about the members of the cluster.
type Members struct {
	mesh   *Mesh
	conf   MembersConfig
	list   *memberlist.Memberlist
	ring   *memberlist.Keyring
	meta   atomic.Pointer[[]byte]
	wake   chan struct{} // holds one when there are events
	done   chan struct{} // closed by Close
	noJoin chan struct{} // closed by Leave or Close: no further joins
	wg     sync.WaitGroup

	keysMu sync.Mutex // serializes SetKeys

	closeMu sync.Mutex // serializes Leave and Close, guards closed
	closed  bool

	mu     sync.Mutex // guards the fields below
	table  map[string]entry
	events []string // ids of members with unreported changes, in order, each once
}

type entry struct {
	Member
	node memberlist.Node // for sending
}

// NewMembers starts gossip for the mesh's node. A mesh can have one Members in its
// lifetime; close it before the mesh.
func NewMembers(m *Mesh, c MembersConfig) (*Members, error) {
	if len(c.Meta) > MaxMeta {
		return nil, fmt.Errorf("BUG: %d bytes of member data; the limit is %d", len(c.Meta), MaxMeta)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if err := checkKeys(c.Keys); err != nil {
		return nil, err
	}
	ring, err := memberlist.NewKeyring(c.Keys, c.Keys[0])
	if err != nil {
		return nil, fmt.Errorf("gossip keys: %w", err)
	}
	g := &Members{
		mesh: m, conf: c, ring: ring, wake: make(chan struct{}, 1), done: make(chan struct{}), noJoin: make(chan struct{}), table: map[string]entry{},
	}
	g.storeMeta(here, c.Meta)
	conf := memberlist.DefaultLANConfig()
	conf.Name = m.conf.NodeID
	conf.Transport = m.Gossip()
	conf.ProbeInterval = 500 * time.Millisecond
	conf.ProbeTimeout = 200 * time.Millisecond
	conf.SuspicionMult = 3
	conf.DeadNodeReclaimTime = reclaimTime
	conf.TCPTimeout = dialTimeout + handshakeTimeout
	conf.GossipVerifyIncoming, conf.GossipVerifyOutgoing = true, true
	conf.EnableCompression = false // costs 145 µs of CPU for datagrams of this size
	conf.UDPBufferSize = gossipBytes
	conf.Keyring = ring
	d := delegate{g}
	conf.Delegate, conf.Events, conf.Alive, conf.Conflict = d, d, d, d
	conf.Logger = log.New(&gossipLog{c.Logger}, "", 0)
	if c.tune != nil {
		c.tune(conf)
	}
	if g.list, err = memberlist.Create(conf); err != nil {
		return nil, fmt.Errorf("start gossip: %w", err)
	}
	g.wg.Go(g.deliver)
	return g, nil
}

// The first byte of a member's data. memberlist 0.7.0 knows which members left and
// which died, but does not expose it: its Node.State is never set. So a member that
// leaves publishes that in its data first.
const (
	here    = 0
	leaving = 1
)

func (g *Members) storeMeta(state byte, meta []byte) {
	meta = append([]byte{state}, meta...)
	g.meta.Store(&meta)
}

// SetMeta changes the data that this node publishes. It waits up to half a second
// until another member received it; if that is too short, they receive it later.
func (g *Members) SetMeta(meta []byte) error {
	if len(meta) > MaxMeta {
		return fmt.Errorf("BUG: %d bytes of member data; the limit is %d", len(meta), MaxMeta)
	}
	g.storeMeta(here, meta)
	_ = g.list.UpdateNode(metaTimeout) // its only error is the timeout
	return nil
}

// Join contacts the nodes at addrs, host:port each, and returns the number of nodes
// reached, with an error if there were none. An address takes five seconds at most;
// ctx bounds the lookup of names, not the contact.
func (g *Members) Join(ctx context.Context, addrs []string) (n int, err error) {
	var ips []string
	var errs []error
	for _, a := range addrs {
		at, err := resolve(ctx, a)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		ips = append(ips, at.String())
	}
	n, err = g.list.Join(ips)
	if n > 0 {
		return n, nil
	}
	return 0, errors.Join(append(errs, err)...)
}

// Run joins the nodes at the addresses of addrs where gossip knows no member to be
// alive: at once, then every 10 s, every second while no other member is alive. It
// returns when ctx is done or gossip has ended.
func (g *Members) Run(ctx context.Context, addrs func() []string) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(g.mesh.ctx, cancel)()
	go func() {
		select {
		case <-g.noJoin:
			cancel()
		case <-ctx.Done():
		}
	}()
	for {
		if err := g.mesh.gossip.resolve(ctx); err != nil && ctx.Err() == nil {
			g.conf.Logger.Debug("resolve the advertised address", "error", err) // the last one stays
		}
		if missing := g.missing(ctx, addrs()); len(missing) > 0 {
			if _, err := g.Join(ctx, missing); err != nil {
				g.conf.Logger.Debug("join gossip again", "addrs", missing, "error", err)
			}
		}
		wait := rejoinEvery
		if g.alone() {
			wait = alonePause
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
		}
		t.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

// missing returns those of addrs where no member is known to be alive.
func (g *Members) missing(ctx context.Context, addrs []string) (missing []string) {
	alive := map[string]bool{g.mesh.Advertise(): true}
	for _, m := range g.List() {
		if m.State == Alive {
			alive[m.Addr] = true
		}
	}
	for _, a := range addrs {
		if alive[a] {
			continue
		}
		if at, err := resolve(ctx, a); err != nil || !alive[at.String()] {
			missing = append(missing, a)
		}
	}
	return missing
}

// alone reports whether no other member is alive.
func (g *Members) alone() bool {
	return !slices.ContainsFunc(g.List(), func(m Member) bool { return m.State == Alive && m.ID != g.mesh.conf.NodeID })
}

// List returns all members known to gossip, this node too, by id. Members that are
// not alive are listed for ten minutes.
func (g *Members) List() []Member {
	g.mu.Lock()
	defer g.mu.Unlock()
	list := make([]Member, 0, len(g.table))
	for _, e := range g.table {
		list = append(list, e.Member)
	}
	slices.SortFunc(list, func(a, b Member) int { return cmp.Compare(a.ID, b.ID) })
	return list
}

// Send sends msg, of at most [MaxMessage] bytes, to every other member that is alive.
// It may arrive, not arrive, arrive twice, or arrive out of order.
func (g *Members) Send(msg []byte) error {
	if len(msg) > MaxMessage {
		return fmt.Errorf("gossip: %w: a message of %d bytes; the limit is %d", ErrTooLarge, len(msg), MaxMessage)
	}
	g.mu.Lock()
	var to []entry
	for id, e := range g.table {
		if e.State == Alive && id != g.mesh.conf.NodeID {
			to = append(to, e)
		}
	}
	g.mu.Unlock()
	var errs []error
	for i := range to {
		if err := g.list.SendBestEffort(&to[i].node, msg); err != nil {
			errs = append(errs, fmt.Errorf("gossip to node %s: %w", to[i].ID, err))
		}
	}
	return errors.Join(errs...)
}

// Leave announces to the others, within timeout, that this node leaves. Only Close may
// follow.
func (g *Members) Leave(timeout time.Duration) error {
	g.closeMu.Lock()
	defer g.closeMu.Unlock()
	if g.closed {
		return nil
	}
	g.stopJoining()
	end := time.Now().Add(timeout)
	g.storeMeta(leaving, (*g.meta.Load())[1:])
	_ = g.list.UpdateNode(timeout / 2) // otherwise this node would look dead
	if err := g.list.Leave(max(time.Until(end), time.Millisecond)); err != nil {
		return fmt.Errorf("leave gossip: %w", err)
	}
	return nil
}

// Close ends gossip without an announcement. No callback runs after it has returned.
// It may be called again.
func (g *Members) Close() error {
	g.closeMu.Lock()
	defer g.closeMu.Unlock()
	if g.closed {
		return nil
	}
	g.closed = true
	g.stopJoining()
	err := g.list.Shutdown()
	close(g.done)
	g.wg.Wait()
	return err
}

// stopJoining ends Run. The caller holds closeMu.
func (g *Members) stopJoining() {
	select {
	case <-g.noJoin:
	default:
		close(g.noJoin)
	}
}

// record enters the new state of a node. memberlist holds its lock.
func (g *Members) record(n *memberlist.Node, s State) {
	e := entry{node: *n}
	e.node.Meta = slices.Clone(n.Meta)
	e.node.Addr = slices.Clone(n.Addr)
	now := time.Now()
	e.Member = Member{ID: n.Name, Addr: e.node.Address(), State: s, Since: now}
	if len(n.Meta) > 0 {
		e.Meta = e.node.Meta[1:]
		if s == Dead && n.Meta[0] == leaving {
			e.State = Left
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if old, ok := g.table[n.Name]; ok && old.State == e.State {
		e.Since = old.Since
	}
	g.table[n.Name] = e
	maps.DeleteFunc(g.table, func(_ string, e entry) bool { return e.State != Alive && now.Sub(e.Since) > deadMemory })
	if !slices.Contains(g.events, n.Name) {
		g.events = append(g.events, n.Name)
	}
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// deliver calls Event until Close.
func (g *Members) deliver() {
	for {
		select {
		case <-g.wake:
		case <-g.done:
			return
		}
		for _, m := range g.takeEvents() {
			if g.conf.Event != nil {
				g.conf.Event(m)
			}
		}
	}
}

// takeEvents returns the members with unreported changes.
func (g *Members) takeEvents() (ms []Member) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, id := range g.events {
		if e, ok := g.table[id]; ok {
			ms = append(ms, e.Member)
		}
	}
	g.events = nil
	return ms
}
