package sink

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"iter"
	"log/slog"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/chain"
)

// The figures of a sink.
const (
	every      = time.Second
	headsEvery = time.Minute
	askEvery   = 10 * time.Second // for the leader's cursor
	sendWait   = 30 * time.Second
	maxRetry   = time.Minute
	maxEvents  = 1000
	maxBytes   = 1 << 20
	maxRows    = 20_000
	// settled is how old an event is before it is sent: by then no event that stands before
	// it is still being written.
	settled = time.Second
)

// Events is a source of events in the order of (time, id).
type Events func(store.EventQuery) iter.Seq2[*store.Event, error]

// Config holds the parts of a [Sink].
type Config struct {
	Target   *url.URL
	Accounts []store.AccountID // whose events are sent, [store.Operators] among them; none stands for all
	Options
	Node string // this node's name

	Own   Events
	Leads func() bool
	// Changes reads the events of changes after a place, of some accounts or of all, and
	// LastPos is the place after all that there are.
	Changes func(store.ChangePos, []store.AccountID) (*store.Feed, error)
	LastPos func(time.Time) store.ChangePos
	// Mark and SetMark keep the cursor in the node's own data.
	Mark    func(name string) ([]byte, error)
	SetMark func(name string, value []byte, sync bool) error
	// Elsewhere is how far other nodes are with the changes; nil on a lone node.
	Elsewhere func(ctx context.Context, sink string) store.ChangePos
	Heads     func(context.Context, store.AccountID) (*chain.HeadFile, error)
	Append    func([]byte, *store.Event) []byte // an event in JSON
	Logger    *slog.Logger
	Clock     func() time.Time // time.Now if nil

	pace time.Duration // every, but in tests
}

// cursor is how far a sink is: the last event that the receiver took.
type cursor struct {
	Own     store.EventPos  `json:"own"`
	Changes store.ChangePos `json:"changes"`
}

// Sink sends events to one target.
type Sink struct {
	cfg    Config
	name   string
	target target

	unread bool // Run's alone: a failure to read was logged

	mu           sync.Mutex // guards the rest
	pos          cursor
	own, changes stream // but oldest, Run's alone
	figures      Figures
}

// message is one line for the receiver.
type message struct {
	text    []byte // JSON
	time    time.Time
	pos     store.ChangePos // of the event; zero of a head
	action  string
	outcome store.Outcome
}

// target is where a sink sends to. send returns nil once the receiver has taken the batch.
type target interface {
	send(ctx context.Context, batch []message) error
	close()
}

// New returns the sink; [Sink.Run] makes it work.
func New(cfg Config) (*Sink, error) {
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.pace == 0 {
		cfg.pace = every
	}
	t, err := newTarget(&cfg)
	if err != nil {
		return nil, err
	}
	return &Sink{cfg: cfg, target: t, name: nameOf(&cfg), own: stream{limit: maxEvents}, changes: stream{limit: maxEvents}}, nil
}

// nameOf is a name for a target, which may be too long for one.
func nameOf(cfg *Config) string {
	h := sha256.Sum256([]byte(cfg.Target.String()))
	return hex.EncodeToString(h[:8])
}

// Name tells the sinks of a node apart, and is the same on every node.
func (s *Sink) Name() string { return s.name }

// Cursor is how far the sink is with the changes.
func (s *Sink) Cursor() store.ChangePos {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pos.Changes
}

// Run sends until ctx ends.
func (s *Sink) Run(ctx context.Context) {
	defer s.target.close()
	if err := s.load(); err != nil {
		s.cfg.Logger.Error("the place of a sink of the audit log cannot be read: it begins now", "sink", s.cfg.Target.Redacted(), "error", err)
	}
	var heads, asked time.Time
	failures := 0
	wait := time.NewTimer(0)
	defer wait.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-wait.C:
		}
		more, err := s.turn(ctx, &heads, &asked)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			s.count(func(f *Figures) { f.Failed++ })
			if failures++; failures == 1 {
				s.cfg.Logger.Warn("a sink of the audit log takes nothing; what it misses is sent when it is back", "sink", s.cfg.Target.Redacted(), "error", err)
			}
			wait.Reset(min(s.cfg.pace<<min(failures-1, 6), maxRetry))
			continue
		case failures > 0:
			failures = 0
			s.cfg.Logger.Info("a sink of the audit log takes events again", "sink", s.cfg.Target.Redacted())
		}
		if more {
			wait.Reset(0)
		} else {
			wait.Reset(s.cfg.pace)
		}
	}
}

// turn sends one batch of each kind. more says that there is another one. A log that cannot be
// read holds up nothing else, and neither does a batch that is refused.
func (s *Sink) turn(ctx context.Context, heads, asked *time.Time) (more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, 4*sendWait)
	defer cancel()
	now := s.cfg.Clock()
	s.mu.Lock()
	pos := s.pos
	s.mu.Unlock()
	var refused error
	if b, err := s.ownBatch(pos.Own, now.Add(-settled)); s.read(err) {
		var next store.ChangePos
		next, more, err = s.pass(ctx, &s.own, b, store.ChangePos{EventPos: pos.Own})
		pos.Own = next.EventPos
		if err := s.save(pos); err != nil {
			return false, err
		}
		if refused = err; failed(err) {
			return false, err
		}
	}
	if !s.cfg.Leads() {
		s.behind(&s.changes, time.Time{})
		if s.cfg.Elsewhere != nil && now.Sub(*asked) >= askEvery {
			*asked = now
			if p := s.cfg.Elsewhere(ctx, s.name); p.After(pos.Changes) {
				pos.Changes = p
			}
		}
		return more, errors.Join(refused, s.save(pos))
	}
	if b, err := s.changesBatch(pos.Changes); s.read(err) {
		var again bool
		pos.Changes, again, err = s.pass(ctx, &s.changes, b, pos.Changes)
		if err := s.save(pos); err != nil {
			return false, err
		}
		if failed(err) {
			return false, err
		}
		more, refused = more || again, errors.Join(refused, err)
	}
	if now.Sub(*heads) >= headsEvery {
		if err := s.sendHeads(ctx); err != nil {
			return false, errors.Join(refused, err)
		}
		*heads = now
	}
	return more, refused
}

// failed reports whether an error is no refusal, and so one of the receiver as a whole.
func failed(err error) bool {
	var refused *refusedError
	return err != nil && !errors.As(err, &refused)
}

// read notes whether the log can be read.
func (s *Sink) read(err error) bool {
	if err == nil {
		return true
	}
	s.count(func(f *Figures) { f.Failed++ })
	if !s.unread {
		s.unread = true
		s.cfg.Logger.Error("a sink cannot read a part of the audit log; the rest is sent, and reading is tried again each second", "sink", s.cfg.Target.Redacted(), "error", err)
	}
	return false
}

// wanted reports whether an account's events are sent. Events without an account are in the
// log of the operators.
func (s *Sink) wanted(account store.AccountID) bool {
	if account == "" {
		account = store.Operators
	}
	return len(s.cfg.Accounts) == 0 || slices.Contains(s.cfg.Accounts, account)
}

func (s *Sink) send(ctx context.Context, batch []message) error {
	ctx, cancel := context.WithTimeout(ctx, sendWait)
	defer cancel()
	return s.target.send(ctx, batch)
}

// sendHeads sends the signed heads with the places of the accounts that are sent, or of the
// default account and the operators. Their form is that of GET /v1/audit-logs/head.
func (s *Sink) sendHeads(ctx context.Context) error {
	accounts := s.cfg.Accounts
	if len(accounts) == 0 {
		accounts = []store.AccountID{store.DefaultAccount, store.Operators}
	}
	var batch []message
	for _, account := range accounts {
		h, err := s.cfg.Heads(ctx, account)
		if err != nil {
			return nil //nolint:nilerr // there is no key yet, or no majority; the next minute has another head
		}
		text, err := json.Marshal(h)
		if err != nil {
			return err
		}
		batch = append(batch, message{text: text, time: s.cfg.Clock(), action: "audit.head", outcome: store.Success})
	}
	err := s.send(ctx, batch)
	if err != nil && !failed(err) {
		s.count(func(f *Figures) { f.Failed++ })
		s.cfg.Logger.Error("a sink of the audit log refuses the signed heads; the next ones are sent in a minute", "sink", s.cfg.Target.Redacted(), "error", err)
		return nil
	}
	return err
}

func (s *Sink) mark() string { return "sink/" + s.name }

// load reads the cursor. A new sink begins now.
func (s *Sink) load() error {
	now := store.EventPos{Time: s.cfg.Clock().Add(-settled).Truncate(time.Millisecond).UTC()}
	pos := cursor{Own: now, Changes: s.cfg.LastPos(now.Time)}
	raw, err := s.cfg.Mark(s.mark())
	if err == nil && raw != nil {
		err = json.Unmarshal(raw, &pos)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pos = pos
	return err
}

// save keeps the cursor, if it moved. A crash forgets it for a second at most: what was sent meanwhile is
// sent again.
func (s *Sink) save(pos cursor) error {
	s.mu.Lock()
	same := s.pos == pos
	s.pos = pos
	s.mu.Unlock()
	if same {
		return nil
	}
	raw, err := json.Marshal(pos)
	if err != nil {
		return err
	}
	return s.cfg.SetMark(s.mark(), raw, false)
}
