package node

import (
	"context"
	"errors"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perfgate/perfgate/node/custody"
)

// openVault gets the keys of the encrypted data. It comes before everything that is in the
// data directory, and changes nothing without the right key.
func (n *Node) openVault(ctx context.Context) (err error) {
	n.vault, err = custody.Open(ctx, vfs.Default, n.config, n.log)
	return err
}

// rotateData goes on with a rotation of the data key in the background, until the node
// stops.
func (n *Node) rotateData(ctx context.Context) {
	if err := n.vault.Run(ctx); err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, custody.ErrBusy) {
		n.log.Error("files are not encrypted with the new data key yet; the next start or rotation goes on", "error", err)
	}
}

// rollLogs makes the databases begin new logs, which are encrypted with the current data key.
func (n *Node) rollLogs() error {
	return errors.Join(n.replica.RollLogs(), n.local.RollLog())
}
