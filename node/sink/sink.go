package sink

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
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
	Accounts []store.AccountID // whose events are sent; none stands for all
	Options
	Node string // this node's name

	Own, Changes Events
	Leads        func() bool
	// Mark and SetMark keep the cursor in the node's own data.
	Mark    func(name string) ([]byte, error)
	SetMark func(name string, value []byte, sync bool) error
	// Elsewhere is how far other nodes are with the changes; nil on a lone node.
	Elsewhere func(ctx context.Context, sink string) store.EventPos
	Heads     func(context.Context, store.AccountID) (*chain.HeadFile, error)
	Append    func([]byte, *store.Event) []byte // an event in JSON
	Logger    *slog.Logger
	Clock     func() time.Time // time.Now if nil

	pace time.Duration // every, but in tests
}

// cursor is how far a sink is: the last event that the receiver took.
type cursor struct {
	Own     store.EventPos `json:"own"`
	Changes store.EventPos `json:"changes"`
}

// Sink sends events to one target.
type Sink struct {
	cfg    Config
	name   string
	target target

	mu  sync.Mutex // guards the rest
	pos cursor
}

// message is one line for the receiver.
type message struct {
	text    []byte // JSON
	time    time.Time
	id      string // of the event; "" of a head
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
	return &Sink{cfg: cfg, target: t, name: nameOf(&cfg)}, nil
}

// nameOf is a name for a target, which may be too long for one.
func nameOf(cfg *Config) string {
	h := sha256.Sum256([]byte(cfg.Target.String()))
	return hex.EncodeToString(h[:8])
}

// Name tells the sinks of a node apart, and is the same on every node.
func (s *Sink) Name() string { return s.name }

// Cursor is how far the sink is with the changes.
func (s *Sink) Cursor() store.EventPos {
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

// turn sends one batch of each kind. more says that there is another one.
func (s *Sink) turn(ctx context.Context, heads, asked *time.Time) (more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, 4*sendWait)
	defer cancel()
	now := s.cfg.Clock()
	s.mu.Lock()
	pos := s.pos
	s.mu.Unlock()
	if more, err = s.pass(ctx, s.cfg.Own, &pos.Own, now.Add(-settled)); err != nil {
		return false, err
	}
	if err := s.save(pos); err != nil {
		return false, err
	}
	if !s.cfg.Leads() {
		if s.cfg.Elsewhere != nil && now.Sub(*asked) >= askEvery {
			*asked = now
			if p := s.cfg.Elsewhere(ctx, s.name); after(p, pos.Changes) {
				pos.Changes = p
			}
		}
		return more, s.save(pos)
	}
	again, err := s.pass(ctx, s.cfg.Changes, &pos.Changes, time.Time{})
	if err != nil {
		return false, err
	}
	if err := s.save(pos); err != nil {
		return false, err
	}
	if now.Sub(*heads) >= headsEvery {
		if err := s.sendHeads(ctx); err != nil {
			return false, err
		}
		*heads = now
	}
	return more || again, nil
}

// pass sends the events after a position and moves it. to is where it ends.
func (s *Sink) pass(ctx context.Context, events Events, pos *store.EventPos, to time.Time) (more bool, err error) {
	if !to.IsZero() && pos.Time.After(to.Add(settled)) { // the clock was put back: events have earlier times now
		*pos = store.EventPos{Time: to}
	}
	var batch []message
	next, rows, size := *pos, 0, 0
	for e, err := range events(store.EventQuery{From: pos.Time, After: *pos, To: to}) {
		if err != nil {
			return false, fmt.Errorf("read the audit log: %w", err)
		}
		next = store.EventPos{Time: e.Time, ID: e.ID}
		if rows++; s.wanted(e.Account) {
			text := s.cfg.Append(nil, e)
			size += len(text)
			batch = append(batch, message{text: text, time: e.Time, id: e.ID, action: e.Action, outcome: e.Outcome})
		}
		if more = len(batch) >= maxEvents || size >= maxBytes || rows >= maxRows; more {
			break
		}
	}
	if len(batch) > 0 {
		if err := s.send(ctx, batch); err != nil {
			return false, err
		}
	}
	*pos = next
	return more, nil
}

// wanted reports whether an account's events are sent. Events without an account belong to
// the default account.
func (s *Sink) wanted(account store.AccountID) bool {
	if account == "" {
		account = store.DefaultAccount
	}
	return len(s.cfg.Accounts) == 0 || slices.Contains(s.cfg.Accounts, account)
}

func (s *Sink) send(ctx context.Context, batch []message) error {
	ctx, cancel := context.WithTimeout(ctx, sendWait)
	defer cancel()
	return s.target.send(ctx, batch)
}

// sendHeads sends the signed heads with the places of the accounts that are sent, or of the
// default account. Their form is that of GET /v1/audit-logs/head.
func (s *Sink) sendHeads(ctx context.Context) error {
	accounts := s.cfg.Accounts
	if len(accounts) == 0 {
		accounts = []store.AccountID{store.DefaultAccount}
	}
	var batch []message
	for _, account := range accounts {
		h, err := s.cfg.Heads(ctx, account)
		if err != nil {
			return nil // there is no key yet, or no majority; the next minute has another head
		}
		text, err := json.Marshal(h)
		if err != nil {
			return err
		}
		batch = append(batch, message{text: text, time: s.cfg.Clock(), action: "audit.head", outcome: store.Success})
	}
	return s.send(ctx, batch)
}

func (s *Sink) mark() string { return "sink/" + s.name }

// load reads the cursor. A new sink begins now.
func (s *Sink) load() error {
	now := store.EventPos{Time: s.cfg.Clock().Add(-settled).Truncate(time.Millisecond).UTC()}
	pos := cursor{Own: now, Changes: now}
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

func after(a, b store.EventPos) bool {
	c := a.Time.Compare(b.Time)
	return c > 0 || c == 0 && a.ID > b.ID
}
