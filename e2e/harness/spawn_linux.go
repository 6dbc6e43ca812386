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

// Spawn starts cmd so that it ends with this process.
func Spawn(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	done := make(chan error)
	spawner() <- func() { done <- cmd.Start() }
	return <-done
}
