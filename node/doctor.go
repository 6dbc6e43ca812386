package node

import (
	"fmt"
	"syscall"
	"time"

	"github.com/perfgate/perfgate/httpapi"
)

// The bounds below which the doctor's line warns.
const (
	leastFree  = 1 << 30 // bytes of the disk
	leastFiles = 4096    // open files: each connection is one, to the client and to the upstream
)

// doctor looks at what goes wrong unseen: the clock, the disk and the limit of open files.
func doctor(n *Node) []httpapi.Check {
	return []httpapi.Check{clockCheck(n), diskCheck(n), fileCheck()}
}

// clockCheck reports what the node knows of wrong clocks: a lone node has none to compare with.
func clockCheck(n *Node) httpapi.Check {
	out := httpapi.Check{Name: "Clock", Good: true, Fact: n.clock.Wall().UTC().Format(time.DateTime) + " UTC"}
	if err := n.replica.Coordinator().Fault(); err != nil {
		out.Good, out.Fact = false, err.Error()
	}
	return out
}

func diskCheck(n *Node) httpapi.Check {
	out := httpapi.Check{Name: "Disk"}
	if r := n.replica.Disk().Reason(); r != "" {
		out.Fact = r
		return out
	}
	free, known := n.replica.Disk().Free()
	if !known {
		out.Fact = "not measured on this system"
		return out
	}
	out.Good, out.Fact = free >= leastFree, fmt.Sprintf("%.1f GiB free", float64(free)/(1<<30))
	return out
}

func fileCheck() httpapi.Check {
	out := httpapi.Check{Name: "Open files"}
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		out.Fact = "not measured: " + err.Error()
		return out
	}
	out.Good, out.Fact = r.Cur >= leastFiles, fmt.Sprintf("at most %d", r.Cur)
	if !out.Good {
		out.Fact += fmt.Sprintf("; raise the limit to %d or more (LimitNOFILE, ulimit -n)", leastFiles)
	}
	return out
}
