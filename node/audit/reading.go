package audit

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/chain"
	"github.com/perfgate/perfgate/store/local"
)

// Reading is the events of all nodes at one moment, for one goroutine. Its methods are
// called in the order Streams, Proof, Close.
type Reading struct {
	log     *Log
	ctx     context.Context // of the call that reads
	query   store.EventQuery
	changes *store.EventLog
	own     *ownLog
	peers   []*peer
	missing []chain.Missing
	proven  bool
	reason  string // why the changes could not be signed
}

// Read begins to read what q selects, with a proof if it is to be proven. Nodes that do not
// answer are in [Reading.Missing].
func (l *Log) Read(ctx context.Context, q store.EventQuery, proven bool) (*Reading, error) {
	r := &Reading{log: l, ctx: ctx, query: q, proven: proven, missing: []chain.Missing{}}
	r.askPeers()
	if proven {
		if _, err := signed(ctx, l, l.signChanges); err != nil {
			r.reason = err.Error()
		}
	}
	own, err := l.openOwn(ctx, proven)
	if err != nil {
		r.closePeers()
		return nil, err
	}
	r.own = own
	r.changes = l.cfg.Store.OpenEventLog()
	return r, nil
}

// Missing lists the nodes that did not answer.
func (r *Reading) Missing() []chain.Missing { return r.missing }

// Keys lists the keys that sign heads.
func (r *Reading) Keys() []chain.Key { return r.log.cfg.Store.AuditKeys() }

// Close ends the reading.
func (r *Reading) Close() error {
	r.closePeers()
	return errors.Join(r.changes.Close(), r.own.Close())
}

// Streams are the events of the changes and of each node, each in the order of (Time, ID), or
// the reverse.
func (r *Reading) Streams() []iter.Seq2[*store.Event, error] {
	var sources []iter.Seq2[*store.Event, error]
	for _, q := range r.query.Logs() { // of one moment: no log is ahead of the other
		if r.proven && r.reason == "" {
			sources = append(sources, r.changes.Events(q))
		} else {
			sources = append(sources, r.changes.Latest(q))
		}
	}
	sources = append(sources, r.own.Events(r.query))
	for _, p := range r.peers {
		sources = append(sources, p.events(r.ctx))
	}
	return sources
}

// Proof streams the proof of the events.
func (r *Reading) Proof() iter.Seq2[chain.Part, error] {
	return func(yield func(chain.Part, error) bool) {
		var parts []iter.Seq2[chain.Part, error]
		for _, q := range r.query.Logs() {
			parts = append(parts, r.changes.Proof(q))
		}
		parts = append(parts, r.own.proof(r.query))
		for _, p := range r.peers {
			parts = append(parts, p.proof(r.ctx))
		}
		for _, part := range parts {
			for p, err := range part {
				if !yield(p, err) || err != nil {
					return
				}
			}
		}
	}
}

// ownLog is this node's own events, with the head that its proof leads to.
type ownLog struct {
	*local.EventLog
	node   string
	heads  []*chain.Head // of its streams; nil for one without events
	reason string        // why there are none
}

func (l *Log) openOwn(ctx context.Context, proven bool) (*ownLog, error) {
	log, err := l.cfg.Local.OpenEventLog()
	if err != nil {
		return nil, err
	}
	own := &ownLog{EventLog: log, node: l.cfg.Node}
	if proven {
		own.heads, err = signed(ctx, l, func(ctx context.Context) ([]*chain.Head, error) { return l.signStreams(ctx, log.Streams) })
		if err != nil {
			own.reason = err.Error()
		}
	}
	return own, nil
}

// proof names the node in the chains.
func (o *ownLog) proof(q store.EventQuery) iter.Seq2[chain.Part, error] {
	return func(yield func(chain.Part, error) bool) {
		for p, err := range o.Proof(q, o.heads) {
			if p.Chain != nil {
				p.Chain.Node, p.Chain.Unsaved = o.node, o.reason
			}
			if !yield(p, err) {
				return
			}
		}
	}
}

// kept is the account's places in the newest heads of the node's streams.
func (o *ownLog) kept(account store.AccountID) (list []chain.KeptHead) {
	for i, h := range o.heads {
		if h == nil {
			continue
		}
		k := chain.KeptHead{Head: *h}
		if a, ok := o.Streams[i].Account(account); ok {
			path, err := chain.PathTo(o.Streams[i].Accounts, a.Account)
			if err == nil {
				k.State, k.Since, k.Path = &a.State, a.Since, &path
			}
		}
		list = append(list, k)
	}
	return list
}

// Heads signs the heads of all streams and returns them, with the account's places.
func (l *Log) Heads(ctx context.Context, account store.AccountID) (*chain.HeadFile, error) {
	out := &chain.HeadFile{Account: string(account.OfEvents()), Data: []chain.KeptHead{}, Missing: []chain.Missing{}}
	if _, err := signed(ctx, l, l.signChanges); err != nil {
		return nil, fmt.Errorf("sign the head of the changes: %w", err)
	}
	changes := l.cfg.Store.OpenEventLog()
	k, err := changes.Kept(account)
	if err := errors.Join(err, changes.Close()); err != nil {
		return nil, err
	}
	if k != nil {
		out.Data = append(out.Data, *k)
	}
	own, err := l.openOwn(ctx, true)
	if err != nil {
		return nil, err
	}
	kept := own.kept(account)
	if err := own.Close(); err != nil {
		return nil, err
	}
	if kept == nil {
		return nil, fmt.Errorf("sign the head of node %s: %s", l.cfg.Node, own.reason)
	}
	out.Data = append(out.Data, kept...)
	l.headsOfPeers(ctx, account, out)
	out.Keys = l.cfg.Store.AuditKeys()
	return out, nil
}
