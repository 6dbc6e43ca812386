package apitest

import (
	"context"
	"iter"

	"github.com/perfgate/perfgate/httpapi/manage"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/chain"
	"github.com/perfgate/perfgate/store/local"
)

// auditLog is the audit log of one node without a key that signs heads.
type auditLog struct {
	store *store.Store
	local *local.Local
}

// AuditLog is the rig's audit log.
func (g *Rig) AuditLog() manage.AuditLogs { return auditLog{g.Store, g.Local} }

// Heads implements [manage.AuditLogs].
func (auditLog) Heads(_ context.Context, account store.AccountID) (*chain.HeadFile, error) {
	return &chain.HeadFile{Account: string(account), Data: []chain.KeptHead{}, Keys: []chain.Key{}, Missing: []chain.Missing{}}, nil
}

// Keys implements [manage.AuditLogs].
func (a auditLog) Keys() []chain.Key { return a.store.AuditKeys() }

// Read implements [manage.AuditLogs].
func (a auditLog) Read(_ context.Context, q store.EventQuery, _ bool) (manage.AuditReading, error) {
	log, err := a.local.OpenEventLog()
	return &reading{a, q, log}, err
}

type reading struct {
	auditLog
	q   store.EventQuery
	log *local.EventLog
}

func (r *reading) Missing() []chain.Missing { return []chain.Missing{} }
func (r *reading) Keys() []chain.Key        { return []chain.Key{} }
func (r *reading) Close() error             { return r.log.Close() }

func (r *reading) Streams() []iter.Seq2[*store.Event, error] {
	list := []iter.Seq2[*store.Event, error]{r.log.Events(r.q)}
	for _, q := range r.q.Logs() {
		list = append(list, r.store.Events(q))
	}
	return list
}

func (r *reading) Proof() iter.Seq2[chain.Part, error] { return r.log.Proof(r.q, nil) }
