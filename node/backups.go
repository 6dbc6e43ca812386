package node

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/perfgate/perfgate/node/datadir"
	"github.com/perfgate/perfgate/node/recovery"
	"github.com/perfgate/perfgate/store/backup"
)

// openBackups starts the scheduled backups that the configuration asks for, and
// registers the wait for their end.
func (n *Node) openBackups(registry *prometheus.Registry) error {
	c := &n.config.Backup
	if c.Dir == "" {
		return nil
	}
	b := &recovery.Backups{
		Dir: c.Dir, Every: c.Every, Keep: c.Keep, To: c.To(), Logger: n.log,
		Leads: n.replica.Leads, Cluster: n.store.ClusterID,
		Begin: func(at time.Time) (*backup.Backup, error) {
			return backup.Begin(n.store, backup.Header{Node: n.config.Node.Name, Version: n.options.Version, CreatedAt: at, Voters: n.replica.Voters()})
		},
	}
	b.Ledger.Erasures, b.Ledger.Sign, b.Ledger.Keys = n.store.Erasures().All, n.store.Sign, n.store.LedgerKeys
	if err := b.Open(); err != nil {
		return n.config.Fault("backup.dir", "make and read the folder: "+datadir.Reason(err).Error())
	}
	n.background.backups = b
	registry.MustRegister(b.Collectors()...)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.Run(ctx)
	}()
	n.cleanup("scheduled backups", func(ctx context.Context) error {
		cancel()
		select {
		case <-done:
			return nil
		case <-ctx.Done(): // one that is being read back; it touches nothing else
			return ctx.Err()
		}
	})
	return nil
}
