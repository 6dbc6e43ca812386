package audit

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/chain"
	"github.com/perfgate/perfgate/store/local"
)

// Config holds the parts of a [Log].
type Config struct {
	Store  *store.Store
	Local  *local.Local
	Node   string // this node's name
	Logger *slog.Logger
	// Propose hands a command to the leader and returns when it is applied.
	Propose func(context.Context, *store.Command) (store.Result, error)
	// Linearize returns once the state here includes every write answered before.
	Linearize func(context.Context) error
	// Leads reports whether this node leads; Complete whether all nodes of the cluster
	// belong to it, so that new features may be used.
	Leads, Complete func() bool
	// Others lists the other members, and Ask makes a call to one of them; nil on a lone
	// node.
	Others func() []store.Member
	Ask    func(ctx context.Context, id string, body []byte) ([]byte, error)
	// Sinks are how far this node's sinks are with the changes, by name; nil says nothing.
	Sinks func() map[string]store.ChangePos
}

// Log is the audit log over all nodes. Its methods may be called from any goroutine.
type Log struct {
	cfg      Config
	sessions sessions
}

// New returns the log.
func New(cfg Config) *Log {
	return &Log{cfg: cfg, sessions: sessions{of: make(map[string]*session)}}
}

// Keys lists the keys that have signed heads, oldest first.
func (l *Log) Keys() []chain.Key { return l.cfg.Store.AuditKeys() }

// Figures of the heads.
const (
	headEvery = time.Minute
	keyPoll   = 5 * time.Second // until there is a key
	signWait  = 5 * time.Second // for the head of a proof
)

// Run makes the first signing key, and puts heads into the state, until ctx ends.
func (l *Log) Run(ctx context.Context) {
	tick := time.NewTimer(0)
	defer tick.Stop()
	refused := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if len(l.cfg.Store.AuditKeys()) == 0 {
			l.begin(ctx)
			if len(l.cfg.Store.AuditKeys()) == 0 {
				tick.Reset(keyPoll)
				continue
			}
		}
		l.separate(ctx)
		err := l.heads(ctx)
		if text := fmt.Sprint(err); err != nil && ctx.Err() == nil && text != refused {
			refused = text
			l.cfg.Logger.Error("the head of the audit log was not signed; tried again each minute", "error", err)
		} else if err == nil {
			refused = ""
		}
		tick.Reset(headEvery)
	}
}

// begin proposes the first signing key, once all nodes can read it.
func (l *Log) begin(ctx context.Context) {
	if s := l.cfg.Store; !s.Initialized() || !l.cfg.Complete() || !l.cfg.Leads() || s.ClusterLevel() < store.LevelOfChain {
		return
	}
	seed := make([]byte, 32)
	rand.Read(seed) // never fails
	if _, err := l.propose(ctx, &store.AuditKey{Seed: seed, First: true}); err != nil && ctx.Err() == nil {
		l.cfg.Logger.Warn("make the key that signs the audit log; tried again", "error", err)
	}
}

// separate begins the log of the operators, once all nodes know it. It waits for the state: a
// founder takes a log with commands and no state for that of a cluster whose state is lost.
func (l *Log) separate(ctx context.Context) {
	if s := l.cfg.Store; !s.Initialized() || s.HasOperatorsLog() || !l.cfg.Complete() || !l.cfg.Leads() || s.ClusterLevel() < store.LevelOfOperatorsLog {
		return
	}
	if _, err := l.propose(ctx, &store.OperatorsLog{}); err != nil && ctx.Err() == nil {
		l.cfg.Logger.Warn("begin the log of the operators; tried again each minute", "error", err)
	}
}

func (l *Log) propose(ctx context.Context, change store.Change) (store.Result, error) {
	r, err := l.cfg.Propose(ctx, &store.Command{
		At: time.Now().UTC(), Account: store.DefaultAccount, Actor: store.Actor{Type: store.ActorSystem, ID: "system", Name: l.cfg.Node}, Change: change,
	})
	if err == nil && r.Refusal != nil {
		err = r.Refusal
	}
	return r, err
}

// heads signs the heads of the minute.
func (l *Log) heads(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, headEvery)
	defer cancel()
	log, err := l.cfg.Local.OpenEventLog()
	if err != nil {
		return err
	}
	// Closed first: it keeps erased rows on the disk, and signing waits for a leader.
	if err := log.Close(); err != nil {
		return err
	}
	_, err = l.signStreams(ctx, log.Streams)
	if l.cfg.Leads() {
		_, failed := l.signChanges(ctx)
		err = errors.Join(err, failed)
	}
	return err
}

// signStreams puts the heads of this node's streams into the state and returns them signed;
// nil for a stream that never had an event.
func (l *Log) signStreams(ctx context.Context, streams []*local.Sealed) ([]*chain.Head, error) {
	heads := make([]*chain.Head, len(streams))
	for i, s := range streams {
		if i > 0 && len(s.Accounts) == 0 {
			continue
		}
		var err error
		if heads[i], err = l.sign(ctx, s); err != nil {
			return heads, err
		}
	}
	return heads, nil
}

// sign puts the head of one of this node's streams into the state and returns it signed.
func (l *Log) sign(ctx context.Context, s *local.Sealed) (*chain.Head, error) {
	root := s.Root()
	if h, err := l.cfg.Store.AuditHead(s.Stream); err != nil || h != nil && h.Seq == s.Seq && h.Root == root {
		return h, err
	}
	in := &store.AuditHead{Stream: s.Stream, Node: l.cfg.Node, Seq: s.Seq, Begin: s.Begin, Accounts: int64(len(s.Accounts)), Root: root, Time: time.Now().UTC()}
	if _, err := l.propose(ctx, in); err != nil {
		return nil, err
	}
	if err := l.cfg.Linearize(ctx); err != nil {
		return nil, err
	}
	h, err := l.cfg.Store.AuditHead(s.Stream)
	if err != nil {
		return nil, err
	}
	if h == nil || h.Seq != s.Seq || h.Root != root {
		return nil, errors.New("another head was signed meanwhile; try again")
	}
	return h, nil
}

// signChanges signs the head of the changes, unless nothing has changed since.
func (l *Log) signChanges(ctx context.Context) (*chain.Head, error) {
	if h, err := l.cfg.Store.AuditHead(chain.Changes); err != nil || h != nil && h.Seq == l.cfg.Store.ChangeLog().Newest() {
		return h, err
	}
	if _, err := l.propose(ctx, &store.AuditHead{Stream: chain.Changes, Time: time.Now().UTC()}); err != nil {
		return nil, err
	}
	if err := l.cfg.Linearize(ctx); err != nil {
		return nil, err
	}
	return l.cfg.Store.AuditHead(chain.Changes)
}

// errNoKey is the reason why nothing is signed yet.
var errNoKey = errors.New("the cluster has no key for the audit log yet: its nodes are being formed or upgraded")

// signed runs sign within the time that a proof waits for it.
func signed[T any](ctx context.Context, l *Log, sign func(context.Context) (T, error)) (none T, err error) {
	if len(l.cfg.Store.AuditKeys()) == 0 {
		return none, errNoKey
	}
	ctx, cancel := context.WithTimeout(ctx, signWait)
	defer cancel()
	return sign(ctx)
}
