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
	// MaxMeta bounds what a member says of itself, in bytes.
	MaxMeta = memberlist.MetaMaxSize - 1 // a byte is ours
	// MaxMessage bounds a message, in bytes: encrypted it fits a datagram that no
	// network breaks up.
	MaxMessage = 1200

	gossipBytes = 1280                   // of plaintext in a datagram; encryption adds 29
	rejoinEvery = 10 * time.Second       // while somebody is with us
	alonePause  = time.Second            // while nobody is
	metaTimeout = 500 * time.Millisecond // to tell the others of new metadata
	deadMemory  = 10 * time.Minute       // how long a dead member is listed
	reclaimTime = 10 * time.Second       // after which a dead node's id may come from another address
)

// State says what gossip knows of a member. It is a hint: nothing that has to be
// true may depend on it.
type State string

const (
	Alive State = "alive" // or suspected, which may still be refuted
	Dead  State = "dead"  // did not answer
	Left  State = "left"  // said so
)

// Member is a node as gossip knows it. Since is by this node's clock.
type Member struct {
	ID    string
	Addr  string // ip:port
	Meta  []byte
	State State
	Since time.Time
}

// MembersConfig is what [NewMembers] needs.
type MembersConfig struct {
	Keys [][]byte // 32 bytes each; the first encrypts, all decrypt
	Meta []byte   // at most MaxMeta
	// Event is called when a member came, changed or went, one call at a time, with
	// no lock held; what happens meanwhile to one member is told once. nil: nobody.
	Event func(Member)
	// Message takes what another member sent. It owns msg and must not block: it
	// holds up gossip. nil: messages are dropped.
	Message func(msg []byte)
	Logger  *slog.Logger

	tune func(*memberlist.Config) // for tests
}

// Members is the node's part in the gossip about who is there.
type Members struct {
	mesh *Mesh
	conf MembersConfig
	list *memberlist.Memberlist
	ring *memberlist.Keyring
	meta atomic.Pointer[[]byte]
	wake chan struct{} // holds one when there are events
	done chan struct{} // closed by Close
	mute chan struct{} // closed by Leave or Close: nobody is joined any more
	wg   sync.WaitGroup

	keysMu sync.Mutex // SetKeys

	closeMu sync.Mutex // Leave and Close
	closed  bool

	mu     sync.Mutex
	table  map[string]entry
	events []string // ids with news, in order, each once
}

type entry struct {
	Member
	node memberlist.Node // for sending
}

// NewMembers starts to gossip as the mesh's node. A mesh has one Members in its
// life; close it before the mesh.
func NewMembers(m *Mesh, c MembersConfig) (*Members, error) {
	if len(c.Meta) > MaxMeta {
		return nil, fmt.Errorf("BUG: %d bytes of member data; at most %d fit", len(c.Meta), MaxMeta)
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
		mesh: m, conf: c, ring: ring, wake: make(chan struct{}, 1), done: make(chan struct{}), mute: make(chan struct{}), table: map[string]entry{},
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
	conf.EnableCompression = false // it costs 145 µs of CPU for datagrams this small
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
	g.wg.Go(g.tell)
	return g, nil
}

// The first byte of a member's data. memberlist 0.7.0 knows who left and who
// died, but does not tell: its Node.State is never set. So who leaves says so in
// its data first.
const (
	here    = 0
	leaving = 1
)

func (g *Members) storeMeta(state byte, meta []byte) {
	meta = append([]byte{state}, meta...)
	g.meta.Store(&meta)
}

// SetMeta changes what the others are told of this node. It waits up to half a
// second until somebody was told; they are told later if that is too short.
func (g *Members) SetMeta(meta []byte) error {
	if len(meta) > MaxMeta {
		return fmt.Errorf("BUG: %d bytes of member data; at most %d fit", len(meta), MaxMeta)
	}
	g.storeMeta(here, meta)
	g.list.UpdateNode(metaTimeout) // its only error is the timeout
	return nil
}

// Join makes contact with the nodes at addrs, host:port each. An error if none
// could be reached; n is how many were. An address takes five seconds at most;
// ctx ends looking up names, not the contact.
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

// Run joins the nodes at the addresses that addrs gives and that gossip does not
// know to be alive: at once, then every 10 s, every second while nobody else is
// known. It returns when ctx or the gossip ends.
func (g *Members) Run(ctx context.Context, addrs func() []string) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(g.mesh.ctx, cancel)()
	go func() {
		select {
		case <-g.mute:
			cancel()
		case <-ctx.Done():
		}
	}()
	for {
		if err := g.mesh.gossip.resolve(ctx); err != nil && ctx.Err() == nil {
			g.conf.Logger.Debug("gossip", "err", err) // the last answer stays
		}
		if lost := g.lost(ctx, addrs()); len(lost) > 0 {
			if _, err := g.Join(ctx, lost); err != nil {
				g.conf.Logger.Debug("join the gossip again", "addrs", lost, "err", err)
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

// lost are those of addrs where nobody is known to be alive.
func (g *Members) lost(ctx context.Context, addrs []string) (lost []string) {
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
			lost = append(lost, a)
		}
	}
	return lost
}

func (g *Members) alone() bool {
	return !slices.ContainsFunc(g.List(), func(m Member) bool { return m.State == Alive && m.ID != g.mesh.conf.NodeID })
}

// List is everybody that gossip knows, this node too, by id. The dead are listed
// for ten minutes.
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

// Send sends msg, of at most [MaxMessage] bytes, to every other member that is
// alive, once and without any promise that it arrives, arrives once, or in order.
func (g *Members) Send(msg []byte) error {
	if len(msg) > MaxMessage {
		return fmt.Errorf("gossip: %w: a message of %d bytes; at most %d are sent", ErrTooLarge, len(msg), MaxMessage)
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

// Leave tells the others that this node goes, within timeout. Only Close may
// follow.
func (g *Members) Leave(timeout time.Duration) error {
	g.closeMu.Lock()
	defer g.closeMu.Unlock()
	if g.closed {
		return nil
	}
	g.hush()
	end := time.Now().Add(timeout)
	g.storeMeta(leaving, (*g.meta.Load())[1:])
	g.list.UpdateNode(timeout / 2) // else it looks as if this node had died
	if err := g.list.Leave(max(time.Until(end), time.Millisecond)); err != nil {
		return fmt.Errorf("leave the gossip: %w", err)
	}
	return nil
}

// Close ends the gossip without a word; no callback runs when it returns. It may
// be called again.
func (g *Members) Close() error {
	g.closeMu.Lock()
	defer g.closeMu.Unlock()
	if g.closed {
		return nil
	}
	g.closed = true
	g.hush()
	err := g.list.Shutdown()
	close(g.done)
	g.wg.Wait()
	return err
}

func (g *Members) hush() {
	select {
	case <-g.mute:
	default:
		close(g.mute) // under closeMu
	}
}

// note enters what happened to a node. memberlist holds its lock.
func (g *Members) note(n *memberlist.Node, s State) {
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

// tell calls Event.
func (g *Members) tell() {
	for {
		select {
		case <-g.wake:
		case <-g.done:
			return
		}
		for _, m := range g.news() {
			if g.conf.Event != nil {
				g.conf.Event(m)
			}
		}
	}
}

func (g *Members) news() (ms []Member) {
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
