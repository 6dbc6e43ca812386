package pool

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/perfgate/perfgate/limiter/roster"
	"github.com/perfgate/perfgate/limiter/share"
)

// Name is the name of a bucket, the same on every node. Its first byte is its group's.
type Name = roster.Name

// Pool is this node's side of all buckets. It is safe for concurrent use.
type Pool struct {
	self string
	boot uint64 // newest index of the log at Begin: what is newer was charged by no other process; all shards' locks guard it

	line   atomic.Pointer[roster.Line]
	views  atomic.Pointer[views] // made from line and reach
	shards [shards]Shard
	bounds Bounds

	places   atomic.Int64 // for traffic, that are free
	accounts atomic.Int64 // that have traffic here; those without a known account count as one in each shard

	changing sync.Mutex // serializes changes of line and reach
	reach    *Reach     // guarded by changing
}

const shards = 64

// Reach is the processes of other nodes that this one can ask, by the ids of their nodes.
// It is immutable.
type Reach struct {
	Nodes []string
	Peers []share.Peer // of Nodes
}

// Shard is a part of the buckets. Its methods need the lock.
type Shard struct {
	sync.Mutex
	pool    *Pool
	now     int64
	buckets index
	hand    hand // the buckets that evict looks at

	news map[*Bucket]chan struct{} // closed when an answer came: of the requests that wait

	tenants     map[Owner]*tenant // at most one for each account, and two
	identifiers int               // buckets
	accounts    int               // that have identifiers
}

// Bucket is a bucket with its place. The lock of its shard guards it.
type Bucket struct {
	share.Bucket
	Name Name
	step int32 // of the line that it has gone through
	gone bool  // dropped: who keeps a pointer looks it up again
	tiny bool
	home uint16 // of a tiny one: its place among the nodes of the settled roster, at step
	In   *Shard

	tenant *tenant
	made   uint64 // Terms.Created
	Told   share.Told
}

// New is the pool of the node self. Nothing is shared before Begin.
func New(self string) *Pool { return NewBounded(self, DefaultBounds) }

// NewBounded is New with other bounds.
func NewBounded(self string, most Bounds) *Pool {
	p := &Pool{self: self, bounds: most}
	p.places.Store(int64(most.Traffic))
	for i := range p.shards {
		s := &p.shards[i]
		s.pool, s.news, s.tenants = p, map[*Bucket]chan struct{}{}, map[Owner]*tenant{}
	}
	p.reach = &Reach{}
	p.view(nil)
	return p
}

// Begin tells the rosters of the state when the process starts, or when it missed some:
// every bucket then begins as after a crash, unless it counts something newer than boot,
// the newest index that the log held then; 0 in the first process of a new node.
func (p *Pool) Begin(rosters []roster.Roster, boot uint64, now int64) {
	p.changing.Lock()
	defer p.changing.Unlock()
	for i := range p.shards {
		p.shards[i].Lock()
	}
	p.boot = boot
	p.view(roster.NewLine(p.self, boot, rosters, now))
	for i := range p.shards {
		s := &p.shards[i]
		for b := range s.buckets.all() {
			s.drop(b)
		}
		clear(s.tenants)
		s.Unlock()
	}
}

// Follow takes a change of the rosters over. serving says that this node holds a serving
// lease at this moment. false: changes were missed, and Begin must be called.
func (p *Pool) Follow(rosters []roster.Roster, serving bool, now int64) bool {
	p.changing.Lock()
	defer p.changing.Unlock()
	next, ok := p.line.Load().Next(rosters, serving, now)
	if ok {
		p.view(next)
	}
	return ok
}

// On reports whether there is a roster: before that nothing is shared.
func (p *Pool) On() bool {
	l := p.line.Load()
	return l != nil && len(l.Rosters()) > 0
}

// Line is the rosters as this process has seen them; nil before Begin.
func (p *Pool) Line() *roster.Line { return p.line.Load() }

// SetReach replaces the processes that can be asked.
func (p *Pool) SetReach(r *Reach) {
	p.changing.Lock()
	defer p.changing.Unlock()
	p.reach = r
	p.view(p.line.Load())
}

// Shard is the place of a name. Lock it before anything else.
func (p *Pool) Shard(n Name) *Shard { return &p.shards[n[0]%shards] }

// Each calls do with each shard, locked.
func (p *Pool) Each(do func(*Shard)) {
	for i := range p.shards {
		s := &p.shards[i]
		s.Lock()
		do(s)
		s.Unlock()
	}
}

// Some calls do with each n-th shard, from the k-th on.
func (p *Pool) Some(k, n int, do func(*Shard)) {
	for i := k % n; i < shards; i += n {
		s := &p.shards[i]
		s.Lock()
		do(s)
		s.Unlock()
	}
}

// Len is the number of buckets.
func (p *Pool) Len() (n int) {
	p.Each(func(s *Shard) { n += s.buckets.n })
	return n
}

// Terms are a bucket's limit, and the log index at which what it counts was created; 0
// if that is unknown.
type Terms struct {
	Pace    share.Pace
	Created uint64
	// Alone says that this node counted for itself before there was a roster, and Used how
	// many levels of the bucket it has used then as far as they have not refilled until now.
	Alone bool
	Used  int64
	Owner Owner
}

// Grown reports whether Terms.Alone is of use: this node was the whole cluster before.
func (p *Pool) Grown() bool {
	l := p.line.Load()
	return l != nil && l.Grown()
}

// Open finds a bucket, or makes it, and brings it to now. It is nil if there is no place,
// or no roster. old is what was found before, if anything.
func (s *Shard) Open(old *Bucket, n Name, t Terms, now int64) *Bucket {
	s.now = max(s.now, now)
	line := s.pool.line.Load()
	b := old
	if b == nil || b.gone {
		b = s.buckets.get(n)
	}
	if b == nil {
		if b = s.create(n, t, line); b == nil {
			return nil
		}
	}
	if t.Owner.known() && !b.tenant.owner.known() {
		s.move(b, t.Owner)
	}
	if int(b.step) != line.Now() {
		s.catchUp(b, line)
	}
	if b.Pace() != t.Pace {
		b.Adopt(t.Pace, s.now)
		b.place(line)
	}
	b.Advance(s.now)
	return b
}

// Find is a bucket that is there already, brought to now; nil: it is not.
func (s *Shard) Find(n Name, now int64) *Bucket {
	b := s.buckets.get(n)
	if b == nil {
		return nil
	}
	return s.Open(b, n, Terms{Pace: b.Pace()}, now)
}

func (s *Shard) create(n Name, t Terms, line *roster.Line) *Bucket {
	if line == nil || len(line.Rosters()) == 0 || !t.Pace.Valid() {
		return nil
	}
	in := s.admit(t.ownerOrNone())
	if in == nil {
		return nil
	}
	b := &Bucket{Name: n, In: s, made: t.Created, tenant: in}
	step := 0
	b.Bucket, step = begin(s.pool.boot, line, n, t, s.now)
	if in.since > 0 {
		step = line.Now()
		at := max(in.since, line.Step(step).At)
		b.Bucket = *share.NewAfterStart(t.Pace, line.Base(step, n), at, at)
	}
	b.step = int32(step)
	s.catchUp(b, line)
	s.buckets.put(b)
	s.occupy(b)
	return b
}

// begin is a bucket at the step at which it begins.
//
// What is newer than every roster of a step was used under no other: each node's base of
// that step, or of a later one, is then its own alone, and the bases add up to the whole.
// So the bucket begins full, whenever it is met. The same holds for the first roster of a
// cluster that has admitted nothing yet. Every other bucket begins without tokens, and with
// its base at once if no earlier process of this node can have lent any of it.
func begin(boot uint64, line *roster.Line, n Name, t Terms, now int64) (b share.Bucket, step int) {
	if k := line.Since(t.Created); k >= 0 && t.Created > boot {
		return *share.New(t.Pace, line.Base(k, n), line.Step(k).At), k
	}
	step = line.First()
	for ; len(line.Step(step).Rosters) == 0; step++ { // there is one: nothing is made before
	}
	base, at := line.Base(step, n), line.Step(step).At
	switch {
	case line.Step(step).Whole:
		return *share.New(t.Pace, base, at), step
	case line.Grown() && t.Alone && t.Pace.Valid():
		left := t.Pace.Level(base) - t.Used - t.Pace.Refill(now-at)
		return *share.NewWith(t.Pace, base, left, at), step
	case line.Fresh():
		return *share.NewEmpty(t.Pace, base, at), step
	}
	return *share.NewAfterStart(t.Pace, base, at, at), step
}

// catchUp takes a bucket through the steps that it has not seen. One that missed too many
// begins as after a crash.
func (s *Shard) catchUp(b *Bucket, line *roster.Line) {
	step := int(b.step)
	if step < line.First() {
		step = line.First()
		at := line.Step(step).At
		b.Bucket = *share.NewAfterStart(b.Pace(), line.Base(step, b.Name), at, at)
	}
	for step < line.Now() {
		step++
		st := line.Step(step)
		b.Rebase(line.Base(step, b.Name), st.Serving, st.At)
	}
	b.step = int32(step)
	b.place(line)
}

// place finds the home of a tiny bucket: that of the settled roster, which has the
// others' parts until another settles.
func (b *Bucket) place(line *roster.Line) {
	r := line.Rosters()[0]
	here := false
	if b.tiny = roster.Tiny(b.Pace().Burst, len(r.Nodes)); b.tiny {
		home := r.Home(b.Name)
		here = home == b.In.pool.self
		b.home = uint16(slices.Index(r.Nodes, home))
	}
	b.SetHome(here)
}

// Known is the units that the cluster has, as far as this node knows, and the
// nanoseconds until the bucket is whole.
func (b *Bucket) Known() (left, reset int64) {
	tok := share.Known(&b.Bucket, b.Peers(), b.In.now)
	return max(0, tok) / b.Pace().Weight, b.Pace().Whole(tok)
}

// Terms are those that the bucket was last used under.
func (b *Bucket) Terms() Terms {
	return Terms{Pace: b.Pace(), Created: b.made, Owner: b.tenant.owner}
}

// Notify wakes the requests that wait for news of a bucket.
func (b *Bucket) Notify() {
	if news := b.In.news[b]; news != nil {
		close(news)
		delete(b.In.news, b)
	}
}

// Listen returns a channel that is closed at the next news of the bucket.
func (b *Bucket) Listen() <-chan struct{} {
	news := b.In.news[b]
	if news == nil {
		if news = make(chan struct{}); !b.gone { // nobody would close it
			b.In.news[b] = news
		}
	}
	return news
}

// Tick calls do with each bucket that exchanges anything. It drops the buckets that are as if
// never used, and wakes a request that still waits for one: the request makes another bucket.
func (s *Shard) Tick(now int64, do func(*Bucket)) {
	s.now = max(s.now, now)
	line := s.pool.line.Load()
	for b := range s.buckets.all() {
		if int(b.step) != line.Now() {
			s.catchUp(b, line)
		}
		if b.Idle(s.now) {
			s.drop(b)
			continue
		}
		do(b)
		share.Rest(&b.Bucket, s.now)
	}
	for _, t := range s.tenants {
		s.forget(t)
	}
}

// Look calls do with each bucket, brought to now, and changes nothing.
func (s *Shard) Look(now int64, do func(*Bucket)) {
	s.now = max(s.now, now)
	for b := range s.buckets.all() {
		b.Advance(s.now)
		do(b)
	}
}

func (s *Shard) drop(b *Bucket) {
	b.gone = true
	b.Notify()
	s.buckets.remove(b)
	s.vacate(b)
}
