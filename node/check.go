package node

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// Check looks at the files and directories that c names, changes nothing, and
// returns every fault found.
func (c *Config) Check() error {
	_, err := c.ClusterSecret()
	faults := []error{c.checkDataDir(), err}
	for _, name := range []string{"proxy", "admin"} {
		certs := &Certificates{name: name, logger: slog.New(slog.DiscardHandler)}
		if from, ok := certs.source(c); ok && from.made == nil {
			_, err := OpenCertificates(c, name, certs.logger)
			faults = append(faults, err)
		}
	}
	return errors.Join(faults...)
}

// CheckConfig is "perfgate check-config": it prints "ok" if a node could start
// with c; otherwise the error holds every fault.
func CheckConfig(w io.Writer, c *Config) error {
	if err := c.Check(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, "ok")
	return err
}
