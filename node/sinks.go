package node

import (
	"context"

	"github.com/perfgate/perfgate/httpapi/manage"
	"github.com/perfgate/perfgate/node/config"
	"github.com/perfgate/perfgate/node/sink"
	"github.com/perfgate/perfgate/store"
)

// openSinks begins to send the audit log to its sinks.
func (o *overall) openSinks(n *Node) error {
	log := o.audit.Load()
	list := make([]*sink.Sink, 0, len(n.config.Audit.Sinks))
	for i := range n.config.Audit.Sinks {
		in := &n.config.Audit.Sinks[i]
		target, err := config.SinkURL(in.URL)
		if err != nil {
			return err
		}
		c := sink.Config{
			Target: target, Node: n.config.Node.Name, Own: n.local.Events, Changes: n.store.ChangeLog().Read, LastPos: n.store.ChangeLog().End, Leads: n.replica.Leads,
			Mark: n.local.Mark, SetMark: n.local.SetMark, Heads: log.Heads, Append: manage.AppendEvent, Logger: n.log,
		}
		for _, a := range in.Accounts {
			c.Accounts = append(c.Accounts, store.AccountID(a))
		}
		if c.Roots, c.Token, err = n.config.SinkFiles(i); err != nil {
			return err
		}
		if !n.lone() {
			c.Elsewhere = log.SinkElsewhere
		}
		s, err := sink.New(c)
		if err != nil {
			return err
		}
		list = append(list, s)
	}
	o.sinks.Store(&list)
	for _, s := range list {
		n.background.run(func(ctx context.Context) { s.Run(ctx) })
	}
	return nil
}

// sinkCursors are how far this node's sinks are with the changes.
func (o *overall) sinkCursors() map[string]store.ChangePos {
	out := make(map[string]store.ChangePos)
	if list := o.sinks.Load(); list != nil {
		for _, s := range *list {
			out[s.Name()] = s.Cursor()
		}
	}
	return out
}
