package node

import (
	"context"
	"errors"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/manage"
	"github.com/perfgate/perfgate/node/custody"
)

// openVault gets the keys of the encrypted data. It comes before everything that is in the
// data directory, and changes nothing without the right key.
func (n *Node) openVault(ctx context.Context) (err error) {
	files := n.options.Files
	if files == nil {
		files = vfs.Default
	}
	n.vault, err = custody.Open(ctx, files, n.config, n.log)
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

// Keyring implements [httpapi.Backend].
func (b backend) Keyring() (manage.KeyringStatus, error) {
	s, err := b.node.vault.Status()
	if err != nil {
		return manage.KeyringStatus{}, fault.From(err)
	}
	out := manage.KeyringStatus{Node: b.node.config.Node.Name, KEK: s.KEK, Source: s.Source, KeyBesideData: s.Beside, DataKeys: []manage.DataKey{}}
	for _, k := range s.DataKeys {
		out.DataKeys = append(out.DataKeys, manage.DataKey(k))
	}
	p := &s.Rotation
	out.Rotation = manage.Rotation{Running: p.Running, DoneBytes: p.Done, TotalBytes: p.Total}
	if p.Error != "" {
		text := "the node's log says why; the next start or rotation goes on"
		out.Rotation.Error = &text // the reason names files of this machine
	}
	if !p.Ended.IsZero() {
		out.Rotation.EndedAt = &p.Ended
	}
	return out, nil
}

// RotateKEK implements [httpapi.Backend].
func (b backend) RotateKEK(ctx context.Context) error {
	_, err := b.node.vault.RotateKEK(ctx)
	return rotationFault(err)
}

// RotateData implements [httpapi.Backend].
func (b backend) RotateData() error {
	if err := b.node.vault.RotateData(); err != nil {
		return rotationFault(err)
	}
	b.node.background.run(b.node.rotateData)
	return nil
}

// rotationFault is the answer to a rotation that is refused. Sentences of this package's
// own reach the caller; others may name files, and the log has them.
func rotationFault(err error) error {
	if errors.Is(err, custody.ErrBusy) || errors.Is(err, custody.ErrSameKey) {
		return &fault.Error{Code: fault.Conflict, Message: upperFirst(err.Error()) + "."}
	}
	if err == nil {
		return nil
	}
	return fault.From(err)
}

func upperFirst(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
