package nodetest_test

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perfgate/perfgate/node/nodetest"
)

// filling is a disk that is as full as a test says.
type filling struct {
	vfs.FS
	full atomic.Bool
}

func (f *filling) GetDiskUsage(string) (vfs.DiskUsage, error) {
	use := vfs.DiskUsage{TotalBytes: 1 << 30, AvailBytes: 1 << 29, UsedBytes: 1 << 29}
	if f.full.Load() {
		use.AvailBytes, use.UsedBytes = 1<<20, 1<<30-1<<20
	}
	return use, nil
}

// A leader whose disk is full hands over to a node that has space, and changes are made
// again. Where all disks are full, a leaked key can be revoked all the same.
func TestFullDisks(t *testing.T) {
	disks := make([]*filling, 3)
	c := nodetest.Start(t, 3, func(i int, s *nodetest.Setup) {
		disks[i] = &filling{FS: vfs.Default}
		s.Files = disks[i]
	})
	create := func(i int) error {
		_, err := c.API(i).CreateKey(t.Context(), newKey("full"))
		return err
	}
	full := c.Leader()
	disks[full].full.Store(true)
	c.Until("another node leads", func() error {
		if i := c.Leader(); i == full {
			return errors.New("the one whose disk is full does")
		}
		return nil
	})
	for i := range c.Nodes {
		c.Until("changes are made through "+c.Nodes[i].Setup.Name, func() error { return create(i) })
	}
	leaked, key := c.Key(c.Leader(), "leaked")
	for _, d := range disks {
		d.full.Store(true)
	}
	c.Until("changes are refused", func() error {
		err := create(c.Leader())
		if err == nil {
			return errors.New("they are made")
		}
		if !strings.Contains(err.Error(), "disk is full") {
			return err
		}
		return nil
	})
	for i, n := range c.Nodes {
		c.Until("a leaked key is revoked through "+n.Setup.Name, func() error {
			_, err := c.API(i).RevokeKey(t.Context(), leaked, "leaked")
			return err
		})
		if a := n.Get(key); a.Status != 401 {
			t.Errorf("%s answers %v", n.Setup.Name, a)
		}
	}
}
