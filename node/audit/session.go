package audit

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/chain"
	"github.com/perfgate/perfgate/store/ids"
)

// Bounds of the sessions that a node keeps for others.
const (
	maxSessions = 16
	idleSession = 5 * time.Minute // without a call; a client may read slowly
	partEvents  = 1000            // events in one answer, of at most some 3 KiB each
	partProof   = 500             // segments in one answer: the largest has 256 KiB of marks
	partBytes   = 512 << 10
)

// ask is a call between nodes, and answer its answer. Members are only ever added.
type ask struct {
	Open    *store.EventQuery `json:"open,omitzero"` // begin a session
	Proven  bool              `json:"proven,omitzero"`
	Next    string            `json:"next,omitzero"`  // the next part of a session
	Close   string            `json:"close,omitzero"` // end a session
	Heads   bool              `json:"heads,omitzero"` // the head of the node's stream
	Account store.AccountID   `json:"account,omitzero"`
	Sinks   bool              `json:"sinks,omitzero"` // how far the node is with its sinks
}

type answer struct {
	Session string          `json:"session,omitzero"`
	Events  []*store.Event  `json:"events,omitzero"`
	Parts   []chain.Part    `json:"parts,omitzero"`
	Phase   string          `json:"phase,omitzero"` // of Next: "events", "proof", or "end"
	Head    *chain.KeptHead `json:"head,omitzero"`
	// More are the heads of the node's other streams.
	More   []chain.KeptHead           `json:"more,omitzero"`
	Reason string                     `json:"reason,omitzero"` // why there is no head
	Sinks  map[string]store.ChangePos `json:"sinks,omitzero"`
}

// sessions are the readings of other nodes.
type sessions struct {
	mu sync.Mutex // guards the rest
	of map[string]*session

	closed bool
}

// session is one reading of this node's own events.
type session struct {
	mu     sync.Mutex // held while a part is made; guards the rest
	own    *ownLog
	part   int // events in one answer, at most
	events func() (*store.Event, error, bool)
	parts  func() (chain.Part, error, bool) // nil if it is not proven
	stops  []func()
	idle   *time.Timer
	closed bool
}

var errSession = errors.New("there is no such session on this node, or it was idle for too long")

// Serve answers the call of another node.
func (l *Log) Serve(ctx context.Context, body []byte) ([]byte, error) {
	var in ask
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, err
	}
	out, err := l.answer(ctx, &in)
	if err != nil {
		return nil, err
	}
	return json.Marshal(out)
}

func (l *Log) answer(ctx context.Context, in *ask) (*answer, error) {
	switch {
	case in.Open != nil:
		return l.openSession(ctx, in)
	case in.Next != "":
		if s := l.sessions.find(in.Next); s != nil {
			return s.next()
		}
		return nil, errSession
	case in.Close != "":
		l.sessions.close(in.Close)
		return &answer{}, nil
	case in.Sinks:
		if l.cfg.Sinks == nil {
			return &answer{}, nil
		}
		return &answer{Sinks: l.cfg.Sinks()}, nil
	case in.Heads:
		own, err := l.openOwn(ctx, true)
		if err != nil {
			return nil, err
		}
		out := &answer{Reason: own.reason}
		if kept := own.kept(in.Account); len(kept) > 0 {
			out.Head, out.More = &kept[0], kept[1:]
		}
		return out, own.Close()
	}
	return nil, errors.New("the call asks for nothing that this version knows")
}

func (l *Log) openSession(ctx context.Context, in *ask) (*answer, error) {
	own, err := l.openOwn(ctx, in.Proven)
	if err != nil {
		return nil, err
	}
	s := &session{own: own, part: partEvents}
	if in.Open.Page > 0 {
		s.part = min(in.Open.Page, partEvents)
	}
	next, stop := iter.Pull2(own.Events(*in.Open))
	s.events, s.stops = next, append(s.stops, stop)
	if in.Proven {
		parts, stop := iter.Pull2(own.proof(*in.Open))
		s.parts, s.stops = parts, append(s.stops, stop)
	}
	id, err := l.sessions.add(s)
	if err != nil {
		return nil, errors.Join(err, s.end())
	}
	return &answer{Session: id}, nil
}

func (t *sessions) add(s *session) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return "", errors.New("this node stops")
	}
	if len(t.of) >= maxSessions {
		return "", fmt.Errorf("%d readings of the audit log are open on this node; try again later", maxSessions)
	}
	id := ids.New("ses_")
	t.of[id] = s
	s.idle = time.AfterFunc(idleSession, func() { t.close(id) })
	return id, nil
}

func (t *sessions) find(id string) *session {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.of[id]
}

func (t *sessions) close(id string) {
	t.mu.Lock()
	s := t.of[id]
	delete(t.of, id)
	t.mu.Unlock()
	if s != nil {
		s.idle.Stop()
		_ = s.end() // the reader is gone
	}
}

// Close ends all sessions.
func (l *Log) Close() {
	l.sessions.mu.Lock()
	l.sessions.closed = true
	var all []string
	for id := range l.sessions.of {
		all = append(all, id)
	}
	l.sessions.mu.Unlock()
	for _, id := range all {
		l.sessions.close(id)
	}
}

func (s *session) end() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	for _, stop := range s.stops {
		stop()
	}
	return s.own.Close()
}

// next makes the next part.
func (s *session) next() (*answer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errSession
	}
	s.idle.Reset(idleSession)
	out := &answer{Phase: "events"}
	for size := 0; len(out.Events) < s.part && size < partBytes; {
		e, err, ok := s.events()
		if err != nil {
			return nil, err
		}
		if !ok {
			break
		}
		out.Events = append(out.Events, e)
		size += 600 + len(e.UserAgent) + len(e.Changes)
		if e.Request != nil {
			size += len(e.Request.Path)
		}
	}
	if len(out.Events) > 0 {
		return out, nil
	}
	out.Phase = "proof"
	for size := 0; s.parts != nil && len(out.Parts) < partProof && size < partBytes; {
		p, err, ok := s.parts()
		if err != nil {
			return nil, err
		}
		if !ok {
			break
		}
		out.Parts = append(out.Parts, p)
		size += 400
		if p.Shown != nil {
			size += 2*len(p.Shown.Marks) + 50*len(p.Shown.Hidden)
		}
	}
	if len(out.Parts) == 0 {
		out.Phase = "end"
	}
	return out, nil
}

// peer is a session at another node.
type peer struct {
	log   *Log
	id    string // of the node
	name  string
	token string // of the session
	rest  []chain.Part
	ended bool
}

// openWait bounds the wait for other nodes at the beginning of a reading, partWait that
// for a part of it.
const (
	openWait = 6 * time.Second // a node may have to wait for its head to be signed
	partWait = 20 * time.Second
)

func (l *Log) ask(ctx context.Context, id string, in *ask) (*answer, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	raw, err := l.cfg.Ask(ctx, id, body)
	if err != nil {
		return nil, err
	}
	out := new(answer)
	return out, json.Unmarshal(raw, out)
}

// eachPeer calls use for every other member at once, and waits.
func (l *Log) eachPeer(ctx context.Context, use func(context.Context, store.Member)) {
	if l.cfg.Others == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, openWait)
	defer cancel()
	var all sync.WaitGroup
	for _, m := range l.cfg.Others() {
		all.Go(func() { use(ctx, m) })
	}
	all.Wait()
}

// unreachable is a node that did not answer.
func unreachable(m store.Member, err error) chain.Missing {
	reason := "it does not answer"
	if m.Level < store.LevelOfChain {
		reason = "it runs an older version"
	} else if errors.Is(err, errSession) {
		reason = err.Error()
	}
	return chain.Missing{Node: m.Name, Reason: reason}
}

func (r *Reading) askPeers() {
	var mu sync.Mutex
	r.log.eachPeer(r.ctx, func(ctx context.Context, m store.Member) {
		out, err := r.log.ask(ctx, m.ID, &ask{Open: &r.query, Proven: r.proven})
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			r.log.cfg.Logger.Warn("a node is missing in an answer from the audit log", "node", m.Name, "error", err)
			r.missing = append(r.missing, unreachable(m, err))
			return
		}
		r.peers = append(r.peers, &peer{log: r.log, id: m.ID, name: m.Name, token: out.Session})
	})
}

func (r *Reading) closePeers() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), openWait)
	defer cancel()
	for _, p := range r.peers {
		_, _ = r.log.ask(ctx, p.id, &ask{Close: p.token}) // it ends by itself otherwise
	}
}

func (p *peer) next(ctx context.Context) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, partWait)
	defer cancel()
	out, err := p.log.ask(ctx, p.id, &ask{Next: p.token})
	if err != nil {
		return nil, fmt.Errorf("read the audit log of node %s: %w", p.name, err)
	}
	return out, nil
}

func (p *peer) events(ctx context.Context) iter.Seq2[*store.Event, error] {
	return func(yield func(*store.Event, error) bool) {
		for {
			out, err := p.next(ctx)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, e := range out.Events {
				if !yield(e, nil) {
					return
				}
			}
			if out.Phase != "events" {
				p.rest, p.ended = out.Parts, out.Phase == "end"
				return
			}
		}
	}
}

func (p *peer) proof(ctx context.Context) iter.Seq2[chain.Part, error] {
	return func(yield func(chain.Part, error) bool) {
		for {
			for _, part := range p.rest {
				if !yield(part, nil) {
					return
				}
			}
			p.rest = nil
			if p.ended {
				return
			}
			out, err := p.next(ctx)
			if err != nil {
				yield(chain.Part{}, err)
				return
			}
			p.rest, p.ended = out.Parts, out.Phase == "end"
		}
	}
}

func (l *Log) headsOfPeers(ctx context.Context, account store.AccountID, out *chain.HeadFile) {
	var mu sync.Mutex
	l.eachPeer(ctx, func(ctx context.Context, m store.Member) {
		got, err := l.ask(ctx, m.ID, &ask{Heads: true, Account: account})
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err != nil:
			out.Missing = append(out.Missing, unreachable(m, err))
		case got.Head == nil:
			out.Missing = append(out.Missing, chain.Missing{Node: m.Name, Reason: got.Reason})
		default:
			out.Data = append(append(out.Data, *got.Head), got.More...)
		}
	})
}
