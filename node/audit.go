package node

import (
	"context"
	"errors"
	"slices"

	"github.com/perfgate/perfgate/httpapi/manage"
	"github.com/perfgate/perfgate/node/audit"
	"github.com/perfgate/perfgate/node/replica"
	"github.com/perfgate/perfgate/store"
)

// openAudit opens the audit log over all nodes.
func (n *Node) openAudit() {
	c := audit.Config{
		Store: n.store, Local: n.local, Node: n.config.Node.Name, Logger: n.log,
		Propose:   n.proposeGrant,
		Linearize: n.replica.Coordinator().Linearize,
		Leads:     n.replica.Leads, Complete: n.replica.Coordinator().Complete,
	}
	if !n.lone() {
		c.Ask, c.Others = n.replica.Coordinator().AskAudit, n.others
	}
	c.Sinks = n.overall.sinkCursors
	log := audit.New(c)
	n.overall.audit.Store(log)
	n.cleanup("audit log", func(context.Context) error { log.Close(); return nil })
	n.background.run(log.Run)
}

// others lists the other members of the cluster.
func (n *Node) others() []store.Member {
	return slices.DeleteFunc(n.store.Members(), func(m store.Member) bool { return m.ID == n.replica.Identity().ID })
}

// serveAudit answers another node about this node's part of the audit log.
func (o *overall) serveAudit(ctx context.Context, body []byte) ([]byte, error) {
	log := o.audit.Load()
	if log == nil {
		return nil, replica.Refuse(replica.ErrUnavailable, errors.New("this node is starting"))
	}
	return log.Serve(ctx, body)
}

// auditLogs is the audit log as the API sees it.
type auditLogs struct{ *audit.Log }

// Read implements [manage.AuditLogs].
func (l auditLogs) Read(ctx context.Context, q store.EventQuery, proven bool) (manage.AuditReading, error) {
	return l.Log.Read(ctx, q, proven)
}
