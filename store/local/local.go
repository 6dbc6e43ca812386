package local

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/disk"
	"github.com/perfgate/perfgate/store/ids"
)

// Requests says which proxied requests become audit events. Refusals (any fault
// code) always do.
const (
	RequestsAll    = "all"    // every request; the default
	RequestsDenied = "denied" // refusals, and answers with a 5xx status
	RequestsOff    = "off"    // refusals alone
)

// DefaultMaxBytes bounds the audit events on disk unless configured.
const DefaultMaxBytes = 1 << 30

// Config says how to open a Local. FS, Dir and Logger are required.
type Config struct {
	FS       vfs.FS
	Dir      string        // <data>/local
	Cache    *pebble.Cache // shared with the node's other instances; nil makes a small one
	Requests string        // RequestsAll if empty
	MaxBytes int64         // of audit events on disk, as Pebble estimates; DefaultMaxBytes if 0
	Node     string        // the node's id: actor of its own events, part of event ids
	Logger   *slog.Logger

	// Retention is how long an account's events are kept; nil, or an answer of 0
	// or less, means 30 days. It is asked once a minute for each account.
	Retention func(store.AccountID) time.Duration
	// Environment returns a key's environment, for observations that do not have it;
	// nil tells none. It is asked once a key in each query that needs it.
	Environment func(store.KeyID) string
	// KeyName returns the name of a key, for the events of its requests; nil knows none. The
	// writer asks once a minute for each key in use, up to a bound.
	KeyName func(store.KeyID) string
	// Country returns the country of an address; nil knows none. It must not wait: it is
	// called for each request, mostly by the writer, from several goroutines.
	Country func(netip.Addr) Country
	// Watch gets each request, by the writer: it must not wait, and keeps nothing of its
	// argument but texts. Requests that found the queue full are not among them. Nil gets none.
	Watch func(*Watched)
	// Witness remembers the name of the database apart from Dir and its seal, so that
	// the removal of both does not look like a new node; nil remembers it nowhere.
	Witness Witness
	// Fatal is called once, when the disk failed in a way that more writing would
	// make worse; the node stops. It must not call Close.
	Fatal func(error)
	Clock func() time.Time // time.Now if nil
	// Aged is the time by which data is too old, for those who know one that a wrong
	// clock does not push ahead; Clock if nil. It is asked once a minute.
	Aged func() time.Time

	whole int                         // for tests: see wholeStrays; 0 is that many
	stamp func(started uint64) uint64 // for tests: the time of an event; nil is that of its writing
	asked bool                        // for tests: the writer works in calls only, not by itself
}

// Witness keeps a name durably, as the node's log does.
type Witness interface {
	LocalName() (string, error) // "" if none was set
	SetLocalName(string) error
}

// ErrClosed is answered by every call after Close.
var ErrClosed = errors.New("the node's own data is closed")

var errBroken = errors.New("local data: the disk failed earlier; data not yet written is lost")

// Local is the node's own data. All methods are safe for concurrent use.
type Local struct {
	cfg     Config
	log     *slog.Logger
	now     func() time.Time
	db      *pebble.DB
	guard   *disk.Guard
	prefix  string // of event ids
	refused string // of the ids of accounts' refusals
	queue   *queue
	spill   *spill
	last    *lastUses
	w       *writer
	ahead   int // readAhead, but in tests

	totalsFrom uint64 // totals of usage are complete from then on; set when the data is opened

	unsynced atomic.Bool   // something was written since the last fsync
	broken   chan struct{} // closed at the first failure: Pebble may never answer again

	dir    directory
	uses   uses // of db, by others than the writer
	damage damage
	scrub  scrub

	course
}

// course is what the writer of a [Local] waits for, and how others learn of what it wrote, and
// of its end.
type course struct {
	touched  touched
	requests chan turn
	stop     chan struct{} // closed by Close
	done     chan struct{} // closed when the writer has ended
}

// turn asks the writer to write all that was observed before it.
type turn struct {
	sync  bool
	seal  *EventLog       // seal all events, and begin this log there; nil does not
	erase store.AccountID // remove its events; "" removes none
	done  chan error
}

// Open opens the node's own data, making it if it is not there, and starts its
// writer. Data that is damaged or missing is set aside, and Open goes on with new
// data; see [Local.Losses]. A second Open of the same Dir fails while the first is
// open.
func Open(cfg Config) (*Local, error) {
	l, err := prepare(cfg)
	if err == nil {
		go l.run()
	}
	return l, err
}

// prepare does all of Open but start the writer.
func prepare(cfg Config) (*Local, error) {
	switch cfg.Requests {
	case "":
		cfg.Requests = RequestsAll
	case RequestsAll, RequestsDenied, RequestsOff:
	default:
		return nil, fmt.Errorf("audit.requests %q: must be all, denied or off", cfg.Requests)
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = DefaultMaxBytes
	}
	l := &Local{
		cfg: cfg, log: cfg.Logger, now: cfg.Clock,
		queue: newQueue(shardBytes), last: newLastUses(), ahead: readAhead,
		course: course{requests: make(chan turn), stop: make(chan struct{}), done: make(chan struct{})}, broken: make(chan struct{}),
		dir:    directory{fs: cfg.FS, path: cfg.Dir, log: cfg.Logger, witness: cfg.Witness},
		damage: damage{wake: make(chan struct{}, 1)},
	}
	l.spill = newSpill(l.cfg.locate)
	l.scrub = scrub{l, make(chan struct{})}
	if l.now == nil {
		l.now = time.Now
	}
	l.guard = disk.NewGuard(disk.GuardConfig{
		Name: fmt.Sprintf("the node's own data %q", cfg.Dir), Logger: l.log, Fatal: l.stopped, Park: true, Damaged: l.damage.hurt,
	})
	if err := l.openData(); err != nil {
		return nil, fmt.Errorf("open the node's own data %q: %w", cfg.Dir, err)
	}
	return l, nil
}

// options: small memtables, since nothing is read hot from here, and the cache
// belongs to the records that admission reads.
//
// A memtable has rows of all kinds, so a single table of it would span all keys, and its
// compaction would rewrite all of the next level. In small tables, most of the events are
// in ranges of their own. Many are compacted at once, for reads here are rare. The bounds
// are 16 tables deep, and 48 where writes wait.
func (l *Local) options() *pebble.Options {
	o := &pebble.Options{
		FS:                      l.cfg.FS,
		Cleaner:                 disk.Cleaner{},
		Cache:                   l.cfg.Cache,
		CacheSize:               8 << 20, // where Cache is nil
		FormatMajorVersion:      pebble.FormatNewest,
		MemTableSize:            4 << 20,
		L0CompactionThreshold:   16,
		L0StopWritesThreshold:   48,
		BytesPerSync:            1 << 20,
		WALBytesPerSync:         1 << 20,
		Merger:                  newMerger(),
		BlockPropertyCollectors: []func() pebble.BlockPropertyCollector{newSummarizer},
	}
	o.TargetFileSizes[0], o.TargetFileSizes[1] = 256<<10, 4<<20
	l.guard.Watch(o)
	o.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionBalanced })
	return o
}

// begin reads the writer's starting point: identity, event count, accounts.
func (l *Local) begin() error {
	salt, err := l.get([]byte{rowOwn, 'i'})
	if err != nil {
		return err
	}
	if salt == nil {
		salt = make([]byte, 16)
		rand.Read(salt) // never fails
		if err := l.db.Set([]byte{rowOwn, 'i'}, salt, pebble.Sync); err != nil {
			return err
		}
	}
	l.prefix, l.refused = idPrefix(l.cfg.Node, salt), idPrefix(l.cfg.Node, append([]byte("refused\x00"), salt...))
	l.w = newWriter(l)
	if err := l.w.loadSeq(); err != nil {
		return err
	}
	if err := l.w.loadAccounts(); err != nil {
		return err
	}
	if err := l.w.loadChains(); err != nil {
		return err
	}
	if err := l.loadTotals(); err != nil {
		return err
	}
	return l.settle(salt)
}

// idPrefix is "evt_" and eight base62 digits of the node and a salt made with
// the directory: a node that lost its disk and kept its name counts from 1
// again, under other ids.
func idPrefix(node string, salt []byte) string {
	h := sha256.Sum256(append([]byte(node+"\x00"), salt...))
	var digits [8]byte
	ids.Put(digits[:], binary.BigEndian.Uint64(h[:]))
	slices.Reverse(digits[:]) // as every version wrote them
	return "evt_" + string(digits[:])
}

// Observe takes one finished request: it never waits for a disk, keeps nothing
// of o, and allocates nothing. When the queue is full the request's event is
// dropped and counted; its usage still counts.
func (l *Local) Observe(o *Observation) {
	flags := l.flags(o)
	if flags == 0 {
		return
	}
	var ns uint64
	if o.At.IsZero() {
		ns = nanos(l.now())
	} else {
		ns = nanos(o.At)
	}
	if l.queue.push(o, ns, flags) {
		return
	}
	l.spill.take(o, ns, flags)
}

// flags decides how o is recorded. A management call that went well is audited
// by its command, unless it names an Action of its own (reads, exports).
func (l *Local) flags(o *Observation) (f byte) {
	refused := o.Code != ""
	if refused {
		f |= recDenied
	}
	switch {
	case refused:
		f |= recEvent
	case o.Management:
		if o.Action != "" {
			f |= recEvent
		}
	case l.cfg.Requests == RequestsAll, l.cfg.Requests == RequestsDenied && o.Status >= 500:
		f |= recEvent
	}
	if !o.Management {
		f |= recCounted
	}
	if o.user() != "" && !refused {
		f |= recUsed
	}
	return f
}

// user is the key or the operator token whose last use o is; "" if there is none. The
// ids of the two differ by their prefix.
func (o *Observation) user() store.KeyID {
	if o.Key == "" && o.Actor.Type == store.ActorOperator {
		return store.KeyID(o.Actor.ID)
	}
	return o.Key
}

// Dropped is how many audit events were not kept since Open because the queue
// was full.
func (l *Local) Dropped() uint64 { return l.spill.lost.Load() }

// Flush returns when everything observed before the call is on disk.
func (l *Local) Flush() error { return l.turn(true) }

func (l *Local) turn(sync bool) error { return l.ask(turn{sync: sync, done: make(chan error, 1)}) }

func (l *Local) ask(t turn) error {
	select {
	case l.requests <- t:
	case <-l.done:
		return ErrClosed
	case <-l.broken:
		return errBroken
	}
	select {
	case err := <-t.done:
		return err
	case <-l.broken:
		return errBroken
	}
}

// RollLog makes Pebble begin a new log, and a table of what is in the old one.
func (l *Local) RollLog() error {
	if err := l.enter(); err != nil {
		return err
	}
	defer l.leave()
	if err := l.db.Flush(); err != nil {
		return fmt.Errorf("flush the node's own data: %w", err)
	}
	return nil
}

// Close writes the queue, waits for running queries, and closes. It
// answers nil on the second call. After a disk failure (Config.Fatal) it does
// not wait for a disk that may never answer.
func (l *Local) Close() error {
	l.queue.close()
	if l.guard.Err() != nil {
		return errBroken
	}
	if !l.uses.end() {
		return nil
	}
	close(l.stop)
	<-l.done
	err := errors.Join(l.w.err, l.db.Close())
	if err == nil && !l.damage.pending() { // else the next start finds the damage
		err = l.dir.sealFiles()
	}
	if err := errors.Join(err, l.dir.lock.Close()); err != nil {
		return fmt.Errorf("close the node's own data: %w", err)
	}
	return nil
}

// enter admits one use of db, until leave; no longer once Close was called, nor
// while damaged data waits to be set aside.
func (l *Local) enter() error {
	if l.damage.pending() {
		return errReplacing
	}
	if !l.uses.begin() {
		return ErrClosed
	}
	return nil
}

func (l *Local) leave() { l.uses.leave() }

// stopped is called once, when the disk failed; see [disk.GuardConfig].
func (l *Local) stopped(err error) {
	defer close(l.broken)
	if l.cfg.Fatal == nil {
		l.log.Error("disk failed", "error", err)
		return
	}
	l.cfg.Fatal(err)
}
