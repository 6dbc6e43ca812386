//go:build !linux

package cluster

import "os/exec"

func spawn(cmd *exec.Cmd) error { return cmd.Start() }
