//go:build !linux

package harness

import "os/exec"

// Spawn starts cmd.
func Spawn(cmd *exec.Cmd) error { return cmd.Start() }
