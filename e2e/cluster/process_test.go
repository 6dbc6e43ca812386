package cluster

import (
	"fmt"
	"syscall"
	"time"

	"github.com/perfgate/perfgate/e2e/harness"
)

const (
	// readyLimit is generous: the machines are shared.
	readyLimit = 90 * time.Second
	// stopLimit is more than shutdown_delay and drain together.
	stopLimit = 60 * time.Second
)

// terminate asks the process to end; its exit code must be 0.
func terminate(p *harness.Process) error {
	p.Signal(syscall.SIGTERM)
	code, err := p.Wait(stopLimit)
	if err == nil && code != 0 {
		err = fmt.Errorf("%s exited with %d after SIGTERM", p.Name, code)
	}
	return err
}

// ready is nil when the node reports that it is ready; otherwise it gives the
// reason. harness.ErrEnded is in the error if the process has ended.
func ready(p *harness.Process, admin string) error {
	if err := p.Ended(); err != nil {
		return err
	}
	r, err := within(2*time.Second, "GET", admin+"/readyz", nil, nil)
	if err != nil {
		return err
	}
	if r.StatusCode != 200 {
		return fmt.Errorf("%s: /readyz answers %v", p.Name, r)
	}
	return nil
}
