package local

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perfgate/perfgate/store"
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
	// Environment tells a key's environment, for usage whose observation did not;
	// nil tells none. It is asked once a key in each query that needs it.
	Environment func(store.KeyID) string
	// Fatal is told, once, that the disk failed in a way that more writing would
	// make worse; the node stops. It must not call Close.
	Fatal func(error)
	Clock func() time.Time // time.Now if nil
}

// ErrClosed is answered by every call after Close.
var ErrClosed = errors.New("the node's own data is closed")

var errBroken = errors.New("the node's own data: the disk failed before; what was not written since is lost")

// Local is the node's own data. All methods are safe for concurrent use.
type Local struct {
	cfg    Config
	log    *slog.Logger
	now    func() time.Time
	db     *pebble.DB
	prefix string // of event ids
	queue  *queue
	spill  *spill
	last   *lastUses
	w      *writer
	ahead  int // readAhead, but in tests

	lost     atomic.Uint64 // events not kept, since Open
	unsynced atomic.Bool   // something was written since the last fsync
	failed   atomic.Bool   // Fatal was called: Pebble may never answer again
	broken   chan struct{} // closed with failed

	life    sync.Mutex
	closing bool
	users   sync.WaitGroup // of db, besides the writer

	requests chan turn
	stop     chan struct{}
	done     chan struct{}
}

// turn asks the writer to write all that was observed before it.
type turn struct {
	sync bool
	done chan error
}

// Open opens the node's own data, making it if it is not there, and starts its
// writer. A second Open of the same Dir fails while the first is open.
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
		return nil, fmt.Errorf("audit.requests %q: want all, denied or off", cfg.Requests)
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = DefaultMaxBytes
	}
	l := &Local{
		cfg: cfg, log: cfg.Logger, now: cfg.Clock,
		queue: newQueue(shardBytes), spill: newSpill(), last: newLastUses(), ahead: readAhead,
		requests: make(chan turn), stop: make(chan struct{}), done: make(chan struct{}), broken: make(chan struct{}),
	}
	if l.now == nil {
		l.now = time.Now
	}
	db, err := pebble.Open(cfg.Dir, l.options())
	if err != nil {
		return nil, fmt.Errorf("open the node's own data %q: %w", cfg.Dir, err)
	}
	l.db = db
	if err := l.begin(); err != nil {
		return nil, errors.Join(fmt.Errorf("open the node's own data %q: %w", cfg.Dir, err), db.Close())
	}
	return l, nil
}

// options: small memtables, since nothing is read hot from here, and the cache
// belongs to the records that admission reads.
func (l *Local) options() *pebble.Options {
	o := &pebble.Options{
		FS:                    l.cfg.FS,
		Cache:                 l.cfg.Cache,
		CacheSize:             8 << 20, // where Cache is nil
		FormatMajorVersion:    pebble.FormatNewest,
		MemTableSize:          4 << 20,
		L0CompactionThreshold: 4,
		BytesPerSync:          1 << 20,
		WALBytesPerSync:       1 << 20,
		Merger:                newMerger(),
		Logger:                pebbleLog{l},
		EventListener:         &pebble.EventListener{BackgroundError: l.fatal},
	}
	o.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionBalanced })
	return o
}

// begin reads what the writer goes on from: identity, event count, accounts.
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
	l.prefix = idPrefix(l.cfg.Node, salt)
	l.w = newWriter(l)
	if err := l.w.loadSeq(); err != nil {
		return err
	}
	return l.w.loadAccounts()
}

// idPrefix is "evt_" and eight base62 digits of the node and a salt made with
// the directory: a node that lost its disk and kept its name counts from 1
// again, under other ids.
func idPrefix(node string, salt []byte) string {
	h := sha256.Sum256(append([]byte(node+"\x00"), salt...))
	n := binary.BigEndian.Uint64(h[:])
	out := []byte("evt_")
	for range 8 {
		out = append(out, digits[n%62])
		n /= 62
	}
	return string(out)
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
	if flags&recEvent != 0 {
		l.lost.Add(1)
	}
	l.spill.take(o, ns, flags)
}

// flags decides what becomes of o. A management call that went well is audited
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
	if o.Key != "" && !refused {
		f |= recUsed
	}
	return f
}

// Dropped is how many audit events were not kept since Open because the queue
// was full.
func (l *Local) Dropped() uint64 { return l.lost.Load() }

// Flush returns when everything observed before the call is on disk.
func (l *Local) Flush() error { return l.turn(true) }

func (l *Local) turn(sync bool) error {
	t := turn{sync, make(chan error, 1)}
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

// Close writes what is queued, waits for running queries, and closes. It
// answers nil on the second call. After a disk failure (Config.Fatal) it does
// not wait for a disk that may never answer.
func (l *Local) Close() error {
	l.queue.close()
	if l.failed.Load() {
		return errBroken
	}
	l.life.Lock()
	again := l.closing
	l.closing = true
	l.life.Unlock()
	if again {
		return nil
	}
	l.users.Wait()
	close(l.stop)
	<-l.done
	if err := errors.Join(l.w.err, l.db.Close()); err != nil {
		return fmt.Errorf("close the node's own data: %w", err)
	}
	return nil
}

// enter admits one use of db; false once Close was called.
func (l *Local) enter() bool {
	l.life.Lock()
	defer l.life.Unlock()
	if l.closing {
		return false
	}
	l.users.Add(1)
	return true
}

func (l *Local) leave() { l.users.Done() }

// fatal tells the node once that it must stop.
func (l *Local) fatal(err error) {
	if l.failed.Swap(true) {
		return
	}
	defer close(l.broken)
	err = fmt.Errorf("the node's own data %q: %w", l.cfg.Dir, err)
	if l.cfg.Fatal == nil {
		l.log.Error("disk failed", "error", err)
		return
	}
	l.cfg.Fatal(err)
}

// pebbleLog hands Pebble's words on. Its routine ones are not worth a line.
type pebbleLog struct{ l *Local }

func (p pebbleLog) Infof(string, ...any) {}

func (p pebbleLog) Errorf(format string, args ...any) {
	p.l.log.Error("pebble: "+fmt.Sprintf(format, args...), "dir", p.l.cfg.Dir)
}

// Fatalf must not return: Pebble calls it where going on would lose or invent
// data, a failed fsync above all. The goroutine stays here while the node stops.
func (p pebbleLog) Fatalf(format string, args ...any) {
	p.l.fatal(fmt.Errorf(format, args...))
	select {}
}
