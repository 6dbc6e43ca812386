package httpapi

import (
	"bufio"
	"net/http"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/store/backup"
)

// maxBackups is how many are sent at once: each keeps what was there when it
// began from being removed from the disk.
const maxBackups = 2

// readBackup streams the whole state as of now, in bounded memory. One that
// breaks off is cut, and has no checksum.
func readBackup(c *call) error {
	if q := c.query(); q.err != nil {
		return q.err
	}
	if c.backups.Add(1) > maxBackups {
		c.backups.Add(-1)
		return &fault.Error{Code: fault.TooBusy, RetryAfter: 10, Message: "Two backups are being read already."}
	}
	defer c.backups.Add(-1)
	b, err := backup.Begin(c.Store, backup.Header{Node: c.Node, Version: c.Version, CreatedAt: c.now})
	if err != nil {
		return err
	}
	defer b.Close()
	h := c.w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Disposition", `attachment; filename="`+b.Name()+`"`)
	if c.r.Method == http.MethodHead {
		return nil
	}
	w := bufio.NewWriterSize(&patient{c.w, http.NewResponseController(c.w)}, exportBuffer)
	if _, err = b.WriteTo(w); err == nil {
		err = w.Flush()
	}
	if err != nil && c.w.status == 0 {
		h.Del("Content-Disposition")
		return err
	}
	if err != nil {
		if c.r.Context().Err() == nil {
			c.Logger.Error("a backup broke off", "request_id", h.Get(fault.RequestIDHeader), "error", err)
		}
		panic(http.ErrAbortHandler)
	}
	return nil
}
