package manage

import (
	"net/http"
	"sync/atomic"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/backup"
)

// maxBackups bounds the backups that are sent at once: each keeps the files of
// its moment from being removed from the disk.
const maxBackups = 2

// Backup serves the call that reads a backup. Node, Version and Voters, which may be
// nil, go into its header.
type Backup struct {
	Store         *store.Store
	Node, Version string
	Voters        func() []string

	sending atomic.Int32 // backups, at most maxBackups
}

// Read streams the whole state of this moment, in bounded memory. A backup that
// breaks off is cut, and has no checksum.
func (h *Backup) Read(c *rest.Call) error {
	if h.sending.Add(1) > maxBackups {
		h.sending.Add(-1)
		return &fault.Error{Code: fault.TooBusy, RetryAfter: 10, Message: "Two backups are being read already."}
	}
	defer h.sending.Add(-1)
	header := backup.Header{Node: h.Node, Version: h.Version, CreatedAt: c.Now}
	if h.Voters != nil {
		header.Voters = h.Voters()
	}
	b, err := backup.Begin(h.Store, header)
	if err != nil {
		return err
	}
	defer b.Close()
	head := c.Writer().Header()
	head.Set("Content-Type", "application/octet-stream")
	head.Set("Content-Disposition", `attachment; filename="`+b.Name()+`"`)
	if c.Request.Method == http.MethodHead {
		return nil
	}
	w := c.Stream()
	if _, err := b.WriteTo(w); err != nil {
		return err
	}
	return w.Flush()
}
