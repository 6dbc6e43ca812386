package harness

import (
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// spawner is a thread that lives as long as the test process. Children are
// started on it with the wish to be killed when it dies: a test binary that is
// ended from outside, or by its own timeout, leaves no perfgate behind.
var spawner = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return work
})

// Spawn starts cmd so that it ends with this process. Its other attributes stay.
func Spawn(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	done := make(chan error)
	spawner() <- func() { done <- cmd.Start() }
	return <-done
}
